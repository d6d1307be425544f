import fc from "fast-check";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { idAt } from "./ids.ts";

const START = Date.UTC(2026, 5, 1, 12);
/** Another page's events are left to it for so long. */
const ORPHAN_MS = 20_000;

let queue: typeof import("../../src/queue.ts");
let heard: { kind: string; event_id: string; verdict: string }[];

document.addEventListener("customer-journey", (event) => heard.push((event as CustomEvent).detail));

/** A new page of the same site: modules start anew, storage stays. */
async function load() {
  vi.resetModules();
  return (queue = await import("../../src/queue.ts"));
}

beforeEach(async () => {
  vi.useFakeTimers({ now: START });
  localStorage.clear();
  heard = [];
  vi.spyOn(console, "warn").mockImplementation(() => {});
  await load();
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const number = (place: number) => String(place).padStart(8, "0");

const [first, second, third] = [1, 2, 3].map((place) => idAt(START, place)) as [string, string, string];

test("events outlive the page and come out in their order", async () => {
  queue.enqueue(second, '"B"');
  queue.enqueue(first, '"A"');
  queue.handOver();
  await load();
  queue.takeOver();
  expect(queue.nextBatch().map((id) => [id, queue.textOfEvent(id)])).toEqual([
    [first, '"A"'],
    [second, '"B"'],
  ]);
});

test("of two pages each has its own events, and those of the other once these have lost their page", async () => {
  const one = queue;
  one.enqueue(first, "{}");
  const other = await load();
  other.takeOver();
  other.enqueue(second, "{}");
  expect([one.waitingIds(), other.waitingIds()]).toEqual([[first], [second]]);
  vi.setSystemTime(START + ORPHAN_MS);
  expect([one.nextBatch(), other.nextBatch()]).toEqual([[first], [second]]);
  vi.setSystemTime(START + ORPHAN_MS + 1);
  expect([one.nextBatch(), other.nextBatch()]).toEqual([
    [first, second],
    [first, second],
  ]);
});

test("what was handed over is taken by one page, and what was recorded elsewhere is not", async () => {
  const one = queue;
  one.enqueue(first, "{}");
  const other = await load();
  other.enqueue(second, "{}");
  one.handOver();
  const next = await load();
  expect(next.waitingIds()).toEqual([]);
  next.takeOver();
  const last = await load();
  last.takeOver();
  expect([next.waitingIds(), last.waitingIds()]).toEqual([[first], []]);
});

test("a page without events hands over nothing, and takes nothing", async () => {
  queue.handOver();
  await load();
  queue.takeOver();
  expect(queue.nextBatch()).toEqual([]);
  expect(localStorage.length).toBe(0);
});

test("events that were settled after they were handed over harm nothing", async () => {
  const one = queue;
  [first, second].forEach((id) => one.enqueue(id, "{}"));
  one.handOver();
  one.settle(first, "accepted");
  const next = await load();
  next.takeOver();
  expect(next.nextBatch()).toEqual([second]);
  one.settle(second, "accepted");
  expect(next.nextBatch()).toEqual([]);
  next.enqueue(third, "{}");
  expect(next.nextBatch()).toEqual([third]);
});

test("a settled event is gone, and said to be", () => {
  queue.enqueue("a", "{}");
  queue.settle("a", "accepted");
  expect(queue.waitingIds()).toEqual([]);
  expect(heard).toEqual([{ kind: "verdict", event_id: "a", verdict: "accepted", detail: undefined }]);
});

test("beyond 1000 events the queue drops the oldest and says so", () => {
  for (let place = 0; place < 1002; place += 1) queue.enqueue(number(place), "{}");
  expect(queue.waitingIds()).toHaveLength(1000);
  expect(queue.waitingIds()[0]).toBe(number(2));
  expect(heard).toEqual([
    { kind: "verdict", event_id: number(0), verdict: "dropped", detail: "full" },
    { kind: "verdict", event_id: number(1), verdict: "dropped", detail: "full" },
  ]);
  expect(console.warn).toHaveBeenCalledTimes(2);
});

test("what was set aside is not sent again by this page, and is by a later one that finds it", async () => {
  [first, second, third].forEach((id) => queue.enqueue(id, "{}"));
  queue.setAside([first, second]);
  queue.setAside([third]);
  vi.setSystemTime(START + ORPHAN_MS + 1);
  expect(queue.waitingIds()).toEqual([]);
  await load();
  expect(queue.waitingIds()).toEqual([]);
  queue.takeOver();
  expect(queue.waitingIds()).toEqual([first, second, third]);
});

test("what is under way is left out", () => {
  ["a", "b", "c"].forEach((id) => queue.enqueue(id, "{}"));
  expect(queue.nextBatch("a,c")).toEqual(["b"]);
});

test("batches hold every event once, within their bounds", () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 40_000 }), { minLength: 1, maxLength: 120 });
  fc.assert(
    fc.property(sizes, (lengths) => {
      localStorage.clear();
      const ids = lengths.map((_, place) => number(place));
      ids.forEach((id, place) => queue.enqueue(id, "é".repeat(lengths[place]!)));
      const sent: string[] = [];
      for (let batch = queue.nextBatch(); batch[0]; batch = queue.nextBatch()) {
        expect(batch.length).toBeLessThanOrEqual(50);
        if (batch.length > 1) expect(batch.map(queue.textOfEvent).join("").length).toBeLessThan(20_000);
        batch.forEach((id) => queue.settle(id, "accepted"));
        sent.push(...batch);
      }
      expect(sent).toEqual(ids);
    }),
    { numRuns: 30 },
  );
});
