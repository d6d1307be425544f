import { afterEach, describe, expect, test } from "vitest";
import { captureClicks } from "../../src/click.ts";
import { click, page, removeListeners, start } from "./support.ts";

afterEach(removeListeners);

/** Clicks `#it` of the page and returns what was recorded of it. */
const clickOn = (html: string, options?: Parameters<typeof click>[1]) => {
  const recorded = start(captureClicks);
  click(page(html), options);
  return recorded.events;
};

test("a click says what was clicked, where, and in which window", () => {
  const [event, ...more] = clickOn(`<button id="it" class="btn">Buy</button>`);
  expect(more).toEqual([]);
  expect(event!.type).toBe("click");
  expect(event!.fields).toEqual({
    element_selector: "#it",
    element_text: "Buy",
    element_id: "it",
    coordinates: [10, 1021],
    viewport_size: [innerWidth, innerHeight],
  });
});

test.each(["a href='#x'", "button", "summary", "p role=button", "p data-cj-name=n"])(
  "a click inside <%s> is one on it",
  (tag) => {
    const [event] = clickOn(`<main><${tag} id="outer"><i><b id="it">x</b></i></${tag.split(" ")[0]}></main>`);
    expect(event!.fields.element_id).toBe("outer");
  },
);

test("a click on anything else is one on the target itself", () => {
  expect(clickOn(`<p><b id="it">x</b></p>`)[0]!.fields.element_id).toBe("it");
});

test("a click is recorded although the page stops it", () => {
  const recorded = start(captureClicks);
  const button = page("<button>x</button>");
  button.addEventListener("click", (event) => event.stopImmediatePropagation());
  document.addEventListener("click", (event) => event.stopPropagation(), { capture: true, once: true });
  click(button);
  expect(recorded.types()).toEqual(["click"]);
});

test("a click made by a key has no place", () => {
  expect(clickOn("<button>x</button>", { detail: 0 })[0]!.fields).not.toHaveProperty("coordinates");
});

test("a click inside data-cj-ignore is not recorded, on the element itself neither", () => {
  expect(clickOn(`<div data-cj-ignore><button id="it">x</button></div>`)).toEqual([]);
  expect(clickOn(`<button id="it" data-cj-ignore>x</button>`)).toEqual([]);
  expect(clickOn(`<button><b id="it" data-cj-ignore>x</b></button>`)).toEqual([]);
});

test("of a click on a label only that on its control is recorded", () => {
  expect(clickOn(`<label id="it" for="c">x</label><input id="c" type="checkbox" />`)).toEqual([]);
  expect(clickOn(`<label>x <input id="it" type="checkbox" /></label>`)).toHaveLength(1);
  expect(clickOn(`<label><a id="it" href="#terms">terms</a> <input /></label>`)).toHaveLength(1);
  expect(clickOn(`<label id="it">of nothing</label>`)).toHaveLength(1);
});

test("a field named id does not hide the id of its form", () => {
  const recorded = start(captureClicks);
  click(page(`<form id="it"><input name="id" /></form>`));
  expect(recorded.events[0]!.fields).toMatchObject({ element_id: "it", element_selector: "#it" });
});

test("what was typed or chosen is never the text of a click", () => {
  for (const html of [`<input id="it" type="submit" value="typed" />`, `<p contenteditable="true">typed</p>`]) {
    expect(clickOn(html)[0]!.fields.element_text).toBe("");
  }
});

test("maskText masks the text and nothing else", () => {
  const recorded = start(captureClicks, { maskText: true });
  click(page(`<button id="it">Buy</button>`));
  expect(recorded.events[0]!.fields).toMatchObject({ element_text: "***", element_id: "it" });
});

describe("links", () => {
  test("a link to another host carries its address, without query and fragment", () => {
    const [event] = clickOn(`<a href="https://u:p@other.example/path?mail=a@b.c#top"><b id="it">x</b></a>`);
    expect(event!.type).toBe("click");
    expect(event!.fields.custom_properties).toEqual({ link_url: "https://other.example/path" });
  });

  test.each(["/cart?x=1", "mailto:ann@example.com", "tel:123", "javascript:void(0)"])(
    "a link to %s carries none",
    (href) => {
      const [event] = clickOn(`<a href="${href}">x</a>`);
      expect(event!.type).toBe("click");
      expect(event!.fields).not.toHaveProperty("custom_properties");
    },
  );

  test.each(["pdf", "zip", "docx", "xls", "pptx", "csv", "dmg", "exe", "apk", "PDF"])(
    "a link to a .%s is one file_download",
    (extension) => {
      const events = clickOn(`<a id="it" href="https://other.example/price.${extension}?token=1#p2">x</a>`);
      expect(events).toHaveLength(1);
      expect(events[0]!.type).toBe("file_download");
      expect(events[0]!.fields).toMatchObject({
        element_id: "it",
        custom_properties: { link_url: `https://other.example/price.${extension}` },
      });
    },
  );

  test.each(["mp3", "mp4", "html", "pdfx"])("a link to a .%s is a click", (extension) => {
    const events = clickOn(`<a id="it" href="https://other.example/tune.${extension}">x</a>`);
    expect(events.map(({ type }) => type)).toEqual(["click"]);
  });

  test("a link with the attribute download is a file_download", () => {
    const [event] = clickOn(`<a href="/report" download>x</a>`);
    expect(event!.type).toBe("file_download");
    expect(event!.fields.custom_properties).toEqual({ link_url: location.origin + "/report" });
  });

  test("a download made of its own address keeps that to itself", () => {
    const [event] = clickOn(`<a href="data:text/csv,secret" download="x.csv">x</a>`);
    expect(event!.type).toBe("file_download");
    expect(JSON.stringify(event!.fields)).not.toContain("secret");
  });

  test.each([1, 2])("a press of button %i is no click", (button) => {
    expect(clickOn(`<a href="/x">x</a>`, { button })).toEqual([]);
    expect(clickOn("<button>x</button>", { button })).toEqual([]);
  });
});
