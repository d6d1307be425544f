/** Page views, the time they were seen for, and the moments at which a page view begins, hides and ends. */
import { cleanAddress } from "./address.ts";
import { isKnown } from "./consent.ts";
import { isSessionOver } from "./identity.ts";
import { options } from "./options.ts";
import type { Recorder } from "./recorder.ts";
import { flush } from "./sender.ts";
import type { EventFields } from "./types.ts";

/** A visitor who gives no sign of life for this long has left the page open and gone. */
const IDLE_MS = 3e5;
/** A shorter stretch is not worth an event of its own; it counts with the next one. */
const STRETCH_MIN_MS = 1e3;

/**
 * Starts to watch; returns a function that ends the page view, if there is one, and begins the next. `isFirst` leaves the
 * one before alone: it was never recorded.
 *
 * `depth` tells how far the page was scrolled; `lastWords` is called when the page goes away.
 */
export function capturePages(
  recorder: Recorder,
  depth: (() => number) | false,
  lastWords: () => void,
): (fields?: EventFields, at?: number, isFirst?: boolean) => void {
  const { _moments: moments, _listen: listen, _record: record } = recorder;
  const isVisible = () => document.visibilityState == "visible";
  const run = (listeners: (() => void)[]) => listeners.forEach((listener) => listener());

  /** Address of the page view; empty before the first. */
  let current = "";
  let previous: string | undefined;
  let seenMs = 0;
  let signAt = 0;
  let hasLeft = false;
  let isGone = false;
  let hiddenAt: number | undefined;
  let routing: ReturnType<typeof setTimeout> | undefined;
  let routedAt = 0;

  const address = () => cleanAddress(location.href) ?? "";

  /** Notes a sign of life: the time since the last one was spent here, unless it was too long. */
  const sign = () => {
    const now = performance.now();
    seenMs += Math.min(now - signAt, IDLE_MS);
    signAt = now;
  };

  const leave = () => {
    hasLeft = true;
    record("page_leave", {
      time_on_page_seconds: Math.round(seenMs / 100) / 10,
      scroll_depth: depth ? depth() : undefined,
    });
    seenMs = 0;
  };

  /** Ends the page view at a moment that may be past, and on an address that may have changed already. */
  const end = (at?: number) => {
    if (isVisible()) sign();
    recorder._hold(at, current);
    run(moments._end);
    if (current && (seenMs >= 100 || !hasLeft)) leave();
    recorder._hold();
  };

  const begin = (fields?: EventFields, at?: number) => {
    current = address();
    seenMs = 0;
    signAt = performance.now();
    hasLeft = false;
    record(
      "page_view",
      {
        page_title: options.maskText ? document.title.replace(/\S/g, "*") : document.title,
        referrer: previous ?? cleanAddress(document.referrer),
        viewport_size: [innerWidth, innerHeight],
        screen_resolution: [screen.width, screen.height],
        ...fields,
      },
      at || undefined,
    );
    run(moments._begin);
  };

  const view = (fields?: EventFields, at?: number, isFirst?: boolean) => {
    if (current && !isFirst) {
      end(at);
      previous = current;
    }
    begin(fields, at);
  };

  /** Settles a change of route. It waits a moment, since titles follow addresses, and redirects come in a row. */
  const settleRoute = () => {
    clearTimeout(routing);
    if (routing && current && address() != current) view(undefined, routedAt);
    routing = undefined;
  };
  const route = () => {
    clearTimeout(routing);
    routedAt = Date.now();
    routing = setTimeout(settleRoute, 10);
  };

  const hide = () => {
    settleRoute();
    sign();
    run(moments._hide);
    if (current && seenMs >= STRETCH_MIN_MS) leave();
    hiddenAt = Date.now();
    flush();
  };

  const show = (at?: number) => {
    hiddenAt = undefined;
    signAt = performance.now();
    if (!current) {
      if (options.autoPageViews) begin({}, at);
    } else if (isKnown() && isSessionOver(Date.now())) {
      // Who comes back to an open tab after a long time visits anew, and comes from nowhere.
      previous = current;
      begin({ referrer: undefined });
    }
  };

  listen(document, "visibilitychange", () => {
    if (!isGone) isVisible() ? show() : hide();
  });
  listen(window, "pagehide", () => {
    if (isGone) return;
    if (isVisible()) {
      // Who leaves before the document is there was here nevertheless.
      start();
      settleRoute();
      run(moments._hide);
    }
    end(hiddenAt);
    isGone = true;
    lastWords();
  });
  listen(window, "pageshow", (event) => {
    if (!isGone || !event.persisted) return;
    isGone = false;
    if (current) begin();
  });
  for (const name of ["pointermove", "keydown", "scroll", "touchstart"] as const) {
    listen(window, name, () => isVisible() && sign());
  }
  if (options.autoPageViews) {
    for (const name of ["pushState", "replaceState"] as const) {
      const original = history[name];
      history[name] = function (...values) {
        original.apply(this, values);
        route();
      };
    }
    listen(window, "popstate", route);
    listen(window, "hashchange", route);
  }
  // Titles are made until the document is there, so the first page view waits for that, dated back to now. A page in a
  // background tab, or made ahead of time, counts once it is seen.
  const startedAt = Date.now();
  const start = () => {
    if (isVisible() && !current) show(startedAt);
  };
  if (performance.timing.domContentLoadedEventStart) start();
  else listen(document, "DOMContentLoaded", start);

  return view;
}
