/**
 * The way to the service: when to send, what the answers mean, and when to try again.
 *
 * One tab sends at a time, under a lock that all tabs of the site share. Requests are plain POSTs of text with the key in
 * the address, which need no preflight and may outlive the page.
 */
import { announce, complain } from "./announce.ts";
import { maySend } from "./consent.ts";
import { options } from "./options.ts";
import { handOver, isAnyWaiting, nextBatch, setAside, settle, takeOver, textOfEvent, waitingIds } from "./queue.ts";
import { get, isLasting, OWN, remove, set } from "./store.ts";

/** A request without an answer is given up after this long; its events are sent again. */
const REQUEST_TIMEOUT_MS = 15e3;
/** Back-off doubles from twice this to the greatest, of which a random half is waited. */
const BACK_OFF_MS = 1e3;
const BACK_OFF_MAX_MS = 6e4;
/** Longest wait a service may ask for; a later time in the store comes from a clock that was wrong. */
const RETRY_AFTER_MAX_MS = 36e5;
/** So many events wait for no others. */
const BATCH_EVENTS = 10;

/** Whatever the interval between batches: nobody looks after other pages' events more often. */
const LOOK_AGAIN_MS = 1e3;

/** Until when nobody sends, in ms since 1970: the site's other pages shall know, too. */
const RETRY_AT = OWN + "retry";

let timer: ReturnType<typeof setTimeout> | undefined;
let running: Promise<void> | undefined;
let failures = 0;
let stopped = "";
/** Ids that this page has under way. */
let inFlight: unknown;

const canSend = () => maySend() && !stopped;

function pauseMs(): number {
  const left = +get(RETRY_AT)! - Date.now();
  return left > 0 && left <= RETRY_AFTER_MAX_MS + BACK_OFF_MAX_MS ? left : 0;
}

/** Sees to it that what waits is sent soon, and at once where it makes a batch. */
export function schedule(): void {
  if (!canSend()) return;
  if (waitingIds().length < BATCH_EVENTS || pauseMs()) sendLater();
  else flush();
}

function sendLater(leastMs = 0): void {
  timer ??= setTimeout(flush, Math.max(leastMs, options.flushIntervalMs, pauseMs()));
}

function request(ids: string[]): Promise<Response> {
  const body = `{"events":[${ids.map(textOfEvent)}],"sent_at":"${new Date().toISOString()}"}`;
  return fetch(`${options.apiUrl.replace(/\/$/, "")}/api/v1/events/batch?key=${options.apiKey}`, {
    method: "POST",
    body,
    credentials: "omit",
    // The browser refuses it for bodies over 64 KiB, which only a single huge event is.
    keepalive: body.length < 21e3,
    signal: AbortSignal.timeout?.(REQUEST_TIMEOUT_MS),
  });
}

/** Sends one batch; returns whether to go on with the next. */
async function send(ids: string[]): Promise<unknown> {
  let retryAfterMs = 0;
  let reason = "";
  let errors: { index: number }[] | undefined;
  try {
    const response = await request(ids);
    retryAfterMs = Math.min(+response.headers.get("Retry-After")! * 1e3 || 0, RETRY_AFTER_MAX_MS);
    reason = `${response.status} ${await response.text()}`;
    // An answer to the events has them, be it empty or, with 422, one for each event.
    if (/^(2|422)/.test(reason)) errors = [...JSON.parse(reason.slice(4)).errors];
  } catch {
    // No network, no service, or no answer of ours, as from a hotel's login page: what the status says, counts.
  }
  const isSettled = errors || /^4(00|13|22)/.test(reason);
  if (isSettled) {
    failures = 0;
    ids.forEach((id, place) => {
      const error = errors ? errors.find(({ index }) => index == place) : reason;
      settle(id, error ? "rejected" : "accepted", error);
    });
  } else if (/^4(?!08|25|29)/.test(reason)) {
    // The key or the address is wrong, not the events: they wait for a page with better ones.
    stopped = reason;
  } else {
    const backOffMs = Math.min(BACK_OFF_MAX_MS, BACK_OFF_MS * 2 ** ++failures);
    set(RETRY_AT, Date.now() + retryAfterMs + backOffMs * (0.5 + Math.random() / 2));
  }
  announce("state", { waiting: waitingIds().length, failures, stopped }, stopped);
  return isSettled;
}

async function sendAll(): Promise<void> {
  // Not when the page begins: one that was kept or made ahead begins before the page it follows has ended.
  takeOver();
  while (canSend() && !pauseMs()) {
    const ids = nextBatch();
    inFlight = ids;
    if (!ids[0] || !(await send(ids))) break;
  }
  inFlight = "";
}

/** Sends what waits; ends when that is done or has failed for now. */
export function flush(): Promise<void> {
  clearTimeout(timer);
  timer = undefined;
  // Where storage is forbidden, so are locks.
  return (running ??= (navigator.locks?.request(OWN, sendAll) ?? sendAll())
    .catch(sendAll)
    .catch(complain)
    .then(() => {
      running = undefined;
      // Another page's events as well: it may be gone, and then nobody else sends them.
      if (isAnyWaiting() && canSend()) sendLater(LOOK_AGAIN_MS);
    }));
}

/** Sends at once, now that the network is back. */
export function sendAgain(): void {
  remove(RETRY_AT);
  flush();
}

/** Sends what a page that goes away still has, unless a page of the site takes its place and finds it in the store. */
export function sendLastWords(isFollowed: unknown): void {
  if (!canSend()) return;
  // A page may be too short to have sent anything yet.
  takeOver();
  if (isLasting() && (isFollowed || pauseMs())) return handOver();
  for (let room = 2; room--;) {
    const ids = nextBatch(inFlight);
    if (!ids[0]) break;
    request(ids).catch(() => {});
    setAside(ids);
  }
}
