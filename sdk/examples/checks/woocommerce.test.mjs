import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { test } from "node:test";
import Parser from "php-parser";

const plugin = fileURLToPath(new URL("../woocommerce/customer-journey.php", import.meta.url));
const php = process.env.PHP ?? "php";
const hasPhp = spawnSync(php, ["--version"]).status === 0;

test("the WooCommerce plugin is PHP that can be read", async () => {
  const parser = new Parser.Engine({ parser: { extractDoc: false, suppressErrors: false } });
  const { children } = parser.parseCode(await readFile(plugin, "utf8"), plugin);
  assert.ok(children.length > 0);
});

test("PHP itself reads the WooCommerce plugin", { skip: !hasPhp && "php is not installed" }, () => {
  const { status, stdout, stderr } = spawnSync(php, ["-l", plugin], { encoding: "utf8" });
  assert.equal(status, 0, stdout + stderr);
});
