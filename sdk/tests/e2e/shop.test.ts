/** A person walks through the demo shop, and the journey that the service tells is the one they made. */
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";

import { launchBrowser } from "./support/browser.ts";
import { startDemo, type Demo } from "./support/demo.ts";
import { until } from "./support/until.ts";

let demo: Demo;
let browser: Browser;

beforeAll(async () => {
  [demo, browser] = await Promise.all([startDemo(), launchBrowser()]);
}, 90_000);

afterAll(async () => {
  await browser?.close();
  await demo?.stop();
});

interface StoredEvent {
  event_id: string;
  event_type: string;
  timestamp: string;
  seq: number;
  page_path: string;
  [field: string]: unknown;
}

async function journeyOf(device: string) {
  const answer = await fetch(`${demo.origin}/api/v1/customers/${device}/journey?events=all`, {
    headers: { "X-API-Key": demo.secretKey },
  });
  const journey = (await answer.json()) as {
    entries: { kind: string; session?: Record<string, unknown>; events?: StoredEvent[] }[];
    totals?: Record<string, unknown>;
  };
  const sessions = (journey.entries ?? []).filter((entry) => entry.kind === "session");
  return { ...journey, sessions, events: sessions.flatMap((entry) => entry.events ?? []) };
}

/**
 * Opens a page of a visitor who never was here; `said` is what their pages recorded, in order. What is recorded while a
 * page goes away reaches nobody there.
 */
async function visit(): Promise<{ page: Page; said: Record<string, unknown>[]; problems: string[] }> {
  const context = await browser.newContext();
  const said: Record<string, unknown>[] = [];
  const problems: string[] = [];
  await context.exposeFunction("hear", (text: string) => said.push(JSON.parse(text)));
  await context.addInitScript(() => {
    document.addEventListener("customer-journey", (event) => {
      const { detail } = event as CustomEvent;
      if (detail.kind === "event")
        (globalThis as unknown as { hear(text: string): void }).hear(JSON.stringify(detail.event));
    });
  });
  const page = await context.newPage();
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") problems.push(message.text());
  });
  page.on("pageerror", (error) => problems.push(String(error)));
  return { page, said, problems };
}

const deviceOf = (page: Page) => page.evaluate(() => (globalThis as any).customerJourney.getDeviceId() as string);

/** Type, page and the one thing that matters of an event. */
function tell({ event_type, page_path, ...event }: StoredEvent): string {
  const told = [
    event.element_text,
    event.search_query,
    event.product_id,
    event.form_field_name,
    event.order_total,
    event.quantity,
  ];
  const errors = (event.form_validation_errors as string[]) ?? [];
  return [event_type, page_path.replace("/demo/", "/"), ...told, errors.length ? `${errors.length} errors` : undefined]
    .filter((part) => part !== undefined && part !== null && part !== "")
    .join(" ");
}

