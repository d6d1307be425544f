import { CustomerJourneySDK, type EventFields, type Options } from "@customer-journey/sdk";

const options: Options = {
  apiUrl: "https://journey.example.com",
  apiKey: "pk_…",
};
const error: unknown = new Error("The basket is gone");
const customerJourney = new CustomerJourneySDK(options);

// doc: methods-events
customerJourney.track("video_play", { element_id: "intro", custom_properties: { seconds: 12 } });
customerJourney.trackPageView({ page_title: "Step 2 of 3" });
customerJourney.trackProductView({
  product_id: "tent-2",
  product_name: "Two-person tent",
  product_price: "289.00",
  currency: "EUR",
});
customerJourney.trackAddToCart({
  product_id: "tent-2",
  product_price: "289.00",
  quantity: 1,
  cart_total: "289.00",
  currency: "EUR",
});
customerJourney.trackRemoveFromCart({ product_id: "tent-2", quantity: 1, cart_total: 0, currency: "EUR" });
customerJourney.trackCheckoutStart({ cart_total: "289.00", currency: "EUR" });
customerJourney.trackPurchase({ order_id: "1001", order_total: "289.00", currency: "EUR" });
customerJourney.trackSearch("tent for two", 4);
customerJourney.trackError(error, { custom_properties: { where: "checkout" } });
// doc end

// doc: methods-person
customerJourney.identify("customer-4711", { plan: "pro", demographic: { city: "Oslo" } });
customerJourney.setAttributes({ newsletter: true });
customerJourney.reset();
// doc end

// doc: methods-privacy
customerJourney.setConsent("granted");
customerJourney.optOut();
customerJourney.optIn();
if (!customerJourney.hasOptedOut()) console.log("counted");
// doc end

// doc: methods-delivery
await customerJourney.flush();
const hidden = { device_id: customerJourney.getDeviceId(), session_id: customerJourney.getSessionId() };
// doc end

// doc: announcements
document.addEventListener("customer-journey", (announcement) => {
  const { kind, ...detail } = (announcement as CustomEvent).detail;
  if (kind === "verdict" && detail.verdict !== "accepted") console.warn(detail);
});
// doc end

/** What else the types allow: a property that the service has no field for. */
export const further: EventFields = { ...hidden, shelf: "B7" };
