/** How far down people read: a `scroll` event at each quarter of the page. */
import { listen } from "./listen.ts";
import { record } from "./recorder.ts";

const QUARTER = 25;

/** The greatest depth of this page view so far, in percent. */
export let deepest = 0;
/** The last quarter that was recorded. */
let quarter = 0;

/** Looks how deep the page is scrolled, or starts over. */
export function lookDown(isNew?: boolean): void {
  if (isNew) deepest = quarter = 0;
  else {
    const depth = Math.round(((scrollY + innerHeight) / document.documentElement.scrollHeight) * 100) || 0;
    deepest = Math.max(deepest, Math.min(100, depth));
  }
}

/** Starts to record quarters. */
export const captureScroll = (): void =>
  // The browser sends these once a frame, when the layout is clean: reading it costs nothing then. The first one comes
  // with the first scrolling, so a page that fits the window has no quarters.
  listen("scroll", ({ target }) => {
    if (target == document)
      for (lookDown(); quarter + QUARTER <= deepest;) record("scroll", { scroll_depth: (quarter += QUARTER) });
  });
