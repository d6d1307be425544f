/** What is remembered between pages: localStorage where that is wanted and works, else memory. */

/** Begins the name of everything this SDK keeps in the browser. */
export const OWN = "cj.";

export interface Store {
  _get(key: string): string | undefined;
  _set(key: string, value: string): void;
  _remove(key: string): void;
  /** Names that begin with `prefix`, in order. */
  _keys(prefix: string): string[];
  /** Whether everything here outlives the page. */
  _isLasting(): boolean;
  /** From now on, localStorage is used, or not. What is in memory moves there. */
  _persist(wanted: boolean): void;
}

export function makeStore(persistent: boolean): Store {
  let memory: Record<string, string> = {};
  // Even looking at `localStorage` throws where the visitor forbids it, and writing does where it is full.
  const inStorage = <T>(use: (storage: Storage) => T): T | undefined => {
    try {
      if (persistent) return use(localStorage);
    } catch {
      // Memory has to do.
    }
  };
  const store: Store = {
    _get: (key) => memory[key] ?? inStorage((storage) => storage.getItem(key)) ?? undefined,
    _set(key, value) {
      memory[key] = value;
      inStorage((storage) => {
        storage.setItem(key, value);
        delete memory[key];
      });
    },
    _remove(key) {
      delete memory[key];
      inStorage((storage) => storage.removeItem(key));
    },
    _keys: (prefix) =>
      [...Object.keys(memory), ...(inStorage(Object.keys) ?? [])].filter((key) => key.startsWith(prefix)).sort(),
    _isLasting: () => persistent && !Object.keys(memory)[0],
    _persist(wanted) {
      persistent = wanted;
      for (const key in memory) store._set(key, memory[key]!);
    },
  };
  return store;
}
