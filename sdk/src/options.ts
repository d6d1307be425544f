/** Options: their defaults, and how they are read from a script tag. */
import type { Options } from "./types.ts";

/** The options of this page's tracker. What is true unless somebody says no is not listed: `isOn` knows. */
export const options = {
  consent: "granted",
  urlParameters: [],
  sessionTimeoutMinutes: 30,
  flushIntervalMs: 5000,
} as unknown as Options & Required<Pick<Options, "consent" | "sessionTimeoutMinutes" | "flushIntervalMs">>;

/** Whether an option holds that is on by default. */
export const isOn = (name: keyof Options): boolean => options[name] !== false;

/** Sets the options that are given. */
export function setOptions(given: object): void {
  Object.assign(options, JSON.parse(JSON.stringify(given)));
}

/** Reads the options of a script tag: `data-api-url` is `apiUrl`, `data-debug` without a value is true. */
export function readAttributes(script: HTMLScriptElement): Options {
  const read: Record<string, unknown> = { apiUrl: new URL(script.src || location.href).origin };
  for (const name in script.dataset) {
    const text = script.dataset[name]!;
    read[name] = /^(true|false|\d+)$/.test(text) ? JSON.parse(text) : text || true;
  }
  return read as unknown as Options;
}
