import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { idAt } from "./ids.ts";

const START = Date.UTC(2026, 5, 1, 12);

let sender: typeof import("../../src/sender.ts");
let queue: typeof import("../../src/queue.ts");
let answer: () => Promise<Response> | Response;
let requests: { at: number; url: string; init: RequestInit; ids: string[] }[];

/** A new page of the same site: modules start anew, storage stays. */
async function loadPage() {
  vi.resetModules();
  const { setOptions } = await import("../../src/options.ts");
  setOptions({ apiUrl: "https://journey.example/", apiKey: "pk_1", flushIntervalMs: 1000 });
  queue = await import("../../src/queue.ts");
  sender = await import("../../src/sender.ts");
}

/** The page goes away, and one of the same site takes its place. */
async function follow() {
  sender.sendLastWords(true);
  vi.clearAllTimers();
  await loadPage();
  queue.takeOver();
}

let heard: { kind: string }[];
document.addEventListener("customer-journey", (event) => heard.push((event as CustomEvent).detail));

beforeEach(async () => {
  vi.useFakeTimers({ now: START });
  localStorage.clear();
  requests = [];
  heard = [];
  answer = () => accept(requests.at(-1)!.ids.length);
  vi.spyOn(console, "warn").mockImplementation(() => {});
  vi.stubGlobal("fetch", async (url: string, init: RequestInit) => {
    const { events } = JSON.parse(init.body as string);
    requests.push({ at: Date.now() - START, url, init, ids: events.map((event: { id: string }) => event.id) });
    return answer();
  });
  await loadPage();
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

const accept = (accepted: number) =>
  new Response(JSON.stringify({ accepted, rejected: 0, errors: [] }), { status: 202 });
const refuse = (status: number, headers = {}) => new Response('{"code":"x","detail":"why"}', { status, headers });
const enqueue = (...ids: string[]) => ids.forEach((id) => queue.enqueue(id, JSON.stringify({ id })));

test("a request is plain text with the key in its address, and may outlive the page", async () => {
  enqueue("a", "b");
  await sender.flush();
  expect(requests[0]!.url).toBe("https://journey.example/api/v1/events/batch?key=pk_1");
  expect(requests[0]!.init).toMatchObject({ method: "POST", keepalive: true, credentials: "omit" });
  expect(requests[0]!.init.headers).toBeUndefined();
  expect(JSON.parse(requests[0]!.init.body as string).sent_at).toBe(new Date(START).toISOString());
  expect(queue.waitingIds()).toEqual([]);
});

test("few events wait for company, many do not", async () => {
  enqueue("a");
  sender.schedule();
  await vi.advanceTimersByTimeAsync(999);
  expect(requests).toEqual([]);
  await vi.advanceTimersByTimeAsync(1);
  expect(requests.length).toBe(1);
  enqueue(...Array.from({ length: 11 }, (_, place) => `event-${place}`));
  sender.schedule();
  await vi.advanceTimersByTimeAsync(100);
  expect(requests[1]!.ids.length).toBe(11);
});

test("a busy service is asked again no sooner than it wants, and ever more rarely", async () => {
  answer = () => refuse(503, { "Retry-After": "7" });
  enqueue("a");
  sender.schedule();
  await vi.advanceTimersByTimeAsync(600_000);
  const gaps = requests.slice(1).map((request, index) => request.at - requests[index]!.at);
  expect(Math.min(...gaps)).toBeGreaterThan(7000);
  expect(gaps[5]!).toBeGreaterThan(gaps[0]!);
  expect(Math.max(...gaps)).toBeLessThanOrEqual(7000 + 60_000 + 1000);
  answer = () => accept(1);
  await vi.advanceTimersByTimeAsync(68_000);
  expect(queue.waitingIds()).toEqual([]);
});

test("the next page keeps to what the service asked for", async () => {
  answer = () => refuse(429, { "Retry-After": "30" });
  enqueue("a");
  await sender.flush();
  await follow();
  sender.schedule();
  await sender.flush();
  await vi.advanceTimersByTimeAsync(30_000);
  expect(queue.waitingIds()).toEqual(["a"]);
  expect(requests.length).toBe(1);
  answer = () => accept(1);
  await vi.advanceTimersByTimeAsync(3000);
  expect(requests[1]!.ids).toEqual(["a"]);
  expect(queue.waitingIds()).toEqual([]);
});

test("a wait that a wrong clock made absurd is not kept", async () => {
  localStorage.setItem("cj.retry", String(START + 365 * 864e5));
  enqueue("a");
  await sender.flush();
  expect(requests.length).toBe(1);
});

test.each([
  ["no network", () => Promise.reject(new TypeError("failed to fetch"))],
  ["a login page that answers for the service", () => new Response("<html>", { status: 200 })],
  ["an error of the service", () => refuse(500)],
  ["a request that took too long", () => refuse(408)],
])("%s keeps the events", async (_, failure) => {
  answer = failure;
  enqueue("a");
  await sender.flush();
  expect(queue.waitingIds()).toEqual(["a"]);
  answer = () => accept(1);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(requests[1]!.ids).toEqual(["a"]);
  expect(queue.waitingIds()).toEqual([]);
});

test.each([
  ["a gateway's errors", '{"errors":[{"status":"503","title":"no backend"}]}', 503],
  ["errors that are none of ours", '{"errors":{"message":"no"}}', 200],
  ["a login page", "<html>", 200],
])("%s are no answer to the events, and are not asked for again at once", async (_, body, status) => {
  answer = () => new Response(body, { status });
  enqueue("a");
  sender.schedule();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(queue.waitingIds()).toEqual(["a"]);
  expect(requests.length).toBeLessThan(10);
});

test("what an answer says of each event is heeded, also when it refuses all", async () => {
  const errors = [{ index: 1, code: "invalid_field", field: "currency", detail: "No." }];
  answer = () => new Response(JSON.stringify({ accepted: 1, rejected: 1, errors }), { status: 202 });
  enqueue("a", "b");
  await sender.flush();
  answer = () =>
    new Response(JSON.stringify({ code: "events_rejected", errors: [{ ...errors[0], index: 0 }] }), { status: 422 });
  enqueue("c");
  await sender.flush();
  expect(heard.filter(({ kind }) => kind === "verdict")).toEqual([
    { kind: "verdict", event_id: "a", verdict: "accepted", detail: undefined },
    { kind: "verdict", event_id: "b", verdict: "rejected", detail: errors[0] },
    { kind: "verdict", event_id: "c", verdict: "rejected", detail: { ...errors[0], index: 0 } },
  ]);
  expect(queue.waitingIds()).toEqual([]);
  expect(console.warn).toHaveBeenCalledTimes(2);
});

test.each([400, 413, 422])("%i drops the batch, says so, and goes on", async (status) => {
  answer = () => (requests.length === 1 ? refuse(status) : accept(1));
  enqueue("a");
  await sender.flush();
  expect(queue.waitingIds()).toEqual([]);
  expect(heard[0]).toEqual({
    kind: "verdict",
    event_id: "a",
    verdict: "rejected",
    detail: `${status} {"code":"x","detail":"why"}`,
  });
  expect(console.warn).toHaveBeenCalled();
  enqueue("b");
  await sender.flush();
  expect(requests[1]!.ids).toEqual(["b"]);
});

test.each([401, 403, 404, 405, 410, 415])(
  "%i stops this page, says so, and keeps the events for the next",
  async (status) => {
    answer = () => refuse(status);
    const ids = [idAt(START, 1), idAt(START, 2)] as const;
    enqueue(ids[0]);
    await sender.flush();
    enqueue(ids[1]);
    sender.schedule();
    await sender.flush();
    sender.sendLastWords(false);
    await vi.advanceTimersByTimeAsync(600_000);
    expect(requests.length).toBe(1);
    expect(console.warn).toHaveBeenCalledTimes(1);
    answer = () => accept(2);
    await loadPage();
    await sender.flush();
    expect(requests[1]!.ids).toEqual(ids);
  },
);

test("events of a page that lives are not sent by another one, and are once they have lost their page", async () => {
  const [first, second] = [idAt(START, 1), idAt(START, 2)];
  enqueue(first);
  await loadPage();
  queue.takeOver();
  await sender.flush();
  vi.setSystemTime(START + 20_000);
  await sender.flush();
  expect(requests).toEqual([]);
  enqueue(second);
  await sender.flush();
  expect(requests.map(({ ids }) => ids)).toEqual([[second]]);
  vi.setSystemTime(START + 20_001);
  await sender.flush();
  expect(requests.map(({ ids }) => ids)).toEqual([[second], [first]]);
  expect(Object.keys(localStorage)).toEqual([]);
});

test("two pages that record at the same time send each event once", async () => {
  const one = { queue, sender };
  enqueue(idAt(START, 1), idAt(START, 3));
  await loadPage();
  queue.takeOver();
  enqueue(idAt(START, 2));
  await Promise.all([one.sender.flush(), sender.flush()]);
  expect(requests.map(({ ids }) => ids)).toEqual([[idAt(START, 1), idAt(START, 3)], [idAt(START, 2)]]);
  expect(Object.keys(localStorage)).toEqual([]);
});

test("the page that follows sends at once what it was left, and what it recorded itself", async () => {
  const [first, second] = [idAt(START, 1), idAt(START, 2)];
  enqueue(first);
  await follow();
  enqueue(second);
  await sender.flush();
  expect(requests.map(({ ids }) => ids)).toEqual([[first, second]]);
});

test("what was under way when the page was followed is sent again by the next one", async () => {
  const [first, second] = [idAt(START, 1), idAt(START, 2)];
  answer = () => new Promise<Response>(() => {});
  enqueue(first);
  void sender.flush();
  await vi.advanceTimersByTimeAsync(0);
  enqueue(second);
  await follow();
  answer = () => accept(2);
  await sender.flush();
  expect(requests.map(({ ids }) => ids)).toEqual([[first], [first, second]]);
  expect(Object.keys(localStorage)).toEqual([]);
});

test("what was under way when the page was followed, and is answered yet, harms nothing", async () => {
  const [first, second] = [idAt(START, 1), idAt(START, 2)];
  let release = (_: Response) => {};
  answer = () => new Promise<Response>((resolve) => (release = resolve));
  enqueue(first);
  const sending = sender.flush();
  await vi.advanceTimersByTimeAsync(0);
  await follow();
  expect(queue.waitingIds()).toEqual([first]);
  release(accept(1));
  await sending;
  answer = () => accept(1);
  await sender.flush();
  enqueue(second);
  await sender.flush();
  expect(requests.map(({ ids }) => ids)).toEqual([[first], [second]]);
  expect(heard.filter(({ kind }) => kind === "verdict")).toHaveLength(2);
  expect(console.warn).not.toHaveBeenCalled();
});

test("last words leave out what is under way, and a following page says them", async () => {
  const releases: ((response: Response) => void)[] = [];
  answer = () => new Promise<Response>((resolve) => releases.push(resolve));
  enqueue("a");
  const sending = sender.flush();
  await vi.advanceTimersByTimeAsync(0);
  enqueue("b");
  sender.sendLastWords(true);
  expect(requests.length).toBe(1);
  sender.sendLastWords(false);
  expect(requests[1]!.ids).toEqual(["b"]);
  releases.forEach((release) => release(accept(1)));
  await sending;
});

test("last words are two requests at most, and are not repeated by this page", async () => {
  answer = () => new Promise<Response>(() => {});
  enqueue(...Array.from({ length: 120 }, (_, place) => `event-${String(place).padStart(3, "0")}`));
  sender.sendLastWords(false);
  expect(requests.map(({ ids }) => ids.length)).toEqual([50, 50]);
  expect(new Set(requests.flatMap(({ ids }) => ids)).size).toBe(100);
  expect(queue.waitingIds()).toHaveLength(20);
});

test("last words of what only memory holds are said although a page follows", async () => {
  (await import("../../src/options.ts")).setOptions({ cookieless: true });
  enqueue("a");
  sender.sendLastWords(true);
  expect(requests[0]!.ids).toEqual(["a"]);
});

test("a service that wants to be left alone hears no last words where the next page can say them", async () => {
  answer = () => refuse(503, { "Retry-After": "30" });
  enqueue("a");
  await sender.flush();
  sender.sendLastWords(false);
  expect(requests.length).toBe(1);
});

test.each(["pending", "denied"] as const)("nothing is sent while consent is %s", async (consent) => {
  (await import("../../src/options.ts")).setOptions({ consent });
  enqueue(...Array.from({ length: 20 }, (_, place) => `event-${place}`));
  sender.schedule();
  await sender.flush();
  sender.sendLastWords(false);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(requests).toEqual([]);
});

test("nothing is tried again and again while consent is pending", async () => {
  (await import("../../src/options.ts")).setOptions({ consent: "pending" });
  enqueue("a");
  await sender.flush();
  expect(vi.getTimerCount()).toBe(0);
});

test("how it stands is said after every request", async () => {
  answer = () => refuse(500);
  enqueue("a");
  await sender.flush();
  answer = () => accept(1);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(heard.filter(({ kind }) => kind === "state")).toEqual([
    { kind: "state", waiting: 1, failures: 1, stopped: "" },
    { kind: "state", waiting: 0, failures: 0, stopped: "" },
  ]);
});

test("a single huge event is sent alone, without the wish to outlive the page", async () => {
  queue.enqueue("a", JSON.stringify({ id: "a", text: "x".repeat(30_000) }));
  enqueue("b");
  await sender.flush();
  expect(requests.map(({ ids, init }) => [ids, init.keepalive])).toEqual([
    [["a"], false],
    [["b"], true],
  ]);
});

test("one tab sends at a time", async () => {
  const held: (() => Promise<void>)[] = [];
  const request = vi.fn((_: string, run: () => Promise<void>) => {
    held.push(run);
    return Promise.resolve();
  });
  vi.stubGlobal("navigator", { locks: { request } });
  enqueue("a");
  void sender.flush();
  await vi.advanceTimersByTimeAsync(0);
  expect(request).toHaveBeenCalledWith("cj.", expect.any(Function));
  expect(requests).toEqual([]);
  await held[0]!();
  expect(requests[0]!.ids).toEqual(["a"]);
});

test("where locks are forbidden, it sends without", async () => {
  const request = () => Promise.reject(new DOMException("denied", "SecurityError"));
  vi.stubGlobal("navigator", { locks: { request } });
  enqueue("a");
  await sender.flush();
  expect(requests[0]!.ids).toEqual(["a"]);
});

test("the network's return ends the waiting", async () => {
  answer = () => Promise.reject(new TypeError("failed to fetch"));
  enqueue("a");
  await sender.flush();
  answer = () => accept(1);
  sender.sendAgain();
  await vi.advanceTimersByTimeAsync(0);
  expect(queue.waitingIds()).toEqual([]);
});

test("what a page left that is gone is sent by one that has nothing to say itself", async () => {
  const id = idAt(START);
  enqueue(id);
  vi.clearAllTimers();
  await loadPage();
  await sender.flush();
  expect(requests).toEqual([]);
  await vi.advanceTimersByTimeAsync(22_000);
  expect(requests.map(({ ids }) => ids)).toEqual([[id]]);
  expect(vi.getTimerCount()).toBe(0);
});

test("a page that goes before it has sent anything says what it was left", async () => {
  enqueue("a");
  sender.sendLastWords(true);
  vi.clearAllTimers();
  await loadPage();
  enqueue("b");
  sender.sendLastWords(false);
  expect(requests.map(({ ids }) => ids)).toEqual([["a", "b"]]);
});
