/** Who and when: the device, the person it was linked to, the session, and the order of events. */
import { makeId } from "./id.ts";
import { OWN, type Store } from "./store.ts";

const DEVICE = OWN + "device";
const SESSION = OWN + "session";
const COUNT = OWN + "seq";
const USER = OWN + "user";

/** A session ends after a day, however busy it is; the service has the same rule. */
const SESSION_LENGTH_MAX_MS = 864e5;

export interface Identity {
  /** Makes the device's id on first use. */
  _device(): string;
  /** Returns the session that an event of this moment belongs to, and keeps it alive. */
  _session(now: number): string;
  /** Whether an event of this moment would begin a session. */
  _isOver(now: number): boolean;
  /** The next number of this device's count: it orders events of the same millisecond. */
  _next(): number;
  _user(): string | undefined;
  _link(userId: string): void;
  _forget(): void;
}

export function makeIdentity(store: Store, timeoutMs: number): Identity {
  const readSession = () => (store._get(SESSION) ?? "").split(" ") as [id: string, began: string, seen: string];
  const isOver = (now: number) => {
    const [id, began, seen] = readSession();
    return !id || !(now - +seen <= timeoutMs && now - +began <= SESSION_LENGTH_MAX_MS);
  };
  return {
    _device() {
      const id = store._get(DEVICE) ?? makeId();
      store._set(DEVICE, id);
      return id;
    },
    _session(now) {
      let [id, began, seen] = readSession();
      if (isOver(now)) [id, began, seen] = [makeId(), "" + now, ""];
      // An event may be dated back to when the page was last seen.
      store._set(SESSION, [id, began, Math.max(now, +seen)].join(" "));
      return id;
    },
    _isOver: isOver,
    _next() {
      const next = (+store._get(COUNT)! || 0) + 1;
      store._set(COUNT, "" + next);
      return next;
    },
    _user: () => store._get(USER),
    _link: (userId) => store._set(USER, userId),
    _forget: () => [DEVICE, SESSION, COUNT, USER].forEach(store._remove),
  };
}
