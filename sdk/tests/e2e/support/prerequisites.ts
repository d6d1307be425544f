/** Says once and clearly what is missing, before every test says it in its own way. */
import { existsSync } from "node:fs";

import { CHROMIUM } from "./browser.ts";
import { BINARY } from "./service.ts";
import { SCRIPT } from "./site.ts";

export default function checkPrerequisites(): void {
  const needed = [
    [BINARY, "run `cargo build`, or set JOURNEY_BINARY"],
    [SCRIPT, "run `npm run build`"],
    [CHROMIUM, "install Chromium, or set CHROMIUM"],
  ] as const;
  for (const [path, remedy] of needed) {
    if (!existsSync(path)) throw new Error(`${path} is missing: ${remedy}`);
  }
}
