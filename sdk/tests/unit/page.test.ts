import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { setOptions } from "../../src/options.ts";
import { capturePages } from "../../src/page.ts";
import { onEnd, record } from "../../src/recorder.ts";
import { DECISION, set, tidy } from "../../src/store.ts";
import { captureWebVitals } from "../../src/vitals.ts";
import { removeListeners, start } from "./support.ts";

const LOADED_AT = Date.UTC(2026, 5, 1, 12);
const SECOND = 1000;
const MINUTE = 60 * SECOND;

let visibility: DocumentVisibilityState;
let isParsed: boolean;
let view: ReturnType<typeof capturePages>;

beforeEach(() => {
  vi.useFakeTimers({ now: LOADED_AT });
  visibility = "visible";
  isParsed = true;
  document.title = "Tents";
  history.replaceState(null, "", "/tents");
  vi.spyOn(document, "hidden", "get").mockImplementation(() => visibility == "hidden");
  vi.spyOn(document, "referrer", "get").mockReturnValue("https://search.example/?q=secret");
  vi.stubGlobal("PerformanceObserver", { supportedEntryTypes: [] });
  vi.stubGlobal("performance", {
    now: () => Date.now() - LOADED_AT,
    getEntriesByType: () => [],
    timing: {
      get domContentLoadedEventStart() {
        return isParsed ? LOADED_AT : 0;
      },
    },
  });
});

afterEach(() => {
  removeListeners();
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
  Reflect.deleteProperty(history, "pushState");
  Reflect.deleteProperty(history, "replaceState");
  Reflect.deleteProperty(document.documentElement, "scrollHeight");
});

const url = (path: string) => location.origin + path;
const wait = (ms: number) => vi.advanceTimersByTime(ms);

/** Opens the page; the first page view comes in the next turn of the event loop. */
const open = (options?: Parameters<typeof start>[1]) => {
  const recorded = start(() => void (view = capturePages()), options);
  wait(0);
  return {
    ...recorded,
    seconds: () => recorded.of("page_leave").map(({ fields }) => fields.time_on_page_seconds),
    /** Type and address of each event. */
    path: () => recorded.events.map(({ type, url }) => `${type} ${new URL(url).pathname}${new URL(url).hash}`),
  };
};
const see = (state: DocumentVisibilityState) => {
  visibility = state;
  document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
};
const close = () => window.dispatchEvent(new Event("pagehide"));
const comeBack = (persisted: boolean) => window.dispatchEvent(Object.assign(new Event("pageshow"), { persisted }));
const live = (type = "keydown") => document.dispatchEvent(new Event(type, { bubbles: true }));
const go = (path: string) => history.pushState(null, "", path);

describe("the first page view", () => {
  test("says what the page is, where its visitor came from, and how large it is", () => {
    const { events } = open();
    expect(events).toHaveLength(1);
    expect(events[0]).toMatchObject({
      type: "page_view",
      url: url("/tents"),
      fields: {
        page_title: "Tents",
        referrer: "https://search.example/",
        viewport_size: [innerWidth, innerHeight],
        screen_resolution: [screen.width, screen.height],
      },
    });
  });

  test("waits for the document's title, and is dated back to the start", () => {
    isParsed = false;
    document.title = "";
    const { events } = open();
    wait(300);
    expect(events).toEqual([]);
    document.title = "Tents for two";
    document.dispatchEvent(new Event("DOMContentLoaded", { bubbles: true }));
    expect(events.map(({ type, at, fields }) => [type, at, fields.page_title])).toEqual([
      ["page_view", LOADED_AT, "Tents for two"],
    ]);
  });

  test("has a title of stars where texts are masked", () => {
    expect(open({ maskText: true }).events[0]!.fields.page_title).toBe("*****");
  });

  test("of a page that nobody sees comes once somebody does", () => {
    visibility = "hidden";
    const { events } = open();
    wait(MINUTE);
    expect(events).toEqual([]);
    see("visible");
    expect(events.map(({ type, at }) => [type, at])).toEqual([["page_view", LOADED_AT + MINUTE]]);
    see("hidden");
    see("visible");
    expect(events.filter(({ type }) => type === "page_view")).toHaveLength(1);
  });

  test("is missing where nobody ever saw the page, and so is all that would go with it", () => {
    visibility = "hidden";
    const { types } = start(() => {
      captureWebVitals();
      capturePages();
    });
    wait(SECOND);
    close();
    expect(types()).toEqual([]);
  });

  test("comes although the visitor leaves before the document is there", () => {
    isParsed = false;
    const { events } = open();
    wait(200);
    close();
    expect(events.map(({ type, at }) => [type, at])).toEqual([["page_view", LOADED_AT]]);
    document.dispatchEvent(new Event("DOMContentLoaded", { bubbles: true }));
    expect(events).toHaveLength(1);
  });

  test("does not come again after one that the site asked for", () => {
    const { types } = start(() => capturePages()({ page_title: "Mine" }));
    wait(100);
    expect(types()).toEqual(["page_view"]);
  });
});

