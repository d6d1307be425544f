import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { captureWebVitals } from "../../src/vitals.ts";
import { removeListeners, start } from "./support.ts";

type Entry = Record<string, unknown>;

interface Observed {
  options: PerformanceObserverInit & { durationThreshold?: number };
  /** Hands entries over now. */
  deliver: (...entries: Entry[]) => void;
}

/** The browser's interface, as far as it is used; happy-dom has no entries. */
let observed: Record<string, Observed>;

const stubObserver = (supportedEntryTypes: string[]) =>
  vi.stubGlobal(
    "PerformanceObserver",
    class {
      static supportedEntryTypes = supportedEntryTypes;
      #deliver: (list: { getEntries(): Entry[] }) => void;
      constructor(deliver: (list: { getEntries(): Entry[] }) => void) {
        this.#deliver = deliver;
      }
      observe(options: Observed["options"]) {
        const deliver = (...entries: Entry[]) => this.#deliver({ getEntries: () => entries });
        observed[options.type!] = { options, deliver };
      }
    },
  );

const stubNavigation = (navigation?: Entry) =>
  vi.spyOn(performance, "getEntriesByType").mockReturnValue((navigation ? [navigation] : []) as never);

const ALL = ["largest-contentful-paint", "layout-shift", "event"];

beforeEach(() => {
  observed = {};
  stubObserver(ALL);
  stubNavigation({ responseStart: 120.4, loadEventEnd: 900.6 });
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
  removeListeners();
});

const paint = (startTime: number) => observed["largest-contentful-paint"]!.deliver({ startTime });
const shift = (startTime: number, value: number, hadRecentInput = false) =>
  observed["layout-shift"]!.deliver({ startTime, value, hadRecentInput });
const interact = (interactionId: number, duration: number) => observed["event"]!.deliver({ interactionId, duration });
const input = (type: string, timeStamp: number) =>
  document.dispatchEvent(Object.defineProperty(new Event(type, { bubbles: true }), "timeStamp", { value: timeStamp }));

/** What is recorded when the page hides. */
const vitals = (recorded: ReturnType<typeof start>) => {
  recorded.hide();
  return recorded.events[0]!.fields.custom_properties!;
};

test("one web_vital is recorded when the page is first hidden, and never again", () => {
  const recorded = start(captureWebVitals);
  paint(800.6);
  shift(100, 0.123456);
  interact(1, 64);
  expect(recorded.events).toEqual([]);
  recorded.hide();
  expect(recorded.events.map(({ type, fields }) => [type, fields])).toEqual([
    [
      "web_vital",
      { page_load_time_ms: 901, custom_properties: { lcp_ms: 801, cls: 0.1235, inp_ms: 64, ttfb_ms: 120 } },
    ],
  ]);
  recorded.end();
  recorded.hide();
  expect(recorded.events).toHaveLength(1);
});

test("what came before the script counts", () => {
  start(captureWebVitals);
  expect(Object.keys(observed)).toEqual(ALL);
  for (const { options } of Object.values(observed)) expect(options.buffered).toBe(true);
  expect(observed["event"]!.options.durationThreshold).toBe(16);
});

test("what is not known is absent", () => {
  stubNavigation({ responseStart: 0, loadEventEnd: 0 });
  const recorded = start(captureWebVitals);
  recorded.hide();
  expect(recorded.events[0]!.fields).toEqual({ custom_properties: { cls: 0, ttfb_ms: 0 } });
});

test("a browser that measures nothing of this gives what it knows", () => {
  stubObserver([]);
  const recorded = start(captureWebVitals);
  expect(vitals(recorded)).toEqual({ ttfb_ms: 120 });
  stubNavigation();
  expect(vitals(start(captureWebVitals))).toEqual({});
});

test("times of a page that was rendered in advance count from its activation; it has no LCP", () => {
  stubNavigation({ responseStart: 120, loadEventEnd: 900, activationStart: 500 });
  const hidden = vi.spyOn(document, "hidden", "get").mockReturnValue(true);
  const recorded = start(captureWebVitals);
  hidden.mockRestore();
  input("visibilitychange", 500);
  paint(750);
  recorded.hide();
  expect(recorded.events[0]!.fields["page_load_time_ms"]).toBe(400);
  expect(recorded.events[0]!.fields["custom_properties"]).toMatchObject({ ttfb_ms: 0 });
  expect(recorded.events[0]!.fields["custom_properties"]).not.toHaveProperty("lcp_ms", expect.anything());
});

test("LCP is the last paint", () => {
  const recorded = start(captureWebVitals);
  paint(300);
  paint(600);
  expect(vitals(recorded).lcp_ms).toBe(600);
});

test.each(["keydown", "click", "visibilitychange"])("LCP ends at the first %s", (type) => {
  const recorded = start(captureWebVitals);
  input(type, 500);
  paint(499);
  paint(500);
  input(type, 700);
  paint(600);
  expect(vitals(recorded).lcp_ms).toBe(499);
});

test("LCP of a page that was hidden before is not known", () => {
  vi.spyOn(document, "hidden", "get").mockReturnValue(true);
  const recorded = start(captureWebVitals);
  paint(300);
  expect(vitals(recorded)).not.toHaveProperty("lcp_ms");
});

test("CLS is the sum of shifts less than 1 s apart", () => {
  const recorded = start(captureWebVitals);
  shift(100, 0.1);
  shift(1099, 0.2);
  shift(2099, 0.05);
  expect(vitals(recorded).cls).toBe(0.3);
});

test("CLS is the largest such window, not the last", () => {
  const recorded = start(captureWebVitals);
  shift(100, 0.1);
  shift(5000, 0.4);
  shift(9000, 0.2);
  expect(vitals(recorded).cls).toBe(0.4);
});

test("CLS windows last less than 5 s", () => {
  const recorded = start(captureWebVitals);
  for (const time of [0, 900, 1800, 2700, 3600, 4500, 5000]) shift(time, 0.1);
  expect(vitals(recorded).cls).toBe(0.6);
});

test("CLS leaves out what an input moved", () => {
  const recorded = start(captureWebVitals);
  shift(100, 0.1);
  shift(200, 0.5, true);
  expect(vitals(recorded).cls).toBe(0.1);
});

test("INP is the longest event of the slowest interaction", () => {
  const recorded = start(captureWebVitals);
  interact(7, 80);
  interact(7, 200);
  interact(7, 48);
  interact(14, 120);
  interact(0, 900);
  observed["event"]!.deliver({ duration: 800 });
  expect(vitals(recorded).inp_ms).toBe(200);
});

test.each([1, 50, 100])("INP of %i interactions is that of the slowest", (count) => {
  const recorded = start(captureWebVitals);
  interact(1, 500);
  for (let id = 2; id <= count; id++) interact(id, 100 + id);
  expect(vitals(recorded).inp_ms).toBe(500);
});
