/** Options: their defaults, and how they are read from a script tag. */
import { complain } from "./announce.ts";
import type { Options } from "./types.ts";

const DEFAULTS: Required<Options> = {
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

/** Returns every option with its value; one of the wrong type keeps its default. */
export function completeOptions(given?: Options): Required<Options> {
  const options: Record<string, unknown> = { ...DEFAULTS };
  for (const [name, value] of Object.entries(given ?? {})) {
    if (typeof value == typeof options[name]) options[name] = value;
  }
  if (!options.apiUrl || !/^pk_/.test(options.apiKey as string)) complain("no apiUrl, or no write key (pk_…)");
  return options as unknown as Required<Options>;
}

/** Reads the options of a script tag: `data-api-url` is `apiUrl`. */
export function readAttributes(script: HTMLScriptElement): Options {
  const options: Record<string, unknown> = { apiUrl: new URL(script.src || location.href).origin };
  for (const [name, usual] of Object.entries(DEFAULTS)) {
    const text = script.dataset[name];
    if (text === undefined) continue;
    options[name] =
      typeof usual == "boolean"
        ? text != "false"
        : typeof usual == "number"
          ? +text || usual
          : typeof usual == "string"
            ? text
            : text.split(/[\s,]+/);
  }
  return options as unknown as Options;
}