describe("the time on a page", () => {
  test("is how long it was seen, told when the visitor leaves", () => {
    const { events } = open();
    wait(12_345);
    close();
    expect(events[1]).toMatchObject({
      type: "page_leave",
      at: LOADED_AT + 12_345,
      url: url("/tents"),
      fields: { time_on_page_seconds: 12.345 },
    });
  });

  test("has no more than five minutes without a sign of life", () => {
    const { seconds } = open();
    wait(20 * MINUTE);
    close();
    expect(seconds()).toEqual([300]);
  });

  test.each(["pointermove", "keydown", "scroll"])("goes on with each %s", (type) => {
    const { seconds } = open();
    wait(4 * MINUTE);
    live(type);
    wait(4 * MINUTE);
    live(type);
    wait(7 * MINUTE);
    live(type);
    wait(30 * SECOND);
    close();
    expect(seconds()).toEqual([4 * 60 + 4 * 60 + 300 + 30]);
  });

  test("is told for each stretch that the page is seen", () => {
    const { events, seconds } = open();
    wait(10 * SECOND);
    see("hidden");
    wait(MINUTE);
    see("visible");
    wait(5 * SECOND);
    close();
    expect(seconds()).toEqual([10, 5]);
    expect(events.map(({ type, at }) => [type, at - LOADED_AT])).toEqual([
      ["page_view", 0],
      ["page_leave", 10 * SECOND],
      ["page_leave", 75 * SECOND],
    ]);
  });

  test("does not grow while the page is hidden, whatever happens in it", () => {
    const { seconds } = open();
    wait(10 * SECOND);
    see("hidden");
    wait(MINUTE);
    live("scroll");
    close();
    expect(seconds()).toEqual([10]);
  });

  test("of a page that is closed while hidden is told already, and what ends with it is dated back", () => {
    const { events } = open();
    onEnd.push(() => record("form_abandon"));
    wait(10 * SECOND);
    see("hidden");
    wait(60 * MINUTE);
    close();
    expect(events.map(({ type, at }) => [type, at - LOADED_AT])).toEqual([
      ["page_view", 0],
      ["page_leave", 10 * SECOND],
      ["form_abandon", 10 * SECOND],
    ]);
    expect(new Set(events.map(({ session }) => session)).size).toBe(1);
  });

  test("is told once, although browsers hide a page that goes away, too", () => {
    const { types } = open();
    wait(SECOND);
    close();
    wait(SECOND);
    see("hidden");
    close();
    expect(types()).toEqual(["page_view", "page_leave"]);
  });

  test("comes with the depth that was read", () => {
    Object.defineProperty(document.documentElement, "scrollHeight", { value: innerHeight * 5, configurable: true });
    const { of } = open();
    wait(SECOND);
    close();
    expect(of("page_leave")[0]!.fields.scroll_depth).toBe(20);
  });
});

test("a view that the site begins itself has no depth where nobody scrolled, rather than that of the next", () => {
  const { of } = open({ autoPageViews: false });
  view();
  wait(SECOND);
  view();
  expect(of("page_leave").map(({ fields }) => fields.scroll_depth)).toEqual([undefined]);
});

