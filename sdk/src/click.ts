import type { Capture } from "./recorder.ts";
export const captureClicks: Capture = () => {};
