/** How far down people read: a `scroll` event at each quarter of the page. */
import type { Recorder } from "./recorder.ts";

const MILESTONES = [25, 50, 75, 100];

/** Starts to watch; returns a function that tells the greatest depth of this page view, in percent. */
export function captureScroll(recorder: Recorder): () => number {
  let deepest = 0;
  let reached = 0;
  let isWaiting = false;
  const look = () => {
    const { scrollHeight } = document.documentElement;
    if (scrollHeight)
      deepest = Math.max(deepest, Math.min(100, Math.round(((scrollY + innerHeight) / scrollHeight) * 100)));
    return deepest;
  };
  recorder._moments._begin.push(() => (deepest = reached = 0));
  // The first call comes with the first scrolling, so a page that fits the window has no milestones.
  recorder._listen(window, "scroll", () => {
    if (isWaiting) return;
    isWaiting = true;
    // Once a frame, when the layout is clean: reading it costs nothing then.
    requestAnimationFrame(() => {
      isWaiting = false;
      look();
      while (MILESTONES[reached]! <= deepest) recorder._record("scroll", { scroll_depth: MILESTONES[reached++] });
    });
  });
  return look;
}
