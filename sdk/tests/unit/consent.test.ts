import { afterEach, beforeEach, expect, test, vi } from "vitest";

let consent: typeof import("../../src/consent.ts");
let setOptions: typeof import("../../src/options.ts").setOptions;
let store: typeof import("../../src/store.ts");

beforeEach(async () => {
  vi.resetModules();
  localStorage.clear();
  consent = await import("../../src/consent.ts");
  ({ setOptions } = await import("../../src/options.ts"));
  store = await import("../../src/store.ts");
});

afterEach(() => vi.unstubAllGlobals());

const rights = () => [consent.mayRecord(), consent.maySend(), consent.isKnown()];

test.each([
  ["granted", [true, true, true]],
  ["pending", [true, false, true]],
  ["denied", [false, false, false]],
  ["out", [false, false, false]],
  ["nonsense", [false, false, false]],
])("a decision of %s allows to record, to send and to know: %j", (decision, expected) => {
  store.set(store.DECISION, decision);
  expect(consent.decision()).toBe(decision);
  expect(rights()).toEqual(expected);
});

test("without a decision, what the site assumes counts", () => {
  expect(consent.decision()).toBe("granted");
  setOptions({ consent: "denied" });
  expect(rights()).toEqual([false, false, false]);
});

test("the visitor's decision comes before what the site assumes", () => {
  setOptions({ consent: "denied" });
  localStorage.setItem("cj.consent", "granted");
  expect(rights()).toEqual([true, true, true]);
});

test("a decision made in another tab counts at once", () => {
  expect(consent.maySend()).toBe(true);
  localStorage.setItem("cj.consent", "denied");
  expect(rights()).toEqual([false, false, false]);
});

test("without cookies nobody is known", () => {
  setOptions({ cookieless: true });
  expect(rights()).toEqual([true, true, false]);
});

test.each([{ doNotTrack: "1" }, { globalPrivacyControl: true }])("a browser that says %j means out", (says) => {
  vi.stubGlobal("navigator", says);
  store.set(store.DECISION, "granted");
  expect(consent.decision()).toBe(consent.OUT);
  expect(rights()).toEqual([false, false, false]);
  setOptions({ respectDnt: false });
  expect(rights()).toEqual([true, true, true]);
});

test.each([{ doNotTrack: "0" }, { doNotTrack: "unspecified" }, { doNotTrack: null }, { globalPrivacyControl: false }])(
  "a browser that says %j asks for nothing",
  (says) => {
    vi.stubGlobal("navigator", says);
    expect(rights()).toEqual([true, true, true]);
  },
);
