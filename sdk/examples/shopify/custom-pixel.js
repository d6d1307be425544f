// doc: shopify-pixel
// Settings, Customer events, Add custom pixel. Permission: required, Analytics. Then Save and Connect.
const ADDRESS = "https://journey.example.com/api/v1/events?key=pk_…"; // a key without origins: a pixel has none

async function send(event, type, fields) {
  // The pixel runs in a sandbox; only `browser` reaches what the shop's pages keep. No id there means that the visitor
  // did not agree, and then nothing is sent.
  const device = await browser.localStorage.getItem("cj.device");
  if (!device) return;
  const body = {
    event_id: `shopify-${event.id}`,
    event_type: type,
    timestamp: event.timestamp,
    device_id: device,
    page_url: event.context.document.location.href,
    ...fields,
  };
  await fetch(ADDRESS, { method: "POST", keepalive: true, body: JSON.stringify(body) });
}

analytics.subscribe("product_added_to_cart", (event) => {
  const line = event.data.cartLine;
  if (!line) return;
  return send(event, "add_to_cart", {
    product_id: line.merchandise.product.id,
    product_name: line.merchandise.product.title,
    product_price: line.merchandise.price.amount,
    quantity: line.quantity,
    currency: line.merchandise.price.currencyCode,
  });
});

analytics.subscribe("checkout_started", (event) =>
  send(event, "checkout_start", {
    cart_total: event.data.checkout.totalPrice?.amount,
    currency: event.data.checkout.currencyCode,
  }),
);

analytics.subscribe("checkout_completed", (event) =>
  send(event, "purchase", {
    order_id: event.data.checkout.order?.id ?? event.data.checkout.token,
    order_total: event.data.checkout.totalPrice?.amount,
    currency: event.data.checkout.currencyCode,
  }),
);
// doc end
