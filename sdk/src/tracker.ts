/** Puts the parts together: the tracker of a page, with the methods that a site calls. */
import { cleanAddress } from "./address.ts";
import { announce, complain } from "./announce.ts";
import { captureClicks } from "./click.ts";
import { consent, hasOptedOut, isKnown, isRefusedByBrowser, mayRecord, maySend } from "./consent.ts";
import { captureErrors, errorFields } from "./error.ts";
import { captureForms } from "./form.ts";
import { captureFrustration } from "./frustration.ts";
import { makeId } from "./id.ts";
import { deviceId, forgetIdentity, linkUser, nextNumber, sessionId, userId } from "./identity.ts";
import { options, setOptions } from "./options.ts";
import { capturePages } from "./page.ts";
import { enqueue, putBack } from "./queue.ts";
import type { Recorder } from "./recorder.ts";
import { captureScroll } from "./scroll.ts";
import { flush, schedule, sendAgain, sendLastWords } from "./sender.ts";
import { clear, CONSENT, OPTED_OUT, persist, remove, set } from "./store.ts";
import type { Call, CustomerJourney, EventFields, Options } from "./types.ts";
import { captureWebVitals } from "./vitals.ts";

/** Calls that must be heeded before anything is recorded. */
const DECISION = /^(opt|set)/;

let view: ReturnType<typeof capturePages> | undefined;
let heldAt: number | undefined;
let heldAddress: string | undefined;

/** What comes from outside must not break the page, however odd it is. */
const guard =
  <Values extends unknown[]>(run: (...values: Values) => void) =>
  (...values: Values): void => {
    try {
      run(...values);
    } catch (error) {
      complain(error);
    }
  };

const record = guard((type: string, fields?: EventFields, at: number = heldAt ?? Date.now()) => {
  if (!mayRecord()) return;
  const event = {
    page_url: heldAddress ?? cleanAddress(location.href),
    ...fields,
    event_id: makeId(),
    event_type: type,
    timestamp: new Date(at).toISOString(),
    seq: nextNumber(),
    ...(isKnown() && { device_id: deviceId(), session_id: sessionId(at) }),
    user_id: userId() ?? undefined,
  };
  enqueue(event.event_id, JSON.stringify(event));
  announce("event", { event });
  if (maySend()) schedule();
});

/** Heeds a decision of the visitor: nothing is left where nothing may be, and a page just allowed is viewed. */
const decide = guard((decision: () => void) => {
  const could = mayRecord();
  decision();
  if (!mayRecord()) clear();
  persist(maySend() && !options.cookieless);
  if (!could && mayRecord() && options.autoPageViews) view?.({}, 0, true);
  if (maySend()) schedule();
});

const recorder: Recorder = {
  _options: options,
  _moments: { _hide: [], _end: [], _begin: [] },
  _record: record,
  _listen: (target, type, listener) =>
    target.addEventListener(type, guard(listener as (event: Event) => void), { capture: true, passive: true }),
  _hold: (at, address) => {
    heldAt = at;
    heldAddress = address;
  },
};

const start = guard(() => {
  const listen = recorder._listen;
  if (options.autoForms) captureForms(recorder);
  if (options.autoWebVitals) captureWebVitals(recorder);
  if (options.autoErrors) captureErrors(recorder);
  if (options.autoClicks) {
    captureClicks(recorder);
    captureFrustration(recorder);
  }
  let isFollowed = false;
  // Only a page of the same site can tell what takes its place; that page then finds the events that wait.
  listen(window, "pageswap", (event) => (isFollowed = !!event.activation));
  listen(window, "online", sendAgain);
  putBack();
  view = capturePages(recorder, options.autoScroll && captureScroll(recorder), () => {
    sendLastWords(isFollowed);
    isFollowed = false;
  });
  schedule();
});

const tracking = (type: string) => (fields?: EventFields) => record(type, fields);

const tracker: CustomerJourney = {
  track: (type, fields) => record(type, fields),
  trackPageView: guard((fields) => view?.(fields)),
  trackProductView: tracking("product_view"),
  trackAddToCart: tracking("add_to_cart"),
  trackRemoveFromCart: tracking("remove_from_cart"),
  trackCheckoutStart: tracking("checkout_start"),
  trackPurchase: tracking("purchase"),
  trackSearch: (query, resultsCount) => record("search", { search_query: query, search_results_count: resultsCount }),
  trackError: (error, fields) => record("error", { ...errorFields(error), ...fields }),
  identify: guard((id, attributes) => {
    if (mayRecord()) linkUser(id);
    record("identify", { customer_attributes: attributes });
  }),
  setAttributes: (attributes) => record("set_attributes", { customer_attributes: attributes }),
  reset: guard(forgetIdentity),
  optIn: () => decide(() => remove(OPTED_OUT)),
  optOut: () => decide(() => set(OPTED_OUT, 1)),
  hasOptedOut,
  setConsent: (value) => {
    const before = consent();
    decide(() => set(CONSENT, value));
    if (value == "granted" && before != value) record("consent", { custom_properties: { consent: value } });
  },
  flush,
  getDeviceId: () => (isKnown() ? deviceId() : null),
  getSessionId: () => (isKnown() ? sessionId(Date.now()) : null),
};

/** Starts the tracker of this page; `calls` were made before it came. A second start changes nothing. */
export function startTracker(given: Options, calls: Call[] = []): CustomerJourney {
  if (options.apiKey) return tracker;
  setOptions({ ...given });
  if (!options.apiUrl || !/^pk_/.test(options.apiKey)) complain("no apiUrl, or no write key (pk_…)");
  persist(maySend() && !options.cookieless);
  const replay = (isDecision: boolean) =>
    calls.forEach(([method, values]) => {
      if (DECISION.test(method) == isDecision) (tracker[method] as (...values: unknown[]) => void)?.(...values);
    });
  replay(true);
  if (!isRefusedByBrowser()) start();
  replay(false);
  return tracker;
}
