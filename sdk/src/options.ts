/** Options: their defaults, and how they are read from a script tag. */
import type { Options } from "./types.ts";

/** Every option of this page's tracker. */
export const options: Required<Options> = {
  apiUrl: "",
  apiKey: "",
  autoPageViews: true,
  autoClicks: true,
  autoScroll: true,
  autoForms: true,
  autoErrors: true,
  autoWebVitals: true,
  debug: false,
  respectDnt: true,
  consent: "granted",
  cookieless: false,
  maskText: false,
  urlParameters: [],
  sessionTimeoutMinutes: 30,
  batchSize: 10,
  flushIntervalMs: 5000,
  queueSizeMax: 1000,
};

/** Sets the options that are given; one of the wrong type keeps its default. */
export function setOptions(given: Partial<Record<string, unknown>>): void {
  const all = options as unknown as Record<string, unknown>;
  for (const name in all) if (typeof given[name] == typeof all[name]) all[name] = given[name];
}

/** Reads the options of a script tag: `data-api-url` is `apiUrl`. */
export function readAttributes(script: HTMLScriptElement): Options {
  const read: Record<string, unknown> = { apiUrl: new URL(script.src || location.href).origin };
  for (const [name, usual] of Object.entries(options)) {
    const text = script.dataset[name];
    if (text) {
      read[name] =
        typeof usual == "boolean"
          ? text != "false"
          : typeof usual == "number"
            ? +text || usual
            : typeof usual == "string"
              ? text
              : text.split(/[\s,]+/);
    }
  }
  return read as unknown as Options;
}
