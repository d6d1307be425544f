import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { runInNewContext } from "node:vm";

const source = await readFile(new URL("../shopify/custom-pixel.js", import.meta.url), "utf8");

/** Runs the pixel in a sandbox like Shopify's; returns a function that publishes an event, and the requests made. */
function startPixel(device) {
  const subscribers = {};
  const requests = [];
  runInNewContext(source, {
    analytics: { subscribe: (name, subscriber) => (subscribers[name] = subscriber) },
    browser: { localStorage: { getItem: async (key) => (key === "cj.device" ? device : null) } },
    fetch: async (url, options) => void requests.push({ url, ...options, body: JSON.parse(options.body) }),
  });
  const publish = (name, data) =>
    subscribers[name]({
      id: "sh-1",
      timestamp: "2026-11-23T10:00:00Z",
      context: { document: { location: { href: "https://shop.example/checkouts/1" } } },
      data,
    });
  return { publish, requests };
}

const checkout = { token: "t", order: { id: "1001" }, totalPrice: { amount: 289 }, currencyCode: "EUR" };

test("a completed checkout becomes a purchase of the same device", async () => {
  const { publish, requests } = startPixel("device-1");
  await publish("checkout_completed", { checkout });
  assert.equal(requests[0].method, "POST");
  assert.deepEqual(requests[0].body, {
    event_id: "shopify-sh-1",
    event_type: "purchase",
    timestamp: "2026-11-23T10:00:00Z",
    device_id: "device-1",
    page_url: "https://shop.example/checkouts/1",
    order_id: "1001",
    order_total: 289,
    currency: "EUR",
  });
});

test("products and the start of the checkout are told as well", async () => {
  const { publish, requests } = startPixel("device-1");
  const merchandise = { product: { id: "81", title: "Tent" }, price: { amount: 289, currencyCode: "EUR" } };
  await publish("product_added_to_cart", { cartLine: { merchandise, quantity: 2 } });
  await publish("checkout_started", { checkout });
  assert.deepEqual(
    requests.map(({ body }) => [body.event_type, body.product_id ?? body.cart_total]),
    [
      ["add_to_cart", "81"],
      ["checkout_start", 289],
    ],
  );
});

test("without a device nothing is sent", async () => {
  const { publish, requests } = startPixel(null);
  await publish("checkout_completed", { checkout });
  assert.deepEqual(requests, []);
});
