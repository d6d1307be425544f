/** Whether anything may be recorded, kept and sent. */
import { isOn, options } from "./options.ts";
import { DECISION, get } from "./store.ts";

/** Stands where a consent would: the visitor wants none of this, whatever a consent banner says. */
export const OUT = "out";

/** Whether the browser asks every site not to track its user, and this site heeds that. */
export function isRefusedByBrowser(): unknown {
  const { doNotTrack, globalPrivacyControl } = navigator as Navigator & {
    doNotTrack?: string;
    globalPrivacyControl?: boolean;
  };
  return isOn("respectDnt") && (globalPrivacyControl || doNotTrack == "1");
}

/** What the visitor decided, else what the site assumes. */
export const decision = (): string => (isRefusedByBrowser() ? OUT : (get(DECISION) ?? options.consent));

/** Events may be recorded; while consent is pending, in memory only. */
export const mayRecord = (): boolean => maySend() || decision() == "pending";

export const maySend = (): boolean => decision() == "granted";

/** Whether events and what identifies the visitor may be kept in the browser. */
export const mayKeep = (): boolean => maySend() && !options.cookieless;

/** Whether this visitor has a device and a session here. */
export const isKnown = (): boolean => mayRecord() && !options.cookieless;
