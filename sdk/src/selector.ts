/** What an element is called: a selector that finds it again, and the text a person reads on it. */
import { options } from "./options.ts";

/** Ids that frameworks make up anew for every build or page. */
const GENERATED_ID = /(\d\D*){4}|[:«]|_r_/;
const STEPS_MAX = 5;
const TEXT_LENGTH_MAX = 120;

/** Their text may be what somebody typed, is no text for people, or must not be read. */
const UNREADABLE = "input,textarea,select,[contenteditable],script,style,[data-cj-ignore]";

const touches = (element: Element, selector: string) => element.closest(selector) || element.querySelector(selector);

export const isIgnored = (element?: Element | null) => element?.closest("[data-cj-ignore]");

/** Read as attributes, because a field named `id` hides the property of its form. */
export const attribute = (element: Element | null, name: string) => element?.getAttribute(name) || "";

/** Returns the tag, with the position where there are more of them. Classes say how a thing looks today. */
function stepOf(element: Element): string {
  const alike = [...(element.parentNode?.children || [])].filter((other) => other.localName == element.localName);
  return element.localName + (alike[1] ? `:nth-of-type(${alike.indexOf(element) + 1})` : "");
}

/** Returns the name its site gave the element, else the way down from the nearest stable id, else the last five steps. */
export function selectorOf(element: Element): string {
  const name = attribute(element.closest("[data-cj-name]"), "data-cj-name");
  // A JSON text is written like a CSS string.
  if (name) return `[data-cj-name=${JSON.stringify(name)}]`;
  const path: string[] = [];
  for (let node: Element | null = element; node && path.length < STEPS_MAX; node = node.parentElement) {
    const id = attribute(node, "id");
    if (id && !GENERATED_ID.test(id)) {
      path.unshift("#" + CSS.escape(id));
      break;
    }
    path.unshift(stepOf(node));
  }
  return path.join(" > ");
}

/** Returns up to 120 characters of the element's text, else its label; where that is wanted, with each as a `*`. */
export function textOf(element: Element): string {
  const text = touches(element, UNREADABLE) ? "" : element.textContent!.trim();
  const short = (text || attribute(element, "aria-label")).replace(/\s+/g, " ").slice(0, TEXT_LENGTH_MAX);
  return mask(short, touches(element, "[data-cj-mask]"));
}

/** Returns the text, or as many `*` where the site, or this place, asks for that. */
export const mask = (text: string, isWanted?: unknown): string =>
  options.maskText || isWanted ? text.replace(/\S/gu, "*") : text;
