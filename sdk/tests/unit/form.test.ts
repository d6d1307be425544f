import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { captureForms } from "../../src/form.ts";
import { click, page, removeListeners, start } from "./support.ts";

let recorded: ReturnType<typeof start>;

beforeEach(() => {
  vi.useFakeTimers();
  recorded = start(captureForms);
});

afterEach(() => {
  vi.useRealTimers();
  removeListeners();
});

const find = <E extends HTMLElement = HTMLInputElement>(selector: string) => document.querySelector<E>(selector)!;

const type = (selector: string, event = "input") => {
  const field = find(selector);
  if ("value" in field) field.value = "typed";
  field.dispatchEvent(new Event(event, { bubbles: true, composed: true }));
};

const submit = (selector = "form") =>
  find(selector).dispatchEvent(new Event("submit", { bubbles: true, cancelable: true }));

/** The browser finds a mistake in a field. */
const refuse = (selector: string, kind: keyof ValidityState) => {
  const field = find(selector);
  Object.defineProperty(field, "validity", { value: { typeMismatch: false, valueMissing: false, [kind]: true } });
  Object.defineProperty(field, "validationMessage", { value: "“typed” is wrong" });
  field.dispatchEvent(new Event("invalid", { cancelable: true }));
};

const settle = () => vi.runAllTimers();

const order = `<form id="order"><input name="zip" /><input id="mail" type="email" /><button>Send</button></form>`;

describe("form_input", () => {
  test("says which field of which form, at its first change only", () => {
    page(order);
    type("[name=zip]");
    type("[name=zip]");
    type("[name=zip]", "change");
    type("#mail", "change");
    expect(recorded.events.map(({ type, fields }) => [type, fields])).toEqual([
      ["form_input", { form_id: "order", form_field_name: "zip", form_field_type: "text" }],
      ["form_input", { form_id: "order", form_field_name: "mail", form_field_type: "email" }],
    ]);
  });

  test("comes again on the next page view", () => {
    page(order);
    type("[name=zip]");
    recorded.end();
    type("[name=zip]");
    expect(recorded.of("form_input")).toHaveLength(2);
  });

  test("comes once for a form that the page builds again", () => {
    page(order);
    type("[name=zip]");
    page(order);
    type("[name=zip]");
    expect(recorded.events).toHaveLength(1);
  });

  test("comes once for the buttons of one choice", () => {
    page(`<form id="f"><input type="radio" name="size" id="s" /><input type="radio" name="size" id="m" /></form>`);
    type("#s", "change");
    type("#m", "change");
    expect(recorded.events).toHaveLength(1);
  });

  test.each([
    [`<form name="by-name"><input /></form>`, "by-name"],
    [`<form data-cj-name="sign up"><input /></form>`, `[data-cj-name="sign up"]`],
    [`<main id="top"><form action="/reset/secret"><input name="id" /></form></main>`, "#top > form"],
  ])("names the form of %s", (html, expected) => {
    page(html);
    type("input");
    expect(recorded.events[0]!.fields.form_id).toBe(expected);
  });

  test("names no form longer than the service takes it", () => {
    page(`<form id="${"f".repeat(200)}"><input /></form>`);
    type("input");
    expect(recorded.events[0]!.fields.form_id).toHaveLength(128);
  });

  test("is for fields of forms", () => {
    page(`<input name="alone" />`);
    type("input");
    expect(recorded.events).toEqual([]);
  });

  test("never carries what was typed", () => {
    page(order);
    type("[name=zip]");
    type("#mail");
    click(find("button"));
    refuse("#mail", "typeMismatch");
    settle();
    recorded.end();
    expect(recorded.events).toHaveLength(4);
    expect(JSON.stringify(recorded.events)).not.toContain("typed");
  });
});

describe("secret fields", () => {
  const secret = [
    `type="password"`,
    `autocomplete="cc-number"`,
    `autocomplete="billing cc-csc"`,
    `autocomplete="one-time-code"`,
    `autocomplete="current-password"`,
    `name="new_password"`,
    `name="cardNumber"`,
    `id="cvv"`,
    `id="cvc2"`,
    `name="iban"`,
    `name="ssn"`,
    `name="user_pin"`,
    `name="PIN"`,
    `data-cj-ignore`,
  ];

  test.each(secret)("give no form_input and no form_abandon: %s", (attributes) => {
    page(`<form id="f"><input ${attributes} /></form>`);
    type("input");
    recorded.end();
    expect(recorded.events).toEqual([]);
  });

  test.each(secret)("are not named by a form_error: %s", (attributes) => {
    page(`<form id="f"><input ${attributes} aria-invalid="true" /></form>`);
    submit();
    settle();
    expect(recorded.events.map(({ type, fields }) => [type, fields])).toEqual([
      ["form_error", { form_id: "f", form_validation_errors: [": invalid"] }],
    ]);
  });

  test.each(["shipping", "className", "business_name", "comment"])("are not those named like %s", (name) => {
    page(`<form id="f"><input name="${name}" /></form>`);
    type("input");
    expect(recorded.types()).toEqual(["form_input"]);
  });
});

