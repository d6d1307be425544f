/** What an element is called: a selector that finds it again, and the text a person reads on it. */

/** Ids that frameworks make up anew for every build or page. */
const GENERATED_ID = /(\d\D*){4}|^([:«_]|radix|ember|react-)/;
/** Words, as people write them; not the state of the moment. */
const STABLE_CLASS = /^(?!is-|active)[a-z]+([-_]+[a-z]+)*$/;

const STEPS_MAX = 5;

/** Their text may be what somebody typed, or must not be read. */
const UNREADABLE = "input,textarea,select,[contenteditable],[data-cj-ignore]";

/** As `Element.closest`, but also above the shadow trees that the element is in. */
export const closest = (element: Element, selector: string): Element | null => {
  const root = element.getRootNode();
  return element.closest(selector) || (root instanceof ShadowRoot ? closest(root.host, selector) : null);
};

const touches = (element: Element, selector: string) => closest(element, selector) || element.querySelector(selector);

export const isIgnored = (element: Element) => closest(element, "[data-cj-ignore]");

/** Read as attributes, because a field named `id` hides the property of its form. */
export const attribute = (element: Element | null, name: string) => element?.getAttribute(name) || "";

/**
 * Returns the name its site gave the element, else the shortest way down from a stable id.
 *
 * A way without an id has five steps, and more only where five would find another element. In a shadow tree it
 * follows the host's selector and ` >>> `.
 */
export const selectorOf = (element: Element): string => {
  const name = attribute(closest(element, "[data-cj-name]"), "data-cj-name");
  // A JSON text is written like a CSS string.
  if (name) return `[data-cj-name=${JSON.stringify(name)}]`;
  const root = element.getRootNode() as ParentNode & Node;
  let path = "";
  let steps = 0;
  for (let node: Element | null = element; node; node = node.parentElement) {
    const id = attribute(node, "id");
    const isStable = id && !GENERATED_ID.test(id);
    path = (isStable ? "#" + CSS.escape(id) : stepOf(node)) + (steps++ ? " > " : "") + path;
    if (isStable || (steps >= STEPS_MAX && root.querySelector(path) === element)) break;
  }
  return root instanceof ShadowRoot ? selectorOf(root.host) + " >>> " + path : path;
};

/** Tag, first class that looks made by a person, and the position where there are more of the tag. */
const stepOf = (element: Element) => {
  const tag = element.localName;
  const stable = attribute(element, "class")
    .split(/\s+/)
    .find((name) => STABLE_CLASS.test(name));
  const alike = [...(element.parentNode?.children || [])].filter((other) => other.localName === tag);
  return (
    CSS.escape(tag) +
    (stable ? "." + stable : "") +
    (alike.length > 1 ? `:nth-of-type(${alike.indexOf(element) + 1})` : "")
  );
};

/** Returns up to 120 characters of the element's text, else its label; masked, each character is a `*`. */
export const textOf = (element: Element, isMasked?: boolean): string => {
  const text = touches(element, UNREADABLE) ? "" : element.textContent!.trim();
  const [short] = /^.{0,120}/u.exec((text || attribute(element, "aria-label")).replace(/\s+/g, " "))!;
  return isMasked || touches(element, "[data-cj-mask]") ? short.replace(/\S/gu, "*") : short;
};
