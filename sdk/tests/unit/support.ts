/** A recorder that remembers, and the moments of a page at the test's call. */
import type { Capture, Recorder } from "../../src/recorder.ts";
import type { EventFields, Options } from "../../src/types.ts";

export interface Recorded {
  type: string;
  fields: EventFields;
  at: number | undefined;
}

export const start = (capture: Capture, options: Partial<Options> = {}) => {
  const events: Recorded[] = [];
  const recorder: Recorder = {
    _options: { maskText: false, ...options } as Required<Options>,
    _moments: { _hide: [], _end: [], _begin: [] },
    _record: (type, fields = {}, at) => void events.push({ type, fields: JSON.parse(JSON.stringify(fields)), at }),
  };
  capture(recorder);
  const call = (listeners: (() => void)[]) => listeners.forEach((listener) => listener());
  return {
    events,
    types: () => events.map(({ type }) => type),
    of: (type: string) => events.filter((event) => event.type === type),
    hide: () => call(recorder._moments._hide),
    end: () => call(recorder._moments._end),
    begin: () => call(recorder._moments._begin),
    /** Another route: one page view ends, the next begins. */
    route: () => [...recorder._moments._end, ...recorder._moments._begin].forEach((listener) => listener()),
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
  ctrlKey?: boolean;
}

export const click = (target: Element, { x = 10, y = 20, time = 0, detail = 1, button = 0, ctrlKey }: Press = {}) => {
  const type = button ? "auxclick" : "click";
  const event = new MouseEvent(type, {
    bubbles: true,
    composed: true,
    cancelable: true,
    clientX: x,
    clientY: y,
    detail,
    button,
    ctrlKey,
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
