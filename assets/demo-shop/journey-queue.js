/**
 * The way of an event to the server. It waits in localStorage until the server has answered for it, so a reload, a
 * closed tab or a lost network costs nothing; a retry carries the same `event_id`, which the server recognises.
 *
 * Announces on `document`: `journey:event` (recorded), `journey:verdict` (answered), `journey:state` (changed).
 */
import { deviceId, parse, storage } from "/demo/journey-store.js";

const CONFIG_URL = "/demo/config.json";
const QUEUE_PREFIX = "journey.queue.";
/** Events that make a batch full; fewer wait for `FLUSH_AFTER_MS`. */
const FLUSH_EVENTS = 10;
const FLUSH_AFTER_MS = 2000;
/** A full batch waits this long: a click that leads to another page would else tear the answer away from its request. */
const FLUSH_FULL_AFTER_MS = 250;
/** Most events in one request: half of what the server takes. */
const BATCH_EVENTS_MAX = 50;
/** A leaving page may have 64 KiB under way in all; two batches of this size fit in. */
const BATCH_BYTES_MAX = 30000;
/** Most events kept while the server cannot be reached; beyond it the oldest go. */
const QUEUE_EVENTS_MAX = 1000;
const RETRY_FIRST_MS = 2000;
const RETRY_MAX_MS = 60000;
const REQUEST_TIMEOUT_MS = 15000;

/** The visitor's browser asks not to be tracked; then nothing is recorded, kept or sent. */
export const optedOut = navigator.globalPrivacyControl === true || navigator.doNotTrack === "1";

function tell(name, detail) {
  document.dispatchEvent(new CustomEvent(`journey:${name}`, { detail }));
}

/** Puts an event into the queue and sees to it that it is sent soon. */
export function enqueue(event) {
  storage.set(QUEUE_PREFIX + event.event_id, JSON.stringify(event));
  tell("event", { event });
  const waiting = storage.keys(QUEUE_PREFIX).length;
  if (waiting > QUEUE_EVENTS_MAX) dropOldest();
  schedule(waiting >= FLUSH_EVENTS ? FLUSH_FULL_AFTER_MS : FLUSH_AFTER_MS);
}

/** Returns the waiting events, oldest first. */
function waitingEvents() {
  return storage.keys(QUEUE_PREFIX)
    .map((key) => parse(storage.get(key)))
    .filter((event) => event && event.event_id)
    .sort((left, right) => left.timestamp.localeCompare(right.timestamp) || left.seq - right.seq);
}

function dropOldest() {
  const [oldest] = waitingEvents();
  if (oldest) settle(oldest.event_id, "dropped", "Too many events were waiting for the server.");
}

/** Takes an event out of the queue, now that its fate is known. */
function settle(eventId, verdict, detail = "") {
  storage.remove(QUEUE_PREFIX + eventId);
  tell("verdict", { eventId, verdict, detail });
}

function byteLength(text) {
  return new TextEncoder().encode(text).length;
}

/** Returns the oldest events, as many as one request may carry and at least one. */
function nextBatch(events) {
  const batch = [];
  let bytes = 0;
  for (const event of events.slice(0, BATCH_EVENTS_MAX)) {
    bytes += byteLength(JSON.stringify(event));
    if (batch.length > 0 && bytes > BATCH_BYTES_MAX) break;
    batch.push(event);
  }
  return batch;
}

let config = null;
let stopped = null;
let sending = false;
let failures = 0;
let timer = null;
let timerDue = Infinity;
let inFlight = new Set();

/** Returns what there is to know about the sending. */
export function state() {
  return {
    optedOut,
    stopped,
    failures,
    waiting: optedOut ? 0 : storage.keys(QUEUE_PREFIX).length,
    deviceId: optedOut ? null : deviceId(),
    apiUrl: config ? config.apiUrl || location.origin : null,
  };
}

/** Sees to it that the queue is sent in this many ms at the latest; after a failure the back-off has the last word. */
function schedule(delayMs) {
  if (stopped || (failures > 0 && timer)) return;
  const due = Date.now() + delayMs;
  if (timer && timerDue <= due) return;
  clearTimer();
  timerDue = due;
  timer = setTimeout(() => {
    clearTimer();
    flush();
  }, delayMs);
}

function clearTimer() {
  clearTimeout(timer);
  timer = null;
  timerDue = Infinity;
}

