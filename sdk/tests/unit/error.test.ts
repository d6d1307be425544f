import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { captureErrors, errorFields } from "../../src/error.ts";
import { removeListeners, start } from "./support.ts";

let recorded: ReturnType<typeof start>;

beforeEach(() => {
  recorded = start(captureErrors);
});

afterEach(removeListeners);

/** An error as Chromium makes it. */
const thrown = (message: string, ...frames: string[]) =>
  Object.assign(new TypeError(message), {
    stack: [`TypeError: ${message}`, ...frames.map((frame) => `    at ${frame}`)].join("\n"),
  });

const fail = (fields: ErrorEventInit) => window.dispatchEvent(new ErrorEvent("error", fields));

const reject = (reason: unknown) =>
  window.dispatchEvent(Object.assign(new Event("unhandledrejection"), { reason, promise: undefined }));

test("a script error is recorded with its message and stack", () => {
  const error = thrown("no cart", "pay (https://shop.example/app.js:10:5)");
  fail({ message: "Uncaught TypeError: no cart", error, filename: "https://shop.example/app.js", lineno: 10 });
  expect(recorded.events).toHaveLength(1);
  expect(recorded.events[0]).toMatchObject({
    type: "error",
    fields: { error_message: "no cart", error_stack: error.stack },
  });
  expect(recorded.events[0]!.fields).not.toHaveProperty("custom_properties");
});

test("one without a stack has its message", () => {
  fail({ message: "Uncaught oops", error: "oops", filename: "https://shop.example/app.js", lineno: 3, colno: 7 });
  fail({ message: "Script error." });
  expect(recorded.events.map(({ fields }) => fields)).toEqual([
    { error_message: "oops" },
    { error_message: "Script error." },
  ]);
});

test("an unhandled rejection is recorded, whatever the reason is", () => {
  reject(thrown("no network"));
  reject("plain text");
  reject({ message: "made by hand", code: 3 });
  reject(undefined);
  expect(recorded.types()).toEqual(["error", "error", "error", "error"]);
  expect(recorded.events.map(({ fields }) => fields.error_message)).toEqual([
    "no network",
    "plain text",
    "made by hand",
    "undefined",
  ]);
});

test("a reason that cannot be read disturbs nobody", () => {
  const reason = Object.create(null);
  expect(() => reject(reason)).not.toThrow();
  expect(() =>
    reject({
      get message() {
        throw new Error("no");
      },
    }),
  ).not.toThrow();
  fail({ message: "later" });
  expect(recorded.events.at(-1)!.fields.error_message).toBe("later");
});

test("an image that is missing is no script error", () => {
  const image = document.body.appendChild(document.createElement("img"));
  image.dispatchEvent(new Event("error"));
  expect(recorded.events).toEqual([]);
});

describe("once per page view", () => {
  const inCart = "add (https://shop.example/app.js:1:1)";

  test("the same message at the same place counts once, whoever called", () => {
    fail({ message: "x", error: thrown("same", inCart, "a (https://shop.example/app.js:2:2)") });
    fail({ message: "x", error: thrown("same", inCart, "b (https://shop.example/app.js:3:3)") });
    expect(recorded.events).toHaveLength(1);
  });

  test("another message or another place counts again", () => {
    fail({ message: "x", error: thrown("same", inCart) });
    fail({ message: "x", error: thrown("other", inCart) });
    fail({ message: "x", error: thrown("same", "pay (https://shop.example/app.js:9:9)") });
    fail({ message: "bare" });
    fail({ message: "bare" });
    expect(recorded.events).toHaveLength(4);
  });

  test("the next page view begins anew", () => {
    reject(thrown("same", inCart));
    recorded.end();
    reject(thrown("same", inCart));
    expect(recorded.events).toHaveLength(2);
  });

  test("ten different ones are enough", () => {
    for (let number = 0; number < 20; number++) reject("error " + number);
    expect(recorded.events).toHaveLength(10);
    recorded.end();
    reject("error 20");
    expect(recorded.events).toHaveLength(11);
  });
});

test("the browser's notes about ResizeObserver are no errors", () => {
  fail({ message: "ResizeObserver loop completed with undelivered notifications." });
  fail({ message: "ResizeObserver loop limit exceeded" });
  expect(recorded.events).toEqual([]);
});

test("the opaque error of a foreign script counts once", () => {
  fail({ message: "Script error." });
  fail({ message: "Script error." });
  expect(recorded.events.map(({ fields }) => fields)).toEqual([{ error_message: "Script error." }]);
});

test("what is cut off is the whole query, whatever is in it", () => {
  const cut = (address: string) => errorFields(new Error(address)).error_message;
  expect(cut("GET https://a.example/me?name=Jörg failed")).toBe("GET https://a.example/me failed");
  expect(cut("(https://a.example/me?name=Jörg)")).toBe("(https://a.example/me)");
  expect(cut("https://a.example/me?name=ж")).toBe("https://a.example/me");
  expect(cut("https://a.example/me?pin=abc:123456")).toBe("https://a.example/me");
  expect(cut('"https://a.example/app.js?v=1:10:5".')).toBe('"https://a.example/app.js:10:5".');
});

describe("the fields of an error", () => {
  test("have no query or fragment in any address, but its line and column", () => {
    const { error_message, error_stack } = errorFields(
      thrown(
        `GET "https://api.example/me?token=secret" failed. Why?`,
        "f (https://shop.example/app.js?v=secret&t=1#secret:10:5)",
        "https://shop.example/b.js?secret:2:1",
      ),
    );
    expect(error_message).toBe(`GET "https://api.example/me" failed. Why?`);
    expect(error_stack).toContain("f (https://shop.example/app.js:10:5)\n    at https://shop.example/b.js:2:1");
    expect(error_stack).not.toContain("secret");
  });

  test("have no part of a query behind a colon", () => {
    const { error_message } = errorFields("GET https://api.example/?next=https://shop.example/reset/secret failed");
    expect(error_message).not.toContain("secret");
  });

  test("have no part of a query that is cut in the middle", () => {
    const { error_message } = errorFields("x".repeat(3970) + " https://shop.example/?" + "secret".repeat(100));
    expect(error_message).not.toContain("secret");
  });

  test("are at most 4000 characters each", () => {
    const fields = errorFields(Object.assign(new Error("m".repeat(5000)), { stack: "s".repeat(5000) }));
    expect(fields.error_message).toHaveLength(4000);
    expect(fields.error_stack).toHaveLength(4000);
  });
});
