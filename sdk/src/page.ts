/** Page views, the time they were seen for, and the moments at which a page view begins, hides and ends. */
import { cleanAddress } from "./address.ts";
import { isKnown, mayRecord } from "./consent.ts";
import { isSessionOver } from "./identity.ts";
import { listen } from "./listen.ts";
import { isOn } from "./options.ts";
import { hold, onEnd, onHide, record } from "./recorder.ts";
import { mask } from "./selector.ts";
import { deepest, lookDown } from "./scroll.ts";
import { flush, sendLastWords } from "./sender.ts";
import type { EventFields } from "./types.ts";

/** A visitor who gives no sign of life for this long has left the page open and gone. */
const IDLE_MS = 3e5;

/** Starts to watch; returns a function that ends the page view, if there is one, and begins the next. */
export function capturePages(): (fields?: EventFields) => void {
  const isVisible = () => !document.hidden;
  const run = (listeners: (() => void)[]) => listeners.forEach((listener) => listener());

  /** Address of the page view; empty before the first, and where none may be recorded. */
  let current = "";
  let previous: string | undefined;
  let seenMs = 0;
  let signAt = 0;
  let isGone: boolean | undefined;
  let isFollowed: unknown;
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
    if (!current || !seenMs) return;
    record("page_leave", {
      time_on_page_seconds: Math.round(seenMs) / 1000,
      // Nobody looked where the site's own calls begin views and nobody scrolled.
      scroll_depth: deepest || undefined,
    });
    seenMs = 0;
  };

  /** Ends the page view at a moment that may be past, and on an address that may have changed already. */
  const end = (at?: number) => {
    if (isVisible()) sign();
    hold(at, current);
    run(onHide);
    run(onEnd);
    leave();
    hold();
  };

  const begin = (fields?: EventFields, at?: number) => {
    current = mayRecord() ? address() : "";
    seenMs = 0;
    signAt = performance.now();
    record(
      "page_view",
      {
        page_title: mask(document.title),
        referrer: previous ?? cleanAddress(document.referrer),
        viewport_size: [innerWidth, innerHeight],
        screen_resolution: [screen.width, screen.height],
        ...fields,
      },
      at,
    );
    lookDown(true);
  };

  const view = (fields?: EventFields, at?: number) => {
    if (current) {
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
    // What is seen now is still the old route's.
    if (!routing) lookDown();
    clearTimeout(routing);
    routedAt = Date.now();
    routing = setTimeout(settleRoute, 10);
  };

  const hide = () => {
    sign();
    settleRoute();
    lookDown();
    run(onHide);
    leave();
    hiddenAt = Date.now();
    flush();
  };

  const show = (at?: number) => {
    hiddenAt = undefined;
    signAt = performance.now();
    if (!isOn("autoPageViews")) return;
    if (!current) begin({}, at);
    else if (isKnown() && isSessionOver()) {
      // Who comes back to an open tab after a long time visits anew, and comes from nowhere.
      previous = current;
      begin({ referrer: undefined });
    }
  };

  listen("visibilitychange", () => {
    if (!isGone) isVisible() ? show() : hide();
  });
  listen("pagehide", () => {
    if (isGone) return;
    if (isVisible()) {
      // Who leaves before the document is there was here nevertheless.
      start();
      settleRoute();
      lookDown();
    }
    // A page that was never in sight was not visited.
    if (hiddenAt || isVisible()) end(hiddenAt);
    isGone = true;
    sendLastWords(isFollowed);
    isFollowed = undefined;
  });
  // Only a page of the same site can tell what takes its place; that page then finds the events that wait.
  listen("pageswap", (event: PageSwapEvent) => (isFollowed = event.activation));
  listen("pageshow", (event: PageTransitionEvent) => {
    if (!isGone || !event.persisted) return;
    isGone = hiddenAt = undefined;
    if (isOn("autoPageViews")) begin();
  });
  listen("pointermove keydown scroll", () => isVisible() && sign());
  if (isOn("autoPageViews")) {
    for (const name of ["pushState", "replaceState"] as const) {
      const original = history[name];
      history[name] = function (...values) {
        original.apply(this, values);
        route();
      };
    }
    listen("popstate hashchange", route);
  }
  // Titles are made until the document is there, so the first page view waits for that, dated back to now. A page in a
  // background tab, or made ahead of time, counts once it is seen.
  const startedAt = Date.now();
  const start = () => {
    if (isVisible() && !current) show(startedAt);
  };
  if (performance.timing.domContentLoadedEventStart) setTimeout(start);
  else listen("DOMContentLoaded", start);

  return view;
}
