/** A person with a browser, and the note of everything the SDK says it recorded there. */
import type { BrowserContext, BrowserContextOptions, Page } from "playwright-core";

import { LAST_WORDS_PATH } from "./site.ts";
import type { WireEvent } from "./wire-event.ts";

/** What the SDK announces on `document`. */
export type Announcement =
  | { kind: "event"; event: WireEvent }
  | { kind: "verdict"; event_id: string; verdict: "accepted" | "rejected" | "refused" | "dropped"; detail?: string }
  | { kind: "state"; waiting: number; failures: number; stopped: boolean };

export class Visitor {
  /** Everything announced on all pages, in order; it outlives pages, crashes and restarts. */
  readonly announcements: Announcement[] = [];
  /** What the pages wrote to the console. */
  readonly console: string[] = [];
  /** Exceptions that reached a page. */
  readonly errors: string[] = [];
  private constructor(public context: BrowserContext) {}

  static async with(context: BrowserContext): Promise<Visitor> {
    const visitor = new Visitor(context);
    await visitor.listen();
    return visitor;
  }

  /** Goes on with another browser, after the first one died. */
  async continueWith(context: BrowserContext): Promise<void> {
    this.context = context;
    await this.listen();
  }

  /** Opens a page in a tab of its own and waits until the SDK runs there. */
  async open(url: string): Promise<Page> {
    const page = await this.context.newPage();
    await page.goto(url);
    await ready(page);
    return page;
  }

  /** Loses the network and finds it again, which ends every wait. */
  async reconnect(): Promise<void> {
    await this.context.setOffline(true);
    await this.context.setOffline(false);
  }

  /** Every event the SDK says it recorded. */
  get recorded(): WireEvent[] {
    return this.announcements.flatMap((said) => (said.kind === "event" ? [said.event] : []));
  }

  /** Recorded events of a type. */
  of(type: string): WireEvent[] {
    return this.recorded.filter((event) => event.event_type === type);
  }

  /** What became of events, as far as the SDK said it. */
  get verdicts(): Extract<Announcement, { kind: "verdict" }>[] {
    return this.announcements.filter((said) => said.kind === "verdict");
  }

  /** The SDK's last word about itself. */
  get state(): Extract<Announcement, { kind: "state" }> | undefined {
    return this.announcements.filter((said) => said.kind === "state").at(-1);
  }

  private async listen(): Promise<void> {
    await this.context.exposeBinding("noteAnnouncement", (_source, said: Announcement) => {
      this.announcements.push(said);
    });
    await this.context.addInitScript(listenInPage, LAST_WORDS_PATH);
    this.context.on("console", (message) => this.console.push(message.text()));
    this.context.on("weberror", (error) => this.errors.push(String(error.error())));
  }
}

/**
 * Runs in every page before its own scripts. What is announced while the page goes away would not reach the test in
 * time, so the page sends its id to its own site, besides.
 */
function listenInPage(lastWordsPath: string): void {
  const note = (globalThis as unknown as { noteAnnouncement(said: unknown): void }).noteAnnouncement;
  let isLeaving = false;
  addEventListener("pagehide", () => (isLeaving = true), true);
  addEventListener("pageshow", () => (isLeaving = false), true);
  document.addEventListener("customer-journey", (event) => {
    const said = (event as CustomEvent).detail;
    note(said);
    if (isLeaving && said.kind === "event") navigator.sendBeacon(lastWordsPath, said.event.event_id);
  });
}

/** Waits until the SDK runs in a page. */
export async function ready(page: Page): Promise<void> {
  await page.waitForFunction(() => typeof (globalThis as Partial<PageGlobals>).customerJourney?.flush === "function");
}

/** Calls a method of the running SDK. */
export function call(page: Page, method: string, ...parameters: unknown[]): Promise<unknown> {
  return page.evaluate(
    ([name, list]) => {
      const sdk = (globalThis as unknown as PageGlobals).customerJourney;
      return sdk[name]?.(...list);
    },
    [method, parameters] as const,
  );
}

/** Records `count` events named `name` with a number each. */
export function track(page: Page, name: string, count: number, more: Record<string, unknown> = {}): Promise<void> {
  return page.evaluate(
    ([type, times, properties]) => {
      const sdk = (globalThis as unknown as PageGlobals).customerJourney;
      for (let number = 0; number < times; number++) sdk.track?.(type, { ...properties, number });
    },
    [name, count, more] as const,
  );
}

interface PageGlobals {
  customerJourney: Record<string, (...parameters: unknown[]) => unknown>;
}

export type VisitorOptions = BrowserContextOptions;
