/** Whatever happens to the page, the browser or the way: every recorded event is stored exactly once. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Page } from "playwright-core";
import { expect } from "vitest";

import { crash, killBrowser, launchWithProfile, untilOnDisk } from "./support/browser.ts";
import { controlClock } from "./support/page-tricks.ts";
import { test, type Scene } from "./support/scene.ts";
import { sleep, until } from "./support/until.ts";
import { track, type Visitor } from "./support/visitor.ts";

/** An event that waits for so long has lost its page, and any other one sends it. */
const ORPHAN_MS = 20_000;

test("events recorded offline are delivered once the network is back", async ({ scene }) => {
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await scene.everyEventOnce();

  await visitor.context.setOffline(true);
  await track(page, "thought", 5);
  await until("they are recorded", () => visitor.of("thought").length === 5);
  await until("sending them failed", () => visitor.state?.failures);
  expect(sent(scene, "thought")).toHaveLength(0);

  await visitor.context.setOffline(false);
  await scene.everyEventOnce();
});

test("a reload loses no unsent event", async ({ scene }) => {
  scene.gate.answer(503, { "retry-after": "1" });
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await track(page, "thought", 5);
  await page.reload();
  await track(page, "afterthought", 5);
  await page.reload();
  await until("three page views are recorded", () => visitor.of("page_view").length === 3);

  scene.gate.pass();
  const stored = await scene.everyEventOnce();
  expect(stored.filter((event) => event.event_type === "thought")).toHaveLength(5);
  expect(stored.filter((event) => event.event_type === "afterthought")).toHaveLength(5);
  expect(stored.filter((event) => event.event_type === "page_leave")).toHaveLength(2);
});

test("the next visit delivers what a tab that was killed had not sent, once it is clear that nobody else will", async ({
  scene,
}) => {
  scene.gate.answer(503, { "retry-after": "1" });
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await track(page, "thought", 5);
  await until("they are recorded", () => visitor.of("thought").length === 5);
  const last = visitor.of("thought")[4]!;
  await crash(page);
  await page.close();

  scene.gate.pass();
  const next = await visitor.open(scene.site.origin);
  await until("the next page is viewed", () => visitor.of("page_view").length === 2);
  await until("its own events are accepted", () => visitor.state?.failures === 0 && visitor.verdicts.length);
  await until("they are orphans", () => Date.now() > Date.parse(String(last.timestamp)) + ORPHAN_MS, ORPHAN_MS * 2);
  await track(next, "afterthought", 1);
  const stored = await scene.everyEventOnce();
  expect(stored.filter((event) => event.event_type === "thought")).toHaveLength(5);
});

test("a tab that was killed while its request was on the way leaves one event each", async ({ scene }) => {
  scene.gate.slow(1500);
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await track(page, "thought", 5);
  await until("the request is on its way", () => sent(scene, "thought").length === 5);
  await crash(page);
  await page.close();

  scene.gate.pass();
  await returnLater(visitor, scene.site.origin);
  await scene.everyEventOnce();
});

test("a browser that was killed delivers what it had when it is started again", async ({ scene }) => {
  const profile = await mkdtemp(join(tmpdir(), "journey-profile-"));
  try {
    scene.gate.answer(503, { "retry-after": "1" });
    const visitor = await scene.watch(await launchWithProfile(profile));
    const page = await visitor.open(scene.site.origin);
    await track(page, "thought", 5);
    await until("they are recorded", () => visitor.of("thought").length === 5);
    await untilOnDisk(profile, visitor.of("thought")[4]!.event_id);
    await killBrowser(profile);

    scene.gate.pass();
    await visitor.continueWith(await launchWithProfile(profile));
    await returnLater(visitor, scene.site.origin);
    const stored = await scene.everyEventOnce();
    expect(stored.filter((event) => event.event_type === "thought")).toHaveLength(5);
    expect(new Set(stored.map((event) => event.device_id)).size).toBe(1);
    await visitor.context.close();
  } finally {
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  }
});

test("a page that is closed sends its last words without another visit", async ({ scene }) => {
  scene.site.page("/", { options: { flushIntervalMs: 60_000 } });
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await track(page, "thought", 5);
  expect(scene.gate.sendings).toHaveLength(0);
  await page.close({ runBeforeUnload: true });

  await untilLeft(scene);
  const stored = await scene.everyEventOnce();
  expect(stored.filter((event) => event.event_type === "thought")).toHaveLength(5);
});

test("a page that is left for another site sends its last words", async ({ scene }) => {
  scene.site.page("/", { options: { flushIntervalMs: 60_000 } });
  const elsewhere = scene.site.page("/elsewhere", { embeds: false }).replace("localhost", "127.0.0.1");
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await track(page, "thought", 5);
  await page.goto(elsewhere);

  await untilLeft(scene);
  await scene.everyEventOnce();
});

for (const [script, letter] of Object.entries({ Latin: "l", Greek: "λ", Chinese: "长" })) {
  test(`last words that are too long for one farewell reach the service in the end, in ${script} script`, async ({
    scene,
  }) => {
    scene.gate.hang();
    const visitor = await scene.visitor();
    const page = await visitor.open(scene.site.origin);
    await track(page, "thought", 120, { text: letter.repeat(1500) });
    await until("they are recorded", () => visitor.of("thought").length === 120);
    const closed = page.waitForEvent("close");
    await page.close({ runBeforeUnload: true });
    await closed;

    scene.gate.pass();
    await returnLater(visitor, scene.site.page("/again", {}));
    await scene.everyEventOnce();
  });
}

