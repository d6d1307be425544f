/** Events that wait for the service's answer: one entry each, so that two tabs never overwrite each other's. */
import { announce } from "./announce.ts";
import { options } from "./options.ts";
import { get, keys, OWN, remove, set } from "./store.ts";

const WAITING = OWN + "q.";
/**
 * Ids of events that a page said as it went away, with nobody left to hear the answer. The next page sends them again,
 * and the service knows what it already has.
 */
const SAID = OWN + "said";
/** Most events in one request: half of what the service takes by default. */
const BATCH_EVENTS_MAX = 50;
/** Bytes. A page that goes away may have 64 KiB under way, so two of these. */
const BATCH_BYTES_MAX = 3e4;

/** Events of one request: their ids, and each as JSON. */
export interface Batch {
  _ids: string[];
  _texts: string[];
}

/** Returns the ids of the events to be sent, oldest first, without those in `except`. */
export function waitingIds(except: unknown = ""): string[] {
  except += "" + get(SAID);
  return keys(WAITING)
    .map((key) => key.slice(WAITING.length))
    .filter((id) => !(except as string).includes(id));
}

/** Puts an event into the queue. */
export function enqueue(id: string, text: string): void {
  set(WAITING + id, text);
  const ids = waitingIds();
  if (ids.length > options.queueSizeMax) settle(ids[0]!, "dropped", "queue is full");
}

/** Returns the oldest events, as many as one request may carry, without those in `except`. */
export function nextBatch(except?: unknown): Batch {
  const batch: Batch = { _ids: [], _texts: [] };
  let bytes = 0;
  for (const id of waitingIds(except).slice(0, BATCH_EVENTS_MAX)) {
    const text = get(WAITING + id);
    bytes += new Blob([text!]).size;
    if (bytes > BATCH_BYTES_MAX && batch._ids[0]) break;
    // Another tab may have settled it just now.
    if (text) (batch._ids.push(id), batch._texts.push(text));
  }
  return batch;
}

/** Takes an event out of the queue, now that its fate is known. */
export function settle(id: string, verdict: string, detail?: string): void {
  remove(WAITING + id);
  announce("verdict", { event_id: id, verdict, detail }, verdict != "accepted" && `event ${verdict}: ${detail}`);
}

/** Sets events aside that were sent without hope of an answer. */
export const setAside = (ids: string[]): void => set(SAID, get(SAID) + "," + ids);

/** Puts back what was set aside. */
export const putBack = (): void => remove(SAID);
