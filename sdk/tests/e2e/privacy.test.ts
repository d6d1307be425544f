/** What is recorded, kept and sent is what the visitor and the site agreed to, and nothing else. */
import { expect } from "vitest";

import { keptBy, untilStorageIsShared } from "./support/page-tricks.ts";
import { test, type Scene } from "./support/scene.ts";
import { sleep, until } from "./support/until.ts";
import { call, ready, track } from "./support/visitor.ts";

/** Long enough for what must not happen to happen: a few times the flush interval of the pages. */
const A_WHILE_MS = 600;

const REFUSALS = {
  "Do Not Track": ["doNotTrack", "1"],
  "Global Privacy Control": ["globalPrivacyControl", true],
} as const;

for (const [name, [property, value]] of Object.entries(REFUSALS)) {
  test(`with ${name} nothing is recorded, kept or sent`, async ({ scene }) => {
    scene.site.page("/", { body: `<button>Buy</button>`, options: { autoClicks: true, autoErrors: true } });
    const visitor = await scene.visitor();
    await visitor.context.addInitScript(
      ([key, said]) => Object.defineProperty(Navigator.prototype, key, { get: () => said }),
      [property, value] as const,
    );
    const page = await visitor.open(scene.site.origin);
    await page.click("button");
    await track(page, "thought", 5);
    await call(page, "identify", "ann");
    await page.evaluate(() => history.pushState({}, "", "/next"));
    await call(page, "flush");
    await sleep(A_WHILE_MS);
    expect(await keptBy(page)).toEqual([]);
    expect(await call(page, "hasOptedOut")).toBe(true);
    expect(await call(page, "getDeviceId")).toBeNull();
    await page.close({ runBeforeUnload: true });
    await sleep(A_WHILE_MS);
    expect(visitor.recorded).toEqual([]);
    expect(scene.gate.sendings).toEqual([]);
    await scene.everyEventOnce();
  });
}

test("a site may decide not to look at Do Not Track", async ({ scene }) => {
  scene.site.page("/", { options: { respectDnt: false } });
  const visitor = await scene.visitor();
  await visitor.context.addInitScript(() =>
    Object.defineProperty(Navigator.prototype, "doNotTrack", { get: () => "1" }),
  );
  const page = await visitor.open(scene.site.origin);
  await track(page, "thought", 2);
  const stored = await scene.everyEventOnce();
  expect(stored.map((event) => event.event_type)).toEqual(["page_view", "thought", "thought"]);
});

test("opting out empties the queue, and holds in every tab and on every later page", async ({ scene }) => {
  scene.gate.answer(503, { "retry-after": "60" });
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  // From here on nobody asks again, so that nothing is on its way when the visitor decides.
  await until("it was asked", () => visitor.state?.failures);
  const tab = await visitor.open(scene.site.origin);
  await track(page, "thought", 3);
  await until("they are recorded", () => visitor.of("thought").length === 3 && visitor.of("page_view").length === 2);
  await call(page, "optOut");
  await untilStorageIsShared([page, tab]);
  const before = visitor.recorded.map((event) => event.event_id);

  scene.gate.pass();
  const requests = scene.gate.sendings.length;
  await track(page, "afterthought", 3);
  await track(tab, "afterthought", 3);
  await page.reload();
  await ready(page);
  await track(page, "afterthought", 3);
  await visitor.reconnect();
  await call(page, "flush");
  await call(tab, "flush");
  await sleep(A_WHILE_MS);
  expect(await call(page, "hasOptedOut")).toBe(true);
  expect(await call(page, "getDeviceId")).toBeNull();
  expect(visitor.recorded).toHaveLength(before.length);
  expect(scene.gate.sendings).toHaveLength(requests);
  expect(await keptBy(page), "only the decision is kept").toHaveLength(1);
  expect(await scene.everyEventOnce({ except: before })).toEqual([]);
});

test("opting in again begins anew", async ({ scene }) => {
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await scene.everyEventOnce();
  const device = await call(page, "getDeviceId");
  await call(page, "optOut");
  await call(page, "optIn");
  expect(await call(page, "hasOptedOut")).toBe(false);
  await track(page, "thought", 1);
  await until("it is recorded", () => visitor.of("thought").length === 1);
  expect(visitor.of("thought")[0]?.device_id).not.toBe(device);
  await page.reload();
  await until("the page is viewed", () => visitor.of("page_view").length >= 2);
  await scene.everyEventOnce();
});

