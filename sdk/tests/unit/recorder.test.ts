import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { setOptions } from "../../src/options.ts";
import { hold, record } from "../../src/recorder.ts";
import { DECISION, keys, set } from "../../src/store.ts";
import { start } from "./support.ts";

const NOW = Date.UTC(2026, 5, 1, 12);

let recorded: ReturnType<typeof start>;

beforeEach(() => {
  vi.useFakeTimers({ now: NOW });
  history.replaceState(null, "", "/tents?token=secret&utm_source=mail");
  recorded = start(() => {});
});

afterEach(() => vi.useRealTimers());

test("an event happens now, on the page's address without its secrets", () => {
  record("a", { size: 2 });
  expect(recorded.events).toMatchObject([
    { type: "a", at: NOW, url: location.origin + "/tents?utm_source=mail", fields: { size: 2 } },
  ]);
  expect(keys("cj.q.")).toHaveLength(1);
});

test("while time and address are held, events have these", () => {
  hold(NOW - 5000, "https://shop.example/old");
  record("a");
  record("b", {}, NOW - 9000);
  hold();
  record("c");
  expect(recorded.events.map(({ at, url }) => [at - NOW, new URL(url).pathname])).toEqual([
    [-5000, "/old"],
    [-9000, "/old"],
    [0, "/tents"],
  ]);
});

test("an address of the site's own is kept", () => {
  record("a", { page_url: "https://shop.example/virtual" });
  expect(recorded.events[0]!.url).toBe("https://shop.example/virtual");
});

test("what may not be recorded is neither kept nor announced", () => {
  set(DECISION, "denied");
  record("a");
  expect(recorded.events).toEqual([]);
  expect(keys("cj.q.")).toEqual([]);
});

test("where nobody may be known, events have neither device nor session", () => {
  setOptions({ cookieless: true });
  record("a");
  const [key] = keys("cj.q.");
  expect(recorded.events[0]!.session).toBeUndefined();
  expect(keys("cj.")).toEqual(["cj.q." + key!.slice(5), "cj.seq"]);
});
