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
    "data-url-parameters": "sku,q",
    "data-consent": "pending",
  });
  expect(module.readAttributes(script)).toEqual({
    apiUrl: "https://journey.example",
    apiKey: "pk_1",
    autoClicks: false,
    debug: true,
    respectDnt: false,
    sessionTimeoutMinutes: 45,
    urlParameters: "sku,q",
    consent: "pending",
  });
});

test("an address of the service's own comes before the script's", () => {
  const script = scriptTag({ src: "https://cdn.example/x.js", "data-api-url": "https://journey.example" });
  expect(module.readAttributes(script).apiUrl).toBe("https://journey.example");
});

test("an attribute without a value is true", () => {
  const script = { src: "https://cdn.example/x.js", dataset: { cookieless: "", debug: "" } };
  expect(module.readAttributes(script as unknown as HTMLScriptElement)).toMatchObject({
    cookieless: true,
    debug: true,
  });
});

test("a script written into the page takes the page for the service", () => {
  expect(module.readAttributes(scriptTag({ "data-api-key": "pk_1" })).apiUrl).toBe(location.origin);
});

test("a text that only begins like a number or a truth stays a text", () => {
  const script = scriptTag({ src: "https://cdn.example/x.js", "data-api-key": "12ab", "data-consent": "true-ish" });
  expect(module.readAttributes(script)).toMatchObject({ apiKey: "12ab", consent: "true-ish" });
});

test("what is not given keeps its default", () => {
  module.setOptions({ consent: undefined, sessionTimeoutMinutes: undefined, flushIntervalMs: 100 });
  expect(module.options).toMatchObject({ consent: "granted", sessionTimeoutMinutes: 30, flushIntervalMs: 100 });
});

test("a switch is on unless it says false", () => {
  module.setOptions({ autoClicks: undefined, autoForms: false, autoErrors: true });
  expect(module.isOn("autoClicks")).toBe(true);
  expect(module.isOn("autoErrors")).toBe(true);
  expect(module.isOn("autoForms")).toBe(false);
});

test("a list of parameters is heeded as the script tag has it", async () => {
  module.setOptions(module.readAttributes(scriptTag({ src: "https://a.example", "data-url-parameters": "sku,q" })));
  const { cleanAddress } = await import("../../src/address.ts");
  expect(cleanAddress("https://shop.example/?sku=7&q=tent&s=1")).toBe("https://shop.example/?sku=7&q=tent");
});

test("later changes of what a site passed change nothing", () => {
  const given = { urlParameters: ["sku"] };
  module.setOptions(given);
  given.urlParameters.push("token");
  expect(module.options.urlParameters).toEqual(["sku"]);
});
