/**
 * Clicks: one event each. A download is a `file_download`, anything else a `click`; a link to a file or another host
 * carries its address without query and fragment.
 */
import { watchFrustration } from "./frustration.ts";
import { listen } from "./listen.ts";
import { record } from "./recorder.ts";
import { attribute, isIgnored, selectorOf, textOf } from "./selector.ts";
import type { EventFields } from "./types.ts";

/** What people mean when they click something inside it. */
const TARGETS = "input,textarea,select,a,button,summary,label,[role=button],[data-cj-name]";

const DOWNLOAD = /\.(pdf|zip|docx?|xlsx?|pptx?|csv|dmg|exe|apk)$/i;

export function captureClicks(): void {
  const judge = watchFrustration();

  listen("click", (event: MouseEvent) => {
    // Of a web component the component: what is inside is its own affair.
    const hit = event.target as Element;
    const element = hit.closest(TARGETS) || hit;
    // The browser clicks the control of a label, too: that one counts.
    if (isIgnored(hit) || (element as HTMLLabelElement).control) return;
    const link = element.closest<HTMLAnchorElement>("a[href]");
    const isFile = link && (link.hasAttribute("download") || DOWNLOAD.test(link.pathname));
    const fields: EventFields = {
      element_selector: selectorOf(element),
      element_text: textOf(element),
      element_id: attribute(element, "id"),
      // A key that presses a button makes a click without a place.
      coordinates: event.detail ? [Math.round(event.pageX), Math.round(event.pageY)] : undefined,
      viewport_size: [innerWidth, innerHeight],
      // Only addresses of hosts: that of a `data:` link is its content.
      custom_properties:
        link?.host && (isFile || link.host != location.host) ? { link_url: link.origin + link.pathname } : undefined,
    };
    record(isFile ? "file_download" : "click", fields);
    if (event.detail) judge(event, element, fields);
  });
}
