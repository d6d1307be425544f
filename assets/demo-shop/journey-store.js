/**
 * What the tracker remembers in the browser: ids, the session, the counter. Falls back to memory where storage is
 * forbidden, so the tracker never throws into the page.
 */

const SESSION_IDLE_MS = 30 * 60 * 1000;
const SESSION_LENGTH_MAX_MS = 24 * 60 * 60 * 1000;

const memory = new Map();
/** localStorage, or memory where the browser forbids it. */
export const storage = {
  get(key) {
    try {
      return localStorage.getItem(key) ?? memory.get(key) ?? null;
    } catch {
      return memory.get(key) ?? null;
    }
  },
  set(key, value) {
    try {
      localStorage.setItem(key, value);
      memory.delete(key);
    } catch {
      memory.set(key, value);
    }
  },
  remove(key) {
    memory.delete(key);
    try {
      localStorage.removeItem(key);
    } catch {
      // Nothing was stored there.
    }
  },
  keys(prefix) {
    const keys = new Set(memory.keys());
    try {
      Object.keys(localStorage).forEach((key) => keys.add(key));
    } catch {
      // Only memory is left.
    }
    return [...keys].filter((key) => key.startsWith(prefix));
  },
};

/** Parses JSON; anything broken is `null`. */
export function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Makes a UUID version 7: 48 bits of milliseconds, then random bits (RFC 9562, section 5.7). */
export function makeId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  let rest = Date.now();
  for (let place = 5; place >= 0; place -= 1) {
    bytes[place] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  bytes[6] = 0x70 | (bytes[6] & 0x0f);
  bytes[8] = 0x80 | (bytes[8] & 0x3f);
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

/** Returns the anonymous id of this browser, made on first use. */
export function deviceId() {
  let id = storage.get("journey.device");
  if (!id) {
    id = makeId();
    storage.set("journey.device", id);
  }
  return id;
}

/** Returns the session's id; 30 idle minutes or 24 hours begin a new one. */
export function sessionId() {
  const now = Date.now();
  const known = parse(storage.get("journey.session"));
  const lives = known && now - known.seen <= SESSION_IDLE_MS && now - known.began <= SESSION_LENGTH_MAX_MS;
  const session = lives ? { ...known, seen: now } : { id: makeId(), began: now, seen: now };
  storage.set("journey.session", JSON.stringify(session));
  return session.id;
}

/** Counts the events of this device, so that their order never depends on a clock. */
export function nextSequence() {
  const sequence = Number(storage.get("journey.seq") ?? 0) + 1;
  storage.set("journey.seq", String(sequence));
  return sequence;
}

/** Returns the person this device was linked to, or `undefined`. */
export function userId() {
  return storage.get("journey.user") ?? undefined;
}

/** Remembers the person this device belongs to. */
export function rememberUser(id) {
  storage.set("journey.user", id);
}

/** Forgets device, session, person and counter. */
export function forgetIdentity() {
  ["journey.device", "journey.session", "journey.user", "journey.seq"].forEach((key) => storage.remove(key));
}

/** Forgets everything, unsent events included. */
export function forgetAll() {
  storage.keys("journey.").forEach((key) => storage.remove(key));
}