test("a form inside data-cj-ignore is as if it were not there", () => {
  page(`<div data-cj-ignore>${order}</div>`);
  type("[name=zip]");
  click(find("button"));
  refuse("#mail", "typeMismatch");
  submit();
  settle();
  recorded.end();
  expect(recorded.events).toEqual([]);
});

describe("a submission", () => {
  test("is a form_submit once the page has had its turn", () => {
    page(order);
    submit();
    expect(recorded.events).toEqual([]);
    settle();
    expect(recorded.events.map(({ type, fields }) => [type, fields])).toEqual([["form_submit", { form_id: "order" }]]);
  });

  test("is seen although the page stops it", () => {
    page(order).addEventListener("submit", (event) => event.stopImmediatePropagation());
    submit();
    settle();
    expect(recorded.types()).toEqual(["form_submit"]);
  });

  test("is a form_error where the page then marks fields as wrong", () => {
    page(order);
    submit();
    find("#mail").setAttribute("aria-invalid", "true");
    find("[name=zip]").setAttribute("aria-invalid", "false");
    settle();
    expect(recorded.events.map(({ type, fields }) => [type, fields])).toEqual([
      ["form_error", { form_id: "order", form_validation_errors: ["mail: invalid"] }],
    ]);
  });

  test.each(["hide", "end"] as const)("is decided at once at the %s of the page", (moment) => {
    page(order);
    submit();
    recorded[moment]();
    expect(recorded.types()).toEqual(["form_submit"]);
    settle();
    expect(recorded.types()).toEqual(["form_submit"]);
  });

  test("is one of each form", () => {
    page(`<div><form id="a"></form><form id="b"></form></div>`);
    for (const form of ["#a", "#b"]) {
      submit(form);
      settle();
    }
    expect(recorded.events.map(({ fields }) => fields.form_id)).toEqual(["a", "b"]);
  });
});

describe("the browser's validation", () => {
  test("is one form_error with the kind of each mistake", () => {
    page(order);
    click(find("button"));
    refuse("[name=zip]", "valueMissing");
    refuse("#mail", "typeMismatch");
    settle();
    expect(recorded.events.map(({ type, fields }) => [type, fields])).toEqual([
      ["form_error", { form_id: "order", form_validation_errors: ["zip: valueMissing", "mail: typeMismatch"] }],
    ]);
  });

  test("is counted again at the next attempt", () => {
    page(order);
    for (const field of ["#mail", "[name=zip]"]) {
      click(find("button"));
      refuse(field, "valueMissing");
      settle();
    }
    expect(recorded.events.map(({ fields }) => fields.form_validation_errors)).toEqual([
      ["mail: valueMissing"],
      ["zip: valueMissing"],
    ]);
  });

  test("does not count where the page asks for it while somebody types", () => {
    page(order);
    click(find("#mail"));
    settle();
    type("#mail");
    refuse("#mail", "typeMismatch");
    click(document.body);
    settle();
    expect(recorded.types()).toEqual(["form_input"]);
  });

  test("counts where the page asks for it at a submission", () => {
    page(order);
    submit();
    refuse("#mail", "typeMismatch");
    settle();
    expect(recorded.types()).toEqual(["form_error"]);
  });
});

describe("form_abandon", () => {
  test("names the field that was begun last in a form that was not sent", () => {
    page(order);
    type("[name=zip]");
    type("#mail");
    type("[name=zip]");
    recorded.end();
    expect(recorded.events.at(-1)).toMatchObject({
      type: "form_abandon",
      fields: { form_id: "order", form_field_name: "mail" },
    });
    recorded.end();
    expect(recorded.of("form_abandon")).toHaveLength(1);
  });

  test("does not come when the page is only hidden", () => {
    page(order);
    type("#mail");
    recorded.hide();
    expect(recorded.types()).toEqual(["form_input"]);
  });

  test("does not come after a submission, not even one that the end decides", () => {
    page(order);
    type("#mail");
    submit();
    recorded.end();
    expect(recorded.types()).toEqual(["form_input", "form_submit"]);
  });

  test("comes when a form that was sent is begun again", () => {
    page(order);
    type("#mail");
    submit();
    settle();
    type("#mail");
    recorded.end();
    expect(recorded.types()).toEqual(["form_input", "form_submit", "form_input", "form_abandon"]);
  });

  test("is one for each form that was begun", () => {
    page(`<div><form id="a"><input name="x" /></form><form id="b"><input name="y" /></form></div>`);
    type("[name=x]");
    type("[name=y]");
    recorded.end();
    expect(recorded.of("form_abandon").map(({ fields }) => fields)).toEqual([
      { form_id: "a", form_field_name: "x" },
      { form_id: "b", form_field_name: "y" },
    ]);
  });

  test("comes after a form_error", () => {
    page(order);
    type("#mail");
    find("#mail").setAttribute("aria-invalid", "true");
    submit();
    settle();
    recorded.end();
    expect(recorded.types()).toEqual(["form_input", "form_error", "form_abandon"]);
  });
});
