/**
 * The way to the service: when to send, what the answers mean, and when to try again.
 *
 * One tab sends at a time, under a lock that all tabs of the site share. Requests are plain POSTs of text with the key in
 * the address, which need no preflight and may outlive the page.
 */
import { announce } from "./announce.ts";
import { maySend } from "./consent.ts";
import { options } from "./options.ts";
import { nextBatch, setAside, settle, waitingIds, type Batch } from "./queue.ts";
import { get, isLasting, OWN, remove, set } from "./store.ts";

/** A request without an answer is given up after this long; its events are sent again. */
const REQUEST_TIMEOUT_MS = 15e3;
/** Back-off doubles from twice this to the greatest, of which a random half is waited. */
const BACK_OFF_MS = 1e3;
const BACK_OFF_MAX_MS = 6e4;
/** Longest wait a service may ask for; a later time in the store comes from a clock that was wrong. */
const RETRY_AFTER_MAX_MS = 36e5;
/** A full batch waits this long for what comes with it. */
const FULL_BATCH_MS = 100;

/** Until when nobody sends, in ms since 1970: the site's other pages shall know, too. */
const RETRY_AT = OWN + "retry";
/** Ids that some tab has under way. */
const IN_FLIGHT = OWN + "flight";

let timer: ReturnType<typeof setTimeout>;
let due = Infinity;
let running: Promise<void> | undefined;
let failures = 0;
let stopped = "";

function pauseMs(): number {
  const left = +get(RETRY_AT)! - Date.now();
  return left > 0 && left <= RETRY_AFTER_MAX_MS + BACK_OFF_MAX_MS ? left : 0;
}

function sendWithin(delayMs: number): void {
  delayMs = Math.max(delayMs, pauseMs());
  const at = Date.now() + delayMs;
  if (stopped || at >= due) return;
  due = at;
  clearTimeout(timer);
  timer = setTimeout(flush, delayMs);
}

/** Sees to it that what waits is sent soon. */
export const schedule = (): void =>
  sendWithin(waitingIds().length < options.batchSize ? options.flushIntervalMs : FULL_BATCH_MS);

function request(batch: Batch): Promise<Response> {
  const body = `{"events":[${batch._texts}],"sent_at":"${new Date().toISOString()}"}`;
  return fetch(`${options.apiUrl.replace(/\/$/, "")}/api/v1/events/batch?key=${options.apiKey}`, {
    method: "POST",
    body,
    credentials: "omit",
    // The browser refuses it for bodies over its 64 KiB, which only a single huge event is.
    keepalive: new Blob([body]).size < 6e4,
    priority: "low",
    signal: AbortSignal.timeout?.(REQUEST_TIMEOUT_MS),
  });
}

/** Sends one batch; returns whether to go on with the next. */
async function send(batch: Batch): Promise<boolean | void> {
  let status = 0;
  let retryAfterMs = 0;
  let reason = "";
  let warning;
  let isSettled;
  try {
    const response = await request(batch);
    status = response.status;
    retryAfterMs = Math.min(+response.headers.get("Retry-After")! * 1e3 || 0, RETRY_AFTER_MAX_MS);
    reason = `${status} ${await response.text()}`;
    const { accepted, errors = [] } = JSON.parse(reason.slice(4));
    // 422 with `errors` is an answer to the events as well: none of them is valid, and each is told why.
    if (accepted >= 0 || (status == 422 && errors[0])) {
      batch._ids.forEach((id, index) => {
        const error = errors.find((candidate: { index: number }) => candidate.index == index);
        settle(id, error ? "rejected" : "accepted", error && `${error.code} ${error.field} ${error.detail}`);
      });
      isSettled = true;
    }
  } catch {
    // No network, no service, or no answer of ours, as from a hotel's login page: what the status says, counts.
  }
  if (isSettled) failures = 0;
  else if ([401, 403, 404].includes(status)) {
    // The key or the address is wrong, not the events: they wait for a page with better ones.
    stopped = reason;
    warning = "sending stopped: " + reason;
  } else if (status > 399 && status < 500 && ![408, 425, 429].includes(status)) {
    batch._ids.forEach((id) => settle(id, "refused", reason));
    isSettled = true;
  } else {
    const backOffMs = Math.min(BACK_OFF_MAX_MS, BACK_OFF_MS * 2 ** ++failures);
    set(RETRY_AT, Math.ceil(Date.now() + retryAfterMs + backOffMs * (0.5 + Math.random() / 2)));
  }
  announce("state", { waiting: waitingIds().length, failures, stopped }, warning);
  return isSettled;
}

async function sendAll(): Promise<void> {
  while (maySend() && !stopped && !pauseMs()) {
    const batch = nextBatch();
    if (!batch._ids[0]) break;
    set(IN_FLIGHT, batch._ids);
    if (!(await send(batch))) break;
  }
  remove(IN_FLIGHT);
}

/** Sends what waits; ends when that is done or has failed for now. */
export function flush(): Promise<void> {
  clearTimeout(timer);
  due = Infinity;
  return (running ??= (navigator.locks && isLasting() ? navigator.locks.request(OWN, sendAll) : sendAll())
    .catch(() => {})
    .then(() => {
      running = undefined;
      if (waitingIds()[0]) schedule();
    }));
}

/** Sends at once, now that the network is back. */
export function sendAgain(): void {
  remove(RETRY_AT);
  flush();
}

/** Sends what a page that goes away still has, unless a page of the site takes its place and finds it in the store. */
export function sendLastWords(isFollowed: boolean): void {
  if (stopped || !maySend() || (isLasting() && (isFollowed || pauseMs()))) return;
  for (let room = 2; room--;) {
    const batch = nextBatch(get(IN_FLIGHT));
    if (!batch._ids[0]) break;
    request(batch).catch(() => {});
    setAside(batch._ids);
  }
}
