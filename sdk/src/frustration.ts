import type { Capture } from "./recorder.ts";
export const captureFrustration: Capture = () => {};
