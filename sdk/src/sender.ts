/**
 * The way to the service: when to send, what the answers mean, and when to try again.
 *
 * One tab sends at a time, under a lock that all tabs of the site share. Requests are plain POSTs of text with the key in
 * the address, which need no preflight and may outlive the page.
 */
import type { Announce } from "./announce.ts";
import type { Batch, Queue } from "./queue.ts";
import { OWN, type Store } from "./store.ts";
import type { Options } from "./types.ts";

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

export interface Sender {
  /** Sees to it that what waits is sent soon. */
  _schedule(): void;
  /** Sends what waits; ends when that is done or has failed for now. */
  _flush(): Promise<void>;
  /** Sends what a page that goes away still has; `isFollowed`: another page of the site takes its place. */
  _lastWords(isFollowed: boolean): void;
}

export function makeSender(
  options: Required<Options>,
  queue: Queue,
  store: Store,
  maySend: () => boolean,
  announce: Announce,
): Sender {
  const url = `${options.apiUrl.replace(/\/+$/, "")}/api/v1/events/batch?key=${encodeURIComponent(options.apiKey)}`;
  let timer: ReturnType<typeof setTimeout>;
  let due = Infinity;
  let running: Promise<void> | undefined;
  let failures = 0;
  let stopped = "";

  const pauseMs = () => {
    const left = +store._get(RETRY_AT)! - Date.now();
    return left > 0 && left <= RETRY_AFTER_MAX_MS + BACK_OFF_MAX_MS ? left : 0;
  };

  const schedule = (delayMs: number) => {
    delayMs = Math.max(delayMs, pauseMs());
    const at = Date.now() + delayMs;
    if (stopped || at >= due) return;
    due = at;
    clearTimeout(timer);
    timer = setTimeout(flush, delayMs);
  };

  const tellState = (warning?: string) =>
    announce("state", { waiting: queue._size(), failures, stopped }, warning);

  const request = (batch: Batch) => {
    const body = `{"events":[${batch._texts}],"sent_at":"${new Date().toISOString()}"}`;
    return fetch(url, {
      method: "POST",
      body,
      credentials: "omit",
      // The browser refuses it for bodies over its 64 KiB, which only a single huge event is.
      keepalive: new Blob([body]).size < 6e4,
      priority: "low",
      signal: AbortSignal.timeout?.(REQUEST_TIMEOUT_MS),
    });
  };

  /** Sends one batch; returns whether to go on with the next. */
  const send = async (batch: Batch) => {
    let retryAfterMs = 0;
    let status = 0;
    let reason = "unreachable";
    try {
      const response = await request(batch);
      status = response.status;
      retryAfterMs = Math.min(+response.headers.get("Retry-After")! * 1e3 || 0, RETRY_AFTER_MAX_MS);
      const text = await response.text();
      reason = `${status} ${text.slice(0, 300)}`;
      const { accepted, errors = [] } = JSON.parse(text);
      // 422 with `errors` is an answer to the events as well: none of them is valid, and each is told why.
      if (accepted >= 0 || (status == 422 && errors[0])) {
        failures = 0;
        batch._ids.forEach((id, index) => {
          const error = errors.find((candidate: { index: number }) => candidate.index == index);
          queue._settle(id, error ? "rejected" : "accepted", error && [error.code, error.field, error.detail].join(" "));
        });
        tellState();
        return true;
      }
    } catch {
      // No network, no service, or no answer of ours, as from a hotel's login page: what the status says, counts.
    }
    if (status > 400 && status < 405 && status != 402) {
      // The key or the address is wrong, not the events: they wait for a page with better ones.
      stopped = reason;
      tellState("sending stopped: " + reason);
    } else if (status > 399 && status < 500 && ![408, 425, 429].includes(status)) {
      batch._ids.forEach((id) => queue._settle(id, "refused", reason));
      return true;
    } else {
      const backOffMs = Math.min(BACK_OFF_MAX_MS, BACK_OFF_MS * 2 ** ++failures);
      store._set(RETRY_AT, "" + (Date.now() + retryAfterMs + backOffMs * (0.5 + Math.random() / 2)));
      tellState();
    }
  };

  const sendAll = async () => {
    while (maySend() && !stopped && !pauseMs()) {
      const batch = queue._batch();
      if (!batch._ids[0]) break;
      store._set(IN_FLIGHT, batch._ids.join());
      if (!(await send(batch))) break;
    }
    store._remove(IN_FLIGHT);
  };

  const flush = (): Promise<void> => {
    clearTimeout(timer);
    due = Infinity;
    return (running ??= (navigator.locks && store._isLasting() ? navigator.locks.request("cj", sendAll) : sendAll())
      .catch(() => {})
      .then(() => {
        running = undefined;
        if (queue._size()) schedule(options.flushIntervalMs);
      }));
  };

  addEventListener("online", () => {
    store._remove(RETRY_AT);
    flush();
  });

  return {
    _schedule: () => schedule(queue._size() < options.batchSize ? options.flushIntervalMs : FULL_BATCH_MS),
    _flush: flush,
    _lastWords(isFollowed) {
      if (stopped || !maySend() || (store._isLasting() && (isFollowed || pauseMs()))) return;
      for (let room = 2; room--; ) {
        const batch = queue._batch(store._get(IN_FLIGHT));
        if (!batch._ids[0]) break;
        request(batch).catch(() => {});
        queue._say(batch);
      }
    },
  };
}