test("while consent is pending events wait in memory alone; granted, they are delivered as they were", async ({
  scene,
}) => {
  scene.site.page("/", { options: { consent: "pending" } });
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  const before = Date.now();
  await track(page, "thought", 3);
  await until("they are recorded", () => visitor.of("thought").length === 3);
  const after = Date.now();
  await sleep(A_WHILE_MS);
  expect(await keptBy(page)).toEqual([]);
  expect(scene.gate.sendings).toEqual([]);

  await call(page, "setConsent", "granted");
  const stored = await scene.everyEventOnce();
  const thoughts = stored.filter((event) => event.event_type === "thought");
  expect(thoughts).toHaveLength(3);
  for (const event of thoughts) {
    expect(Date.parse(event.timestamp)).toBeGreaterThanOrEqual(before - 100);
    expect(Date.parse(event.timestamp)).toBeLessThanOrEqual(after + 100);
  }
  expect(new Set(stored.map((event) => event.device_id)).size).toBe(1);

  // The decision holds on the next page.
  await page.reload();
  await until("the page is viewed", () => visitor.of("page_view").length === 2);
  await scene.everyEventOnce();
});

test("consent that stays pending leaves nothing behind", async ({ scene }) => {
  scene.site.page("/", { options: { consent: "pending" } });
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await track(page, "thought", 3);
  await page.reload();
  await ready(page);
  expect(await keptBy(page)).toEqual([]);
  await page.close({ runBeforeUnload: true });
  await sleep(A_WHILE_MS);
  expect(scene.gate.sendings).toEqual([]);
  expect(await scene.stored()).toEqual([]);
});

test("consent denied drops what waited, and holds on the next page", async ({ scene }) => {
  scene.site.page("/", { options: { consent: "pending" } });
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await track(page, "thought", 3);
  await until("they are recorded", () => visitor.of("thought").length === 3);
  const before = visitor.recorded.map((event) => event.event_id);
  await call(page, "setConsent", "denied");
  await track(page, "afterthought", 3);
  await page.reload();
  await ready(page);
  await track(page, "afterthought", 3);
  await call(page, "flush");
  await sleep(A_WHILE_MS);
  expect(visitor.of("afterthought")).toEqual([]);
  expect(visitor.of("page_view")).toHaveLength(1);
  expect(await keptBy(page), "only the decision is kept").toHaveLength(1);
  expect(scene.gate.sendings).toEqual([]);
  expect(await scene.everyEventOnce({ except: before })).toEqual([]);
});

test("consent withdrawn after it was granted stops everything and forgets the device", async ({ scene }) => {
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await scene.everyEventOnce();
  await call(page, "setConsent", "denied");
  const requests = scene.gate.sendings.length;
  await track(page, "thought", 3);
  await page.close({ runBeforeUnload: true });
  await sleep(A_WHILE_MS);
  expect(visitor.of("thought")).toEqual([]);
  expect(scene.gate.sendings).toHaveLength(requests);
  await scene.everyEventOnce();
});

test("without cookies nothing is kept at all, and the service tells the visitor's pages belong together", async ({
  scene,
}) => {
  scene.site.page("/", { options: { cookieless: true } });
  scene.site.page("/next", { options: { cookieless: true } });
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await track(page, "thought", 3);
  await page.goto(`${scene.site.origin}/next`);
  await until("the next page is viewed", () => visitor.of("page_view").length === 2);
  await scene.everyEventOnce();
  expect(await keptBy(page)).toEqual([]);
  expect(await visitor.context.cookies()).toEqual([]);
  await page.close({ runBeforeUnload: true });

  await scene.untilStored(
    "both leaves are stored",
    (events) => events.filter((event) => event.event_type === "page_leave").length === 2,
  );
  const stored = await scene.everyEventOnce();
  expect(scene.gate.events.filter((event) => event.device_id || event.session_id)).toEqual([]);
  expect(new Set(stored.map((event) => event.device_id)).size, "one device").toBe(1);
  expect(stored[0]?.device_id).toBeTruthy();
});

test("of an address and a referrer only campaign parameters and those allowed leave the browser", async ({ scene }) => {
  scene.site.page("/from", {
    body: `<a id="on" href="/to?utm_source=news&utm_medium=email&gclid=c1&email=ann@shop.example&token=s3cret&sku=7#s3cret">On</a>`,
    options: { urlParameters: ["sku"], autoClicks: true },
  });
  scene.site.page("/to", { options: { urlParameters: ["sku"] } });
  const visitor = await scene.visitor();
  const page = await visitor.open(`${scene.site.origin}/from?utm_campaign=spring&password=s3cret`);
  await page.click("#on");
  await until("the next page is viewed", () => visitor.of("page_view").length === 2);
  const stored = await scene.everyEventOnce();
  const view = visitor.of("page_view")[1]!;
  const parameters = Object.fromEntries(new URL(view.page_url!).searchParams);
  expect(parameters).toEqual({ utm_source: "news", utm_medium: "email", gclid: "c1", sku: "7" });
  expect(view.referrer).toBe(`${scene.site.origin}/from?utm_campaign=spring`);
  expect(stored.filter((event) => event.event_type === "page_view").at(-1)?.utm_source).toBe("news");
  neverSent(scene, ["s3cret", "ann@shop.example", "ann%40shop.example"]);
});

