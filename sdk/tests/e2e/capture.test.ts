/** What is recorded by itself: clicks, scrolling, forms, errors and how fast the page was. */
import { readFile } from "node:fs/promises";

import type { Page } from "playwright-core";
import { expect } from "vitest";

import { controlVisibility, setVisibility } from "./support/page-tricks.ts";
import { test } from "./support/scene.ts";
import { sleep, until } from "./support/until.ts";
import { track, type Visitor } from "./support/visitor.ts";

/** A click that nothing answers is dead after so long. */
const DEAD_AFTER_MS = 2500;

test("clicks carry a selector that finds the element again, its text and its place", async ({ scene }) => {
  scene.site.page("/", {
    options: { autoClicks: true },
    body: `<main><ul><li><button class="add big">Add one</button></li><li><button class="add big"><b>Add</b> two</button></li></ul>
      <button id="buy">Buy</button><div data-cj-name="hero"><span>Look here</span></div></main>`,
  });
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await page.click("li:nth-child(2) b");
  await page.click("#buy");
  await page.click("[data-cj-name] span");
  await until("the clicks are recorded", () => visitor.of("click").length === 3);
  const [second, buy, hero] = visitor.of("click");
  expect(second).toMatchObject({ element_text: "Add two" });
  expect(await page.locator(String(second!.element_selector)).innerText()).toBe("Add two");
  expect(await page.locator(String(second!.element_selector)).count()).toBe(1);
  expect(buy).toMatchObject({ element_id: "buy", element_text: "Buy", viewport_size: [1280, 720] });
  expect(hero).toMatchObject({ element_selector: '[data-cj-name="hero"]' });
  const box = (await page.locator("#buy").boundingBox())!;
  const [x, y] = buy!.coordinates as [number, number];
  expect(x).toBeGreaterThanOrEqual(Math.floor(box.x));
  expect(x).toBeLessThanOrEqual(box.x + box.width + 1);
  expect(y).toBeGreaterThanOrEqual(Math.floor(box.y));
  expect(y).toBeLessThanOrEqual(box.y + box.height + 1);
  await scene.everyEventOnce();
});

test("a click is heard where the page stops it, and in a component", async ({ scene }) => {
  scene.site.page("/", {
    options: { autoClicks: true },
    body: `<button id="stopped" onclick="event.stopImmediatePropagation()">Stopped</button><my-button></my-button>
      <script>document.querySelector("my-button").attachShadow({ mode: "open" }).innerHTML = "<button>Inside</button>";</script>`,
  });
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await page.click("#stopped");
  await page.click("my-button button");
  await until("the clicks are recorded", () => visitor.of("click").length === 2);
  await scene.everyEventOnce();
});

test("downloads and links to other sites say where they lead", async ({ scene }) => {
  const elsewhere = scene.site.page("/away", { embeds: false }).replace("localhost", "127.0.0.1");
  scene.site.file("/price-list.pdf", "application/pdf", "%PDF-1.4");
  scene.site.page("/", {
    options: { autoClicks: true },
    body: `<a id="file" href="/price-list.pdf?token=s3cret" download>Prices</a>
      <a id="away" href="${elsewhere}?token=s3cret">Away</a>`,
  });
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await page.click("#file");
  await page.click("#away");
  await scene.untilStored("the leave is stored", (events) => events.some((event) => event.event_type === "page_leave"));
  const stored = await scene.everyEventOnce();
  expect(stored.map((event) => event.event_type)).toEqual(["page_view", "file_download", "click", "page_leave"]);
  expect(stored[1]?.properties).toEqual({ link_url: `${scene.site.origin}/price-list.pdf` });
  expect(stored[2]?.properties).toEqual({ link_url: elsewhere });
});

test("three quick clicks on the same place are rage, on a stepper or a carousel they are not", async ({ scene }) => {
  scene.site.page("/", {
    options: { autoClicks: true },
    body: `<p id="stuck">Pay now</p><button id="plus">+</button><div class="carousel"><button id="slide">Picture</button></div>
      <input id="amount" type="number"><p id="far" style="margin-top: 200px">Far</p>`,
  });
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  for (const element of ["#plus", "#slide", "#amount"]) await page.click(element, { clickCount: 3, delay: 20 });
  await page.click("#stuck");
  await page.click("#far");
  await page.click("#stuck");
  expect(visitor.of("rage_click")).toEqual([]);
  await page.click("#stuck", { clickCount: 3, delay: 20 });
  const rage = await until("rage is recorded", () => visitor.of("rage_click")[0]);
  expect(rage.element_text).toBe("Pay now");
  await page.goto(scene.site.page("/next", {}));
  const stored = await scene.everyEventOnce();
  expect(stored.filter((event) => event.event_type === "rage_click")).toHaveLength(1);
});

