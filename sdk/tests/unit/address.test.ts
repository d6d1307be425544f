import { readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { cleanAddress } from "../../src/address.ts";
import { setOptions } from "../../src/options.ts";

setOptions({ urlParameters: ["sku", "q"] });

test.each([
  ["https://shop.example/a?token=1", "https://shop.example/a"],
  ["https://shop.example/a?utm_source=x&token=1&sku=7", "https://shop.example/a?utm_source=x&sku=7"],
  ["https://shop.example/a?GCLID=1&UTM_Medium=m&Q=1", "https://shop.example/a?GCLID=1&UTM_Medium=m"],
  ["https://shop.example/a?q=two+words", "https://shop.example/a?q=two+words"],
  ["https://shop.example/a#reviews", "https://shop.example/a"],
  ["https://shop.example/a#access_token=1", "https://shop.example/a"],
  ["https://shop.example/#/cart?token=1&sku=7", "https://shop.example/#/cart?sku=7"],
  ["https://shop.example/#!/cart", "https://shop.example/#!/cart"],
])("%s is kept as %s", (address, kept) => {
  expect(cleanAddress(address)).toBe(kept);
});

test.each(["", "nonsense", "/relative"])("%j is no address", (text) => {
  expect(cleanAddress(text)).toBeUndefined();
});

test("every click id that the service knows reaches it", () => {
  const source = readFileSync("../src/event/address.rs", "utf8");
  const list = source.slice(source.indexOf("const CLICK_IDS"), source.indexOf("];", source.indexOf("const CLICK_IDS")));
  const names = [...list.matchAll(/"(\w+)"/g)].map((match) => match[1]!);
  expect(names.length).toBeGreaterThan(10);
  for (const name of names) {
    expect(cleanAddress(`https://shop.example/?${name}=1`)).toBe(`https://shop.example/?${name}=1`);
  }
});

test("no other parameter ever gets through, and cleaning twice changes nothing", () => {
  const name = fc.stringMatching(/^[a-z]{1,6}$/).filter((text) => !/^q$|^sku$|id$|braid$|epik|dicbo/.test(text));
  fc.assert(
    fc.property(fc.array(fc.tuple(name, fc.string()), { minLength: 1 }), fc.boolean(), (pairs, isRoute) => {
      const query = new URLSearchParams(pairs).toString();
      const cleaned = cleanAddress(`https://shop.example/p${isRoute ? "#/r" : ""}?${query}`)!;
      expect(cleaned).toBe(`https://shop.example/p${isRoute ? "#/r" : ""}`);
      expect(cleanAddress(cleaned)).toBe(cleaned);
    }),
  );
});
