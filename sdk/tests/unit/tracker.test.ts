import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { idAt } from "./ids.ts";
import { removeListeners } from "./support.ts";
import type { Call, CustomerJourney, Options } from "../../src/types.ts";

/** Every event recorded, as it would go over the wire. */
let events: Record<string, unknown>[];
let sent: Record<string, unknown>[];

document.addEventListener("customer-journey", (event) => {
  const { detail } = event as CustomEvent;
  if (detail.kind === "event") events.push(detail.event);
});

beforeEach(() => {
  vi.useFakeTimers();
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
  removeListeners();
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
  Reflect.deleteProperty(history, "pushState");
  Reflect.deleteProperty(history, "replaceState");
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
  const journey = await start({ consent: "pending" }, [
    ["track", ["early", { place: "stub" }]],
    ["setConsent", ["denied"]],
    ["track", ["late"]],
  ]);
  vi.advanceTimersByTime(0);
  await journey.flush();
  expect(types()).toEqual(["early"]);
  expect(events[0]).toMatchObject({ place: "stub" });
  expect(sent).toEqual([]);
  expect({ ...localStorage }).toEqual({ "cj.consent": "denied" });
});

test("early calls come in their order, and the page view is no later than they", async () => {
  await start({}, [
    ["track", ["first"]],
    ["track", ["second"]],
    ["identify", ["ann"]],
  ]);
  vi.advanceTimersByTime(5);
  expect(types()).toEqual(["first", "second", "identify", "page_view"]);
  expect(events[3]!["timestamp"]).toBe(events[0]!["timestamp"]);
});

test("a call that does not exist stops none of the others", async () => {
  await start({ autoPageViews: false }, [["nonsense" as Call[0], []] as Call, ["track", ["a"]]]);
  expect(types()).toEqual(["a"]);
});

test("what a site tracks on a page that nobody ever sees is sent when it goes", async () => {
  const hidden = vi.spyOn(document, "hidden", "get").mockReturnValue(true);
  const journey = await start({ cookieless: true });
  journey.track("a");
  window.dispatchEvent(new Event("pagehide"));
  hidden.mockRestore();
  await vi.advanceTimersByTimeAsync(0);
  expect(sent.map((event) => event["event_type"])).toEqual(["a"]);
});

test("what waits is sent when the page is hidden", async () => {
  const journey = await start({ autoPageViews: false });
  journey.track("a");
  const visibility = vi.spyOn(document, "hidden", "get").mockReturnValue(true);
  document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
  visibility.mockRestore();
  await vi.advanceTimersByTimeAsync(0);
  expect(sent.map((event) => event["event_type"])).toEqual(["a"]);
});

test("what an earlier page said with nobody to hear the answer is sent again", async () => {
  const id = idAt(Date.now());
  localStorage.setItem("cj.q." + id, '{"event_type":"last_word"}');
  localStorage.setItem("cj.said", "," + id);
  const journey = await start({ autoPageViews: false });
  await journey.flush();
  expect(sent).toEqual([]);
  vi.setSystemTime(Date.now() + 20_001);
  await journey.flush();
  expect(sent).toEqual([{ event_type: "last_word" }]);
  expect(localStorage.length).toBe(0);
});

test("the page that takes another one's place sends what that one left", async () => {
  const left = await start({ autoPageViews: false });
  left.track("a");
  window.dispatchEvent(Object.assign(new Event("pageswap"), { activation: {} }));
  window.dispatchEvent(new Event("pagehide"));
  vi.clearAllTimers();
  removeListeners();
  expect(sent).toEqual([]);
  vi.resetModules();
  const journey = await start({ autoPageViews: false });
  journey.track("b");
  await journey.flush();
  expect(sent.map((event) => event["event_type"])).toEqual(["a", "b"]);
  expect(sent[0]!["session_id"]).toBe(sent[1]!["session_id"]);
});

test("what waits is sent when the network is back", async () => {
  const journey = await start({ autoPageViews: false });
  const reach = fetch;
  vi.stubGlobal("fetch", () => Promise.reject(new TypeError("failed to fetch")));
  journey.track("a");
  await journey.flush();
  vi.stubGlobal("fetch", reach);
  await journey.flush();
  expect(sent).toEqual([]);
  window.dispatchEvent(new Event("online"));
  await vi.advanceTimersByTimeAsync(0);
  expect(sent.map((event) => event["event_type"])).toEqual(["a"]);
});

test("a second start is the first tracker", async () => {
  const first = await start();
  const second = await start({ apiKey: "pk_2" });
  expect(second).toBe(first);
});

test("a key that is none is said at once", async () => {
  await start({ apiKey: "sk_secret" });
  expect(console.warn).toHaveBeenCalledWith("Customer Journey:", expect.stringMatching(/apiKey/));
});