test("a purchase, with its detours, is read back exactly as it happened", async () => {
  const { page, said, problems } = await visit();
  await page.goto(`${demo.origin}/demo/?utm_source=letter&utm_medium=email&utm_campaign=autumn&customer=secret`);
  await page.fill("#search", "tent");
  await page.click("#search-form button");
  await page.waitForURL(/q=tent/);
  await page.click("#list .card-link >> nth=0");
  await page.waitForURL(/sku=/);
  const product = new URL(page.url()).searchParams.get("sku");
  await page.selectOption("#quantity", "2");
  await page.click("#add-form button");
  await page.click("#added a");
  await page.waitForURL(/cart/);
  await page.click(`#less-${product}`);
  await page.click("#to-checkout");
  await page.waitForURL(/checkout/);
  await page.click("#checkout [type=submit]");
  const fields = {
    email: "walker@example.com",
    "full-name": "Ann Walker",
    street: "Fjord Road 1",
    postcode: "0150",
    city: "Oslo",
    card: "4242 4242 4242 4242",
    expiry: "12/40",
    code: "123",
  };
  for (const [id, value] of Object.entries(fields)) await page.fill(`#${id}`, value);
  await page.selectOption("#country", "Norway");
  await page.check("#terms");
  await page.click("#checkout [type=submit]");
  await page.waitForURL(/confirmation/);
  const total = (await page.textContent("#order-total"))!.replace(/[^\d.,]/g, "").replace(",", "");
  const device = await deviceOf(page);
  await page.click(".journey > summary");
  await page.goto("about:blank");

  const lastWords = (event: { event_type: string }) => /^(page_leave|web_vital)$/.test(event.event_type);
  await until("the last page is left", async () => (await journeyOf(device)).events.filter(lastWords).length === 12);
  const journey = await journeyOf(device);
  const { events, sessions } = journey;
  const stored = events.map((event) => event.event_id);
  expect(new Set(stored).size).toBe(stored.length);
  const heard = new Set(said.map((event) => event.event_id));
  expect(stored.filter((id) => heard.has(id)).length).toBe(said.length);
  expect(events.filter((event) => !heard.has(event.event_id)).every(lastWords)).toBe(true);
  expect(sessions.length).toBe(1);

  // How far a page scrolls when something on it is clicked is the browser's affair.
  const story = events.filter((event) => event.event_type !== "scroll").map(tell);
  const leave = (path: string) => [`web_vital ${path}`, `page_leave ${path}`];
  expect(story).toEqual([
    "page_view /",
    "form_input / q",
    "click / Search",
    "form_submit /",
    ...leave("/"),
    "page_view /products.html",
    "search /products.html tent",
    expect.stringMatching(/^click \/products.html /),
    ...leave("/products.html"),
    "page_view /product.html",
    `product_view /product.html ${product}`,
    "form_input /product.html quantity",
    "click /product.html Add to cart",
    `add_to_cart /product.html ${product} 2`,
    "form_submit /product.html",
    "click /product.html View cart",
    ...leave("/product.html"),
    "page_view /cart.html",
    "click /cart.html −",
    `remove_from_cart /cart.html ${product} 1`,
    "click /cart.html Go to checkout",
    ...leave("/cart.html"),
    "page_view /checkout.html",
    "checkout_start /checkout.html 1",
    expect.stringMatching(/^click \/checkout.html /),
    // Seven fields by name; the three of the card have one kind of mistake and no name.
    "form_error /checkout.html 8 errors",
    ...["email", "full-name", "street", "postcode", "city", "country"].map(
      (name) => `form_input /checkout.html ${name}`,
    ),
    "click /checkout.html",
    "form_input /checkout.html terms",
    expect.stringMatching(/^click \/checkout.html /),
    "identify /checkout.html",
    `purchase /checkout.html ${Number(total)} 1`,
    "form_submit /checkout.html",
    ...leave("/checkout.html"),
    "page_view /confirmation.html",
    ...leave("/confirmation.html"),
  ]);
  expect(sessions[0]!.session).toMatchObject({
    source: "letter",
    medium: "email",
    campaign: "autumn",
    entry_page: "/demo/",
    exit_page: "/demo/confirmation.html",
    converted: true,
  });
  expect(journey.totals).toMatchObject({ sessions: 1, conversions: 1, page_views: 6, devices: 1 });
  const everything = JSON.stringify([journey, said]);
  for (const secret of ["Ann Walker", "Fjord Road", "4242", "12/40", "customer=secret"]) {
    expect(everything).not.toContain(secret);
  }
  expect(JSON.stringify(journey)).not.toContain("walker@example.com");
  expect(problems).toEqual([]);
});

test("a cart that is left behind says where", async () => {
  const { page, said } = await visit();
  await page.goto(`${demo.origin}/demo/product.html?sku=FF-101`);
  await page.click("#add-form button");
  await page.goto(`${demo.origin}/demo/checkout.html`);
  await page.fill("#email", "not an address");
  const device = await deviceOf(page);
  await page.close();
  await until("the abandonment is stored", async () =>
    (await journeyOf(device)).events.some((event) => event.event_type === "form_abandon"),
  );
  const journey = await journeyOf(device);
  expect(journey.events.find((event) => event.event_type === "form_abandon")).toMatchObject({
    form_id: "checkout",
    form_field_name: "email",
  });
  expect(journey.sessions[0]!.session).toMatchObject({ converted: false, abandoned: true });
  const stored = journey.events.map((event) => event.event_id);
  expect(said.every((event) => stored.includes(String(event.event_id)))).toBe(true);
  expect(new Set(stored).size).toBe(stored.length);
});

test("the panel shows what is recorded and what became of it", async () => {
  const { page } = await visit();
  await page.goto(`${demo.origin}/demo/`);
  await page.click(".journey > summary");
  await until("the page view is accepted", async () =>
    (await page.textContent(".journey-list"))!.match(/page_view.*accepted/),
  );
  const device = await deviceOf(page);
  expect(await page.textContent(".journey-device")).toBe(device);
  await page.click("text=Become a new visitor");
  await until("there is another device", async () => (await page.textContent(".journey-device")) !== device);
});

test("a visitor who asks not to be tracked sees a shop that records nothing", async () => {
  const { page, said } = await visit();
  await page.addInitScript(() => Object.defineProperty(navigator, "globalPrivacyControl", { value: true }));
  const requests: string[] = [];
  page.on("request", (request) => requests.push(`${request.method()} ${request.url()}`));
  await page.goto(`${demo.origin}/demo/product.html?sku=FF-101`);
  await page.click("#add-form button");
  await page.click(".journey > summary");
  expect(await page.textContent(".journey-notice")).toContain("Global Privacy Control");
  await page.goto("about:blank");
  expect(said).toEqual([]);
  expect(requests.filter((request) => request.startsWith("POST"))).toEqual([]);
});
