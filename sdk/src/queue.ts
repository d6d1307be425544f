/** Events that wait for the service's answer: one entry each, so that two tabs never overwrite each other's. */
import { announce } from "./announce.ts";
import { get, keys, OWN, remove, set } from "./store.ts";

const WAITING = OWN + "q.";
/**
 * Ids of events that a page said as it went away, with nobody left to hear the answer. The next page sends them again,
 * and the service knows what it already has.
 */
const SAID = OWN + "said";
/** Ids that a page leaves to the page of the site that takes its place. */
const HANDED = OWN + "handed";
/** Most events kept while the service cannot be reached; beyond it the oldest go. */
const SIZE_MAX = 1000;
/** Most events in one request: half of what the service takes by default. */
const BATCH_EVENTS_MAX = 50;
/** Characters. A page that goes away may have 64 KiB under way: two of these, unless most letters are not Latin. */
const BATCH_LENGTH_MAX = 2e4;
/** An event of another page that still waits after so many milliseconds has lost its page. */
const ORPHAN_MS = 2e4;

/** Ids of the events that are this page's to send. */
const own = new Set<string>();

/** Ids begin with their time: that of one ahead of now comes from a clock that was wrong. */
const timeOf = (id: string) => parseInt(id.replace("-", ""), 16);

/**
 * Returns the ids of the events that are this page's to send, oldest first, without those in `except`.
 *
 * Other pages send theirs: what they have removed from the store may still be seen here for a moment.
 */
export function waitingIds(except: unknown = ""): string[] {
  except += "" + get(SAID);
  return keys(WAITING)
    .map((key) => key.slice(WAITING.length))
    .filter((id) => !(except as string).includes(id) && (own.has(id) || Math.abs(Date.now() - timeOf(id)) > ORPHAN_MS));
}

/** Whether any page of the site has an event that waits. */
export const isAnyWaiting = () => !!keys(WAITING)[0];

/** Puts an event into the queue. */
export function enqueue(id: string, text: string): void {
  own.add(id);
  set(WAITING + id, text);
  const all = keys(WAITING);
  if (all.length > SIZE_MAX) settle(all[0]!.slice(WAITING.length), "dropped", "full");
}

/** Returns an event as JSON. */
export const textOfEvent = (id: string) => get(WAITING + id);

/** Returns the ids of the oldest events, as many as one request may carry, without those in `except`. */
export function nextBatch(except?: unknown): string[] {
  let length = 0;
  return waitingIds(except)
    .slice(0, BATCH_EVENTS_MAX)
    .filter((id, place) => (length += textOfEvent(id)!.length) < BATCH_LENGTH_MAX || !place);
}

/** Takes an event out of the queue, now that its fate is known. */
export function settle(id: string, verdict: string, detail?: unknown): void {
  own.delete(id);
  remove(WAITING + id);
  announce("verdict", { event_id: id, verdict, detail }, detail);
}

/** Sets events aside that were sent without hope of an answer. */
export const setAside = (ids: string[]): void => set(SAID, get(SAID) + "," + ids);

/** Leaves what waits to the page that takes this one's place. */
export const handOver = (): void => set(HANDED, waitingIds());

/** Takes what the page before left, and puts back what was set aside. */
export function takeOver(): void {
  for (const id of (get(HANDED) ?? "").split(",")) own.add(id);
  [HANDED, SAID].forEach(remove);
}
