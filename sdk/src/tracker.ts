/** Puts the parts together: the tracker of a page, with the methods that a site calls. */
import { complain } from "./announce.ts";
import { captureClicks } from "./click.ts";
import { decision, isKnown, isRefusedByBrowser, mayRecord, OUT } from "./consent.ts";
import { captureErrors, errorFields } from "./error.ts";
import { captureForms } from "./form.ts";
import { deviceId, forgetIdentity, linkUser, sessionId } from "./identity.ts";
import { guard, listen } from "./listen.ts";
import { isOn, options, setOptions } from "./options.ts";
import { capturePages } from "./page.ts";
import { record } from "./recorder.ts";
import { captureScroll } from "./scroll.ts";
import { flush, schedule, sendAgain } from "./sender.ts";
import { DECISION, remove, set, tidy } from "./store.ts";
import type { Call, CustomerJourney, EventFields, Options } from "./types.ts";
import { captureWebVitals } from "./vitals.ts";

/** The service takes no longer user id. */
const USER_LENGTH_MAX = 128;

let view: ReturnType<typeof capturePages> | undefined;
/** Heeds a decision of the visitor: nothing is left where nothing may be, and a page just allowed is viewed. */
const decide = guard((decision: () => void) => {
  const could = mayRecord();
  decision();
  tidy();
  if (could != mayRecord() && isOn("autoPageViews")) view?.();
  schedule();
});

const start = guard(() => {
  if (isOn("autoForms")) captureForms();
  if (isOn("autoErrors")) captureErrors();
  if (isOn("autoClicks")) captureClicks();
  listen("online", sendAgain);
  if (isOn("autoScroll")) captureScroll();
  view = capturePages();
  schedule();
  // Last, since not every browser can.
  if (isOn("autoWebVitals")) captureWebVitals();
});

const tracker = {
  track: record,
  trackPageView: guard((fields) => view?.(fields)),
  trackSearch: (query, resultsCount) => record("search", { search_query: query, search_results_count: resultsCount }),
  trackError: guard((error, fields) => record("error", { ...errorFields(error), ...fields })),
  identify: guard((id, attributes) => {
    // Without an id all visitors would become one person, and one that the service refuses would cost all later events.
    if (!id || ("" + id).length > USER_LENGTH_MAX) return complain("no user id");
    if (mayRecord()) linkUser(id);
    record("identify", { customer_attributes: attributes });
  }),
  setAttributes: (attributes) => record("set_attributes", { customer_attributes: attributes }),
  reset: guard(forgetIdentity),
  optIn: () => decide(() => remove(DECISION)),
  optOut: () => decide(() => set(DECISION, OUT)),
  hasOptedOut: () => decision() == OUT,
  setConsent: (consent) => {
    const before = decision();
    if (before == consent || before == OUT) return;
    decide(() => set(DECISION, consent));
    record("consent", { custom_properties: { consent } });
  },
  flush,
  getDeviceId: () => (isKnown() ? deviceId() : null),
  getSessionId: () => (isKnown() ? sessionId() : null),
} as CustomerJourney;

// Their names say what they do: `trackAddToCart` records an `add_to_cart`.
for (const name of ["ProductView", "AddToCart", "RemoveFromCart", "CheckoutStart", "Purchase"] as const) {
  tracker[`track${name}`] = (fields?: EventFields) => record(name.replace(/\B[A-Z]/g, "_$&").toLowerCase(), fields);
}

/** Starts the tracker of this page; `calls` were made before it came. A second start changes nothing. */
export function startTracker(given: Options, calls: Call[] = []): CustomerJourney {
  if (options.apiKey) return tracker;
  decide(() => setOptions(given));
  if (!options.apiUrl || !/^pk_/.test(options.apiKey)) complain("no apiUrl, no apiKey");
  if (!isRefusedByBrowser()) start();
  // The page view waits for the next turn of the event loop, so that a decision among these calls comes first.
  for (const [method, values] of calls) (tracker[method] as (...values: unknown[]) => void)?.(...values);
  return tracker;
}