test("a click that nothing answers is dead; one that changes, scrolls, selects or leads somewhere is not", async ({
  scene,
}) => {
  scene.site.page("/", {
    options: { autoClicks: true },
    body: `<button id="dead">Nothing</button>
      <button id="slow" onclick="setTimeout(() => (this.title = 'changed'), 1000)">Changes</button>
      <button id="scrolls" onclick="window.scrollTo(0, 200)">Scrolls</button>
      <button id="ajax" onclick="fetch('/away').then(() => document.body.append('answer'))">Asks</button>
      <input id="field"><label for="field" id="label">Label</label><div style="height: 3000px"></div>`,
  });
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  // One after the other: what happens after a click may be the answer to each one before.
  for (const element of ["#slow", "#ajax", "#field", "#label", "#scrolls"]) {
    await page.click(element);
    await sleep(element === "#slow" ? 1200 : 200);
  }
  await page.evaluate(() => scrollTo(0, 0));
  await sleep(DEAD_AFTER_MS);
  expect(visitor.of("dead_click")).toEqual([]);
  await page.click("#dead");
  const dead = await until("the dead click is recorded", () => visitor.of("dead_click")[0]);
  const click = visitor.of("click").find((event) => event.element_id === "dead");
  expect(dead.element_id).toBe("dead");
  expect(
    Math.abs(Date.parse(String(dead.timestamp)) - Date.parse(String(click!.timestamp))),
    "it is dated to the click",
  ).toBeLessThan(DEAD_AFTER_MS / 2);
  await scene.everyEventOnce();
});

test("scrolling is recorded at each quarter once, and the page leave has the greatest depth", async ({ scene }) => {
  scene.site.page("/", { options: { autoScroll: true }, body: `<div style="height: 4000px">Long</div>` });
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await wheelTo(page, 1500);
  await until("half is read", () => visitor.of("scroll").length === 2);
  await wheelTo(page, 0);
  await wheelTo(page, 1500);
  await sleep(200);
  expect(visitor.of("scroll").map((event) => event.scroll_depth)).toEqual([25, 50]);
  await page.goto(scene.site.page("/next", {}));
  const stored = await scene.everyEventOnce();
  const leave = stored.find((event) => event.event_type === "page_leave");
  expect(leave?.scroll_depth).toBeGreaterThanOrEqual(50);
  expect(leave?.scroll_depth).toBeLessThan(75);
});

const FORM = `<form id="order" action="/done"><input name="first"><input name="mail" type="email" required>
  <input name="secret" type="password"><button>Send</button></form>`;

test("a form is begun once, and then sent, refused with its mistakes, or abandoned", async ({ scene }) => {
  scene.site.page("/", { options: { autoForms: true }, body: FORM });
  scene.site.page("/done", {});
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await page.locator("[name=first]").pressSequentially("Ann");
  await page.fill("[name=secret]", "s3cret");
  await page.click("button");
  const mistake = await until("the mistake is recorded", () => visitor.of("form_error")[0]);
  expect(mistake).toMatchObject({ form_id: "order", form_validation_errors: ["mail: valueMissing"] });
  await page.fill("[name=mail]", "ann@shop.example");
  await page.click("button");
  await until("the next page is viewed", () => visitor.of("page_view").length === 2);

  await page.goto(scene.site.origin);
  await until("the form is seen again", () => visitor.of("page_view").length === 3);
  await page.fill("[name=first]", "Ann");
  await page.goto(`${scene.site.origin}/done`);
  await until("the next page is viewed", () => visitor.of("page_view").length === 4);
  const stored = await scene.everyEventOnce();
  const ofForms = stored.filter((event) => event.event_type.startsWith("form_"));
  expect(ofForms.map((event) => [event.event_type, event.form_field_name])).toEqual([
    ["form_input", "first"],
    ["form_error", null],
    ["form_input", "mail"],
    ["form_submit", null],
    ["form_input", "first"],
    ["form_abandon", "first"],
  ]);
});

test("an error is recorded once, a flood of errors ten times, and the page still sees them", async ({ scene }) => {
  scene.site.page("/", {
    options: { autoErrors: true },
    body: `<script>
        function breakDown() { null.price; }
        function reject() { Promise.reject(new Error("No answer from /pay?card=s3cret")); }
        function flood() { for (let number = 0; number < 50; number++) setTimeout(() => { throw new Error("Flood " + number); }); }
      </script>`,
  });
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await page.evaluate(() => {
    for (let time = 0; time < 5; time++) setTimeout("breakDown()");
    for (let time = 0; time < 5; time++) setTimeout("reject()");
  });
  await until("both are recorded", () => visitor.of("error").length === 2);
  await page.evaluate(() => setTimeout("flood()"));
  await until("the page saw all", () => visitor.errors.length === 60);
  await sleep(300);
  expect(visitor.of("error")).toHaveLength(10);
  const [first] = visitor.of("error");
  expect(String(first!.error_message)).toContain("price");
  expect(String(first!.error_stack)).toContain("breakDown");
  // They are the page's own.
  visitor.errors.length = 0;
  await scene.everyEventOnce();
});

