/** What is remembered between pages: localStorage where that is allowed and works, else memory. */
import { mayKeep, mayRecord } from "./consent.ts";

/** Begins the name of everything this SDK keeps in the browser. */
export const OWN = "cj.";
/** The visitor's decision, which is kept even where nothing else is. */
export const DECISION = OWN + "consent";

const memory: Record<string, string> = {};

/**
 * Uses the storage where `key` may be kept; the decision always may, and removing is done in its name. Even looking at
 * `localStorage` throws where the visitor forbids it, and writing does where it is full.
 */
function inStorage<T>(key: string, use: (storage: Storage) => T): T | undefined {
  try {
    if (key == DECISION || mayKeep()) return use(localStorage);
  } catch {
    // Memory has to do.
  }
}

/** What other pages of the site know comes first: a visitor that one page may remember has one device in all of them. */
export const get = (key: string): string | null | undefined =>
  inStorage(key, (storage) => storage.getItem(key)) ?? memory[key];

/**
 * A value is replaced in one step, never removed first: a tab that looked in between would take the visitor for a new one.
 * Only where writing fails the old value goes, since it would come before what is in memory.
 */
export function set(key: string, value: unknown): void {
  delete memory[key];
  // The storage makes text of it.
  if (inStorage(key, (storage) => (storage.setItem(key, value as string), 1))) return;
  remove(key);
  memory[key] = "" + value;
}

export function remove(key: string): void {
  delete memory[key];
  inStorage(DECISION, (storage) => storage.removeItem(key));
}

/** Returns the names that begin with `prefix`, in order. */
export const keys = (prefix: string): string[] =>
  [...Object.keys(memory), ...(inStorage(DECISION, Object.keys) ?? [])].filter((key) => key.startsWith(prefix)).sort();

/** Whether everything here outlives the page. */
export const isLasting = (): boolean => mayKeep() && !Object.keys(memory)[0];

/** After a decision: moves what is in memory where it belongs, and forgets what may not be kept, but the decision. */
export function tidy(): void {
  for (const key of keys(OWN)) {
    const value = memory[key];
    if (key == DECISION || (mayKeep() && !value)) continue;
    remove(key);
    if (value && mayRecord()) set(key, value);
  }
}
