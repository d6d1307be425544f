/** The stage of a test: the real service, a gate before it, a site that embeds the SDK, and people who visit it. */
import type { Browser } from "playwright-core";
import { expect, test as plain } from "vitest";

import type { Options } from "../../../src/types.ts";
import { launchBrowser } from "./browser.ts";
import { Gate } from "./gate.ts";
import { balance, storedEvents, type StoredEvent } from "./reading.ts";
import { Service } from "./service.ts";
import { Site } from "./site.ts";
import { until, type Truthy } from "./until.ts";
import { Visitor, type VisitorOptions } from "./visitor.ts";
import type { WireEvent } from "./wire-event.ts";

/** The most a browser sends for a page that is going away. */
const LAST_WORDS_BYTES_MAX = 64 * 1024;

/** Only what is asked for, soon: each test switches on what it is about. */
const QUIET: Partial<Options> = {
  autoClicks: false,
  autoScroll: false,
  autoForms: false,
  autoErrors: false,
  autoWebVitals: false,
  flushIntervalMs: 100,
};

export class Scene {
  readonly visitors: Visitor[] = [];

  private constructor(
    readonly service: Service,
    readonly browser: Browser,
    readonly gate: Gate,
    readonly site: Site,
    /** Stored by earlier tests. */
    private readonly known: ReadonlySet<string>,
  ) {}

  static async open(service: Service, browser: Browser): Promise<Scene> {
    await service.restore();
    const gate = await Gate.to(service.address);
    const site = await Site.open({ apiUrl: gate.address, apiKey: service.writeKey, ...QUIET });
    const known = await storedEvents(service);
    return new Scene(service, browser, gate, site, new Set(known.map((event) => event.event_id)));
  }

  /** A person who never was here before. */
  async visitor(options: VisitorOptions = {}): Promise<Visitor> {
    return this.watch(await this.browser.newContext(options));
  }

  /** A person with a browser of their own. */
  async watch(context: Visitor["context"]): Promise<Visitor> {
    const visitor = await Visitor.with(context);
    this.visitors.push(visitor);
    return visitor;
  }

  /** Everything recorded by anybody whose page lived to tell. */
  get recorded(): WireEvent[] {
    return this.visitors.flatMap((visitor) => visitor.recorded);
  }

  /** Ids of everything recorded by anybody, those of the last words too. */
  get recordedIds(): Set<string> {
    return new Set([...this.recorded.map((event) => event.event_id), ...this.site.lastWords]);
  }

  /** What was stored since the test began, oldest first. */
  async stored(): Promise<StoredEvent[]> {
    const stored = (await storedEvents(this.service)).filter((event) => !this.known.has(event.event_id));
    // Within a millisecond the page's own count says what came first.
    return stored.sort((one, other) => one.timestamp.localeCompare(other.timestamp) || one.seq - other.seq);
  }

  /** Waits until something about the stored events holds, and returns it. */
  untilStored<T>(what: string, condition: (events: StoredEvent[]) => T): Promise<Truthy<T>> {
    return until(what, async () => condition(await this.stored()));
  }

  /**
   * Waits until every recorded event is stored, and holds: exactly once, and nothing else; nothing vanished in the
   * service; no browser ever asked for leave; no request was larger than a page's last words may be. The ids in
   * `except` are those of events that were dropped for a reason.
   */
  async everyEventOnce({ except = [] }: { except?: string[] } = {}): Promise<StoredEvent[]> {
    const wanted = () => [...this.recordedIds].filter((id) => !except.includes(id));
    const isComplete = (events: StoredEvent[]) => {
      const stored = new Set(events.map((event) => event.event_id));
      return wanted().length === stored.size && wanted().every((id) => stored.has(id));
    };
    // Where this never comes true, the comparison below says what is missing or too much.
    await this.untilStored("every recorded event is stored", isComplete).catch(() => undefined);
    const stored = await this.stored();
    const ids = stored.map((event) => event.event_id);
    expect(new Set(ids).size, "no event is stored twice").toBe(ids.length);
    expect(this.name(ids), "stored is what was recorded").toEqual(this.name(wanted()));
    const announced = this.recorded.map((event) => event.event_id);
    expect(new Set(announced).size, "an event is announced once").toBe(announced.length);
    await this.nothingAmiss();
    return stored;
  }

  /** Says of which type events are, so that a comparison that fails says something. */
  private name(ids: string[]): string[] {
    const types = new Map(this.recorded.concat(this.gate.events).map((event) => [event.event_id, event.event_type]));
    return ids.map((id) => `${id} ${types.get(id)}`).sort();
  }

  /** Holds what is true of every visit, however it went. */
  async nothingAmiss(): Promise<void> {
    expect(this.gate.preflights, "preflights").toEqual([]);
    for (const sending of this.gate.sendings) {
      expect(sending.bytes, "bytes of a request").toBeLessThanOrEqual(LAST_WORDS_BYTES_MAX);
    }
    expect(
      this.visitors.flatMap((visitor) => visitor.errors),
      "exceptions in the page",
    ).toEqual([]);
    await this.booksBalance();
  }

  /** Waits until the service knows of each event what became of it, and none is on its way. */
  private booksBalance(): Promise<unknown> {
    return until("the service's books balance", async () => {
      const books = await balance(this.service);
      return books.difference === 0 && books.total.queued === 0;
    });
  }

  /** Holds that no event travelled twice. */
  noEventSentTwice(): void {
    const twice = [...this.gate.timesSent].filter(([, times]) => times > 1);
    const requests = this.gate.sendings.map(({ at, answeredAt, status, events }) => ({
      at,
      answeredAt,
      status,
      events: events.length,
    }));
    expect(twice, `events that were sent more than once, in ${JSON.stringify(requests)}`).toEqual([]);
  }

  /** Ends it; the gate first, so that pages that close now leave nothing to the next test, which counts what is stored. */
  async close(): Promise<void> {
    await this.gate.refuse();
    await this.service.restore();
    await this.booksBalance();
    await Promise.all(this.visitors.map((visitor) => visitor.context.close().catch(() => undefined)));
    await this.site.close();
  }
}

/** A test with a scene; the service and the browser are those of its file. */
export const test = plain
  .extend<{ $file: { service: Service; browser: Browser } }>({
    service: [
      async ({}, use) => {
        const service = await Service.start();
        await use(service);
        await service.remove();
      },
      { scope: "file" },
    ],
    browser: [
      async ({}, use) => {
        const browser = await launchBrowser();
        await use(browser);
        await browser.close();
      },
      { scope: "file" },
    ],
  })
  .extend<{ scene: Scene }>({
    scene: async ({ service, browser }, use) => {
      const scene = await Scene.open(service, browser);
      await use(scene);
      await scene.close();
    },
  });
