/** What Shopify puts into the sandbox of a custom pixel. */
import type { ExtensionApi } from "@shopify/web-pixels-extension";

declare global {
  const analytics: ExtensionApi["analytics"];
  const browser: ExtensionApi["browser"];
}
