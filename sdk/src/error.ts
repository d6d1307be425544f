import type { Capture } from "./recorder.ts";
import type { EventFields } from "./types.ts";
export const captureErrors: Capture = () => {};
export const errorFields = (error: unknown): EventFields => ({ error_message: String(error) });
