import type { Capture } from "./recorder.ts";
export const captureForms: Capture = () => {};
