import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { captureClicks } from "../../src/click.ts";
import { click, page, removeListeners, start } from "./support.ts";

const CLICKED_AT = Date.UTC(2026, 0, 2, 3, 4, 5);

beforeEach(() => {
  vi.useFakeTimers({ now: CLICKED_AT });
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  removeListeners();
  getSelection()!.removeAllRanges();
});

/** Clicks `#it` at each of the places and times, and returns the rage clicks. */
const rageOn = (html: string, presses: Parameters<typeof click>[1][]) => {
  const recorded = start(captureClicks);
  const target = page(html);
  presses.forEach((press) => click(target, press));
  return recorded.of("rage_click");
};

const THREE = [{ time: 0 }, { time: 999 }, { time: 1998 }];
const button = `<button id="it">Pay</button>`;

describe("a rage click", () => {
  test("is three clicks, each less than 1 s after the one before", () => {
    const [rage, ...more] = rageOn(button, THREE);
    expect(more).toEqual([]);
    expect(rage!.fields).toMatchObject({ element_selector: "#it", element_text: "Pay", coordinates: [10, 1021] });
  });

  test("is not two clicks", () => {
    expect(rageOn(button, THREE.slice(1))).toEqual([]);
  });

  test("has no gap of 1 s", () => {
    expect(rageOn(button, [{ time: 0 }, { time: 999 }, { time: 1999 }])).toEqual([]);
  });

  test("stays within 30 px from click to click, along both axes together", () => {
    const at = (x: number, y: number) => ({ x, y, time: 0 });
    expect(rageOn(button, [at(0, 0), at(15, 14), at(30, 28)])).toHaveLength(1);
    expect(rageOn(button, [at(0, 0), at(15, 15), at(15, 15)])).toEqual([]);
    expect(rageOn(button, [at(30, 0), at(30, 0), at(0, 0)])).toEqual([]);
  });

  test("ends the count: six clicks are two, five are one", () => {
    const six = [0, 1, 2, 3, 4, 5].map((time) => ({ time }));
    expect(rageOn(button, six)).toHaveLength(2);
    expect(rageOn(button, six.slice(1))).toHaveLength(1);
  });

  test("comes after the click that made it one", () => {
    const recorded = start(captureClicks);
    const target = page(button);
    THREE.forEach((press) => click(target, press));
    expect(recorded.types()).toEqual(["click", "click", "click", "rage_click"]);
  });

  test("has the fields of its click, the address of a link to elsewhere among them", () => {
    const [rage] = rageOn(`<a id="it" href="https://other.example/path?q=1">x</a>`, THREE);
    expect(rage!.fields).toMatchObject({
      element_selector: "#it",
      custom_properties: { link_url: "https://other.example/path" },
    });
  });

  test("is not three clicks of the middle button", () => {
    const middle = THREE.map((press) => ({ ...press, button: 1 }));
    expect(rageOn(`<a id="it" href="/x">x</a>`, middle)).toEqual([]);
  });

  test("is made with the pointer", () => {
    expect(
      rageOn(
        button,
        THREE.map((press) => ({ ...press, detail: 0 })),
      ),
    ).toEqual([]);
  });

  test.each([
    `<input id="it" type="number" />`,
    `<input id="it" type="range" />`,
    `<div role="spinbutton"><b id="it">x</b></div>`,
    `<div aria-roledescription="carousel"><button id="it">Offer</button></div>`,
    `<div class="my-carousel"><button id="it">Offer</button></div>`,
    `<div class="slick-slider"><button id="it">Offer</button></div>`,
    `<video id="it"></video>`,
    ...["+", "−", "-", "‹", "›", "«", "»", "<", ">", ">>", "→", "←", "▲", "▼"].map(
      (sign) => `<button id="it">${sign.replace("<", "&lt;")}</button>`,
    ),
    ...["Next", "previous", "Prev", "More", "less", "Next slide", "More of this"].map(
      (text) => `<button id="it">${text}</button>`,
    ),
    `<button id="it" aria-label="Next month"><svg></svg></button>`,
  ])("is not one on %s", (html) => {
    expect(rageOn(html, THREE)).toEqual([]);
  });

  test.each([
    "Nextcloud",
    "Lesson 1",
    "Moreover",
    "Learn more",
    "One more of Tent",
    "+1",
    "Pay",
    "Zahlen →",
    "Купить",
    "购买",
  ])("is one on a button that says %s", (text) => {
    expect(rageOn(`<button id="it">${text}</button>`, THREE)).toHaveLength(1);
  });

  test.each([
    `<div role="slider" id="it"></div>`,
    `<button id="it" class="btn-prev">Offer</button>`,
    `<button id="it" aria-label="One more of this"><svg></svg></button>`,
  ])("is one on %s", (html) => {
    expect(rageOn(html, THREE)).toHaveLength(1);
  });
});

