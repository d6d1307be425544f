import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Call, CustomerJourney, Options } from "../../src/types.ts";

/** Every event recorded, as it would go over the wire. */
let events: Record<string, unknown>[];
let sent: Record<string, unknown>[];

document.addEventListener("customer-journey", (event) => {
  const { detail } = event as CustomEvent;
  if (detail.kind === "event") events.push(detail.event);
});

beforeEach(() => {
  vi.resetModules();
  localStorage.clear();
  events = [];
  sent = [];
  vi.spyOn(console, "warn").mockImplementation(() => {});
  // The document has been there for a while; happy-dom does not say so.
  vi.stubGlobal("performance", { now: () => 0, timing: { domContentLoadedEventStart: 1 } });
  vi.stubGlobal("fetch", async (_: string, init: RequestInit) => {
    const batch = JSON.parse(init.body as string).events;
    // Events of the same millisecond are in no order on the way; their count is what tells.
    sent.push(...batch.sort((left: { seq: number }, right: { seq: number }) => left.seq - right.seq));
    return new Response(JSON.stringify({ accepted: batch.length, errors: [] }), { status: 202 });
  });
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

async function start(options: Partial<Options> = {}, calls?: Call[]): Promise<CustomerJourney> {
  const { startTracker } = await import("../../src/tracker.ts");
  const quiet = { autoClicks: false, autoErrors: false, autoForms: false, autoScroll: false, autoWebVitals: false };
  return startTracker({ apiUrl: "https://journey.example", apiKey: "pk_1", ...quiet, ...options }, calls);
}

const types = () => events.map((event) => event["event_type"]);

test("every method that tracks records its type with its fields", async () => {
  const journey = await start({ autoPageViews: false });
  journey.track("newsletter_signup", { plan: "pro" });
  journey.trackPageView({ page_title: "Tents" });
  journey.trackProductView({ product_id: "t1" });
  journey.trackAddToCart({ product_id: "t1", quantity: 2 });
  journey.trackRemoveFromCart({ product_id: "t1" });
  journey.trackCheckoutStart({ cart_total: "12.50" });
  journey.trackPurchase({ order_id: "o1", order_total: 12.5, currency: "EUR" });
  journey.trackSearch("warm", 3);
  journey.trackError(new RangeError("too far"));
  journey.identify("ann", { plan: "pro" });
  journey.setAttributes({ city: "Oslo" });
  expect(types()).toEqual([
    "newsletter_signup",
    "page_view",
    "product_view",
    "add_to_cart",
    "remove_from_cart",
    "checkout_start",
    "purchase",
    "search",
    "error",
    "identify",
    "set_attributes",
  ]);
  expect(events[0]).toMatchObject({ plan: "pro" });
  expect(events[1]).toMatchObject({ page_title: "Tents" });
  expect(events[7]).toMatchObject({ search_query: "warm", search_results_count: 3 });
  expect(events[8]!["error_message"]).toContain("too far");
  expect(events[9]).toMatchObject({ user_id: "ann", customer_attributes: { plan: "pro" } });
  expect(events[10]).toMatchObject({ user_id: "ann", customer_attributes: { city: "Oslo" } });
});

test("ids, time and order are the tracker's own, whatever a site passes", async () => {
  const journey = await start({ autoPageViews: false });
  journey.track("a", { event_id: "mine", device_id: "mine", session_id: "mine", seq: 99, timestamp: 0 });
  journey.track("b");
  expect(events[0]).toMatchObject({
    event_type: "a",
    seq: 1,
    device_id: journey.getDeviceId(),
    session_id: journey.getSessionId(),
  });
  expect(events[0]!["event_id"]).not.toBe("mine");
  expect(events[0]!["timestamp"]).not.toBe(0);
  expect(events[1]!["seq"]).toBe(2);
});

test("what cannot be sent is said, and breaks nothing", async () => {
  const journey = await start({ autoPageViews: false });
  const circle: Record<string, unknown> = {};
  circle["self"] = circle;
  journey.track("a", { circle });
  journey.track("b", { big: 1n });
  journey.track("c");
  expect(types()).toEqual(["c"]);
  expect(console.warn).toHaveBeenCalledTimes(2);
});

test("calls made before the script came are answered, decisions before the first page view", async () => {
  await start({}, [
    ["track", ["early", { place: "stub" }]],
    ["setConsent", ["denied"]],
    ["track", ["late"]],
  ]);
  expect(events).toEqual([]);
  expect(localStorage.getItem("cj.consent")).toBe("denied");
});

test("early calls come after the page view and in their order", async () => {
  await start({}, [
    ["track", ["first"]],
    ["track", ["second"]],
    ["identify", ["ann"]],
  ]);
  expect(types().slice(-3)).toEqual(["first", "second", "identify"]);
});

test("a second start is the first tracker", async () => {
  const first = await start();
  const second = await start({ apiKey: "pk_2" });
  expect(second).toBe(first);
});

test("a key that is none is said at once", async () => {
  await start({ apiKey: "sk_secret" });
  expect(console.warn).toHaveBeenCalledWith("Customer Journey:", expect.stringContaining("pk_"));
});

test("opting out forgets everything but that, and opting in begins as somebody new", async () => {
  const journey = await start({ autoPageViews: false });
  journey.track("a");
  const device = journey.getDeviceId();
  journey.optOut();
  journey.track("b");
  expect(journey.hasOptedOut()).toBe(true);
  expect(journey.getDeviceId()).toBeNull();
  expect({ ...localStorage }).toEqual({ "cj.out": "1" });
  journey.optIn();
  journey.track("c");
  expect(journey.hasOptedOut()).toBe(false);
  expect(journey.getDeviceId()).not.toBe(device);
  expect(types()).toEqual(["a", "c"]);
});

test("pending consent keeps events in memory, and granting sends them with their own times", async () => {
  const journey = await start({ autoPageViews: false, consent: "pending" });
  journey.track("a");
  const recorded = { ...events[0] };
  await journey.flush();
  expect(localStorage.length).toBe(0);
  expect(sent).toEqual([]);
  journey.setConsent("granted");
  await journey.flush();
  expect(sent.map((event) => event["event_type"])).toEqual(["a", "consent"]);
  expect(sent[0]).toEqual(JSON.parse(JSON.stringify(recorded)));
  expect(localStorage.getItem("cj.device")).toBe(recorded["device_id"]);
});

test("denied consent drops what waited and records nothing more", async () => {
  const journey = await start({ autoPageViews: false, consent: "pending" });
  journey.track("a");
  journey.setConsent("denied");
  journey.track("b");
  await journey.flush();
  expect(sent).toEqual([]);
  expect({ ...localStorage }).toEqual({ "cj.consent": "denied" });
  journey.setConsent("granted");
  await journey.flush();
  expect(sent.map((event) => event["event_type"])).toEqual(["consent"]);
});

test("consent withdrawn removes what was stored", async () => {
  const journey = await start({ autoPageViews: false });
  journey.track("a");
  journey.setConsent("denied");
  expect({ ...localStorage }).toEqual({ "cj.consent": "denied" });
});

test("without cookies nothing is stored, and the service tells devices apart", async () => {
  const journey = await start({ autoPageViews: false, cookieless: true });
  journey.track("a");
  await journey.flush();
  expect(localStorage.length + sessionStorage.length).toBe(0);
  expect(document.cookie).toBe("");
  expect(sent[0]).not.toHaveProperty("device_id");
  expect(sent[0]).not.toHaveProperty("session_id");
  expect(journey.getDeviceId()).toBeNull();
});

test.each([{ globalPrivacyControl: true }, { doNotTrack: "1" }])(
  "a browser that says %j is left alone",
  async (says) => {
    vi.stubGlobal("navigator", says);
    const journey = await start();
    journey.track("a");
    journey.setConsent("granted");
    await journey.flush();
    expect(events.concat(sent)).toEqual([]);
    expect(journey.hasOptedOut()).toBe(true);
    expect({ ...localStorage }).toEqual({ "cj.consent": "granted" });
  },
);

test("a site may decide not to heed Do Not Track", async () => {
  vi.stubGlobal("navigator", { doNotTrack: "1" });
  const journey = await start({ respectDnt: false, autoPageViews: false });
  journey.track("a");
  expect(types()).toEqual(["a"]);
  expect(journey.hasOptedOut()).toBe(false);
});

test("reset makes a new visitor", async () => {
  const journey = await start({ autoPageViews: false });
  journey.identify("ann");
  const before = [journey.getDeviceId(), journey.getSessionId()];
  journey.reset();
  journey.track("a");
  expect(events.at(-1)!["user_id"]).toBeUndefined();
  expect([journey.getDeviceId(), journey.getSessionId()]).not.toEqual(before);
});

test("on a server, importing and constructing do nothing and break nothing", async () => {
  vi.stubGlobal("document", undefined);
  vi.stubGlobal("window", undefined);
  const { CustomerJourneySDK } = await import("../../src/index.ts");
  const journey = new CustomerJourneySDK({ apiUrl: "https://journey.example", apiKey: "pk_1" });
  journey.track("a");
  expect(journey.hasOptedOut()).toBeFalsy();
  expect(await journey.flush()).toBeNull();
  expect(journey.getDeviceId()).toBeNull();
});
