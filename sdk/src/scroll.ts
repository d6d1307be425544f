/** How far down people read: a `scroll` event at each quarter of the page. */
import { listen } from "./listen.ts";
import { record } from "./recorder.ts";

const QUARTER = 25;

let deepest = 0;
/** The last quarter that was recorded. */
let quarter = 0;

/** Tells the greatest depth of this page view in percent, or starts over. */
export function scrollDepth(isNew?: boolean): number {
  if (isNew) return (deepest = quarter = 0);
  const { scrollHeight } = document.documentElement;
  return (deepest = Math.max(deepest, Math.min(100, Math.round(((scrollY + innerHeight) / scrollHeight) * 100) || 0)));
}

/** Starts to record quarters. */
export const captureScroll = (): void =>
  // The browser sends these once a frame, when the layout is clean: reading it costs nothing then. The first one comes
  // with the first scrolling, so a page that fits the window has no quarters.
  listen("scroll", () => {
    for (scrollDepth(); quarter + QUARTER <= deepest;) record("scroll", { scroll_depth: (quarter += QUARTER) });
  });
