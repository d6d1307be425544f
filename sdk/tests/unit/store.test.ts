import { afterEach, beforeEach, expect, test, vi } from "vitest";

let store: typeof import("../../src/store.ts");

beforeEach(async () => {
  vi.resetModules();
  localStorage.clear();
  store = await import("../../src/store.ts");
});
afterEach(() => vi.unstubAllGlobals());

test("nothing touches localStorage before it is wanted", () => {
  store.set("cj.device", "d");
  expect(localStorage.length).toBe(0);
  expect(store.get("cj.device")).toBe("d");
  expect(store.isLasting()).toBe(false);
});

test("what was in memory moves to localStorage once that is wanted", () => {
  store.set("cj.q.1", "one");
  store.persist(true);
  expect(localStorage.getItem("cj.q.1")).toBe("one");
  expect(store.isLasting()).toBe(true);
});

test("the decision is kept in any mode, and found by the next page", async () => {
  store.set(store.DECISION, "out");
  expect({ ...localStorage }).toEqual({ "cj.consent": "out" });
  vi.resetModules();
  expect((await import("../../src/store.ts")).get("cj.consent")).toBe("out");
});

test("what other pages left is not read before localStorage is wanted", () => {
  localStorage.setItem("cj.device", "old");
  expect(store.get("cj.device")).toBeUndefined();
  expect(store.keys("cj.")).toEqual([]);
  store.persist(true);
  expect(store.get("cj.device")).toBe("old");
});

test("clearing leaves the decisions and what belongs to others", () => {
  localStorage.setItem("shop.cart", "tent");
  store.persist(true);
  store.set("cj.device", "d");
  store.set(store.DECISION, "denied");
  store.clear();
  expect({ ...localStorage }).toEqual({ "shop.cart": "tent", "cj.consent": "denied" });
});

test("clearing removes what an earlier page left, also where nothing is kept now", () => {
  localStorage.setItem("cj.device", "old");
  store.set("cj.q.1", "one");
  store.clear();
  expect(localStorage.length).toBe(0);
  store.persist(false);
  expect(store.keys("cj.")).toEqual([]);
});

test("names come in order, from memory and from localStorage", () => {
  store.set("cj.q.2", "two");
  store.persist(true);
  store.set("cj.q.1", "one");
  expect(store.keys("cj.q.")).toEqual(["cj.q.1", "cj.q.2"]);
});

test("a forbidden localStorage is replaced by memory", () => {
  const deny = () => {
    throw new DOMException("denied", "SecurityError");
  };
  vi.stubGlobal("localStorage", new Proxy({}, { get: deny, ownKeys: deny }));
  store.persist(true);
  store.set("cj.q.1", "one");
  expect(store.get("cj.q.1")).toBe("one");
  expect(store.keys("cj.q.")).toEqual(["cj.q.1"]);
  expect(store.isLasting()).toBe(false);
  store.remove("cj.q.1");
  expect(store.get("cj.q.1")).toBeUndefined();
});

test("a full localStorage is helped out by memory, and the newer value counts", () => {
  store.persist(true);
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
