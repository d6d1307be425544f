/** Waiting for conditions, not for times. */

/** How long a condition may take to come true on a machine that is busy with other things. */
const PATIENCE_MS = 20_000;

export type Truthy<T> = Exclude<T, false | 0 | "" | null | undefined>;

/** Asks `condition` until it gives something; after `patienceMs` it fails, and says what was waited for. */
export async function until<T>(
  what: string,
  condition: () => T | Promise<T>,
  patienceMs = PATIENCE_MS,
): Promise<Truthy<T>> {
  const deadline = Date.now() + patienceMs;
  for (;;) {
    const value = await condition();
    if (value) return value as Truthy<T>;
    if (Date.now() > deadline) throw new Error(`waited in vain until ${what}`);
    await sleep(20);
  }
}

/** For what takes time by its nature: a promise that nothing happens, or a clock that has to move. */
export function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
