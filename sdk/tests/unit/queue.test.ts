import fc from "fast-check";
import { beforeEach, expect, test, vi } from "vitest";

let queue: typeof import("../../src/queue.ts");
let heard: { kind: string; event_id: string; verdict: string }[];

document.addEventListener("customer-journey", (event) => heard.push((event as CustomEvent).detail));

async function load() {
  vi.resetModules();
  (await import("../../src/store.ts")).persist(true);
  queue = await import("../../src/queue.ts");
}

beforeEach(async () => {
  localStorage.clear();
  heard = [];
  vi.spyOn(console, "warn").mockImplementation(() => {});
  await load();
});

const number = (place: number) => String(place).padStart(8, "0");

test("events outlive the page and come out in their order", async () => {
  queue.enqueue("b", '"B"');
  queue.enqueue("a", '"A"');
  await load();
  expect(queue.nextBatch().map((id) => [id, queue.textOfEvent(id)])).toEqual([
    ["a", '"A"'],
    ["b", '"B"'],
  ]);
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

test("what was set aside is not sent again by this page, and is by the next", () => {
  ["a", "b", "c"].forEach((id) => queue.enqueue(id, "{}"));
  queue.setAside(["a", "b"]);
  queue.setAside(["c"]);
  expect(queue.waitingIds()).toEqual([]);
  queue.putBack();
  expect(queue.waitingIds()).toEqual(["a", "b", "c"]);
});

test("what another tab has under way is left out", () => {
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
