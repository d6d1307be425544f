import { expect, test, vi } from "vitest";
import { makeId } from "../../src/id.ts";

test("an id is a UUID version 7 of this moment", () => {
  vi.useFakeTimers({ now: Date.UTC(2026, 0, 2, 3, 4, 5, 678) });
  const id = makeId();
  expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(parseInt(id.slice(0, 13).replace("-", ""), 16)).toBe(Date.now());
  vi.useRealTimers();
});

test("ids of one moment differ, and later ids come later", () => {
  const ids = Array.from({ length: 1000 }, makeId);
  expect(new Set(ids).size).toBe(1000);
  expect(ids[0]!.slice(0, 13) <= ids[999]!.slice(0, 13)).toBe(true);
});
