import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { setOptions } from "../../src/options.ts";
import { selectorOf, textOf } from "../../src/selector.ts";
import { page } from "./support.ts";

describe("the selector", () => {
  test("is the name its site gave the element", () => {
    expect(selectorOf(page(`<button id="it" data-cj-name="buy">Buy</button>`))).toBe(`[data-cj-name="buy"]`);
  });

  test("is the name of the closest ancestor that has one, even where the element has an id", () => {
    const inner = page(`<p data-cj-name="outer"><a data-cj-name="inner"><b id="it">x</b></a></p>`);
    expect(selectorOf(inner)).toBe(`[data-cj-name="inner"]`);
  });

  test("quotes a name as CSS does", () => {
    const named = page("<a></a>");
    named.setAttribute("data-cj-name", `say "hi" \\ bye`);
    expect(selectorOf(named)).toBe(String.raw`[data-cj-name="say \"hi\" \\ bye"]`);
  });

  test("is a stable id", () => {
    expect(selectorOf(page(`<p><button id="it">x</button></p>`))).toBe("#it");
  });

  test("escapes an id that is no plain name", () => {
    expect(selectorOf(page(`<p id="1a.b"></p>`))).toBe(String.raw`#\31 a\.b`);
  });

  test.each(["row-2024", "a1b2c3d4", ":r1:", "«r1»", "_r_1_", "radix-:r1:"])(
    "passes over the generated id %s",
    (id) => {
      expect(selectorOf(page(`<main id="top"><p id="${id}"></p></main>`).querySelector("p")!)).toBe("#top > p");
    },
  );

  test("keeps an id with a few digits", () => {
    expect(selectorOf(page(`<p id="step-123"></p>`))).toBe("#step-123");
  });

  test("goes down from the closest stable id by tag, and by place where there are more", () => {
    page(`<ul id="list"><p></p><li>a</li><li class="open"><a>x</a></li></ul>`);
    expect(selectorOf(document.querySelector("a")!)).toBe("#list > li:nth-of-type(2) > a");
  });

  test("has five steps where no id is near", () => {
    page(`<main><section><div><p><span><b>x</b></span></p></div></section></main>`);
    expect(selectorOf(document.querySelector("b")!)).toBe("section > div > p > span > b");
  });

  test("is not misled by a field named id", () => {
    expect(selectorOf(page(`<form name="f"><input name="id" /></form>`))).toBe("html > body > form");
  });

  test("finds the element, or the one it is named after, in any tree", () => {
    const tag = fc.constantFrom("div", "p", "span", "b", "section", "x-y");
    const name = fc.constantFrom("card", "css-1a", "is-on", "Big", "a:b", "");
    const { tree } = fc.letrec<{ tree: Element }>((tie) => ({
      tree: fc
        .record({
          tag,
          classes: fc.array(name, { maxLength: 3 }),
          id: fc.oneof(
            { weight: 4, arbitrary: fc.constant("") },
            { weight: 1, arbitrary: fc.constantFrom("top", "row-1234", "_r_1_") },
          ),
          named: fc.oneof({ weight: 9, arbitrary: fc.constant("") }, { weight: 1, arbitrary: fc.constant("n") }),
          children: fc.oneof({ maxDepth: 7 }, fc.constant([]), fc.array(tie("tree"), { maxLength: 3 })),
        })
        .map(({ tag, classes, id, named, children }) => {
          const element = document.createElement(tag);
          element.className = classes.join(" ");
          if (id) element.id = id;
          if (named) element.setAttribute("data-cj-name", named);
          element.append(...(children as Element[]));
          return element;
        }),
    }));
    fc.assert(
      fc.property(fc.array(tree, { minLength: 1, maxLength: 3 }), (trees) => {
        document.body.replaceChildren(...trees);
        const all = [...document.body.querySelectorAll("*")];
        // Ids and names are unique, as a page's should be.
        all.forEach((element, place) => {
          if (element.id) element.id += "-" + String.fromCharCode(97 + (place % 26)) + "-".repeat(place);
          if (element.hasAttribute("data-cj-name")) element.setAttribute("data-cj-name", "name-" + place);
        });
        for (const element of all) {
          const expected = element.closest("[data-cj-name]") || element;
          expect(document.querySelector(selectorOf(element))).toBe(expected);
        }
      }),
      { numRuns: 150 },
    );
  });
});

describe("the text", () => {
  test("is what the element says, in one line", () => {
    expect(textOf(page("<button>\n  Add to   <b>cart</b>\n</button>"))).toBe("Add to cart");
  });

  test("is cut at 120 characters", () => {
    expect(textOf(page(`<p>${"x".repeat(121)}</p>`))).toBe("x".repeat(120));
    expect(textOf(page(`<p aria-label="${"y".repeat(121)}"></p>`))).toBe("y".repeat(120));
  });

  test("is the label where there is none", () => {
    expect(textOf(page(`<button aria-label="Close">\n<svg></svg>\n</button>`))).toBe("Close");
  });

  test.each([
    `<textarea id="it">typed</textarea>`,
    `<select><option id="it">chosen</option></select>`,
    `<input id="it" type="submit" value="typed" />`,
    `<label id="it">Name <input value="typed" /></label>`,
    `<div id="it">Notes <textarea>typed</textarea></div>`,
    `<div contenteditable><p id="it">typed</p></div>`,
    `<div id="it">x<p contenteditable="true">typed</p></div>`,
    `<div id="it">x<p data-cj-ignore>private</p></div>`,
  ])("is not read from %s", (html) => {
    expect(textOf(page(html))).toBe("");
  });

  test("is stars where texts are masked", () => {
    setOptions({ maskText: true });
    expect(textOf(page("<p>Ann B 🙂</p>"))).toBe("*** * *");
    expect(textOf(page(`<p aria-label="Ann"></p>`))).toBe("***");
    setOptions({ maskText: false });
    expect(textOf(page("<p>Ann</p>"))).toBe("Ann");
    expect(textOf(page(`<div data-cj-mask><p id="it">Ann</p></div>`))).toBe("***");
    expect(textOf(page(`<a id="it">To <b data-cj-mask>Ann</b></a>`))).toBe("** ***");
  });
});