describe("a dead click", () => {
  /** Starts the recording, clicks `#it` and returns both. */
  const clickOn = (html: string, press?: Parameters<typeof click>[1]) => {
    const recorded = start(captureClicks);
    const target = page(html);
    click(target, press);
    return { ...recorded, target, dead: () => recorded.of("dead_click") };
  };
  const wait = (ms: number) => vi.advanceTimersByTimeAsync(ms);

  test("is one that nothing answers for 2.5 s, and is dated to the click", async () => {
    const { dead } = clickOn(button);
    await wait(2499);
    expect(dead()).toEqual([]);
    await wait(1);
    expect(dead()).toHaveLength(1);
    expect(dead()[0]).toMatchObject({ at: CLICKED_AT, fields: { element_selector: "#it", element_text: "Pay" } });
  });

  test.each([
    ["an element", (target: Element) => document.body.append(target.cloneNode())],
    ["a text", (target: Element) => (target.firstChild!.nodeValue = "Paid")],
    ["an attribute", (target: Element) => target.setAttribute("aria-busy", "true")],
  ])("is not one when %s changes in time", async (_, change) => {
    const { target, dead } = clickOn(button);
    await wait(2400);
    change(target);
    await wait(5000);
    expect(dead()).toEqual([]);
  });

  test("is one when the change comes too late", async () => {
    const { target, dead } = clickOn(button);
    await wait(2500);
    target.setAttribute("aria-busy", "true");
    await wait(5000);
    expect(dead()).toHaveLength(1);
  });

  test("is one although something changes inside data-cj-ignore", async () => {
    const { dead } = clickOn(`${button}<p data-cj-ignore><b>0</b></p>`);
    await wait(1000);
    document.querySelector("b")!.firstChild!.nodeValue = "1";
    document.querySelector("b")!.append("2");
    await wait(1500);
    expect(dead()).toHaveLength(1);
  });

  test("is not one when the page scrolls within 100 ms, but is when it scrolls later", async () => {
    const quick = clickOn(button);
    await wait(99);
    document.dispatchEvent(new Event("scroll"));
    await wait(5000);
    expect(quick.dead()).toEqual([]);
    removeListeners();

    const late = clickOn(button);
    await wait(100);
    document.dispatchEvent(new Event("scroll"));
    await wait(5000);
    expect(late.dead()).toHaveLength(1);
  });

  test("is answered by a scroll of its own time only", async () => {
    const { dead } = clickOn(`${button}<p>x</p>`);
    await wait(1000);
    click(document.querySelector("p")!);
    document.dispatchEvent(new Event("scroll"));
    await wait(5000);
    expect(dead().map(({ fields }) => fields.element_selector)).toEqual(["#it"]);
  });

  test("has the fields of its click", async () => {
    const { of } = clickOn(button, { x: 3 });
    await wait(2500);
    expect(of("dead_click")[0]!.fields).toEqual(of("click")[0]!.fields);
  });

  test("is not one when a text is selected within 100 ms, but is when only the caret moves", async () => {
    const moved = clickOn(button);
    document.dispatchEvent(new Event("selectionchange"));
    await wait(2500);
    expect(moved.dead()).toHaveLength(1);
    removeListeners();

    const selected = clickOn(button);
    getSelection()!.selectAllChildren(selected.target);
    document.dispatchEvent(new Event("selectionchange"));
    await wait(2500);
    expect(selected.dead()).toEqual([]);
  });

  test.each(["hide", "end"] as const)("is forgotten at the %s of the page", async (moment) => {
    const recorded = clickOn(button);
    await wait(1000);
    recorded[moment]();
    await wait(5000);
    expect(recorded.dead()).toEqual([]);
  });

  test.each(["hashchange", "invalid", "submit"])("is answered by %s", async (type) => {
    const { target, dead } = clickOn(button);
    (type === "hashchange" ? window : target).dispatchEvent(new Event(type));
    await wait(5000);
    expect(dead()).toEqual([]);
  });

  test.each([
    "<input id=it>",
    "<input id=it type=checkbox>",
    "<select id=it></select>",
    "<textarea id=it></textarea>",
    "<label id=it>x</label>",
    `<a id="it" href="/x.pdf">x</a>`,
    `<a id="it" href="/x" download>x</a>`,
    `<a id="it" href="/x" target="_blank">x</a>`,
    `<a id="it" href="mailto:a@b.example">x</a>`,
    `<a id="it" href="tel:1">x</a>`,
    `<video id="it"></video>`,
    `<a id="it" href="/x">x</a>`,
    `<a id="it" href="javascript:void(0)">x</a>`,
    `<x-y id="it"></x-y>`,
    `<canvas id="it"></canvas>`,
    `<p contenteditable><b id="it">x</b></p>`,
    `<button id="it" aria-haspopup="menu">x</button>`,
    `<button id="it" popovertarget="p">x</button>`,
  ])("is not looked for on %s", async (html) => {
    const { dead } = clickOn(html);
    await wait(5000);
    expect(dead()).toEqual([]);
  });

  test.each([`<a id="it" href="#">x</a>`, `<a id="it" href="#part">x</a>`, `<a id="it">x</a>`, `<p id="it">x</p>`])(
    "is looked for on %s",
    async (html) => {
      const { dead } = clickOn(html);
      await wait(5000);
      expect(dead()).toHaveLength(1);
    },
  );

  test("is not looked for on the page itself", async () => {
    const recorded = start(captureClicks);
    click(document.body);
    click(document.documentElement);
    await wait(5000);
    expect(recorded.types()).toEqual(["click", "click"]);
  });

  test("is not looked for after a key or while something is selected", async () => {
    const { target, types } = clickOn(button, { detail: 0 });
    await wait(5000);
    getSelection()!.selectAllChildren(target);
    click(target);
    await wait(5000);
    expect(types()).toEqual(["click", "click"]);
  });

  test("is looked for one at a time, the first one first", async () => {
    const { target, dead } = clickOn(`${button}<p id="other">x</p>`);
    await wait(2000);
    click(document.querySelector("#other")!);
    await wait(5000);
    expect(dead().map(({ at, fields }) => [at, fields.element_selector])).toEqual([[CLICKED_AT, "#it"]]);
    click(target);
    await wait(2500);
    expect(dead()).toHaveLength(2);
  });

  test("has its full time when an earlier one was answered", async () => {
    const { target, dead } = clickOn(button);
    await wait(1000);
    target.setAttribute("aria-busy", "true");
    await wait(1000);
    click(target);
    await wait(2499);
    expect(dead()).toEqual([]);
    await wait(1);
    expect(dead()).toHaveLength(1);
  });

  test("costs nothing while none is pending", async () => {
    const observe = vi.spyOn(MutationObserver.prototype, "observe");
    const disconnect = vi.spyOn(MutationObserver.prototype, "disconnect");
    const recorded = start(captureClicks);
    const target = page(button);
    expect(observe).not.toHaveBeenCalled();
    click(target);
    expect(observe).toHaveBeenCalledOnce();
    disconnect.mockClear();
    await wait(2500);
    expect(disconnect).toHaveBeenCalled();
    expect(recorded.of("dead_click")).toHaveLength(1);
  });
});