describe("another route", () => {
  test("leaves the old address and views the new one, which has the old one for referrer", () => {
    const { events, path } = open();
    onEnd.push(() => record("form_abandon"));
    wait(3 * SECOND);
    go("/cart?token=secret");
    document.title = "Cart";
    wait(10);
    expect(path()).toEqual(["page_view /tents", "form_abandon /tents", "page_leave /tents", "page_view /cart"]);
    expect(events.map(({ at }) => at - LOADED_AT)).toEqual([0, 3 * SECOND, 3 * SECOND, 3 * SECOND]);
    expect(events[3]!.fields).toMatchObject({ page_title: "Cart", referrer: url("/tents") });
    record("add_to_cart");
    expect(events[4]).toMatchObject({ url: url("/cart"), at: LOADED_AT + 3 * SECOND + 10 });
  });

  test("leaves the old one with the depth that was read there, not that of the new one", () => {
    const height = (pixels: number) =>
      Object.defineProperty(document.documentElement, "scrollHeight", { value: pixels, configurable: true });
    height(innerHeight * 5);
    const { of } = open();
    wait(SECOND);
    go("/cart");
    height(innerHeight);
    wait(10);
    expect(of("page_leave")[0]!.fields.scroll_depth).toBe(20);
  });

  test("counts its own time", () => {
    const { seconds } = open();
    wait(3 * SECOND);
    go("/cart");
    wait(10);
    wait(2 * SECOND);
    close();
    expect(seconds()).toEqual([3.01, 2]);
  });

  test.each([
    ["pushState", () => history.pushState(null, "", "/cart"), "/cart"],
    ["replaceState", () => history.replaceState(null, "", "/cart"), "/cart"],
    ["a fragment that is a route", () => go("/tents#/cart"), "/tents#/cart"],
  ])("may come by %s", (_, change, expected) => {
    const { path } = open();
    wait(SECOND);
    change();
    wait(10);
    expect(path().at(-1)).toBe("page_view " + expected);
  });

  test.each(["popstate", "hashchange"])("may come by %s", (type) => {
    const { path } = open();
    History.prototype.replaceState.call(history, null, "", "/back");
    wait(100);
    expect(path()).toEqual(["page_view /tents"]);
    window.dispatchEvent(new Event(type));
    wait(10);
    expect(path().at(-1)).toBe("page_view /back");
  });

  test.each(["/tents", "/tents?token=secret", "/tents#reviews"])("is none where the page stays: %s", (address) => {
    const { types } = open();
    wait(SECOND);
    go(address);
    wait(100);
    expect(types()).toEqual(["page_view"]);
  });

  test("reached by redirects in a row is one view, of the last", () => {
    const { path } = open();
    wait(SECOND);
    go("/account");
    wait(9);
    history.replaceState(null, "", "/login");
    wait(9);
    history.replaceState(null, "", "/login/form");
    wait(10);
    expect(path()).toEqual(["page_view /tents", "page_leave /tents", "page_view /login/form"]);
  });

  test("is none where redirects lead back", () => {
    const { types } = open();
    wait(SECOND);
    go("/account");
    history.replaceState(null, "", "/tents");
    wait(100);
    expect(types()).toEqual(["page_view"]);
  });

  test.each([
    ["hides", () => see("hidden")],
    ["goes away", close],
  ])("is viewed at once where the page %s", (_, vanish) => {
    const { path } = open();
    wait(SECOND);
    go("/cart");
    vanish();
    expect(path()).toEqual(["page_view /tents", "page_leave /tents", "page_view /cart"]);
    wait(100);
    expect(path()).toHaveLength(3);
  });

  test("does not come between the site and its own history", () => {
    open();
    expect(() => history.pushState(null, "", "https://elsewhere.example/")).toThrow();
    history.pushState({ step: 2 }, "", "/cart");
    expect(history.state).toEqual({ step: 2 });
  });
});

