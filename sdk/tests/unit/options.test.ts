import { beforeEach, expect, test, vi } from "vitest";

let module: typeof import("../../src/options.ts");

beforeEach(async () => {
  vi.resetModules();
  module = await import("../../src/options.ts");
});

function scriptTag(attributes: Record<string, string>): HTMLScriptElement {
  const script = document.createElement("script");
  for (const [name, value] of Object.entries(attributes)) script.setAttribute(name, value);
  return script;
}

test("a script tag says everything in attributes", () => {
  const script = scriptTag({
    src: "https://journey.example/sdk/customer-journey.min.js",
    "data-api-key": "pk_1",
    "data-auto-clicks": "false",
    "data-debug": "true",
    "data-respect-dnt": "false",
    "data-session-timeout-minutes": "45",
    "data-url-parameters": "sku, q",
    "data-consent": "pending",
  });
  expect(module.readAttributes(script)).toEqual({
    apiUrl: "https://journey.example",
    apiKey: "pk_1",
    autoClicks: false,
    debug: true,
    respectDnt: false,
    sessionTimeoutMinutes: 45,
    urlParameters: ["sku", "q"],
    consent: "pending",
  });
});

test("an address of the service's own comes before the script's", () => {
  const script = scriptTag({ src: "https://cdn.example/x.js", "data-api-url": "https://journey.example" });
  expect(module.readAttributes(script).apiUrl).toBe("https://journey.example");
});

test("a number that is none keeps its default", () => {
  const script = scriptTag({ src: "https://cdn.example/x.js", "data-batch-size": "many" });
  expect(module.readAttributes(script).batchSize).toBe(10);
});

test("what is not given, or is of the wrong type, keeps its default", () => {
  module.setOptions({ autoClicks: undefined, batchSize: "5", unknown: 1, debug: true });
  expect(module.options).toMatchObject({ autoClicks: true, batchSize: 10, debug: true });
  expect(module.options).not.toHaveProperty("unknown");
});
