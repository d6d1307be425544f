/**
 * Small helpers to build page content. Text always becomes a text node, never markup.
 */

/**
 * Builds an element. Properties whose value is a function become listeners (`onclick`),
 * `class` and other names become attributes; `null`, `undefined` and `false` are left out.
 */
export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Returns the element with this id; the pages are written together with the scripts, so it exists. */
export function byId(id) {
  return document.getElementById(id);
}

/** Puts text on the clipboard and says so on the button for a moment. */
export async function copyText(button, text) {
  const label = button.dataset.label ?? button.textContent;
  button.dataset.label = label;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Select and copy by hand";
  }
  setTimeout(() => { button.textContent = label; }, 1500);
}
