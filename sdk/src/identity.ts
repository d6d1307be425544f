/** Who and when: the device, the person it was linked to, the session, and the order of events. */
import { makeId } from "./id.ts";
import { options } from "./options.ts";
import { get, OWN, remove, set } from "./store.ts";

const DEVICE = OWN + "device";
const SESSION = OWN + "session";
const COUNT = OWN + "seq";
const USER = OWN + "user";

/** A session ends after a day, however busy it is; the service has the same rule. */
const SESSION_LENGTH_MAX_MS = 864e5;

/** Returns the device's id, made on first use. */
export function deviceId(): string {
  const id = get(DEVICE) ?? makeId();
  set(DEVICE, id);
  return id;
}

const readSession = () => (get(SESSION) ?? "").split(" ") as [id: string, began: string, seen: string];

/** Whether an event of this moment would begin a session. */
export function isSessionOver(now = Date.now()): boolean {
  const [id, began, seen] = readSession();
  // One that begins far in the future comes from a clock that was wrong; an event dated back is no reason to end one.
  return !(id && now - +seen <= options.sessionTimeoutMinutes * 6e4 && Math.abs(now - +began) <= SESSION_LENGTH_MAX_MS);
}

/** Returns the session that an event of this moment belongs to, and keeps it alive. */
export function sessionId(now = Date.now()): string {
  const [id, began, seen] = isSessionOver(now) ? [makeId(), now, 0] : readSession();
  // An event may be dated back to when the page was last seen.
  set(SESSION, [id, began, Math.max(now, +seen)].join(" "));
  return id;
}

/** Returns the next number of this device's count: it orders events of the same millisecond. */
export function nextNumber(): number {
  const next = +get(COUNT)! + 1 || 1;
  set(COUNT, next);
  return next;
}

export const userId = (): string | null | undefined => get(USER);

/** Links this device to a person. A second person on the same device starts a life of their own. */
export function linkUser(id: unknown): void {
  if (userId() && userId() != id) forgetIdentity();
  set(USER, id);
}

export const forgetIdentity = (): void => [DEVICE, SESSION, COUNT, USER].forEach(remove);
