/**
 * Web vitals of a page load, as https://web.dev/vitals defines them: one `web_vital` when the page is first hidden.
 * Other routes and returns from the back-forward cache are no page loads.
 */
import { listen } from "./listen.ts";
import type { Capture } from "./recorder.ts";

type Entry = PerformanceEntry & { hadRecentInput: boolean; value: number; interactionId?: number };

/** Faster interactions are left to `first-input`: browsers round durations to 8 ms. */
const INTERACTION_MS_MIN = 40;
const SHIFT_GAP_MS = 1000;
const SHIFT_WINDOW_MS = 5000;
const INTERACTIONS_PER_OUTLIER = 50;

export const captureWebVitals: Capture = (recorder) => {
  const types = self.PerformanceObserver?.supportedEntryTypes || [];
  const flushes: (() => void)[] = [];
  const observe = (type: string, take: (entry: Entry) => void) => {
    if (!types.includes(type)) return;
    const takeAll = (entries: PerformanceEntryList) => entries.forEach((entry) => take(entry as Entry));
    const observer = new PerformanceObserver((list) => takeAll(list.getEntries()));
    observer.observe({ type, buffered: true, durationThreshold: INTERACTION_MS_MIN } as PerformanceObserverInit);
    flushes.push(() => {
      takeAll(observer.takeRecords());
      observer.disconnect();
    });
  };

  let paint: number | undefined;
  /** What is painted after an input, or once the page was hidden, is not the load's doing. */
  let paintEnd = document.hidden ? 0 : Infinity;
  listen("keydown click visibilitychange", (event) => {
    paintEnd = Math.min(paintEnd, event.timeStamp);
  });
  observe("largest-contentful-paint", ({ startTime }) => {
    if (startTime < paintEnd) paint = startTime;
  });

  let shift = types.includes("layout-shift") ? 0 : undefined;
  let windowSum = 0;
  let windowStart = 0;
  let windowLast = -Infinity;
  observe("layout-shift", ({ startTime, value, hadRecentInput }) => {
    if (hadRecentInput) return;
    if (startTime - windowLast >= SHIFT_GAP_MS || startTime - windowStart >= SHIFT_WINDOW_MS) {
      windowSum = 0;
      windowStart = startTime;
    }
    windowLast = startTime;
    windowSum += value;
    shift = Math.max(shift!, windowSum);
  });

  const interactions = new Map<number, number>();
  const takeInteraction = ({ interactionId, duration }: Entry) => {
    if (interactionId) interactions.set(interactionId, Math.max(duration, interactions.get(interactionId) || 0));
  };
  observe("event", takeInteraction);
  observe("first-input", takeInteraction);

  let isDone = false;
  recorder._moments._hide.push(() => {
    if (isDone) return;
    isDone = true;
    flushes.forEach((flush) => flush());
    const [load] = performance.getEntriesByType("navigation") as PerformanceNavigationTiming[];
    const activation = (load as { activationStart?: number } | undefined)?.activationStart || 0;
    /** Since the visitor asked for the page; nothing where it has not come to that yet. */
    const since = (time: number | undefined) => (time ? Math.max(0, Math.round(time - activation)) : undefined);
    const slowest = [...interactions.values()].sort((one, other) => other - one);
    const count = (performance as { interactionCount?: number }).interactionCount || slowest.length;
    const outliers = Math.min(slowest.length - 1, Math.floor(count / INTERACTIONS_PER_OUTLIER));
    const inp = slowest[outliers];
    recorder._record("web_vital", {
      page_load_time_ms: since(load?.loadEventEnd),
      custom_properties: {
        lcp_ms: since(paint),
        cls: shift === undefined ? shift : Math.round(shift * 1e4) / 1e4,
        inp_ms: inp && Math.round(inp),
        ttfb_ms: since(load?.responseStart),
      },
    });
  });
};
