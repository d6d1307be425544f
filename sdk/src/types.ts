/** What a site may say to the SDK. Field names and units are those of the API: docs/api.md. */

import type { EventFields } from "./event-fields.ts";

export type { EventFields };

/** An amount of money: a number, or a decimal as text where every digit counts. */
export type Amount = number | string;

/** Facts about a person. A nested object is a category: `{ demographic: { city: "Oslo" } }`. */
export type Attributes = Record<string, unknown>;

/** A product, as its page shows it. */
export interface Product extends EventFields {
  product_id: string;
}

/** An order that was paid. */
export interface Purchase extends EventFields {
  order_id: string;
  order_total: Amount;
  currency: string;
}

/** Whether the visitor agreed: `pending` keeps events in memory until that is known. */
export type Consent = "granted" | "denied" | "pending";

/** What the constructor takes; the script tag has the same as `data-*` attributes (`apiUrl` is `data-api-url`). */
export interface Options {
  /** Address of the service, as in `https://journey.example.com`. */
  apiUrl: string;
  /** A publishable write key, `pk_…`. */
  apiKey: string;
  /** Page views and the time on them. */
  autoPageViews?: boolean;
  /** Clicks, outbound links, downloads, rage and dead clicks. */
  autoClicks?: boolean;
  /** Scroll depth. */
  autoScroll?: boolean;
  /** Starts, submissions, validation errors and abandonment of forms; never what is typed. */
  autoForms?: boolean;
  /** Script errors and unhandled rejections. */
  autoErrors?: boolean;
  /** LCP, CLS, INP, TTFB and the time the page took to load. */
  autoWebVitals?: boolean;
  /** Says in the console what is recorded and what the service answers. */
  debug?: boolean;
  /** Record nothing where the browser sends Do Not Track or Global Privacy Control. */
  respectDnt?: boolean;
  /** What is assumed before the visitor said anything. */
  consent?: Consent;
  /** Keep nothing in the browser; the service tells visitors apart for one day. */
  cookieless?: boolean;
  /** Replace the texts of clicked elements and page titles by `*`. */
  maskText?: boolean;
  /** Query parameters that are kept besides the campaign's; every other one is cut off. */
  urlParameters?: string[];
  /** Minutes without an event that end a session. Must be the service's own setting. */
  sessionTimeoutMinutes?: number;
  /** Longest time an event waits for company, in milliseconds. */
  flushIntervalMs?: number;
}

/** The tracker of a page. No method ever throws; what may not be recorded is not. */
export interface CustomerJourney {
  /** Records an event of any type: 1 to 64 characters of `a-z 0-9 _ . : -`. */
  track(type: string, fields?: EventFields): void;
  /** Ends the page view, if there is one, and begins another: for sites that switch the automatic ones off. */
  trackPageView(fields?: EventFields): void;
  trackProductView(product: Product): void;
  trackAddToCart(product: Product): void;
  trackRemoveFromCart(product: Product): void;
  trackCheckoutStart(fields?: EventFields): void;
  trackPurchase(purchase: Purchase): void;
  trackSearch(query: string, resultsCount?: number): void;
  trackError(error: unknown, fields?: EventFields): void;
  /** Links this device to a person. The service replaces e-mail addresses by a hash. */
  identify(userId: string | number, attributes?: Attributes): void;
  setAttributes(attributes: Attributes): void;
  /** Makes this browser a new visitor, as after a logout. */
  reset(): void;
  optIn(): void;
  /** Stops everything, forgets everything, and remembers that. */
  optOut(): void;
  /** Whether the visitor opted out here, or by Do Not Track or Global Privacy Control where these are respected. */
  hasOptedOut(): boolean;
  setConsent(consent: Consent): void;
  /** Sends what waits; ends when that is done, or has failed for now. */
  flush(): Promise<void>;
  /** `null` where there is none: cookieless, opted out, no consent. */
  getDeviceId(): string | null;
  getSessionId(): string | null;
}

/** A call made before the script came: the stub of the documentation keeps these. */
export type Call = [method: keyof CustomerJourney, values: unknown[]];
