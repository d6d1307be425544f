/** Whatever happens to the page, the browser or the way: every recorded event is stored exactly once. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect } from "vitest";

import { crash, killBrowser, launchWithProfile, untilOnDisk, userAgentOf } from "./support/browser.ts";
import { test, type Scene } from "./support/scene.ts";
import { sleep, until } from "./support/until.ts";
import { track } from "./support/visitor.ts";

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

test("the next visit delivers what a tab that was killed had not sent", async ({ scene }) => {
  scene.gate.answer(503, { "retry-after": "1" });
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await track(page, "thought", 5);
  await until("they are recorded", () => visitor.of("thought").length === 5);
  await crash(page);
  await page.close();

  scene.gate.pass();
  await visitor.open(scene.site.origin);
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
  await visitor.open(scene.site.origin);
  await scene.everyEventOnce();
});

test("a browser that was killed delivers what it had when it is started again", async ({ scene }) => {
  const profile = await mkdtemp(join(tmpdir(), "journey-profile-"));
  try {
    scene.gate.answer(503, { "retry-after": "1" });
    const userAgent = userAgentOf(scene.browser);
    const visitor = await scene.watch(await launchWithProfile(profile, userAgent));
    const page = await visitor.open(scene.site.origin);
    await track(page, "thought", 5);
    await until("they are recorded", () => visitor.of("thought").length === 5);
    await untilOnDisk(profile, visitor.of("thought")[4]!.event_id);
    await killBrowser(profile);

    scene.gate.pass();
    await visitor.continueWith(await launchWithProfile(profile, userAgent));
    await visitor.open(scene.site.origin);
    const stored = await scene.everyEventOnce();
    expect(stored.filter((event) => event.event_type === "thought")).toHaveLength(5);
    expect(new Set(stored.map((event) => event.device_id)).size).toBe(1);
    await visitor.context.close();
  } finally {
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  }
});

test("a page that is closed sends its last words without another visit", async ({ scene }) => {
  scene.site.page("/", { options: { flushIntervalMs: 60_000, batchSize: 50 } });
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
  scene.site.page("/", { options: { flushIntervalMs: 60_000, batchSize: 50 } });
  const elsewhere = scene.site.page("/elsewhere", { embeds: false }).replace("localhost", "127.0.0.1");
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await track(page, "thought", 5);
  await page.goto(elsewhere);

  await untilLeft(scene);
  await scene.everyEventOnce();
});

test("last words that are too long for one farewell reach the service in the end", async ({ scene }) => {
  scene.site.page("/", { options: { flushIntervalMs: 60_000, batchSize: 50 } });
  scene.gate.hang();
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await track(page, "thought", 120, { text: "long ".repeat(400) });
  await until("they are recorded", () => visitor.of("thought").length === 120);
  await page.close({ runBeforeUnload: true });

  scene.gate.pass();
  await visitor.open(scene.site.page("/again", {}));
  await scene.everyEventOnce();
});

for (const tabs of [2, 5]) {
  test(`${tabs} tabs that record at the same time send each event once`, async ({ scene }) => {
    scene.gate.slow(300);
    const visitor = await scene.visitor();
    const pages = await Promise.all(Array.from({ length: tabs }, () => visitor.open(scene.site.origin)));
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

test("a full service is asked again no sooner than it said, and less and less often", async ({ scene }) => {
  scene.gate.answer(503, { "retry-after": "2" });
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await until("it was asked twice", () => scene.gate.sendings.length >= 2);
  // What is recorded meanwhile waits, too.
  await track(page, "thought", 60);
  await until("it was asked three times", () => scene.gate.sendings.length >= 3);
  const gaps = gapsOf(scene);
  expect(Math.min(...gaps), `gaps of ${gaps} ms`).toBeGreaterThanOrEqual(1950);

  scene.gate.pass();
  await scene.everyEventOnce();
});

test("while the service has no answer but 503, the gaps between requests grow", async ({ scene }) => {
  scene.gate.answer(503);
  const visitor = await scene.visitor();
  await visitor.open(scene.site.origin);
  await until("it was asked five times", () => scene.gate.sendings.length >= 5, 40_000);
  const gaps = gapsOf(scene);
  expect(gaps[3], `gaps of ${gaps} ms`).toBeGreaterThan(gaps[0]! * 1.5);

  scene.gate.pass();
  await until("it is asked again", () => scene.gate.sendings.at(-1)?.status === 202, 40_000);
  await scene.everyEventOnce();
});

test("429 is obeyed like 503", async ({ scene }) => {
  scene.gate.answer(429, { "retry-after": "2" });
  const visitor = await scene.visitor();
  await visitor.open(scene.site.origin);
  await until("it was asked twice", () => scene.gate.sendings.length >= 2);
  expect(gapsOf(scene)[0]).toBeGreaterThanOrEqual(1950);

  scene.gate.pass();
  await scene.everyEventOnce();
});

test("a reload does not ask a full service again before its time", async ({ scene }) => {
  scene.gate.answer(503, { "retry-after": "3" });
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await until("it was asked", () => scene.gate.sendings.length === 1 && visitor.state?.failures);
  const asked = scene.gate.sendings[0]!.at;
  await page.goto(scene.site.page("/embedded", {}));
  await until("it was asked again", () => byFetch(scene).length >= 2);
  expect(byFetch(scene)[1]!.at - asked).toBeGreaterThanOrEqual(2950);

  scene.gate.pass();
  await scene.everyEventOnce();
});

test("an event whose answer was lost is sent again and stored once", async ({ scene }) => {
  scene.gate.loseAnswers();
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await track(page, "thought", 5);
  await until("it was stored unheard", () => sent(scene, "thought").length >= 5);

  scene.gate.pass();
  await until("it was sent again", () => [...scene.gate.timesSent.values()].some((times) => times > 1));
  const first = scene.gate.events.find((event) => event.event_type === "thought");
  const again = scene.gate.events.findLast((event) => event.event_id === first?.event_id);
  expect(again, "an event stays as it was recorded").toEqual(first);
  await scene.everyEventOnce();
});

test("a slow service is waited for", async ({ scene }) => {
  scene.gate.slow(1500);
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  for (let round = 0; round < 5; round++) {
    await track(page, "thought", 3, { round });
    await sleep(200);
  }
  await scene.everyEventOnce();
  scene.noEventSentTwice();
});

test("a service that never answers is given up and asked again", async ({ scene }) => {
  scene.gate.hang();
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await until("it was asked", () => scene.gate.sendings.length > 0);
  scene.gate.pass();
  await track(page, "thought", 5);
  await until("it was asked again", () => scene.gate.sendings.length > 1, 45_000);
  await scene.everyEventOnce();
});

test("a service that refuses connections gets everything once it is back", async ({ scene }) => {
  await scene.gate.refuse();
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await track(page, "thought", 5);
  await until("sending failed", () => visitor.state?.failures);
  await scene.gate.accept();
  await scene.everyEventOnce();
});

test("a service that is killed and started again in the middle of a stream has every event", async ({ scene }) => {
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  const talking = (async () => {
    for (let round = 0; round < 40; round++) {
      await track(page, "thought", 2, { round });
      await sleep(50);
    }
  })();
  await scene.untilStored("the first events are stored", (events) => events.length > 2);
  await scene.service.kill();
  await until("sending failed", () => visitor.state?.failures);
  await scene.service.startAgain();
  await talking;
  await until("all is recorded", () => visitor.of("thought").length === 80);
  await scene.everyEventOnce();
});

test("without PostgreSQL and Redis the service says 503 and everything is delivered later", async ({ scene }) => {
  const { database, queue } = scene.service;
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await scene.everyEventOnce();
  await Promise.all([database.cut(), queue.cut()]);
  try {
    await track(page, "thought", 5);
    await until("the service says 503", () => scene.gate.sendings.some((sending) => sending.status === 503));
  } finally {
    await Promise.all([database.mend(), queue.mend()]);
  }
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

for (const status of [400, 413, 422]) {
  test(`events answered with ${status} are dropped and said so, and later ones flow`, async ({ scene }) => {
    const visitor = await scene.visitor();
    const page = await visitor.open(scene.site.origin);
    await scene.everyEventOnce();
    const errors = [{ index: 0, code: "invalid_field", field: "event_type", detail: "It is not right." }];
    scene.gate.answer(status, {}, { status, code: "invalid_batch", detail: "It is not right.", errors });
    await track(page, "refused", 1);
    const [refused] = await until("it is recorded", () => visitor.of("refused").length && visitor.of("refused"));
    await until("its fate is said", () => visitor.verdicts.some((said) => said.event_id === refused!.event_id));
    expect(visitor.verdicts.find((said) => said.event_id === refused!.event_id)?.verdict).not.toBe("accepted");
    expect(visitor.console.join("\n"), "the console").toMatch(/It is not right|invalid|refused|rejected|dropped/);

    scene.gate.pass();
    await track(page, "thought", 5);
    await scene.untilStored(
      "later events are stored",
      (events) => events.filter((event) => event.event_type === "thought").length === 5,
    );
    const stored = await scene.everyEventOnce({ except: [refused!.event_id] });
    expect(stored.map((event) => event.event_id)).not.toContain(refused!.event_id);
    expect(scene.gate.timesSent.get(refused!.event_id)).toBe(1);
  });
}

test("the service judges each event of a batch, and the good ones stay", async ({ scene }) => {
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await track(page, "thought", 1);
  await track(page, "Not A Name!", 1);
  await track(page, "afterthought", 1);
  await until("all are recorded", () => visitor.of("afterthought").length);
  const wrong = visitor.of("Not A Name!").map((event) => event.event_id);
  await scene.everyEventOnce({ except: wrong });
  for (const id of wrong) {
    expect(visitor.verdicts.find((said) => said.event_id === id)?.verdict).toBe("rejected");
  }
});

for (const status of [401, 403]) {
  test(`after ${status} the page stops sending and says so`, async ({ scene }) => {
    scene.gate.answer(status, {}, { status, code: "invalid_key", detail: "The key is not known." });
    const visitor = await scene.visitor();
    const page = await visitor.open(scene.site.origin);
    await until("it stopped", () => visitor.state?.stopped);
    const requests = scene.gate.sendings.length;
    for (let round = 0; round < 5; round++) {
      await track(page, "thought", 5);
      await sleep(150);
    }
    expect(scene.gate.sendings.length, "requests").toBe(requests);
    expect(requests).toBe(1);
    expect(visitor.console.join("\n")).toContain(String(status));
    expect(visitor.errors).toEqual([]);
  });
}

test("a queue that is full drops its oldest events and says so", async ({ scene }) => {
  scene.site.page("/", { options: { queueSizeMax: 20 } });
  scene.gate.answer(503, { "retry-after": "2" });
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await track(page, "thought", 50);
  const recorded = await until("they are recorded", () => visitor.recorded.length >= 51 && visitor.recorded);
  const dropped = await until("dropping is said", () => {
    const said = visitor.verdicts.filter((one) => one.verdict === "dropped");
    return said.length >= 31 && said;
  });
  const lost = dropped.map((said) => said.event_id);
  expect(lost).toEqual(recorded.slice(0, 31).map((event) => event.event_id));
  expect(visitor.console.join("\n")).toMatch(/drop|oldest|full/i);

  scene.gate.pass();
  await scene.everyEventOnce({ except: lost });
});

test("a clock that is three days slow does not make old events", async ({ scene }) => {
  const visitor = await scene.visitor();
  await visitor.context.addInitScript(() => {
    const slow = 3 * 24 * 3600 * 1000;
    const RealDate = Date;
    globalThis.Date = class extends RealDate {
      constructor(...parameters: [] | [number]) {
        super(...((parameters.length ? parameters : [RealDate.now() - slow]) as [number]));
      }
      static override now() {
        return RealDate.now() - slow;
      }
    } as DateConstructor;
  });
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
  await until("it was asked twice", () => scene.gate.sendings.length >= 2);
  scene.gate.pass();
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

/** Events of a type that reached the gate, as often as they did. */
function sent(scene: Scene, type: string): unknown[] {
  return scene.gate.events.filter((event) => event.event_type === type);
}

/** Requests of a page that lives; the last words of one that goes away do not wait. */
function byFetch(scene: Scene): Scene["gate"]["sendings"] {
  return scene.gate.sendings.filter((sending) => !sending.events.some((event) => event.event_type === "page_leave"));
}

/** Milliseconds between an answer and the next request. */
function gapsOf(scene: Scene): number[] {
  const { sendings } = scene.gate;
  return sendings.slice(1).map((sending, index) => sending.at - (sendings[index]!.answeredAt ?? sendings[index]!.at));
}

/** Waits until the service has the leave of a page: from then on there is nobody who could send it again. */
function untilLeft(scene: Scene): Promise<unknown> {
  return scene.untilStored("the leave is stored", (events) =>
    events.some((event) => event.event_type === "page_leave"),
  );
}
