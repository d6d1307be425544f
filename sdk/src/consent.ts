/** Whether anything may be recorded, kept and sent. */
import { options } from "./options.ts";
import { CONSENT, get, OPTED_OUT } from "./store.ts";
import type { Consent } from "./types.ts";

/** Whether the browser asks every site not to track its user, and this site heeds that. */
export function isRefusedByBrowser(): boolean {
  const { doNotTrack, globalPrivacyControl } = navigator as Navigator & {
    doNotTrack?: string;
    globalPrivacyControl?: boolean;
  };
  return options.respectDnt && (!!globalPrivacyControl || doNotTrack == "1");
}

export const consent = (): Consent => (get(CONSENT) as Consent) ?? options.consent;

export const hasOptedOut = (): boolean => isRefusedByBrowser() || !!get(OPTED_OUT);

/** Events may be recorded; while consent is pending, in memory only. */
export const mayRecord = (): boolean => !hasOptedOut() && consent() != "denied";

export const maySend = (): boolean => !hasOptedOut() && consent() == "granted";

/** Whether this visitor has a device and a session here. */
export const isKnown = (): boolean => mayRecord() && !options.cookieless;
