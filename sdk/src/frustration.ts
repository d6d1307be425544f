/**
 * Rage clicks (three, each less than 1 s and 30 px after the one before) and dead clicks (nothing happens).
 *
 * A dead click is one after which the document does not change for 2.5 s, nothing scrolls or is selected within
 * 100 ms, and no navigation begins. Where the page is hidden meanwhile, nobody can say.
 */
import { listen } from "./listen.ts";
import type { Recorder } from "./recorder.ts";
import { attribute, closest, isIgnored, textOf } from "./selector.ts";
import type { EventFields } from "./types.ts";

const RAGE_CLICKS = 3;
const RAGE_GAP_MS = 1000;
const RAGE_DISTANCE_PX = 30;

/** Made to be clicked many times: steppers, carousels, players. */
const REPEATED =
  "[type=number],[type=range],[role=spinbutton],[role=slider],[aria-roledescription=carousel],.carousel,.swiper,.slick-slider,.splide,video,audio,[data-cj-rage=off]";
/** Signs alone (`+`, `›`, `→`, `▼`), or words for the next one. */
const REPEATED_TEXT = /^([-+<>«»\u2010-\u25ff]+$|(one )?(next|prev\w*|more|less)\b)/i;

const DEAD_AFTER_MS = 2500;
const REACTION_MS = 100;
const DEAD_CLICKS_MAX = 20;

/** What reacts outside the document: fields, menus that open on press, popovers, new windows, media. */
const SILENT =
  "input,textarea,select,[contenteditable],label,[aria-haspopup],[popovertarget],a[target],video,audio,canvas";

const isRepeated = (element: Element) =>
  closest(element, REPEATED) ||
  REPEATED_TEXT.test(textOf(element)) ||
  REPEATED_TEXT.test(attribute(element, "aria-label"));

/** Returns what judges a click of the pointer; `isHandedOver`: it follows a link to a file or another program. */
export const watchFrustration = (recorder: Recorder) => {
  let count = 0;
  let last: MouseEvent | undefined;

  /** When the clicks were made that nothing has answered yet. */
  const unanswered = new Map<Element, number>();
  let left = DEAD_CLICKS_MAX;

  /** Something happened: it may be the answer to each click younger than this. */
  const answer = (age: number) => {
    unanswered.forEach((at, element) => Date.now() - at < age && unanswered.delete(element));
    if (!unanswered.size) observer.disconnect();
  };
  const answerAll = () => answer(Infinity);

  const observer = new MutationObserver((changes) => {
    if (changes.some(({ target }) => !isIgnored(target instanceof Element ? target : target.parentElement!)))
      answerAll();
  });

  const answerQuickly = () => answer(REACTION_MS);
  const isSelecting = () => getSelection()?.type === "Range";
  listen("scroll", answerQuickly);
  // A click into a text moves the caret and selects nothing.
  listen("selectionchange", () => isSelecting() && answerQuickly());
  // `invalid`: the browser points at a field.
  listen("hashchange invalid", answerAll);
  // A page may be slow to come; `href="#"` goes nowhere.
  (self as { navigation?: EventTarget }).navigation?.addEventListener(
    "navigate",
    (event) => (event as Event & { hashChange: boolean }).hashChange || answerAll(),
  );
  recorder._moments._hide.push(answerAll);
  recorder._moments._end.push(() => {
    answerAll();
    left = DEAD_CLICKS_MAX;
  });

  return (event: MouseEvent, element: Element, fields: EventFields, isHandedOver: unknown) => {
    const isNear =
      last &&
      event.timeStamp - last.timeStamp < RAGE_GAP_MS &&
      Math.abs(event.clientX - last.clientX) + Math.abs(event.clientY - last.clientY) < RAGE_DISTANCE_PX;
    count = isNear ? count + 1 : 1;
    last = event;
    if (count === RAGE_CLICKS) {
      count = 0;
      if (!isRepeated(element)) recorder._record("rage_click", fields);
    }

    if (
      isHandedOver ||
      unanswered.has(element) ||
      unanswered.size >= left ||
      closest(element, SILENT) ||
      element.matches("html,body") ||
      // The link opens in another tab.
      event.ctrlKey ||
      event.metaKey ||
      event.shiftKey ||
      isSelecting() ||
      // Changes inside a component are out of sight.
      event.composedPath().some((node) => node instanceof ShadowRoot)
    )
      return;
    const at = Date.now();
    unanswered.set(element, at);
    observer.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
    setTimeout(() => {
      if (unanswered.get(element) !== at) return;
      unanswered.delete(element);
      answer(0);
      left--;
      recorder._record("dead_click", fields, at);
    }, DEAD_AFTER_MS);
  };
};
