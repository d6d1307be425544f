/** Script errors and unhandled rejections, each once per page view, at most ten. */
import { listen } from "./listen.ts";
import type { Capture } from "./recorder.ts";
import type { EventFields } from "./types.ts";

const MESSAGE_LENGTH_MAX = 1000;
const STACK_LENGTH_MAX = 4000;
const ERRORS_MAX = 10;

/** Cuts query and fragment off every address, but not the line and column behind it. */
const clean = (text: unknown, length: number) =>
  String(text)
    .slice(0, length)
    .replace(/(:\/\/[^\s?#]*)[?#]\S*?(?=(:\d+)*([\s)"']|$))/g, "$1");

/** Describes whatever was thrown, which need not be an error. */
export const errorFields = (error: unknown, message?: string): EventFields => {
  const { message: own, stack } = Object(error);
  return {
    error_message: clean(message || own || error, MESSAGE_LENGTH_MAX),
    error_stack: stack && clean(stack, STACK_LENGTH_MAX),
  };
};

export const captureErrors: Capture = (recorder) => {
  const seen = new Set<string>();

  const report = (fields: EventFields) => {
    // The first line with a place is the second where the message comes before it.
    const place = fields.error_stack ? fields.error_stack.split("\n", 2) : JSON.stringify(fields.custom_properties);
    const key = fields.error_message! + place;
    if (seen.has(key) || seen.size >= ERRORS_MAX || /^ResizeObserver loop/.test(key)) return;
    seen.add(key);
    recorder._record("error", fields);
  };

  listen("error", ({ message, error, filename, lineno, colno }: ErrorEvent) => {
    // An image that is missing is an event without a message.
    if (!message) return;
    const fields = errorFields(error || message);
    if (!fields.error_stack && filename)
      fields.custom_properties = { file: clean(filename, MESSAGE_LENGTH_MAX), line: lineno, column: colno };
    report(fields);
  });
  listen("unhandledrejection", ({ reason }: PromiseRejectionEvent) => report(errorFields(reason)));
  recorder._moments._end.push(() => seen.clear());
};
