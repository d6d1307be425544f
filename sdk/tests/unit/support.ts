/** The real recorder with ears: what it announces, and the moments of a page at the test's call. */
import { hold, onEnd, onHide } from "../../src/recorder.ts";
import { setOptions } from "../../src/options.ts";
import { keys, OWN, remove } from "../../src/store.ts";
import type { EventFields, Options } from "../../src/types.ts";

export interface Recorded {
  type: string;
  fields: EventFields;
  /** In ms since 1970. */
  at: number;
  /** The address it happened on. */
  url: string;
  session: string;
}

let events: Recorded[] = [];

document.addEventListener("customer-journey", (announcement) => {
  const { kind, event } = (announcement as CustomEvent).detail;
  if (kind != "event") return;
  // What goes over the wire: fields without a value do not.
  const { event_id, event_type, timestamp, seq, device_id, session_id, user_id, page_url, ...fields } = JSON.parse(
    JSON.stringify(event),
  );
  events.push({ type: event_type, fields, at: Date.parse(timestamp), url: page_url, session: session_id });
});

const call = (listeners: (() => void)[]) => listeners.forEach((listener) => listener());

/** Starts one part alone, on a page that has none yet. Consent is pending, so that nothing is sent. */
export const start = (capture: () => unknown, options: Partial<Options> = {}) => {
  removeListeners();
  onHide.length = onEnd.length = 0;
  hold();
  keys(OWN).forEach(remove);
  setOptions({ maskText: false, autoPageViews: true, cookieless: false, ...options, consent: "pending" });
  const heard: Recorded[] = (events = []);
  capture();
  return {
    events: heard,
    types: () => heard.map(({ type }) => type),
    of: (type: string) => heard.filter((event) => event.type === type),
    hide: () => call(onHide),
    /** One page view ends; the next one may begin. */
    end: () => {
      call(onHide);
      call(onEnd);
    },
  };
};

/** Fills the page and returns what `#it` is, else its first element. */
export const page = <E extends HTMLElement = HTMLElement>(html: string): E => {
  document.body.innerHTML = html;
  return (document.getElementById("it") || document.body.firstElementChild) as E;
};

/** Listeners live as long as the page: takes them away after a test, so that tests do not hear each other. */
export const removeListeners = (() => {
  const added: (() => void)[] = [];
  const original = window.addEventListener;
  window.addEventListener = function (this: Window, ...taken: Parameters<typeof original>) {
    original.apply(window, taken);
    added.push(() => window.removeEventListener(taken[0], taken[1], taken[2] as AddEventListenerOptions));
  } as typeof original;
  globalThis.addEventListener = window.addEventListener;
  return () => added.splice(0).forEach((remove) => remove());
})();

interface Press {
  x?: number;
  y?: number;
  /** When the hardware saw it, in ms of the page's life. */
  time?: number;
  detail?: number;
  button?: number;
}

export const click = (target: Element, { x = 10, y = 20, time = 0, detail = 1, button = 0 }: Press = {}) => {
  const type = button ? "auxclick" : "click";
  const event = new MouseEvent(type, {
    bubbles: true,
    composed: true,
    cancelable: true,
    clientX: x,
    clientY: y,
    detail,
    button,
  });
  Object.defineProperties(event, {
    pageX: { value: x + 0.4 },
    pageY: { value: y + 1000.6 },
    timeStamp: { value: time },
  });
  // Links lead nowhere here.
  event.preventDefault();
  target.dispatchEvent(event);
};
