/** Puts the parts together: one tracker, with the methods that a site calls. */
import { cleanAddress } from "./address.ts";
import { complain, makeAnnounce } from "./announce.ts";
import { captureClicks } from "./click.ts";
import { makePermission, isRefusedByBrowser } from "./consent.ts";
import { captureErrors, errorFields } from "./error.ts";
import { captureForms } from "./form.ts";
import { captureFrustration } from "./frustration.ts";
import { makeId } from "./id.ts";
import { makeIdentity } from "./identity.ts";
import { completeOptions } from "./options.ts";
import { capturePages, type Pages } from "./page.ts";
import { makeQueue } from "./queue.ts";
import type { Recorder } from "./recorder.ts";
import { captureScroll } from "./scroll.ts";
import { makeSender } from "./sender.ts";
import { makeStore, OWN } from "./store.ts";
import type { Call, CustomerJourney, EventFields, Options } from "./types.ts";
import { captureWebVitals } from "./vitals.ts";

/** Calls that must be heeded before anything is recorded. */
const DECISION = /^(opt|set)/;

/** Starts a tracker on this page; `calls` were made before it came. */
export function makeTracker(given: Options, calls: Call[] = []): CustomerJourney {
  const options = completeOptions(given);
  const announce = makeAnnounce(options.debug);
  // What a visitor decides is kept even where nothing else is.
  const decisions = makeStore(true);
  const permission = makePermission(options, decisions);
  const mayStore = () => !options.cookieless && permission._maySend();
  const store = makeStore(mayStore());
  const identity = makeIdentity(store, options.sessionTimeoutMinutes * 6e4);
  const queue = makeQueue(store, options.queueSizeMax, announce);
  const sender = makeSender(options, queue, store, permission._maySend, announce);
  const isKnown = () => permission._mayRecord() && !options.cookieless;
  let pages: Pages | undefined;
  let heldAt: number | undefined;
  let heldAddress: string | undefined;

  /** What comes from outside must not break the page, however odd it is. */
  const guard =
    <Values extends unknown[]>(run: (...values: Values) => void) =>
    (...values: Values) => {
      try {
        run(...values);
      } catch (error) {
        complain(error);
      }
    };

  const record = guard((type: string, fields?: EventFields, at: number = heldAt ?? Date.now()) => {
    if (!permission._mayRecord()) return;
    const id = makeId();
    const event = {
      page_url: heldAddress ?? cleanAddress(location.href, options.urlParameters),
      ...fields,
      event_id: id,
      event_type: type,
      timestamp: new Date(at).toISOString(),
      seq: identity._next(),
      ...(options.cookieless
        ? {}
        : { device_id: identity._device(), session_id: identity._session(at), user_id: identity._user() }),
    };
    queue._add(id, JSON.stringify(event));
    announce("event", { event });
    if (permission._maySend()) sender._schedule();
  });

  /** Heeds a decision of the visitor: nothing is left where nothing may be, and a page just allowed is viewed. */
  const decide = guard((decision: () => void) => {
    const could = permission._mayRecord();
    decision();
    if (!permission._mayRecord()) store._keys(OWN).filter(permission._isNoDecision).forEach(store._remove);
    store._persist(mayStore());
    if (!could && permission._mayRecord() && options.autoPageViews) pages?._view();
    if (permission._maySend()) sender._schedule();
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
    if (options.autoForms) captureForms(recorder);
    if (options.autoWebVitals) captureWebVitals(recorder);
    if (options.autoErrors) captureErrors(recorder);
    if (options.autoClicks) {
      captureClicks(recorder);
      captureFrustration(recorder);
    }
    let isFollowed = false;
    // Only a page of the same site can tell what took its place; it then finds the events that wait.
    recorder._listen(window, "pageswap", (event) => (isFollowed = !!event.activation));
    queue._say();
    pages = capturePages(
      recorder,
      options.autoScroll ? captureScroll(recorder) : undefined,
      () => isKnown() && identity._isOver(Date.now()),
      sender._flush,
      () => {
        sender._lastWords(isFollowed);
        isFollowed = false;
      },
    );
    sender._schedule();
  });

  const track = (type: string) => (fields?: EventFields) => record(type, fields);

  const tracker: CustomerJourney = {
    track: record,
    trackPageView: guard((fields) => pages?._view(fields)),
    trackProductView: track("product_view"),
    trackAddToCart: track("add_to_cart"),
    trackRemoveFromCart: track("remove_from_cart"),
    trackCheckoutStart: track("checkout_start"),
    trackPurchase: track("purchase"),
    trackSearch: (query, resultsCount) => record("search", { search_query: query, search_results_count: resultsCount }),
    trackError: (error, fields) => record("error", { ...errorFields(error), ...fields }),
    identify: guard((userId, attributes) => {
      if (!isKnown()) return;
      const known = identity._user();
      // A second person on the same device starts a life of their own.
      if (known && known != userId) identity._forget();
      identity._link("" + userId);
      record("identify", { customer_attributes: attributes });
    }),
    setAttributes: (attributes) => record("set_attributes", { customer_attributes: attributes }),
    reset: guard(identity._forget),
    optIn: () => decide(() => permission._setOptedOut(false)),
    optOut: () => decide(() => permission._setOptedOut(true)),
    hasOptedOut: permission._hasOptedOut,
    setConsent: (consent) => {
      const before = permission._consent();
      decide(() => permission._setConsent(consent));
      if (consent == "granted" && before != consent) record("consent", { custom_properties: { consent } });
    },
    flush: sender._flush,
    getDeviceId: () => (isKnown() ? identity._device() : null),
    getSessionId: () => (isKnown() ? identity._session(Date.now()) : null),
  };

  const replay = (wanted: boolean) =>
    calls.forEach(([method, values]) => {
      if (DECISION.test(method) == wanted) (tracker[method] as (...values: unknown[]) => void)?.(...values);
    });
  replay(true);
  if (!(options.respectDnt && isRefusedByBrowser())) start();
  replay(false);
  return tracker;
}
