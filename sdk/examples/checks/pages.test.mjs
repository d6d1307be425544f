import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { Liquid } from "liquidjs";
import { visit } from "./browser.mjs";

const read = (path) => readFile(new URL(`../${path}`, import.meta.url), "utf8");

/** Opens a page, has `act` done on it, and checks that nothing went wrong in it. */
async function run(context, html, { before } = {}) {
  const page = await visit(html, { before });
  context.after(page.close);
  context.after(() => assert.deepEqual(page.errors, []));
  return page;
}

const types = (events) => events.map((event) => event.event_type);
const only = (events, type) => events.filter((event) => event.event_type === type);

test("one tag is enough for the first event", async (context) => {
  const page = await run(context, await read("html/minimal.html"));
  const [view] = await page.events();
  assert.equal(view.event_type, "page_view");
  assert.equal(view.page_url, "https://shop.example/");
  assert.equal(page.requests[0].url, "https://journey.example.com/api/v1/events/batch?key=pk_%E2%80%A6");
});

test("a tag that pins a version works like any other", async (context) => {
  const html = (await read("html/pinned.html")).replace(/integrity="[^"]*"/, "");
  const page = await run(context, html);
  assert.deepEqual(types(await page.events()), ["page_view"]);
});

test("calls made before the script has come are not lost", async (context) => {
  const page = await run(context, await read("html/index.html"));
  const [seen] = only(await page.events(), "product_view");
  assert.equal(seen.product_id, "tent-2");
  assert.equal(seen.product_price, "289.00");

  page.click("#buy");
  page.document.querySelector("#search input").value = "stove";
  page.document.querySelector("#search").requestSubmit();
  const events = await page.events();
  assert.equal(only(events, "add_to_cart")[0].cart_total, "289.00");
  assert.deepEqual(
    [only(events, "search")[0].search_query, only(events, "search")[0].search_results_count],
    ["stove", 4],
  );
});

test("the banner holds everything back until the visitor agrees", async (context) => {
  const page = await run(context, await read("consent/banner.html"));
  assert.equal(page.document.querySelector("#consent").hidden, false);
  assert.deepEqual(await page.events(), []);

  page.click("#consent [value=granted]");
  assert.equal(page.document.querySelector("#consent").hidden, true);
  const events = await page.events();
  assert.ok(types(events).includes("page_view"));
  assert.equal(only(events, "consent").length, 1);
});

test("who says no to the banner is never recorded", async (context) => {
  const page = await run(context, await read("consent/banner.html"));
  page.click("#consent [value=denied]");
  assert.deepEqual(await page.events(), []);
  assert.equal(page.window.localStorage.getItem("consent-answer"), "denied");
  assert.equal(page.window.customerJourney.getDeviceId(), null);
});

test("the opt-out button says what it would do", async (context) => {
  const page = await run(context, await read("consent/banner.html"));
  const button = page.document.querySelector("#opt-out");
  assert.equal(button.textContent, "Do not count me");
  button.click();
  assert.equal(page.window.customerJourney.hasOptedOut(), true);
  assert.equal(button.textContent, "Count me again");
  const before = (await page.events()).length;
  button.click();
  assert.equal(page.window.customerJourney.hasOptedOut(), false);
  assert.notEqual(page.window.customerJourney.getDeviceId(), null);
  assert.ok((await page.events()).length > before, "events are recorded and sent again");
});

for (const [title, data, recorded] of [
  ["both purposes of a consent platform allow events", { publisher: { consents: { 1: true, 8: true } } }, true],
  ["one purpose of a consent platform is not enough", { publisher: { consents: { 1: true } } }, false],
  [
    "where the law does not apply, the platform's silence allows events",
    { gdprApplies: false, publisher: { consents: {} } },
    true,
  ],
]) {
  test(title, async (context) => {
    let listener;
    const page = await run(context, await read("consent/tcf.html"), {
      before: (window) => (window.__tcfapi = (command, version, callback) => (listener = callback)),
    });
    listener({ eventStatus: "cmpuishown", publisher: { consents: {} } }, true);
    assert.deepEqual(await page.events(), []);
    listener({ eventStatus: "useractioncomplete", ...data }, true);
    assert.equal((await page.events()).length > 0, recorded);
  });
}

