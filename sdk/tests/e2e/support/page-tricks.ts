/** What a page is told about its surroundings: things that a browser under test cannot do for real. */
import type { BrowserContext, Page } from "playwright-core";

import { until } from "./until.ts";

interface Tricks {
  visibility: DocumentVisibilityState;
  clockAheadMs: number;
}

/** Makes the visibility of pages a matter of `setVisibility`. */
export async function controlVisibility(context: BrowserContext, initial: DocumentVisibilityState): Promise<void> {
  await context.addInitScript((state) => {
    const tricks = globalThis as unknown as Tricks;
    tricks.visibility = state;
    Object.defineProperty(document, "visibilityState", { get: () => tricks.visibility });
    Object.defineProperty(document, "hidden", { get: () => tricks.visibility === "hidden" });
  }, initial);
}

/** Hides or shows a page, as changing tabs does. */
export async function setVisibility(page: Page, state: DocumentVisibilityState): Promise<void> {
  await page.evaluate((wanted) => {
    (globalThis as unknown as Tricks).visibility = wanted;
    document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
  }, state);
}

/** Sets the clock of pages ahead of the real one by so many milliseconds; `setClockAhead` changes it later. */
export async function controlClock(context: BrowserContext, aheadMs: number): Promise<void> {
  await context.addInitScript((ahead) => {
    const tricks = globalThis as unknown as Tricks;
    tricks.clockAheadMs = ahead;
    const RealDate = Date;
    globalThis.Date = class extends RealDate {
      constructor(...parameters: unknown[]) {
        super(...((parameters.length ? parameters : [RealDate.now() + tricks.clockAheadMs]) as [number]));
      }
      static override now() {
        return RealDate.now() + tricks.clockAheadMs;
      }
    } as DateConstructor;
  }, aheadMs);
}

export async function setClockAhead(page: Page, aheadMs: number): Promise<void> {
  await page.evaluate((ahead) => {
    (globalThis as unknown as Tricks).clockAheadMs = ahead;
  }, aheadMs);
}

/** Waits until tabs, which are processes of their own, see the same storage: what one writes reaches the others later. */
export async function untilStorageIsShared(pages: Page[]): Promise<void> {
  await until("the tabs see the same storage", async () => {
    const seen = pages.map((page) => page.evaluate(() => JSON.stringify(Object.entries(localStorage).sort())));
    return new Set(await Promise.all(seen)).size === 1;
  });
}

/** Everything a site keeps in the browser, by name. */
export function keptBy(page: Page): Promise<string[]> {
  return page.evaluate(async () => [
    ...Object.keys(localStorage),
    ...Object.keys(sessionStorage),
    ...document.cookie.split("; ").filter(Boolean),
    ...(await indexedDB.databases()).map((database) => database.name ?? ""),
    ...(await caches.keys()),
  ]);
}
