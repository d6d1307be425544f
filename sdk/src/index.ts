/** For sites with a bundler: `import { CustomerJourneySDK } from "@customer-journey/sdk"`. */
import { startTracker } from "./tracker.ts";
import type { CustomerJourney, Options } from "./types.ts";

export type * from "./types.ts";

// The members come from the tracker; naming them here as well would only repeat their types.
export interface CustomerJourneySDK extends CustomerJourney {}

/** The tracker of a page; make one. On a server, where there is no page, it does nothing. */
export class CustomerJourneySDK {
  constructor(options: Options) {
    // Whoever awaits it asks for `then`, which must not be one of the methods.
    if (typeof document == "undefined") {
      return new Proxy(this, {
        get: (_, name) => name != "then" && (() => (name == "flush" ? Promise.resolve() : null)),
      });
    }
    Object.assign(this, startTracker(options));
  }
}