test("web vitals are those of the web-vitals package", async ({ scene }) => {
  const vitals = await readFile(
    new URL("../../node_modules/web-vitals/dist/web-vitals.iife.js", import.meta.url),
    "utf8",
  );
  scene.site.file("/web-vitals.js", "text/javascript", vitals);
  scene.site.file(
    "/late.svg",
    "image/svg+xml",
    `<svg xmlns="http://www.w3.org/2000/svg" width="800" height="300"><rect width="800" height="300" fill="teal"/></svg>`,
    300,
  );
  scene.site.page("/", {
    options: { autoWebVitals: true },
    head: `<script src="/web-vitals.js"></script><script>
        const reference = {};
        let lastShift = 0;
        new PerformanceObserver((shifts) => {
          for (const { startTime } of shifts.getEntries()) lastShift = startTime;
        }).observe({ type: "layout-shift", buffered: true });
        for (const name of ["LCP", "CLS", "INP", "TTFB"]) {
          webVitals["on" + name](({ value }) => {
            reference[name] = value;
            localStorage.setItem("reference", JSON.stringify(reference));
          }, { reportAllChanges: true });
        }
      </script>`,
    body: `<h1>Tents</h1><img src="/late.svg"><p>Below the picture</p>
      <button onclick="const end = performance.now() + 120; while (performance.now() < end);">Slow</button>`,
  });
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  const measured = () => page.evaluate(() => JSON.parse(localStorage.getItem("reference") ?? "{}"));
  // Before the click: after it neither counts what is painted, nor for a while what moves.
  await until("something was painted", async () => (await measured()).LCP > 0);
  const movedAt = await page.evaluate(() => {
    const banner = Object.assign(document.createElement("div"), { style: "height: 90px" });
    document.querySelector("h1")!.before(banner);
    return performance.now();
  });
  await until("something moved", async () => ((await page.evaluate("lastShift")) as number) >= movedAt);
  await page.click("button");
  await until("something was slow", async () => (await measured()).INP > 100);
  await page.goto(`${scene.site.origin}/next`);
  const vital = await scene.untilStored("the vitals are stored", (events) =>
    events.find((event) => event.event_type === "web_vital"),
  );
  const reference = await measured();
  const own = vital.properties as Record<"lcp_ms" | "cls" | "inp_ms" | "ttfb_ms", number>;
  expect(reference.CLS, "something moved").toBeGreaterThan(0);
  expect(reference.INP, "something was slow").toBeGreaterThan(100);
  expect(own.cls).toBeCloseTo(reference.CLS, 4);
  expect(Math.abs(own.lcp_ms - reference.LCP), `${own.lcp_ms} and ${reference.LCP}`).toBeLessThanOrEqual(50);
  expect(own.inp_ms).toBe(reference.INP);
  expect(Math.abs(own.ttfb_ms - reference.TTFB)).toBeLessThanOrEqual(1);
  expect(vital.page_load_time_ms).toBeGreaterThan(300);
  await scene.everyEventOnce();
});

test("web vitals are those of one load: what happens once the page was hidden adds no second event", async ({
  scene,
}) => {
  scene.site.page("/", { options: { autoWebVitals: true } });
  const visitor = await scene.visitor();
  await controlVisibility(visitor.context, "visible");
  const page = await visitor.open(scene.site.origin);
  for (let time = 0; time < 3; time++) {
    await setVisibility(page, "hidden");
    await setVisibility(page, "visible");
  }
  await until("the vitals are recorded", () => visitor.of("web_vital").length);
  await sleep(200);
  expect(visitor.of("web_vital")).toHaveLength(1);
  await scene.everyEventOnce();
});

test("with every automatic part off, only what the site says is recorded", async ({ scene }) => {
  scene.site.page("/", {
    options: { autoPageViews: false },
    body: `${FORM}<button id="dead">Nothing</button><div style="height: 4000px"></div>`,
  });
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await page.click("#dead");
  await page.fill("[name=first]", "Ann");
  await wheelTo(page, 2000);
  await page.evaluate(() => history.pushState({}, "", "/next"));
  await track(page, "thought", 1);
  await until("it is recorded", () => visitor.of("thought").length === 1);
  await sleep(300);
  expect(types(visitor)).toEqual(["thought"]);
  await scene.everyEventOnce();
});

function types(visitor: Visitor): string[] {
  return visitor.recorded.map((event) => event.event_type);
}

/** Scrolls as a person does, and waits until the page is there. */
async function wheelTo(page: Page, top: number): Promise<void> {
  const now = await page.evaluate(() => scrollY);
  await page.mouse.wheel(0, top - now);
  await page.waitForFunction((wanted) => Math.abs(scrollY - wanted) < 2, top);
}