describe("who comes back", () => {
  test("to a page that the browser kept views it again", () => {
    const { events, types } = open();
    wait(SECOND);
    close();
    wait(MINUTE);
    comeBack(true);
    expect(types()).toEqual(["page_view", "page_leave", "page_view"]);
    expect(events[2]).toMatchObject({ at: LOADED_AT + SECOND + MINUTE, url: url("/tents") });
    wait(2 * SECOND);
    close();
    expect(events[3]).toMatchObject({ type: "page_leave", fields: { time_on_page_seconds: 2 } });
  });

  test("to a page that went away hidden leaves it in its own time", () => {
    const { events } = open();
    wait(SECOND);
    see("hidden");
    wait(SECOND);
    close();
    wait(MINUTE);
    // Browsers show a page before they say that it is back.
    see("visible");
    comeBack(true);
    wait(2 * SECOND);
    close();
    expect(events.map(({ type, at }) => [type, (at - LOADED_AT) / SECOND])).toEqual([
      ["page_view", 0],
      ["page_leave", 1],
      ["page_view", 62],
      ["page_leave", 64],
    ]);
  });

  test("is not one whose page was made anew, or never went away", () => {
    const { types } = open();
    comeBack(false);
    comeBack(true);
    expect(types()).toEqual(["page_view"]);
    close();
    comeBack(false);
    expect(types()).toEqual(["page_view"]);
  });

  test("within the session goes on", () => {
    const { types } = open();
    wait(SECOND);
    see("hidden");
    wait(30 * MINUTE);
    see("visible");
    expect(types()).toEqual(["page_view", "page_leave"]);
  });

  test("after the session views the page again in another one, from nowhere", () => {
    const { events, types, seconds } = open();
    wait(SECOND);
    see("hidden");
    wait(30 * MINUTE + 1);
    see("visible");
    expect(types()).toEqual(["page_view", "page_leave", "page_view"]);
    expect(events[2]!.fields).not.toHaveProperty("referrer");
    expect(events[2]!.session).not.toBe(events[0]!.session);
    wait(2 * SECOND);
    close();
    expect(seconds()).toEqual([1, 2]);
    expect(events[3]!.session).toBe(events[2]!.session);
  });

  test("after any time goes on where sessions are not this page's to know", () => {
    const { types } = open({ cookieless: true });
    see("hidden");
    wait(60 * MINUTE);
    see("visible");
    expect(types()).toEqual(["page_view"]);
  });
});

describe("page views that the site says itself", () => {
  test("are the only ones where the automatic ones are off", () => {
    const { path, events } = open({ autoPageViews: false });
    wait(SECOND);
    go("/cart");
    wait(SECOND);
    see("hidden");
    see("visible");
    expect(path()).toEqual([]);
    view({ page_title: "Mine", basket: 2 });
    wait(2 * SECOND);
    go("/done");
    view();
    expect(path()).toEqual(["page_view /cart", "page_leave /cart", "page_view /done"]);
    expect(events[0]!.fields).toMatchObject({ page_title: "Mine", basket: 2, referrer: "https://search.example/" });
    expect(events[1]!.fields.time_on_page_seconds).toBe(2);
    expect(events[2]!.fields.referrer).toBe(url("/cart"));
  });

  test("leave the history of the site alone", () => {
    const { pushState, replaceState } = history;
    open({ autoPageViews: false });
    expect([history.pushState, history.replaceState]).toEqual([pushState, replaceState]);
  });
});

test("where nothing may be recorded no page view begins, and none ends", () => {
  const { types } = start(() => {
    set(DECISION, "denied");
    view = capturePages();
  });
  wait(SECOND);
  go("/cart");
  wait(SECOND);
  close();
  expect(types()).toEqual([]);
});

describe("the last words of a page", () => {
  const leave = async (activation: unknown) => {
    const sent: string[] = [];
    open();
    wait(SECOND);
    vi.stubGlobal("fetch", async (_: string, init: RequestInit) => {
      sent.push(...JSON.parse(init.body as string).events.map((event: { event_type: string }) => event.event_type));
      return new Response('{"accepted":2,"errors":[]}', { status: 202 });
    });
    setOptions({ apiUrl: "https://journey.example", consent: "granted" });
    tidy();
    window.dispatchEvent(Object.assign(new Event("pageswap"), { activation }));
    close();
    await vi.advanceTimersByTimeAsync(0);
    return sent;
  };

  test("are said where no page of the site follows", async () => {
    expect((await leave(null)).sort()).toEqual(["page_leave", "page_view"]);
  });

  test("are left to the page of the site that follows", async () => {
    expect(await leave({})).toEqual([]);
    const ids = Object.keys(localStorage).flatMap((key) => (key.startsWith("cj.q.") ? key.slice(5) : []));
    expect(ids).toHaveLength(2);
    expect(localStorage.getItem("cj.handed")!.split(",").sort()).toEqual(ids.sort());
  });
});
