/**
 * Clicks: one event each. A download is a `file_download`, an element inside `data-cj-event="signup"` a `signup`,
 * anything else a `click`; a link to another host carries its address without query and fragment.
 */
import { watchFrustration } from "./frustration.ts";
import { listen } from "./listen.ts";
import type { Capture } from "./recorder.ts";
import { attribute, closest, isIgnored, selectorOf, textOf } from "./selector.ts";

/** What people mean when they click something inside it. */
const TARGETS = "input,textarea,select,a,button,summary,label,[role=button],[data-cj-name],[data-cj-event]";

const DOWNLOAD = /\.(pdf|zip|docx?|xlsx?|pptx?|csv|dmg|exe|apk|mp[34])$/i;

const CLASSES_LENGTH_MAX = 128;

export const captureClicks: Capture = (recorder) => {
  const judge = watchFrustration(recorder);

  listen("click auxclick", (event: MouseEvent) => {
    const hit = event.composedPath()[0] as Element;
    const element = closest(hit, TARGETS) || hit;
    // The browser clicks the control of a label, too: that one counts.
    if (isIgnored(hit) || (element as HTMLLabelElement).control) return;
    const link = closest(element, "a[href]") as HTMLAnchorElement | null;
    // The middle button opens links; elsewhere it clicks nothing, as any other.
    if (event.button > (link ? 1 : 0)) return;
    const isFile = link && (link.hasAttribute("download") || DOWNLOAD.test(link.pathname));
    const fields = {
      element_selector: selectorOf(element),
      element_text: textOf(element, recorder._options.maskText),
      element_id: attribute(element, "id"),
      element_classes: attribute(element, "class").slice(0, CLASSES_LENGTH_MAX),
      // A key that presses a button makes a click without a place.
      coordinates: event.detail ? ([Math.round(event.pageX), Math.round(event.pageY)] as [number, number]) : undefined,
      viewport_size: [innerWidth, innerHeight] as [number, number],
    };
    recorder._record(
      attribute(closest(element, "[data-cj-event]"), "data-cj-event") || (isFile ? "file_download" : "click"),
      {
        ...fields,
        // Only addresses of hosts: that of a `data:` link is its content.
        custom_properties:
          link?.host && (isFile || link.host !== location.host)
            ? { [isFile ? "file_url" : "outbound_url"]: link.origin + link.pathname }
            : undefined,
      },
    );
    const isHandedOver = isFile || (link && !/^(http|java)/.test(link.protocol));
    if (event.detail && !event.button) judge(event, element, fields, isHandedOver);
  });
};
