/** Whether anything may be recorded, kept and sent. */
import { OWN, type Store } from "./store.ts";
import type { Consent, Options } from "./types.ts";

const OPTED_OUT = OWN + "out";
const CONSENT = OWN + "consent";

/** Whether the browser asks every site not to track its user. */
export function isRefusedByBrowser(): boolean {
  const { doNotTrack, globalPrivacyControl } = navigator as Navigator & { doNotTrack?: string; globalPrivacyControl?: boolean };
  return !!globalPrivacyControl || doNotTrack == "1";
}

export interface Permission {
  _consent(): Consent;
  _hasOptedOut(): boolean;
  _setConsent(consent: Consent): void;
  _setOptedOut(isOut: boolean): void;
  /** Whether this name in the store is something else than a decision of the visitor. */
  _isNoDecision(key: string): boolean;
  /** Events may be recorded; while consent is pending, in memory only. */
  _mayRecord(): boolean;
  _maySend(): boolean;
}

/** `decisions` is always the browser's store: what a visitor decides is kept even where nothing else is. */
export function makePermission(options: Required<Options>, decisions: Store): Permission {
  const isSilent = options.respectDnt && isRefusedByBrowser();
  const consent = () => (decisions._get(CONSENT) ?? options.consent) as Consent;
  const hasOptedOut = () => !!decisions._get(OPTED_OUT);
  const mayRecord = () => !isSilent && !hasOptedOut() && consent() != "denied";
  return {
    _consent: consent,
    _hasOptedOut: () => isSilent || hasOptedOut(),
    _setConsent: (value) => decisions._set(CONSENT, value),
    _setOptedOut: (isOut) => (isOut ? decisions._set(OPTED_OUT, "1") : decisions._remove(OPTED_OUT)),
    _isNoDecision: (key) => key != OPTED_OUT && key != CONSENT,
    _mayRecord: mayRecord,
    _maySend: () => mayRecord() && consent() == "granted",
  };
}
