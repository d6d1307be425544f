import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { guard, listen } from "../../src/listen.ts";
import { page, removeListeners } from "./support.ts";

beforeEach(() => {
  vi.spyOn(console, "warn").mockImplementation(() => {});
});

afterEach(() => {
  vi.restoreAllMocks();
  removeListeners();
});

test("what goes wrong is said to the developer and not thrown into the page", () => {
  const error = new Error("no");
  const fail = guard(() => {
    throw error;
  });
  expect(fail).not.toThrow();
  expect(console.warn).toHaveBeenCalledWith("Customer Journey:", error);
});

test("what goes well is called with what was given, and nothing is said", () => {
  const run = vi.fn();
  guard(run)(1, "two");
  expect(run).toHaveBeenCalledExactlyOnceWith(1, "two");
  expect(console.warn).not.toHaveBeenCalled();
});

test("each of several types is heard, with its event", () => {
  const heard: string[] = [];
  listen("click submit", ({ type }) => heard.push(type));
  const element = page("<p></p>");
  for (const type of ["click", "submit", "input"]) element.dispatchEvent(new Event(type, { bubbles: true }));
  expect(heard).toEqual(["click", "submit"]);
});

test("an event is heard before the page may stop it, and where it does not bubble", () => {
  const order: string[] = [];
  listen("invalid", () => order.push("own"));
  const element = page("<p></p>");
  const stop = (event: Event) => {
    order.push("page");
    event.stopImmediatePropagation();
  };
  document.addEventListener("invalid", stop, { capture: true, once: true });
  element.dispatchEvent(new Event("invalid"));
  expect(order).toEqual(["own", "page"]);
});

test("a listener never holds up scrolling", () => {
  const add = vi.spyOn(globalThis, "addEventListener");
  listen("scroll keydown", () => {});
  expect(add.mock.calls.map(([type, , options]) => [type, options])).toEqual([
    ["scroll", { capture: true, passive: true }],
    ["keydown", { capture: true, passive: true }],
  ]);
});

test("a listener that fails does not stop the next one", () => {
  const heard = vi.fn();
  listen("click", () => {
    throw new Error("no");
  });
  listen("click", heard);
  expect(() => page("<p></p>").click()).not.toThrow();
  expect(heard).toHaveBeenCalledOnce();
  expect(console.warn).toHaveBeenCalledOnce();
});
