import { beforeEach, expect, test, vi } from "vitest";

const MINUTE = 60_000;
const NOON = Date.UTC(2026, 5, 1, 12);

let identity: typeof import("../../src/identity.ts");

beforeEach(async () => {
  vi.resetModules();
  localStorage.clear();
  identity = await import("../../src/identity.ts");
});

test("a device keeps its id until it is forgotten", () => {
  const id = identity.deviceId();
  expect(identity.deviceId()).toBe(id);
  identity.forgetIdentity();
  expect(identity.deviceId()).not.toBe(id);
});

test("a session lives through 30 idle minutes and not a millisecond longer", () => {
  const id = identity.sessionId(NOON);
  expect(identity.sessionId(NOON + 30 * MINUTE)).toBe(id);
  expect(identity.isSessionOver(NOON + 60 * MINUTE)).toBe(false);
  expect(identity.isSessionOver(NOON + 60 * MINUTE + 1)).toBe(true);
  expect(identity.sessionId(NOON + 60 * MINUTE + 1)).not.toBe(id);
});

test("midnight does not cut a session, a day does", () => {
  const evening = new Date(2026, 5, 1, 23, 50).getTime();
  const id = identity.sessionId(evening);
  expect(identity.sessionId(evening + 20 * MINUTE)).toBe(id);
  let now = evening;
  while (now + 29 * MINUTE <= evening + 24 * 60 * MINUTE) identity.sessionId((now += 29 * MINUTE));
  expect(identity.sessionId(evening + 24 * 60 * MINUTE)).toBe(id);
  expect(identity.sessionId(evening + 24 * 60 * MINUTE + 1)).not.toBe(id);
});

test("an event dated back does not shorten the session", () => {
  const id = identity.sessionId(NOON);
  identity.sessionId(NOON + 20 * MINUTE);
  identity.sessionId(NOON + 5 * MINUTE);
  expect(identity.sessionId(NOON + 50 * MINUTE)).toBe(id);
});

test("an event dated back further than the idle minutes belongs to the session there is", () => {
  const id = identity.sessionId(NOON);
  identity.sessionId(NOON + 25 * MINUTE);
  identity.sessionId(NOON + 50 * MINUTE);
  expect(identity.sessionId(NOON + 10 * MINUTE)).toBe(id);
  expect(identity.sessionId(NOON + 80 * MINUTE)).toBe(id);
});

test("a session that a wrong clock dated ahead does not last until then", () => {
  const id = identity.sessionId(NOON + 365 * 24 * 60 * MINUTE);
  expect(identity.sessionId(NOON)).not.toBe(id);
});

test("a broken entry begins a session instead of breaking the page", () => {
  localStorage.setItem("cj.session", "nonsense");
  expect(identity.sessionId(NOON)).toMatch(/^[0-9a-f-]{36}$/);
  localStorage.setItem("cj.seq", "nonsense");
  expect(identity.nextNumber()).toBe(1);
});

test("numbers count up across pages", async () => {
  expect([identity.nextNumber(), identity.nextNumber()]).toEqual([1, 2]);
  vi.resetModules();
  expect((await import("../../src/identity.ts")).nextNumber()).toBe(3);
});

test("a second person on the device starts a life of their own", () => {
  const device = identity.deviceId();
  identity.linkUser("ann");
  expect(identity.deviceId()).toBe(device);
  identity.linkUser("ann");
  expect(identity.deviceId()).toBe(device);
  identity.linkUser("bob");
  expect(identity.userId()).toBe("bob");
  expect(identity.deviceId()).not.toBe(device);
});
