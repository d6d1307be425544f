/**
 * Web vitals of a page load, as https://web.dev/vitals defines them: one `web_vital` when the page is first hidden, or
 * left for another route. Other routes and returns from the back-forward cache are no page loads. A page that was hidden
 * at first, or made ahead of time, has no LCP. INP is the slowest interaction; beyond 50 of them in a page view, the
 * definition would leave out the slowest one of each 50.
 */
import { listen } from "./listen.ts";
import { onHide, record } from "./recorder.ts";

type Entry = PerformanceEntry & { hadRecentInput: boolean; value: number; interactionId?: number };

type Load = PerformanceNavigationTiming & { activationStart?: number };

/** Milliseconds; the least that browsers report. */
const INTERACTION_MS_MIN = 16;
const SHIFT_GAP_MS = 1000;
const SHIFT_WINDOW_MS = 5000;

export function captureWebVitals(): void {
  const observe = (type: string, take: (entry: Entry) => void) => {
    if (!PerformanceObserver.supportedEntryTypes.includes(type)) return;
    new PerformanceObserver((list) => (list.getEntries() as Entry[]).forEach(take)).observe({
      type,
      buffered: true,
      durationThreshold: INTERACTION_MS_MIN,
    } as PerformanceObserverInit);
    return 0;
  };

  let paint: number | undefined;
  /** What is painted after an input, or once the page was hidden, is not the load's doing. */
  let paintEnd = document.hidden ? 0 : Infinity;
  listen("keydown click visibilitychange", ({ timeStamp }) => (paintEnd = Math.min(paintEnd, timeStamp)));
  observe("largest-contentful-paint", ({ startTime }) => {
    if (startTime < paintEnd) paint = startTime;
  });

  let windowSum = 0;
  let windowStart = 0;
  let windowLast = -Infinity;
  let shift = observe("layout-shift", ({ startTime, value, hadRecentInput }) => {
    if (hadRecentInput) return;
    if (startTime - windowLast >= SHIFT_GAP_MS || startTime - windowStart >= SHIFT_WINDOW_MS) {
      windowSum = 0;
      windowStart = startTime;
    }
    windowLast = startTime;
    windowSum += value;
    shift = Math.max(shift!, windowSum);
  });

  let slowest = 0;
  observe("event", ({ interactionId, duration }) => {
    if (interactionId) slowest = Math.max(slowest, duration);
  });

  let isDone: boolean | undefined;
  onHide.push(() => {
    if (isDone) return;
    isDone = true;
    const [load] = performance.getEntriesByType("navigation") as Load[];
    /** Since the visitor asked for the page; nothing where it has not come to that yet. */
    const since = (time?: number) => time && Math.max(0, Math.round(time - (load?.activationStart || 0)));
    record("web_vital", {
      page_load_time_ms: since(load?.loadEventEnd) || undefined,
      custom_properties: {
        lcp_ms: since(paint),
        cls: shift && Math.round(shift * 1e4) / 1e4,
        inp_ms: slowest || undefined,
        ttfb_ms: since(load?.responseStart),
      },
    });
  });
}
