/** Says what happens: as a DOM event for the page's own scripts, and in the console. */

/** Tells the developer of the site what is wrong. */
export const complain = (...words: unknown[]) => console.warn("Customer Journey:", ...words);

/** `warning` goes to the console whether or not anybody debugs. */
export type Announce = (kind: string, detail: object, warning?: string | false) => void;

export function makeAnnounce(debug: boolean): Announce {
  return (kind, detail, warning) => {
    document.dispatchEvent(new CustomEvent("customer-journey", { detail: { kind, ...detail } }));
    if (warning) complain(warning);
    else if (debug) console.debug("Customer Journey:", kind, detail);
  };
}