for (const tabs of [2, 5]) {
  test(`${tabs} tabs that record at the same time send each event once`, async ({ scene }) => {
    scene.gate.slow(300);
    const visitor = await scene.visitor();
    const first = await visitor.open(scene.site.origin);
    await until("the first tab began", () => visitor.recorded.length);
    const others = await Promise.all(Array.from({ length: tabs - 1 }, () => visitor.open(scene.site.origin)));
    const pages = [first, ...others];
    for (let round = 0; round < 5; round++) {
      await Promise.all(pages.map((page, tab) => track(page, "thought", 8, { tab, round })));
      await sleep(150);
    }
    await until("all is recorded", () => visitor.of("thought").length === tabs * 40);
    const stored = await scene.everyEventOnce();
    expect(stored.filter((event) => event.event_type === "thought")).toHaveLength(tabs * 40);
    expect(new Set(stored.map((event) => event.device_id)).size, "one device").toBe(1);
    expect(new Set(stored.map((event) => event.session_id)).size, "one session").toBe(1);
    scene.noEventSentTwice();
  });
}

test("when the tab that sends is closed, another one goes on sending", async ({ scene }) => {
  scene.gate.answer(503, { "retry-after": "1" });
  const visitor = await scene.visitor();
  const pages = [await visitor.open(scene.site.origin), await visitor.open(scene.site.origin)] as const;
  await track(pages[0], "thought", 5);
  await track(pages[1], "thought", 5);
  await until("all is recorded", () => visitor.of("thought").length === 10);
  await pages[0].close({ runBeforeUnload: true });

  scene.gate.pass();
  await scene.everyEventOnce();
});

test("without storage events still arrive, also those of a page that closes", async ({ scene }) => {
  const visitor = await scene.visitor();
  await visitor.context.addInitScript(() => {
    for (const storage of ["localStorage", "sessionStorage"]) {
      Object.defineProperty(globalThis, storage, {
        get() {
          throw new DOMException("The operation is insecure.", "SecurityError");
        },
      });
    }
  });
  const page = await visitor.open(scene.site.origin);
  await track(page, "thought", 5);
  await scene.everyEventOnce();
  await track(page, "afterthought", 5);
  await until("they are recorded", () => visitor.of("afterthought").length === 5);
  await page.close({ runBeforeUnload: true });

  await untilLeft(scene);
  const stored = await scene.everyEventOnce();
  expect(new Set(stored.map((event) => event.device_id)).size, "one device on one page").toBe(1);
});

test("with the storage full events still arrive, also those of a page that closes", async ({ scene }) => {
  const visitor = await scene.visitor();
  await visitor.context.addInitScript(() => {
    for (let size = 5 * 1024 * 1024; size >= 1; size = Math.floor(size / 2)) {
      try {
        for (let number = 0; ; number++) localStorage.setItem(`fill-${size}-${number}`, "x".repeat(size));
      } catch {
        // Full for this size; a smaller one may still fit.
      }
    }
  });
  const page = await visitor.open(scene.site.origin);
  await track(page, "thought", 20);
  await scene.everyEventOnce();
  await track(page, "afterthought", 5);
  await until("they are recorded", () => visitor.of("afterthought").length === 5);
  await page.close({ runBeforeUnload: true });

  await untilLeft(scene);
  await scene.everyEventOnce();
});

test("a clock that is three days slow does not make old events", async ({ scene }) => {
  const visitor = await scene.visitor();
  await controlClock(visitor.context, -3 * 24 * 3600 * 1000);
  const began = Date.now();
  const page = await visitor.open(scene.site.origin);
  await track(page, "thought", 5);
  const stored = await scene.everyEventOnce();
  for (const event of stored) {
    expect(Date.parse(event.timestamp)).toBeGreaterThan(began - 2000);
    expect(Date.parse(event.timestamp)).toBeLessThan(Date.now() + 2000);
  }
});

test("events that waited keep the time at which they happened", async ({ scene }) => {
  scene.gate.answer(503, { "retry-after": "2" });
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  const before = Date.now();
  await track(page, "thought", 1);
  const after = Date.now();
  await until("it was asked", () => visitor.state?.failures);
  await sleep(1000);
  scene.gate.pass();
  await visitor.reconnect();
  const stored = await scene.everyEventOnce();
  const thought = stored.find((event) => event.event_type === "thought");
  expect(Date.parse(thought!.timestamp)).toBeGreaterThanOrEqual(before - 100);
  expect(Date.parse(thought!.timestamp)).toBeLessThanOrEqual(after + 100);
});

test("a method that is called within a click that leaves the page loses nothing", async ({ scene }) => {
  scene.site.page("/", {
    body: `<a id="away" href="/next" onclick="customerJourney.trackSearch('tents')">Away</a>`,
    options: { flushIntervalMs: 60_000, autoClicks: true },
  });
  scene.site.page("/next", {});
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await page.click("#away");
  await until("the next page is seen", () => visitor.of("page_view").length === 2);
  const stored = await scene.everyEventOnce();
  expect(stored.filter((event) => event.event_type === "search")).toHaveLength(1);
  expect(stored.filter((event) => event.event_type === "click")).toHaveLength(1);
});

/** Opens a page when it is clear that the pages before it will send nothing any more. */
async function returnLater(visitor: Visitor, url: string): Promise<Page> {
  await controlClock(visitor.context, ORPHAN_MS + 10_000);
  return visitor.open(url);
}

/** Events of a type that reached the gate, as often as they did. */
function sent(scene: Scene, type: string): unknown[] {
  return scene.gate.events.filter((event) => event.event_type === type);
}

/** Waits until the service has the leave of a page: from then on there is nobody who could send it again. */
function untilLeft(scene: Scene): Promise<unknown> {
  return scene.untilStored("the leave is stored", (events) =>
    events.some((event) => event.event_type === "page_leave"),
  );
}
