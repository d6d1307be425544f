// Pieces of the examples that docs/sdk.md shows. As a program, it writes them there again: npm run docs
import { readFile, writeFile } from "node:fs/promises";
import { argv } from "node:process";
import { fileURLToPath } from "node:url";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const page = at("../../docs/sdk.md");

export const readPage = () => readFile(page, "utf8");

/** A block of code, and before it the comment that says where it is from: `<!-- from sdk/examples/FILE#REGION -->`. */
const BLOCK = /(?:<!-- from sdk\/examples\/(\S+)#(\S+) -->\n\n?)?```(\w+)\n([\s\S]*?)```/g;

/** Lists the blocks of code of a page. */
export const blocksOf = (text) =>
  [...text.matchAll(BLOCK)].map(([whole, file, region, language, code]) => ({ whole, file, region, language, code }));

/** Returns the lines between `doc: NAME` and `doc end` of an example, moved to the left. */
export async function regionOf(file, name) {
  const lines = (await readFile(at(file), "utf8")).split("\n");
  const start = lines.findIndex((line) => new RegExp(`doc: ${name}(?![\\w-])`).test(line));
  if (start < 0) throw new Error(`${file} has no region ${name}`);
  const end = lines.findIndex((line, index) => index > start && line.includes("doc end"));
  const region = lines.slice(start + 1, end);
  const indent = Math.min(...region.filter((line) => line.trim()).map((line) => /^\s*/.exec(line)[0].length));
  return region.map((line) => `${line.slice(indent)}\n`).join("");
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  let text = await readPage();
  for (const { whole, file, region, language, code } of blocksOf(text).filter((block) => block.file)) {
    const start = `\`\`\`${language}\n`;
    const fresh = await regionOf(file, region);
    text = text.replace(whole, () => whole.replace(start + code, () => start + fresh));
  }
  await writeFile(page, text);
}
