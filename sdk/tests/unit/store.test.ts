import { afterEach, beforeEach, expect, test, vi } from "vitest";

let store: typeof import("../../src/store.ts");

beforeEach(async () => {
  vi.resetModules();
  localStorage.clear();
  store = await import("../../src/store.ts");
});
afterEach(() => vi.unstubAllGlobals());

const decide = async (consent: string, options = {}) => {
  (await import("../../src/options.ts")).setOptions({ consent, ...options });
  store.tidy();
};

test("nothing but the decision is kept where the visitor has not agreed, or there shall be no traces", async () => {
  for (const [consent, cookieless] of [
    ["pending", false],
    ["granted", true],
  ] as const) {
    await decide(consent, { cookieless });
    store.set("cj.device", "d");
    expect(localStorage.length).toBe(0);
    expect(store.get("cj.device")).toBe("d");
    expect(store.isLasting()).toBe(false);
  }
  store.set(store.DECISION, "granted");
  expect({ ...localStorage }).toEqual({ "cj.consent": "granted" });
});

test("what was in memory moves to localStorage once it may", async () => {
  await decide("pending");
  store.set("cj.q.1", "one");
  await decide("granted");
  expect(localStorage.getItem("cj.q.1")).toBe("one");
  expect(store.isLasting()).toBe(true);
});

test("a decision that was made in another tab holds in this one, with the device that tab made", async () => {
  await decide("pending");
  store.set("cj.device", "mine");
  localStorage.setItem("cj.consent", "granted");
  localStorage.setItem("cj.device", "theirs");
  expect(store.get("cj.device")).toBe("theirs");
  store.set("cj.q.1", "one");
  expect(localStorage.getItem("cj.q.1")).toBe("one");
});

test("the decision is found by the next page", async () => {
  store.set(store.DECISION, "out");
  vi.resetModules();
  expect((await import("../../src/store.ts")).get("cj.consent")).toBe("out");
});

test("a refusal leaves itself and what belongs to others", async () => {
  localStorage.setItem("shop.cart", "tent");
  localStorage.setItem("cj.q.0", "of another page");
  store.set("cj.device", "d");
  store.set(store.DECISION, "denied");
  store.tidy();
  expect({ ...localStorage }).toEqual({ "shop.cart": "tent", "cj.consent": "denied" });
  expect(store.keys("cj.")).toEqual(["cj.consent"]);
});

test("what an earlier configuration of the site kept goes, and what this page remembers stays", async () => {
  await decide("pending");
  store.set("cj.q.1", "one");
  localStorage.setItem("cj.device", "old");
  await decide("pending");
  expect(localStorage.length).toBe(0);
  expect(store.keys("cj.")).toEqual(["cj.q.1"]);
});

test("names come in order, from memory and from localStorage", () => {
  store.set("cj.q.2", "two");
  store.set("cj.q.1", "one");
  expect(store.keys("cj.q.")).toEqual(["cj.q.1", "cj.q.2"]);
});

test("a forbidden localStorage is replaced by memory", () => {
  const deny = () => {
    throw new DOMException("denied", "SecurityError");
  };
  vi.stubGlobal("localStorage", new Proxy({}, { get: deny, ownKeys: deny }));
  store.set("cj.q.1", "one");
  expect(store.get("cj.q.1")).toBe("one");
  expect(store.keys("cj.q.")).toEqual(["cj.q.1"]);
  expect(store.isLasting()).toBe(false);
  store.remove("cj.q.1");
  expect(store.get("cj.q.1")).toBeUndefined();
});

test("a full localStorage is helped out by memory, and the newer value counts", () => {
  store.set("cj.seq", 1);
  const { getItem, removeItem } = localStorage;
  const setItem = () => {
    throw new DOMException("full", "QuotaExceededError");
  };
  vi.stubGlobal("localStorage", { getItem, removeItem, setItem });
  store.set("cj.seq", 2);
  expect(store.get("cj.seq")).toBe("2");
  expect(store.isLasting()).toBe(false);
});

test("a value is never missing while it is replaced: another tab would make a new device in between", () => {
  store.set("cj.device", "one");
  const { getItem, setItem } = localStorage;
  const removeItem = vi.fn();
  vi.stubGlobal("localStorage", { getItem, setItem, removeItem });
  store.set("cj.device", "two");
  expect(store.get("cj.device")).toBe("two");
  expect(removeItem).not.toHaveBeenCalled();
});
