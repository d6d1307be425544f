import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { test } from "node:test";
import Parser from "php-parser";
import { visit } from "./browser.mjs";

const plugin = fileURLToPath(new URL("../woocommerce/customer-journey.php", import.meta.url));
const php = process.env.PHP ?? "php";
const hasPhp = spawnSync(php, ["--version"]).status === 0;

test("the WooCommerce plugin is PHP that can be read", async () => {
  const parser = new Parser.Engine({ parser: { extractDoc: false, suppressErrors: false } });
  const { children } = parser.parseCode(await readFile(plugin, "utf8"), plugin);
  assert.ok(children.length > 0);
});

test(
  "the WooCommerce plugin tells what is seen, put into the cart and bought",
  { skip: !hasPhp && "php is not installed" },
  async (context) => {
    const strict = ["-d", "error_reporting=-1", "-d", "display_errors=stderr"];
    const { status, stdout, stderr } = spawnSync(
      php,
      [...strict, fileURLToPath(new URL("wordpress.php", import.meta.url)), plugin],
      { encoding: "utf8" },
    );
    assert.deepEqual([status, stderr], [0, ""]);
    const page = await visit(stdout);
    context.after(page.close);
    const sent = (await page.events()).filter((event) => event.event_type !== "page_view");
    assert.deepEqual(
      sent.map(({ event_type, product_name, product_price, quantity, order_id, order_total }) => [
        event_type,
        product_name ?? order_id,
        product_price ?? order_total,
        quantity,
      ]),
      [
        ["product_view", 'Tent </script><b> & "2"', "289.5", undefined],
        ["add_to_cart", 'Tent </script><b> & "2"', "289.5", 2],
        ["purchase", "1001", "289.50", undefined],
      ],
    );
    assert.deepEqual(page.errors, []);
  },
);
