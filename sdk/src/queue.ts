/** Events that wait for the service's answer: one entry each, so that two tabs never overwrite each other's. */
import type { Announce } from "./announce.ts";
import { OWN, type Store } from "./store.ts";

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

export interface Queue {
  _add(id: string, text: string): void;
  _size(): number;
  /** The oldest events, as many as one request may carry, without those in `except`. */
  _batch(except?: string): Batch;
  /** Takes an event out, now that its fate is known. */
  _settle(id: string, verdict: string, detail?: string): void;
  /** Sets a batch aside that was sent without hope of an answer; without one, puts back what was set aside. */
  _say(batch?: Batch): void;
}

export function makeQueue(store: Store, sizeMax: number, announce: Announce): Queue {
  const waiting = (except = "") => {
    except += store._get(SAID);
    return store._keys(WAITING).filter((key) => !except.includes(key.slice(WAITING.length)));
  };
  const queue: Queue = {
    _add(id, text) {
      store._set(WAITING + id, text);
      const keys = waiting();
      if (keys.length > sizeMax) queue._settle(keys[0]!.slice(WAITING.length), "dropped", "queue is full");
    },
    _size: () => waiting().length,
    _batch(except) {
      const batch: Batch = { _ids: [], _texts: [] };
      let bytes = 0;
      for (const key of waiting(except).slice(0, BATCH_EVENTS_MAX)) {
        const text = store._get(key);
        bytes += new Blob([text!]).size;
        if (bytes > BATCH_BYTES_MAX && batch._ids[0]) break;
        // Another tab may have settled it just now.
        if (text) batch._ids.push(key.slice(WAITING.length)), batch._texts.push(text);
      }
      return batch;
    },
    _settle(id, verdict, detail) {
      store._remove(WAITING + id);
      announce("verdict", { event_id: id, verdict, detail }, verdict != "accepted" && `event ${verdict}: ${detail}`);
    },
    _say: (batch) => (batch ? store._set(SAID, store._get(SAID) + "," + batch._ids) : store._remove(SAID)),
  };
  return queue;
}
