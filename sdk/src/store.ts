/** What is remembered between pages: localStorage where that is wanted and works, else memory. */

/** Begins the name of everything this SDK keeps in the browser. */
export const OWN = "cj.";
/** The visitor's decision, which is kept even where nothing else is. */
export const DECISION = OWN + "consent";

let persistent = false;
const memory: Record<string, string> = {};

/** Even looking at `localStorage` throws where the visitor forbids it, and writing does where it is full. */
function inStorage<T>(isWanted: boolean, use: (storage: Storage) => T): T | undefined {
  try {
    if (isWanted) return use(localStorage);
  } catch {
    // Memory has to do.
  }
}

export const get = (key: string): string | null | undefined =>
  memory[key] ?? inStorage(persistent || key == DECISION, (storage) => storage.getItem(key));

export function set(key: string, value: unknown): void {
  memory[key] = "" + value;
  inStorage(persistent || key == DECISION, (storage) => {
    storage.setItem(key, memory[key]!);
    delete memory[key];
  });
}

export function remove(key: string): void {
  delete memory[key];
  inStorage(true, (storage) => storage.removeItem(key));
}

/** Returns the names that begin with `prefix`, in order. */
export const keys = (prefix: string): string[] =>
  [...Object.keys(memory), ...(inStorage(persistent, Object.keys) ?? [])]
    .filter((key) => key.startsWith(prefix))
    .sort();

/** Whether everything here outlives the page. */
export const isLasting = (): boolean => persistent && !Object.keys(memory)[0];

/** From now on, localStorage is used, or not. What is in memory moves there. */
export function persist(wanted: boolean): void {
  persistent = wanted;
  for (const key in memory) set(key, memory[key]!);
}

/** Forgets all but the visitor's decision, wherever it is kept. */
export function clear(): void {
  persistent = true;
  for (const key of keys(OWN)) if (key != DECISION) remove(key);
}
