/** Script errors and unhandled rejections, each once per page view, at most ten. */
import { listen } from "./listen.ts";
import { onEnd, record } from "./recorder.ts";
import type { EventFields } from "./types.ts";

/** The service cuts what is longer than it keeps; this bounds what is sent. */
const LENGTH_MAX = 4000;
const ERRORS_MAX = 10;

/** Cuts off every query and fragment, but not the line and column or the closing marks behind it. */
const clean = (text: unknown) =>
  ("" + text).slice(0, LENGTH_MAX).replace(/[?#]\S+?(?=(:\d+:\d+)?["')\]},.;]*(\s|$))/g, "");

/** Describes whatever was thrown, which need not be an error. */
export function errorFields(error: unknown): EventFields {
  const { message, stack } = Object(error);
  return { error_message: clean(message || error), error_stack: stack && clean(stack) };
}

export function captureErrors(): void {
  const seen = new Set<string>();

  listen("error unhandledrejection", (event) => {
    const { message, error, reason } = event as ErrorEvent & PromiseRejectionEvent;
    // An image that is missing is an event without a message.
    if (!message && event.type == "error") return;
    const fields = errorFields(error || reason || message);
    // The first line with a place is the second where the message comes before it.
    const key = fields.error_message + "" + fields.error_stack?.split("\n", 2);
    if (seen.has(key) || seen.size >= ERRORS_MAX || /^ResizeO/.test(key)) return;
    seen.add(key);
    record("error", fields);
  });
  onEnd.push(() => seen.clear());
}