function retryLater(seconds) {
  failures += 1;
  const backOffMs = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** (failures - 1));
  const delayMs = Math.max(backOffMs * (0.75 + Math.random() / 2), (seconds || 0) * 1000);
  clearTimer();
  schedule(delayMs);
  tell("state", state());
}

async function loadConfig() {
  const answer = await fetch(CONFIG_URL, { cache: "no-store", signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) });
  if (!answer.ok) throw new Error(`configuration answered ${answer.status}`);
  const loaded = await answer.json();
  config = { apiUrl: (loaded.apiUrl ?? "").replace(/\/+$/, ""), apiKey: loaded.apiKey };
  tell("state", state());
}

function makeBody(batch) {
  return JSON.stringify({ events: batch, sent_at: new Date().toISOString() });
}

function batchUrl() {
  return `${config.apiUrl}/api/v1/events/batch`;
}

/** Sends what waits, one batch after the other. Only one tab sends at a time, so no event travels twice. */
export async function flush() {
  if (sending || stopped || optedOut) return;
  sending = true;
  try {
    if (!config) await loadConfig();
    if (navigator.locks) await navigator.locks.request("journey.send", sendAll);
    else await sendAll();
  } catch {
    // The network, the server or the configuration is away; the events stay where they are.
    retryLater(0);
  } finally {
    sending = false;
    inFlight = new Set();
    if (waitingEvents().length > 0) schedule(FLUSH_AFTER_MS);
  }
}

async function sendAll() {
  for (let batch = nextBatch(waitingEvents()); batch.length > 0; batch = nextBatch(waitingEvents())) {
    inFlight = new Set(batch.map((event) => event.event_id));
    const body = makeBody(batch);
    const answer = await fetch(batchUrl(), {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-API-Key": config.apiKey },
      body,
      // Lets the request outlive the page; the browser refuses it for a body over its 64 KiB.
      keepalive: byteLength(body) <= 2 * BATCH_BYTES_MAX,
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
    if (!await heed(answer, batch)) return;
  }
}

/** Acts on the server's answer; returns whether to go on with the next batch. */
async function heed(answer, batch) {
  const body = parse(await answer.text()) ?? {};
  // 422 with `errors` is an answer to the events as well: none of them is valid, and each is told why.
  if (answer.ok || (answer.status === 422 && Array.isArray(body.errors))) {
    failures = 0;
    settleBatch(batch, body.errors);
    tell("state", state());
    return true;
  }
  const reason = `${answer.status} ${body.code ?? ""} ${body.detail ?? body.title ?? ""}`.replace(/\s+/g, " ").trim();
  if (answer.status === 408 || answer.status === 429 || answer.status >= 500) {
    retryLater(Number(answer.headers.get("Retry-After")));
    return false;
  }
  if ([401, 403, 404].includes(answer.status)) {
    // The key or the address is wrong, not the events: they wait for a page load with a better configuration.
    stopped = reason;
    tell("state", state());
    return false;
  }
  batch.forEach((event) => settle(event.event_id, "refused", reason));
  tell("state", state());
  return true;
}

/** Such an answer settles the whole batch; `errors` names by `index` the events that were not kept. */
function settleBatch(batch, errors) {
  const named = new Map((Array.isArray(errors) ? errors : []).map((error) => [error.index, error]));
  batch.forEach((event, index) => {
    const error = named.get(index);
    const detail = error ? [error.field, error.code, error.detail].filter(Boolean).join(" · ") : "";
    settle(event.event_id, error ? "rejected" : "accepted", detail);
  });
}

/**
 * Last words of a page that goes away. They stay in the queue as well, since nobody is left to read the answer;
 * the next visit sends them again under the same ids and learns what became of them.
 */
export function sendLastWords() {
  if (!config || stopped || optedOut) return;
  const batch = nextBatch(waitingEvents().filter((event) => !inFlight.has(event.event_id)));
  if (batch.length === 0) return;
  const url = `${batchUrl()}?key=${encodeURIComponent(config.apiKey)}`;
  navigator.sendBeacon(url, new Blob([makeBody(batch)], { type: "text/plain" }));
}

/** Starts the sending for this page: what an earlier page left behind goes first. */
export function startQueue() {
  loadConfig().catch(() => {
    // The first flush asks again.
  });
  window.addEventListener("online", () => {
    clearTimer();
    flush();
  });
}
