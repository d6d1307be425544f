/**
 * Small helpers to build the page. Whatever comes from the document or a server becomes a text node, never markup.
 */

/**
 * Builds an element. Properties whose value is a function become listeners (`onclick`), other names become
 * attributes; `null`, `undefined` and `false` are left out.
 */
export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false && child !== ""));
  return node;
}

/** Splits a line at backticks and double stars, so that code and strong words look like it. */
function inline(text) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*)/).map((part) => {
    if (part.length > 2 && part.startsWith("`")) return element("code", {}, part.slice(1, -1));
    if (part.length > 4 && part.startsWith("**")) return element("strong", {}, part.slice(2, -2));
    return part;
  });
}

const LIST_ITEM = /^\s*(?:[-*]|\d+\.)\s+/;
const HEADING = /^#{1,6}\s+/;

/** Groups lines: an empty line ends a paragraph, a list item begins an entry, a heading stands alone. */
function groupLines(text) {
  const groups = [];
  let current = null;
  const begin = (kind, line) => {
    current = { kind, lines: [line] };
    groups.push(current);
  };
  for (const line of text.split("\n")) {
    if (!line.trim()) current = null;
    else if (HEADING.test(line)) begin("heading", line.replace(HEADING, ""));
    else if (LIST_ITEM.test(line)) begin("item", line.replace(LIST_ITEM, ""));
    else if (current && current.kind !== "heading") current.lines.push(line.trim());
    else begin("paragraph", line.trim());
  }
  return groups;
}

function renderGroups(groups) {
  const nodes = [];
  groups.forEach(({ kind, lines }) => {
    const words = inline(lines.join(" "));
    if (kind !== "item") nodes.push(element("p", {}, kind === "heading" ? element("strong", {}, words) : words));
    else if (nodes.at(-1)?.localName === "ul") nodes.at(-1).append(element("li", {}, words));
    else nodes.push(element("ul", {}, element("li", {}, words)));
  });
  return nodes;
}

/** Turns a description into paragraphs, lists and code blocks: the little of CommonMark that API texts use. */
export function prose(text) {
  if (!text) return [];
  return String(text).split(/(```[\s\S]*?```)/).flatMap((part) => {
    if (part.startsWith("```") && part.length > 6) {
      return [element("pre", { tabindex: "0" }, part.slice(3, -3).replace(/^\w*\n/, "").trimEnd())];
    }
    return renderGroups(groupLines(part));
  });
}

/** Shows a value as indented JSON in a block that can be scrolled with the keyboard. */
export function jsonBlock(value, label) {
  const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  return element("pre", { tabindex: "0", role: "region", "aria-label": label }, text);
}
