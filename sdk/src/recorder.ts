/** From what happened to an event in the queue, and the moments of a page view that more than one part cares about. */
import { cleanAddress } from "./address.ts";
import { announce } from "./announce.ts";
import { isKnown, mayRecord } from "./consent.ts";
import { makeId } from "./id.ts";
import { deviceId, nextNumber, sessionId, userId } from "./identity.ts";
import { guard } from "./listen.ts";
import { enqueue } from "./queue.ts";
import { schedule } from "./sender.ts";
import type { EventFields } from "./types.ts";

/** Called, in order, when the page goes out of sight, perhaps for good, or its view ends; what is recorded is still sent. */
export const onHide: (() => void)[] = [];
/** Called when the page view is over, by another route or because the page goes away; before the `page_leave`. */
export const onEnd: (() => void)[] = [];

let heldAt: number | undefined;
let heldAddress: string | undefined;

/** From now on, events happen at this time and address instead of the present ones; without them, no longer. */
export function hold(at?: number, address?: string): void {
  heldAt = at;
  heldAddress = address;
}

/** Records an event, or does nothing where nothing may be recorded. Never throws. `at` is in ms since 1970. */
export const record = guard((type: string, fields?: EventFields, at: number = heldAt ?? Date.now()) => {
  if (!mayRecord()) return;
  const event = {
    page_url: heldAddress || cleanAddress(location.href),
    ...fields,
    event_id: makeId(),
    event_type: type,
    timestamp: new Date(at).toISOString(),
    seq: nextNumber(),
    ...(isKnown() && { device_id: deviceId(), session_id: sessionId(at) }),
    user_id: userId(),
  };
  enqueue(event.event_id, JSON.stringify(event));
  announce("event", { event });
  schedule();
});
