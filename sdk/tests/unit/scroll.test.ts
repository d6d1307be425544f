import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { captureScroll, deepest, lookDown } from "../../src/scroll.ts";
import { removeListeners, start } from "./support.ts";

let recorded: ReturnType<typeof start>;

const height = (pixels: number) =>
  Object.defineProperty(document.documentElement, "scrollHeight", { value: pixels, configurable: true });

beforeEach(() => {
  vi.stubGlobal("innerHeight", 500);
  vi.stubGlobal("scrollY", 0);
  height(5000);
  lookDown(true);
  recorded = start(captureScroll);
});

afterEach(() => {
  removeListeners();
  vi.unstubAllGlobals();
  Reflect.deleteProperty(document.documentElement, "scrollHeight");
});

const scrollTo = (pixels: number) => {
  vi.stubGlobal("scrollY", pixels);
  document.dispatchEvent(new Event("scroll"));
};
const depths = () => recorded.events.map(({ type, fields }) => [type, fields.scroll_depth]);

test("each quarter is recorded when the window's lower edge reaches it", () => {
  scrollTo(700);
  expect(depths()).toEqual([]);
  scrollTo(750);
  expect(depths()).toEqual([["scroll", 25]]);
  scrollTo(2000);
  expect(depths()).toEqual([
    ["scroll", 25],
    ["scroll", 50],
  ]);
});

test("quarters that one scroll passes are recorded one by one", () => {
  scrollTo(4500);
  expect(depths().map(([, depth]) => depth)).toEqual([25, 50, 75, 100]);
});

test("scrolling back and forth records nothing again", () => {
  for (const pixels of [2000, 0, 2000, 700]) scrollTo(pixels);
  expect(depths().map(([, depth]) => depth)).toEqual([25, 50]);
});

test("nothing is recorded before anybody scrolls", () => {
  height(500);
  expect(recorded.events).toEqual([]);
});

test.each([500, 5000])("scrolling something inside a page of %i px records nothing", (pixels) => {
  height(pixels);
  vi.stubGlobal("scrollY", pixels - 500);
  document.body.dispatchEvent(new Event("scroll"));
  expect(recorded.events).toEqual([]);
});

test("another page view begins anew", () => {
  scrollTo(2000);
  lookDown(true);
  scrollTo(800);
  expect(depths().map(([, depth]) => depth)).toEqual([25, 50, 25]);
});

test("the depth is the greatest, in percent", () => {
  lookDown();
  expect(deepest).toBe(10);
  scrollTo(1234);
  scrollTo(0);
  lookDown();
  expect(deepest).toBe(35);
  lookDown(true);
  expect(deepest).toBe(0);
  lookDown();
  expect(deepest).toBe(10);
});

test("the depth is never more than all, nor nothing at all", () => {
  scrollTo(9000);
  expect(deepest).toBe(100);
  lookDown(true);
  vi.stubGlobal("scrollY", 0);
  vi.stubGlobal("innerHeight", 0);
  height(0);
  lookDown();
  expect(deepest).toBe(0);
});
