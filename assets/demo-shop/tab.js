/**
 * What the shop remembers for this tab. A browser may forbid storage; then nothing is remembered and nothing breaks.
 */

/** Returns the value kept under this key, or `null`. */
export function readTab(key) {
  try {
    return JSON.parse(sessionStorage.getItem(key));
  } catch {
    return null;
  }
}

/** Keeps a value under this key; `null` forgets it. */
export function writeTab(key, value) {
  try {
    if (value === null) sessionStorage.removeItem(key);
    else sessionStorage.setItem(key, JSON.stringify(value));
  } catch {
    // Forbidden or full: the tab goes on without a memory.
  }
}
