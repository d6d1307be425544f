/** Whatever the service answers, or fails to: every recorded event is stored exactly once, or dropped and said so. */
import { expect } from "vitest";

import { test, type Scene } from "./support/scene.ts";
import { sleep, until } from "./support/until.ts";
import { call, track } from "./support/visitor.ts";

/** What the SDK keeps while the service cannot be reached. */
const QUEUE_EVENTS_MAX = 1000;

test("a full service is asked again no sooner than it said", async ({ scene }) => {
  scene.gate.answer(503, { "retry-after": "2" });
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await until("it was asked", () => visitor.state?.failures);
  // What is recorded meanwhile waits, too, and so does a flush.
  await track(page, "thought", 60);
  await call(page, "flush");
  await until("it was asked twice", () => scene.gate.sendings.length >= 2);
  expect(gapsOf(scene)[0]).toBeGreaterThanOrEqual(1950);

  scene.gate.pass();
  await visitor.reconnect();
  await scene.everyEventOnce();
});

test("while the service answers nothing but 503, the gaps between requests grow", async ({ scene }) => {
  scene.gate.answer(503);
  const visitor = await scene.visitor();
  // Half of each gap is random, and the largest of one step nearly the smallest of the next.
  await visitor.context.addInitScript(() => (Math.random = () => 0.5));
  await visitor.open(scene.site.origin);
  await until("it was asked four times", () => scene.gate.sendings.length >= 4, 30_000);
  const gaps = gapsOf(scene);
  expect(gaps[2], `gaps of ${gaps} ms`).toBeGreaterThan(gaps[0]! * 1.5);
  expect(gaps[2], `gaps of ${gaps} ms`).toBeGreaterThan(gaps[1]! * 1.01);

  scene.gate.pass();
  await visitor.reconnect();
  await scene.everyEventOnce();
});

test("429 is obeyed like 503", async ({ scene }) => {
  scene.gate.answer(429, { "retry-after": "2" });
  const visitor = await scene.visitor();
  await visitor.open(scene.site.origin);
  await until("it was asked twice", () => scene.gate.sendings.length >= 2);
  expect(gapsOf(scene)[0]).toBeGreaterThanOrEqual(1950);

  scene.gate.pass();
  await visitor.reconnect();
  await scene.everyEventOnce();
});

test("the next page does not ask a full service before its time either", async ({ scene }) => {
  scene.gate.answer(503, { "retry-after": "3" });
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await until("it was asked", () => visitor.state?.failures);
  await page.goto(scene.site.page("/next", {}));
  await until("it was asked again", () => scene.gate.sendings.length >= 2);
  expect(gapsOf(scene)[0]).toBeGreaterThanOrEqual(2950);

  scene.gate.pass();
  await visitor.reconnect();
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
  scene.gate.answer(503, { "retry-after": "60" });
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await track(page, "thought", QUEUE_EVENTS_MAX + 19);
  const recorded = await until(
    "they are recorded",
    () => visitor.recorded.length === QUEUE_EVENTS_MAX + 20 && visitor.recorded,
  );
  const dropped = await until("dropping is said", () => {
    const said = visitor.verdicts.filter((one) => one.verdict === "dropped");
    return said.length >= 20 && said;
  });
  const lost = dropped.map((said) => said.event_id);
  expect(new Set(lost).size).toBe(20);
  const timesOf = (isLost: boolean) =>
    recorded
      .filter((event) => lost.includes(event.event_id) === isLost)
      .map((event) => event.timestamp)
      .sort();
  expect(timesOf(true).at(-1)! <= timesOf(false)[0]!, "the lost ones are the oldest").toBe(true);
  expect(visitor.console.length).toBeGreaterThan(0);

  scene.gate.pass();
  await visitor.reconnect();
  await scene.everyEventOnce({ except: lost });
});

/** Events of a type that reached the gate, as often as they did. */
function sent(scene: Scene, type: string): unknown[] {
  return scene.gate.events.filter((event) => event.event_type === type);
}

/** Milliseconds between an answer and the next request. */
function gapsOf(scene: Scene): number[] {
  const { sendings } = scene.gate;
  return sendings.slice(1).map((sending, index) => sending.at - (sendings[index]!.answeredAt ?? sendings[index]!.at));
}
