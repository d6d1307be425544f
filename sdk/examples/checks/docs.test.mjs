// docs/sdk.md shows pieces of the examples: each must be what the example says, and each option and method must be there.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { access, readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { blocksOf, readPage, regionOf } from "../regions.mjs";

const read = (path) => readFile(new URL(`../${path}`, import.meta.url), "utf8");
const page = await readPage();
const blocks = blocksOf(page);

/** Returns what all files of a folder hold. */
async function contentsOf(folder) {
  const entries = await readdir(new URL(`../${folder}`, import.meta.url), { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  return Promise.all(files.map((entry) => readFile(join(entry.parentPath, entry.name), "utf8")));
}

/** Languages whose code is checked; shells, headers and answers are not. */
const CHECKED = ["html", "js", "ts", "tsx", "vue", "svelte", "php", "liquid"];

test("every block of code in docs/sdk.md is a piece of an example", async () => {
  for (const { file, region, code } of blocks.filter((block) => CHECKED.includes(block.language))) {
    assert.ok(file, `This block says not where it is from:\n${code}`);
    assert.equal(code, await regionOf(file, region), `docs/sdk.md differs from ${file}#${region}: npm run docs`);
  }
  assert.ok(blocks.some((block) => block.file));
});

test("docs/sdk.md names the options that there are, each with its attribute", async () => {
  const [, body] = /interface Options \{([\s\S]*?)\n\}/.exec(await read("../src/types.ts"));
  const names = [...body.matchAll(/^ {2}(\w+)\??:/gm)].map(([, name]) => name);
  const attributeOf = (name) => `data-${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
  const rows = [...page.matchAll(/^\| `(\w+)` \| `(data-[a-z-]+)` \|/gm)].map(([, name, attribute]) => [
    name,
    attribute,
  ]);
  assert.deepEqual(
    rows,
    names.map((name) => [name, attributeOf(name)]),
  );
});

test("docs/sdk.md and the examples know the markup that the code heeds", async () => {
  const markupIn = (text) => [...new Set(text.match(/data-cj-[a-z]+/g))].sort();
  const heeded = markupIn((await contentsOf("../src")).join());
  assert.deepEqual(markupIn(page), heeded);
  for (const folder of ["html", "react", "vue", "next", "sveltekit", "consent"]) {
    for (const name of markupIn((await contentsOf(folder)).join()))
      assert.ok(heeded.includes(name), `${folder} has ${name}`);
  }
});

test("docs/sdk.md says the defaults that the code has", async () => {
  const [, body] = /export const options = \{([\s\S]*?)\n\}/.exec(await read("../src/options.ts"));
  const set = Object.fromEntries([...body.matchAll(/^ {2}(\w+): (.*),$/gm)].map(([, name, text]) => [name, text]));
  const on = [...(await contentsOf("../src")).join().matchAll(/isOn\("(\w+)"\)/g)].map(([, name]) => name);
  assert.ok(on.length > 5);
  for (const [, name, told] of page.matchAll(/^\| `(\w+)` \| `data-[a-z-]+` \| (.*?) ?\|/gm)) {
    if (["apiUrl", "apiKey"].includes(name)) continue;
    const usual = set[name]?.replaceAll('"', "") ?? String(on.includes(name));
    assert.equal(told, usual === "[]" ? "none" : `\`${usual}\``, `default of ${name}`);
  }
});

test("docs/sdk.md shows every method", async () => {
  const [, body] = /interface CustomerJourney \{([\s\S]*?)\n\}/.exec(await read("../src/types.ts"));
  const names = [...body.matchAll(/^ {2}(\w+)\(/gm)].map(([, name]) => name);
  assert.ok(names.length > 15);
  for (const name of names) {
    assert.match(page, new RegExp(`\`${name}\\(`), `${name} is not described`);
    assert.match(page, new RegExp(`customerJourney\\.${name}\\(`), `${name} has no example`);
  }
});

test("the stub is the same everywhere, and its hash for a strict policy is right", async () => {
  const [, stub] = /<script>(window\.customerJourney.*?)<\/script>/.exec(page);
  for (const file of [
    "consent/banner.html",
    "consent/tcf.html",
    "consent/consent-mode.html",
    "shopify/customer-journey.liquid",
    "woocommerce/customer-journey.php",
  ]) {
    assert.ok((await read(file)).includes(stub), `${file} has another stub`);
  }
  assert.ok(page.includes(`'sha256-${createHash("sha256").update(stub).digest("base64")}'`));
});

test("every link in docs/sdk.md leads somewhere", async () => {
  const headings = [...page.matchAll(/^#+ (.*)$/gm)].map(([, text]) =>
    text
      .toLowerCase()
      .replace(/[^\w\- ]/g, "")
      .replaceAll(" ", "-"),
  );
  const links = [...page.matchAll(/\]\((?!https:)([^)#]*)(?:#([^)]*))?\)/g)];
  assert.ok(links.length > 20);
  for (const [link, path, anchor] of links) {
    if (path) await access(new URL(`../../../docs/${path}`, import.meta.url));
    else assert.ok(headings.includes(anchor), `${link} leads nowhere`);
  }
});
