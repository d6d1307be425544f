/** The script build: starts a tracker from its own script tag, with the calls that were made before it came. */
import { guard } from "./listen.ts";
import { readAttributes } from "./options.ts";
import { startTracker } from "./tracker.ts";
import type { Call, CustomerJourney, Options } from "./types.ts";

declare global {
  interface Window {
    customerJourney?: CustomerJourney & { calls?: Call[] };
    CustomerJourneySDK: new (options: Options) => CustomerJourney;
  }
}

const stub = window.customerJourney;
const script = document.currentScript as HTMLScriptElement | null;

// A tag that is there twice starts one tracker.
if (!stub || stub.calls) {
  // `new` of a function that returns an object gives that object.
  window.CustomerJourneySDK = startTracker as unknown as Window["CustomerJourneySDK"];
  guard(() => {
    if (script?.dataset.apiKey) window.customerJourney = startTracker(readAttributes(script), stub?.calls);
  })();
}