test("Consent Mode decides, and Google's tags still get every entry", async (context) => {
  const page = await run(context, await read("consent/consent-mode.html"));
  const { window } = page;
  function gtag() {
    window.dataLayer.push(arguments);
  }
  gtag("consent", "default", { analytics_storage: "denied" });
  assert.deepEqual(await page.events(), []);
  gtag("consent", "update", { ad_storage: "granted" });
  assert.deepEqual(await page.events(), []);
  gtag("consent", "update", { analytics_storage: "granted" });
  window.dataLayer.push({ event: "page" });
  assert.ok(types(await page.events()).includes("page_view"));
  assert.equal(window.dataLayer.length, 4);
});

test("Tag Manager's tags turn the data layer's events into ours", async (context) => {
  const events = await read("google-tag-manager/events.html");
  const tag = (name, data) =>
    events.replace("{{Event}}", JSON.stringify(name)).replace("{{DLV - ecommerce}}", JSON.stringify(data));
  const item = { item_id: 7, item_name: "Stove", item_category: "Kitchen", price: 49.5, quantity: 2 };
  const page = await run(
    context,
    `<title>Shop</title>${await read("google-tag-manager/start.html")}
     ${tag("view_item", { currency: "EUR", items: [item] })}
     ${tag("begin_checkout", { value: 99, currency: "EUR", items: [item, item] })}
     ${tag("purchase", { transaction_id: 1001, value: 99, currency: "EUR", items: [item] })}
     ${tag("gtm.dom", undefined)}`,
  );
  const sent = (await page.events()).filter((event) => event.event_type !== "page_view");
  assert.deepEqual(types(sent), ["product_view", "checkout_start", "purchase"]);
  assert.deepEqual([sent[0].product_id, sent[0].product_price, sent[0].quantity], ["7", 49.5, 2]);
  assert.equal(sent[1].cart_total, 99);
  assert.deepEqual([sent[2].order_id, sent[2].order_total, sent[2].currency], ["1001", 99, "EUR"]);
});

/** The theme's snippet as Shopify renders it, whose filter `json` escapes `<`. */
async function renderTheme(values) {
  const engine = new Liquid();
  engine.registerFilter("json", (value) => JSON.stringify(value).replaceAll("<", "\\u003c"));
  return engine.parseAndRender(await read("shopify/customer-journey.liquid"), values);
}

const shopify = (allowed) => (window) => {
  window.Shopify = {
    loadFeatures: (features, done) => done(),
    customerPrivacy: { analyticsProcessingAllowed: () => allowed },
  };
};

test("the Shopify theme tells which product is seen, whatever its title holds", async (context) => {
  const html = await renderTheme({
    request: { page_type: "product" },
    product: { id: 81, title: `Tent "2" </script><b>`, type: "Tents", price: 28900 },
    cart: { currency: { iso_code: "EUR" } },
  });
  const page = await run(context, html, { before: shopify(true) });
  const [seen] = only(await page.events(), "product_view");
  assert.deepEqual([seen.product_id, seen.product_name, seen.product_price], ["81", `Tent "2" </script><b>`, 289]);
});

test("the Shopify theme waits for the shop's own consent banner", async (context) => {
  const html = await renderTheme({
    request: { page_type: "search" },
    search: { performed: true, terms: "stove", results_count: 4 },
  });
  const page = await run(context, html, { before: shopify(false) });
  assert.deepEqual(await page.events(), []);
  page.document.dispatchEvent(
    new page.window.CustomEvent("visitorConsentCollected", { detail: { analyticsAllowed: true } }),
  );
  assert.equal(only(await page.events(), "search")[0].search_query, "stove");
});