test("opting out forgets everything but that, and opting in begins as somebody new", async () => {
  const journey = await start({ autoPageViews: false });
  journey.track("a");
  const device = journey.getDeviceId();
  journey.optOut();
  journey.track("b");
  expect(journey.hasOptedOut()).toBe(true);
  expect(journey.getDeviceId()).toBeNull();
  expect({ ...localStorage }).toEqual({ "cj.consent": "out" });
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

test("consent given begins a page view, and consent withdrawn begins none", async () => {
  const journey = await start({ consent: "denied" });
  vi.advanceTimersByTime(0);
  expect(types()).toEqual([]);
  journey.setConsent("granted");
  expect(types()).toEqual(["page_view", "consent"]);
  // No page view came before it, so it comes from where the browser says.
  expect(events[0]!["referrer"]).toBeUndefined();
  journey.setConsent("denied");
  expect(types()).toEqual(["page_view", "consent"]);
  expect({ ...localStorage }).toEqual({ "cj.consent": "denied" });
});

test("consent that was pending and is granted does not view the page again", async () => {
  const journey = await start({ consent: "pending" });
  vi.advanceTimersByTime(0);
  journey.setConsent("granted");
  journey.setConsent("granted");
  expect(types()).toEqual(["page_view", "consent"]);
  expect(events[1]).toMatchObject({ custom_properties: { consent: "granted" } });
});

test("a consent banner does not overrule who opted out", async () => {
  const journey = await start({ autoPageViews: false });
  journey.optOut();
  journey.setConsent("granted");
  journey.track("a");
  expect(journey.hasOptedOut()).toBe(true);
  expect(events).toEqual([]);
  expect({ ...localStorage }).toEqual({ "cj.consent": "out" });
});

test("who opted out is left alone on the next page as well", async () => {
  localStorage.setItem("cj.consent", "out");
  const journey = await start();
  vi.advanceTimersByTime(0);
  journey.track("a");
  await journey.flush();
  expect(journey.hasOptedOut()).toBe(true);
  expect(events.concat(sent)).toEqual([]);
});

test("who is not to be recorded is linked to nobody", async () => {
  const journey = await start({ autoPageViews: false, consent: "denied" });
  journey.identify("ann");
  journey.setConsent("granted");
  journey.track("a");
  expect(events.map((event) => event["user_id"] ?? null)).toEqual([null, null]);
});

test("every part starts unless it is switched off", async () => {
  const all = { autoClicks: true, autoErrors: true, autoForms: true, autoScroll: true };
  const happen = () => {
    document.body.innerHTML = `<form id="f"><input name="x" /></form>`;
    document.querySelector("form")!.click();
    document.querySelector("input")!.dispatchEvent(new Event("input", { bubbles: true }));
    window.dispatchEvent(new ErrorEvent("error", { message: "no cart" }));
    Object.defineProperty(document.documentElement, "scrollHeight", { value: innerHeight * 4, configurable: true });
    document.dispatchEvent(new Event("scroll"));
  };
  await start(all);
  vi.advanceTimersByTime(0);
  happen();
  expect(types()).toEqual(["page_view", "click", "form_input", "error", "scroll"]);
  removeListeners();
  vi.resetModules();
  events = [];
  await start({ autoPageViews: false });
  happen();
  vi.advanceTimersByTime(0);
  expect(events).toEqual([]);
  Reflect.deleteProperty(document.documentElement, "scrollHeight");
});

test("a part that fails to start does not disturb the page", async () => {
  vi.stubGlobal("PerformanceObserver", undefined);
  const journey = await start({ autoPageViews: false, autoWebVitals: true });
  journey.track("a");
  expect(types()).toEqual(["a"]);
  expect(console.warn).toHaveBeenCalled();
});

test("a browser without PerformanceObserver gives all that it can", async () => {
  vi.stubGlobal("PerformanceObserver", undefined);
  await start({ autoWebVitals: true });
  vi.advanceTimersByTime(0);
  expect(types()).toEqual(["page_view"]);
});

test("options that are none are said, and break nothing", async () => {
  const { startTracker } = await import("../../src/tracker.ts");
  expect(() => startTracker(undefined as unknown as Options).track("a")).not.toThrow();
  expect(console.warn).toHaveBeenCalled();
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
    expect(journey.getDeviceId()).toBeNull();
    expect(localStorage.length).toBe(0);
  },
);

test("a site may decide not to heed Do Not Track", async () => {
  vi.stubGlobal("navigator", { doNotTrack: "1" });
  const journey = await start({ respectDnt: false, autoPageViews: false });
  journey.track("a");
  expect(types()).toEqual(["a"]);
  expect(journey.hasOptedOut()).toBe(false);
});

test.each([undefined, null, "", "x".repeat(129)])(
  "an id that is none (%s) identifies nobody, and is said",
  async (id) => {
    const journey = await start({ autoPageViews: false });
    journey.identify(id as string);
    journey.track("a");
    expect(events.map((event) => [event["event_type"], event["user_id"]])).toEqual([["a", undefined]]);
    expect(console.warn).toHaveBeenCalledOnce();
  },
);

test("a site that sends its own page views gets none when somebody comes back", async () => {
  const journey = await start({ autoPageViews: false });
  journey.trackPageView({ page_title: "Mine" });
  window.dispatchEvent(new Event("pagehide"));
  window.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
  expect(types().filter((type) => type == "page_view")).toHaveLength(1);
});

test("reset makes a new visitor", async () => {
  const journey = await start({ autoPageViews: false });
  journey.identify("ann");
  const [device, session] = [journey.getDeviceId(), journey.getSessionId()];
  journey.reset();
  journey.track("a");
  expect(events[0]!["user_id"]).toBe("ann");
  expect(events[1]!["user_id"]).toBeUndefined();
  expect(events[1]!["device_id"]).not.toBe(device);
  expect(events[1]!["session_id"]).not.toBe(session);
  expect(events[1]!["device_id"]).toBe(journey.getDeviceId());
});

test("on a server, importing and constructing do nothing and break nothing", async () => {
  vi.stubGlobal("document", undefined);
  vi.stubGlobal("window", undefined);
  const { CustomerJourneySDK } = await import("../../src/index.ts");
  const journey = new CustomerJourneySDK({ apiUrl: "https://journey.example", apiKey: "pk_1" });
  journey.track("a");
  expect(journey.hasOptedOut()).toBeFalsy();
  await journey.flush().then(() => journey.track("b"));
  expect(await Promise.resolve(journey)).toBe(journey);
  expect(journey.getDeviceId()).toBeNull();
});
