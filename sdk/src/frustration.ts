/**
 * Rage clicks (three, each less than 1 s and 30 px after the one before) and dead clicks (nothing happens).
 *
 * A dead click is one after which the document does not change for 2.5 s, nothing scrolls or is selected within
 * 100 ms, and no form is sent; links to other places are left out. One click is watched at a time. Where the page is
 * hidden meanwhile, nobody can say.
 */
import { listen } from "./listen.ts";
import { onHide, record } from "./recorder.ts";
import { isIgnored, textOf } from "./selector.ts";
import type { EventFields } from "./types.ts";

const RAGE_CLICKS = 3;
const RAGE_GAP_MS = 1000;
const RAGE_DISTANCE_PX = 30;

/** Made to be clicked many times: steppers, carousels, players. */
const REPEATED = "input,[role=spinbutton],[aria-roledescription],[class*=carousel],[class*=slide],video";
/** Signs alone (`+`, `›`, `→`, `▼`), or words for the next one. */
const REPEATED_TEXT = /^([-+<>«»\u2010-\u25ff]+$|(next|prev(ious)?|more|less)\b)/i;

const DEAD_AFTER_MS = 2500;
const REACTION_MS = 100;

/** What reacts outside the document: fields, links to other places, menus that open on press, popovers, media. */
const SILENT =
  'input,textarea,select,[contenteditable],label,a[href]:not([href^="#"]),[aria-haspopup],[popovertarget],video,canvas';

/** Returns what judges a click of the pointer. */
export function watchFrustration() {
  let count: number;
  let last: MouseEvent | undefined;
  /** The click that nothing has answered yet. */
  let pending: ReturnType<typeof setTimeout> | undefined;
  let clickedAt: number;

  const answer = () => {
    clearTimeout(pending);
    pending = undefined;
    observer.disconnect();
  };
  const observer = new MutationObserver((changes) => {
    if (changes.some(({ target }) => !isIgnored(target instanceof Element ? target : target.parentElement))) answer();
  });
  const isSelecting = () => getSelection()?.type == "Range";
  // A click into a text moves the caret and selects nothing.
  listen("scroll selectionchange", (event) => {
    if (Date.now() - clickedAt < REACTION_MS && (event.type == "scroll" || isSelecting())) answer();
  });
  // `invalid`: the browser points at a field. After `submit`, the next page may be slow to come.
  listen("hashchange invalid submit", answer);
  onHide.push(answer);

  return (event: MouseEvent, element: Element, fields: EventFields): void => {
    const isNear =
      last &&
      event.timeStamp - last.timeStamp < RAGE_GAP_MS &&
      Math.abs(event.clientX - last.clientX) + Math.abs(event.clientY - last.clientY) < RAGE_DISTANCE_PX;
    count = isNear ? count + 1 : 1;
    last = event;
    if (count == RAGE_CLICKS) {
      count = 0;
      if (!(element.closest(REPEATED) || REPEATED_TEXT.test(textOf(element)))) record("rage_click", fields);
    }
    if (
      !pending &&
      !element.closest(SILENT) &&
      // Changes inside a component are out of sight.
      !element.localName.includes("-") &&
      !element.matches("html,body") &&
      !isSelecting()
    ) {
      clickedAt = Date.now();
      observer.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
      pending = setTimeout(() => {
        answer();
        record("dead_click", fields, clickedAt);
      }, DEAD_AFTER_MS);
    }
  };
}
