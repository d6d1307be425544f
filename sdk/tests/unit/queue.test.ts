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
  expect(queue.nextBatch()).toEqual({ _ids: ["a", "b"], _texts: ['"A"', '"B"'] });
});

test("a settled event is gone, and said to be", () => {
  queue.enqueue("a", "{}");
  queue.settle("a", "accepted");
  expect(queue.waitingIds()).toEqual([]);
  expect(heard).toEqual([{ kind: "verdict", event_id: "a", verdict: "accepted", detail: undefined }]);
});

test("beyond its size the queue drops the oldest and says so", async () => {
  (await import("../../src/options.ts")).setOptions({ queueSizeMax: 3 });
  for (let place = 0; place < 5; place += 1) queue.enqueue(number(place), "{}");
  expect(queue.waitingIds()).toEqual([2, 3, 4].map(number));
  expect(heard.map(({ event_id, verdict }) => [event_id, verdict])).toEqual([
    [number(0), "dropped"],
    [number(1), "dropped"],
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
  expect(queue.nextBatch("a,c")._ids).toEqual(["b"]);
});

test("batches hold every event once, within their bounds", () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 40_000 }), { minLength: 1, maxLength: 120 });
  fc.assert(
    fc.property(sizes, (lengths) => {
      localStorage.clear();
      const ids = lengths.map((_, place) => number(place));
      ids.forEach((id, place) => queue.enqueue(id, "é".repeat(lengths[place]! / 2)));
      const sent: string[] = [];
      for (let batch = queue.nextBatch(); batch._ids[0]; batch = queue.nextBatch()) {
        const bytes = batch._texts.reduce((sum, text) => sum + new TextEncoder().encode(text).length, 0);
        expect(batch._ids.length).toBeLessThanOrEqual(50);
        if (batch._ids.length > 1) expect(bytes).toBeLessThanOrEqual(30_000);
        batch._ids.forEach((id) => queue.settle(id, "accepted"));
        sent.push(...batch._ids);
      }
      // An empty text is no event.
      expect(sent).toEqual(ids.filter((_, place) => lengths[place]! >= 2));
    }),
    { numRuns: 30 },
  );
});
