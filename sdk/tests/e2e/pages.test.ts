/** Page views, the time on them, sessions, and the ways in which a page may embed the SDK. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";

import type { Page } from "playwright-core";
import { expect } from "vitest";

import { launchForPeople } from "./support/browser.ts";
import {
  controlClock,
  controlVisibility,
  setClockAhead,
  setVisibility,
  untilStorageIsShared,
} from "./support/page-tricks.ts";
import { sessionsOf } from "./support/reading.ts";
import { test } from "./support/scene.ts";
import { SCRIPT } from "./support/site.ts";
import { sleep, until } from "./support/until.ts";
import { call, track, type Visitor } from "./support/visitor.ts";

const MINUTE_MS = 60_000;

test("a page that is loaded is one view, and says where the visitor came from", async ({ scene }) => {
  scene.site.page("/", { title: "Tents", body: `<a id="on" href="/next">On</a>` });
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await page.click("#on");
  await viewed(visitor, ["/", "/next"]);
  const stored = await scene.everyEventOnce();
  expect(stored.map((event) => [event.event_type, event.page_path])).toEqual([
    ["page_view", "/"],
    ["page_leave", "/"],
    ["page_view", "/next"],
  ]);
  expect(stored[0]?.page_title).toBe("Tents");
  expect(stored[2]?.referrer).toBe(`${scene.site.origin}/`);
  expect(stored[0]).toMatchObject({
    device_type: "desktop",
    browser: "Chrome",
    viewport_width: 1280,
    viewport_height: 720,
  });
});

test("routes of the History API are views, with a leave between them", async ({ scene }) => {
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await route(page, "pushState", "/tents");
  await viewed(visitor, ["/", "/tents"]);
  await route(page, "replaceState", "/tents/2");
  await viewed(visitor, ["/", "/tents", "/tents/2"]);
  await page.evaluate(() => history.back());
  await viewed(visitor, ["/", "/tents", "/tents/2", "/"]);
  const stored = await scene.everyEventOnce();
  const order = stored.map((event) => `${event.event_type} ${event.page_path}`);
  expect(order).toEqual([
    "page_view /",
    "page_leave /",
    "page_view /tents",
    "page_leave /tents",
    "page_view /tents/2",
    "page_leave /tents/2",
    "page_view /",
  ]);
  const views = stored.filter((event) => event.event_type === "page_view");
  expect(views[1]?.referrer).toBe(`${scene.site.origin}/`);
});

test("a route that is only a different state of the same page is no view", async ({ scene }) => {
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await page.evaluate(() => {
    history.replaceState({ scroll: 1 }, "");
    history.pushState({ open: true }, "", location.href);
    history.replaceState({}, "", "?filter=private");
    location.hash = "reviews";
  });
  await track(page, "thought", 1);
  await route(page, "pushState", "/next");
  await viewed(visitor, ["/", "/next"]);
  await scene.everyEventOnce();
});

test("a title that follows its route is the one recorded, and redirects in a row are one view", async ({ scene }) => {
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await page.evaluate(() => {
    history.pushState({}, "", "/login");
    history.replaceState({}, "", "/account");
    document.title = "Your account";
  });
  await viewed(visitor, ["/", "/account"]);
  const stored = await scene.everyEventOnce();
  expect(stored.at(-1)?.page_title).toBe("Your account");
});

test("routes in the fragment are views", async ({ scene }) => {
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await page.evaluate(() => (location.hash = "#/cart"));
  await until("the route is viewed", () => visitor.of("page_view").length === 2);
  await page.evaluate(() => (location.hash = "#/cart/2?token=s3cret"));
  await until("the route is viewed", () => visitor.of("page_view").length === 3);
  await page.evaluate(() => history.back());
  await until("the route is viewed", () => visitor.of("page_view").length === 4);
  expect(visitor.of("page_view").map((event) => new URL(event.page_url!).hash)).toEqual([
    "",
    "#/cart",
    "#/cart/2",
    "#/cart",
  ]);
  await scene.everyEventOnce();
});

test("a page that comes back from the back-forward cache is viewed again", async ({ scene }) => {
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  const session = await visitor.context.newCDPSession(page);
  const navigations: string[] = [];
  session.on("Page.frameNavigated", (event) => navigations.push(event.type));
  await session.send("Page.enable");
  // A page that waits for an answer, or for the lock, is not kept.
  await scene.everyEventOnce();
  await page.goto(scene.site.page("/next", {}));
  await viewed(visitor, ["/", "/next"]);
  await page.evaluate(() => history.back());
  await viewed(visitor, ["/", "/next", "/"]);
  await until("the cache is used", () => navigations.includes("BackForwardCacheRestore"));
  const stored = await scene.everyEventOnce();
  const leaves = stored.filter((event) => event.event_type === "page_leave");
  expect(leaves.map((event) => event.page_path)).toEqual(["/", "/next"]);
  expect(new Set(stored.map((event) => event.session_id)).size).toBe(1);
});

test("a page in a background tab counts once it is seen", async ({ scene }) => {
  const visitor = await scene.visitor();
  await controlVisibility(visitor.context, "hidden");
  const page = await visitor.open(scene.site.origin);
  await sleep(400);
  expect(visitor.recorded).toEqual([]);
  expect(scene.gate.sendings).toEqual([]);
  await setVisibility(page, "visible");
  await viewed(visitor, ["/"]);
  await scene.everyEventOnce();
});

test("a page that is rendered ahead of time counts once it is seen", async ({ scene }) => {
  // Not while somebody holds the browser by its strings: Chromium renders ahead for people alone.
  scene.site.page("/", {
    head: `<script type="speculationrules">{"prerender":[{"urls":["/ahead"],"eagerness":"immediate"}]}</script>
      <script>
        setInterval(() => {
          if (!localStorage.isReady) return;
          fetch("/leaves-at/" + Date.now(), { keepalive: true });
          location.assign("/ahead");
        }, 100);
      </script>`,
  });
  scene.site.page("/ahead", {
    head: `<script>
        if (document.prerendering) {
          fetch("/ahead-runs");
          addEventListener("load", () => setTimeout(() => (localStorage.isReady = true), 500));
          document.addEventListener("prerenderingchange", () => fetch("/ahead-is-seen"));
        }
      </script>`,
  });
  const browser = await launchForPeople(scene.site.origin);
  try {
    await until("the page runs ahead", () => scene.site.requests.includes("/ahead-runs"));
    await scene.untilStored("the page is viewed", (events) => events.some((event) => event.page_path === "/ahead"));
    const { requests } = scene.site;
    await until("it is seen", () => requests.includes("/ahead-is-seen"));
    const leave = await until("the old page is left", () => requests.find((path) => path.startsWith("/leaves-at/")));
    await until("the leave is sent", () => scene.gate.events.some((event) => event.event_type === "page_leave"));
    const views = scene.gate.events.filter((event) => event.event_type === "page_view");
    expect(views.map((event) => new URL(event.page_url!).pathname)).toEqual(["/", "/ahead"]);
    // It was made long before.
    expect(Date.parse(String(views[1]!.timestamp))).toBeGreaterThanOrEqual(Number(leave.split("/").at(-1)));
  } finally {
    await browser.end();
  }
});

test("the time on a page is the time it was seen", async ({ scene }) => {
  const visitor = await scene.visitor();
  await controlVisibility(visitor.context, "visible");
  const began = Date.now();
  const page = await visitor.open(scene.site.origin);
  await sleep(1300);
  await setVisibility(page, "hidden");
  const firstStretch = Date.now() - began;
  await sleep(1500);
  const again = Date.now();
  await setVisibility(page, "visible");
  await sleep(1300);
  await page.goto(scene.site.page("/next", {}));
  const secondStretch = Date.now() - again;
  await viewed(visitor, ["/", "/next"]);
  const stored = await scene.everyEventOnce();
  const seconds = stored
    .filter((event) => event.event_type === "page_leave" && event.page_path === "/")
    .reduce((sum, event) => sum + Number(event.time_on_page_seconds), 0);
  expect(seconds).toBeGreaterThan(2.4);
  expect(seconds).toBeLessThan((firstStretch + secondStretch) / 1000 + 0.2);
  const [session] = await sessionsOf(scene.service, stored[0]!.device_id);
  expect(session?.page_views).toBe(2);
});

test("two tabs share one session", async ({ scene }) => {
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await viewed(visitor, ["/"]);
  const tab = await visitor.open(scene.site.origin);
  await track(page, "thought", 2);
  await track(tab, "thought", 2);
  expect(await call(page, "getSessionId")).toBe(await call(tab, "getSessionId"));
  const stored = await scene.everyEventOnce();
  expect(new Set(stored.map((event) => event.session_id)).size).toBe(1);
  expect(await sessionsOf(scene.service, stored[0]!.device_id)).toHaveLength(1);
});

test("half an hour without an event ends the session, in every tab; what is done in one keeps both alive", async ({
  scene,
}) => {
  const visitor = await scene.visitor();
  await controlClock(visitor.context, 0);
  const page = await visitor.open(scene.site.origin);
  await viewed(visitor, ["/"]);
  const tab = await visitor.open(scene.site.origin);
  const aheadBy = (minutes: number) => Promise.all([page, tab].map((one) => setClockAhead(one, minutes * MINUTE_MS)));
  const sessionOf = async (one: Page, name: string) => {
    await track(one, name, 1);
    return (await until(`${name} is recorded`, () => visitor.of(name)[0])).session_id;
  };
  const first = await sessionOf(page, "at_0");
  await untilStorageIsShared([page, tab]);
  await aheadBy(20);
  expect(await sessionOf(tab, "at_20")).toBe(first);
  await untilStorageIsShared([page, tab]);
  await aheadBy(45);
  expect(await sessionOf(page, "at_45"), "kept alive by the other tab").toBe(first);
  await aheadBy(76);
  const second = await sessionOf(tab, "at_76");
  expect(second).not.toBe(first);
  await untilStorageIsShared([page, tab]);
  expect(await sessionOf(page, "also_at_76"), "both tabs begin the same one").toBe(second);
  await scene.everyEventOnce();
});

test("a session is not cut at midnight", async ({ scene }) => {
  const visitor = await scene.visitor();
  const now = new Date();
  const beforeMidnight = new Date(now).setUTCHours(23, 59, 30, 0) - now.getTime();
  await controlClock(visitor.context, beforeMidnight);
  const page = await visitor.open(scene.site.origin);
  await viewed(visitor, ["/"]);
  await setClockAhead(page, beforeMidnight + MINUTE_MS);
  await track(page, "thought", 1);
  const thought = await until("it is recorded", () => visitor.of("thought")[0]);
  const view = visitor.of("page_view")[0]!;
  expect(String(thought.timestamp).slice(0, 10), "it is another day").not.toBe(String(view.timestamp).slice(0, 10));
  expect(thought.session_id).toBe(view.session_id);
  await scene.everyEventOnce();
});

test("calls made before the script has loaded are heard, in order", async ({ scene }) => {
  scene.site.page("/", {
    embeds: false,
    head: `<script>
        window.customerJourney = { calls: [] };
        for (const method of ["track", "identify", "trackAddToCart"]) {
          customerJourney[method] = (...values) => customerJourney.calls.push([method, values]);
        }
        customerJourney.identify("ann-7");
        customerJourney.track("early", { number: 1 });
        customerJourney.trackAddToCart({ product_id: "tent-2" });
      </script>
      ${scene.site.scriptTag()}`,
  });
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await track(page, "late", 1);
  const stored = await scene.everyEventOnce();
  const own = stored.filter((event) => event.event_type !== "page_view");
  expect(own.map((event) => event.event_type)).toEqual(["identify", "early", "add_to_cart", "late"]);
  expect(own.every((event) => event.user_id === "ann-7")).toBe(true);
});

test("two script tags do not double anything", async ({ scene }) => {
  scene.site.page("/", {
    head: scene.site.scriptTag({}, "defer"),
    options: { autoClicks: true },
    body: "<button>Buy</button>",
  });
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await track(page, "thought", 1);
  await route(page, "pushState", "/next");
  await viewed(visitor, ["/", "/next"]);
  await sleep(300);
  const stored = await scene.everyEventOnce();
  expect(stored.map((event) => event.event_type)).toEqual(["page_view", "thought", "page_leave", "page_view"]);
});

test("a strict content policy that names the script's and the service's origin is enough", async ({ scene }) => {
  const hash = createHash("sha384")
    .update(await readFile(SCRIPT))
    .digest("base64");
  const { scriptOrigin } = scene.site;
  scene.site.page("/", {
    embeds: false,
    head: scene.site.scriptTag({}, `async crossorigin="anonymous" integrity="sha384-${hash}"`, scriptOrigin),
    headers: {
      "content-security-policy": `default-src 'none'; script-src ${scriptOrigin}; connect-src ${scene.gate.address} 'self'; require-trusted-types-for 'script'`,
    },
  });
  const visitor = await scene.visitor();
  const page = await visitor.open(scene.site.origin);
  await track(page, "thought", 1);
  await page.close({ runBeforeUnload: true });
  await scene.untilStored("the leave is stored", (events) => events.some((event) => event.event_type === "page_leave"));
  const stored = await scene.everyEventOnce();
  expect(stored.map((event) => event.event_type)).toEqual(["page_view", "thought", "page_leave"]);
  expect(visitor.console.filter((text) => text.includes("Content Security Policy"))).toEqual([]);
});

test("a whole visit is one journey, with the device linked to who it turned out to be", async ({ scene }) => {
  const visitor = await scene.visitor();
  const page = await visitor.open(`${scene.site.origin}/?utm_source=news&utm_medium=email&utm_campaign=spring`);
  await call(page, "trackProductView", {
    product_id: "tent-2",
    product_name: "Tent",
    product_price: "289.00",
    currency: "EUR",
  });
  await call(page, "trackAddToCart", { product_id: "tent-2", quantity: 1, cart_total: "289.00", currency: "EUR" });
  await call(page, "trackCheckoutStart", { cart_total: "289.00", currency: "EUR" });
  await call(page, "identify", "ann-8", { plan: "pro" });
  await call(page, "trackPurchase", { order_id: "o-1", order_total: "289.00", currency: "EUR" });
  const stored = await scene.everyEventOnce();
  expect(stored.map((event) => event.event_type)).toEqual([
    "page_view",
    "product_view",
    "add_to_cart",
    "checkout_start",
    "identify",
    "purchase",
  ]);
  const [session] = await sessionsOf(scene.service, stored[0]!.device_id);
  expect(session).toMatchObject({
    source: "news",
    campaign: "spring",
    converted: true,
    conversion_value: "289.00",
    user_id: "ann-8",
  });

  // Who logs out leaves a new visitor behind.
  await call(page, "reset");
  await track(page, "thought", 1);
  const thought = await until("it is recorded", () => visitor.of("thought")[0]);
  expect(thought.device_id).not.toBe(stored[0]?.device_id);
  expect(thought.user_id ?? null).toBeNull();
  await scene.everyEventOnce();
});

/** Waits until exactly these paths were viewed, in this order. */
async function viewed(visitor: Visitor, paths: string[]): Promise<void> {
  const seen = () => visitor.of("page_view").map((event) => new URL(event.page_url!).pathname);
  await until(`${paths.length} pages are viewed`, () => seen().length >= paths.length);
  expect(seen()).toEqual(paths);
}

function route(page: Page, method: "pushState" | "replaceState", path: string): Promise<void> {
  return page.evaluate(([name, to]) => history[name]({}, "", to), [method, path] as const);
}
