import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect } from "vitest";

import { crash, killBrowser, launchWithProfile, untilOnDisk, userAgentOf } from "./support/browser.ts";
import { test } from "./support/scene.ts";
import { until } from "./support/until.ts";
import { track } from "./support/visitor.ts";

test("events recorded offline are delivered once the network is back", async ({ scene }) => {
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await scene.everyEventOnce();

  await visitor.context.setOffline(true);
  await track(page, "thought", 5);
  await until("they are recorded", () => visitor.of("thought").length === 5);
  expect(scene.gate.events.filter((event) => event.event_type === "thought")).toEqual([]);

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
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await track(page, "thought", 5);
  await page.close({ runBeforeUnload: true });

  await scene.untilStored("the page's leave is stored", (events) => events.some((event) => event.event_type === "page_leave"));
  const stored = await scene.everyEventOnce();
  expect(stored.filter((event) => event.event_type === "thought")).toHaveLength(5);
});
