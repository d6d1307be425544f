/** Addresses, without what may tell who somebody is. */
import { options } from "./options.ts";

/** Campaign parameters and the click ids of advertisers; the service, which has the exact list, looks again. */
const CAMPAIGN = /^utm_|cl(ic)?k?id$|^(gclsrc|[gw]braid|dicbo|epik|igshid|li_fat_id|rdt_cid|sccid|srsltid)$/i;

/** Whether a fragment is a route of the application rather than a place on the page. */
const ROUTE = /^#!?\//;

function reduceQuery(query: string): string {
  const allowed = `,${options.urlParameters},`;
  const isKept = ([name]: [string, string]) => name && (CAMPAIGN.test(name) || allowed.includes(`,${name},`));
  const kept = "" + new URLSearchParams([...new URLSearchParams(query)].filter(isKept));
  return kept && "?" + kept;
}

/** Returns the address with the allowed parameters only, and with its fragment where that is a route. */
export function cleanAddress(text: string): string | undefined {
  try {
    const url = new URL(text);
    const [route, query] = url.hash.split("?");
    url.search = reduceQuery(url.search);
    url.hash = ROUTE.test(url.hash) ? route + reduceQuery(query ?? "") : "";
    return url.href;
  } catch {
    // No address: an empty referrer, above all.
  }
}