test("whatever is typed or chosen in a form never leaves the browser", async ({ scene }) => {
  const typed: Record<string, string> = {
    text: "typed-in-text",
    email: "ann@typed.example",
    password: "typed-pass-1",
    search: "typed-in-search",
    tel: "0047-55512345",
    url: "https://typed.example/secret",
    number: "7390125",
    date: "1981-07-23",
  };
  const fields = Object.keys(typed).map((type) => `<label>${type} <input type="${type}" name="${type}-field"></label>`);
  scene.site.page("/", {
    options: { autoForms: true, autoClicks: true, autoErrors: true, autoScroll: true, autoWebVitals: true },
    body: `<form id="order" action="/done" method="post">${fields.join("")}
      <input type="hidden" name="hidden-field" value="hidden-value">
      <input name="card-number" autocomplete="cc-number"><input name="must" required>
      <textarea name="note"></textarea><div id="editable" contenteditable>Write here</div>
      <select name="choice"><option>first</option><option value="chosen-option">chosen-label</option></select>
      <input type="checkbox" name="check" value="checked-value"><input type="radio" name="radio" value="radio-value">
      <button>Order</button></form>`,
  });
  scene.site.page("/done", {});
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  for (const [type, text] of Object.entries(typed)) await page.fill(`[name=${type}-field]`, text);
  await page.fill("[name=card-number]", "4111111111111111");
  await page.fill("[name=note]", "typed-in-textarea");
  await page.click("#editable");
  await page.keyboard.type("typed-in-editable");
  await page.selectOption("[name=choice]", "chosen-option");
  await page.check("[name=check]");
  await page.check("[name=radio]");
  await page.click("[name=text-field]");
  await page.click("button");
  await until("the mistake is recorded", () => visitor.of("form_error").length > 0);
  await page.fill("[name=must]", "typed-at-last");
  await page.click("button");
  await until("the next page is viewed", () => visitor.of("page_view").length === 2);

  const stored = await scene.everyEventOnce();
  expect(stored.filter((event) => event.event_type === "form_submit")).toHaveLength(1);
  neverSent(scene, [
    ...Object.values(typed),
    "typed-",
    "hidden-value",
    "4111111111111111",
    "chosen-",
    "checked-value",
    "radio-value",
    // Secret fields are not even named.
    "password-field",
    "card-number",
    "hidden-field",
  ]);
});

test("with masked texts neither titles nor what is written on elements leave the browser", async ({ scene }) => {
  scene.site.page("/", {
    title: "Results of Ann",
    options: { maskText: true, autoClicks: true },
    body: `<button>Call Ann</button>`,
  });
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await page.click("button");
  const click = (await until("the click is recorded", () => visitor.of("click")[0]))!;
  expect(click.element_text).toBe("**** ***");
  await scene.everyEventOnce();
  neverSent(scene, ["Ann"]);
});

test("an element may be masked or left out by an attribute", async ({ scene }) => {
  scene.site.page("/", {
    options: { autoClicks: true, autoForms: true },
    body: `<section data-cj-ignore><button id="ignored">Ignored words</button>
        <form id="ignored-form" onsubmit="return false"><input name="ignored-field"><button id="send">Ignored send</button></form>
      </section>
      <p data-cj-mask><button id="masked">Masked words</button></p>
      <button id="plain">Plain words</button>`,
  });
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await page.click("#ignored");
  await page.fill("[name=ignored-field]", "x");
  await page.click("#send");
  await page.click("#masked");
  await page.click("#plain");
  await until("the last click is recorded", () => visitor.of("click").length >= 2);
  await scene.everyEventOnce();
  expect(visitor.of("click").map((event) => event.element_text)).toEqual(["****** *****", "Plain words"]);
  neverSent(scene, ["gnored", "Masked"]);
});

test("only a write key ever leaves the browser beside the events, and no cookie does", async ({ scene }) => {
  const visitor = await scene.visitor();
  await visitor.context.addCookies([{ name: "login", value: "s3cret", url: scene.gate.address }]);
  const page = await visitor.open(scene.site.origin);
  await track(page, "thought", 1);
  await scene.everyEventOnce();
  for (const sending of scene.gate.sendings) {
    expect(sending.headers.cookie).toBeUndefined();
    expect([...sending.url.searchParams.keys()]).toEqual(["key"]);
    expect(sending.headers["content-type"]).toMatch(/^text\/plain/);
  }
});

/** Holds that none of these words was in any request, in its body or its address. */
function neverSent(scene: Scene, words: string[]): void {
  expect(scene.gate.sendings.length).toBeGreaterThan(0);
  for (const word of words) {
    const found = scene.gate.sendings.filter((sending) => (sending.body + sending.url.href).includes(word));
    expect(
      found.map((sending) => sending.body),
      `requests with "${word}"`,
    ).toEqual([]);
  }
}
