/** Says what happens: as a DOM event for the page's own scripts, and in the console. */
import { options } from "./options.ts";

/** Tells the developer of the site what is wrong. */
export const complain = (...words: unknown[]): void => console.warn("Customer Journey:", ...words);

/** Tells everybody who listens; what `isWrong` goes to the console whether or not anybody debugs. */
export function announce(kind: string, detail: object, isWrong?: unknown): void {
  document.dispatchEvent(new CustomEvent("customer-journey", { detail: { kind, ...detail } }));
  if (isWrong) complain(kind, detail);
  else if (options.debug) console.debug(kind, detail);
}
