// The examples of the frameworks, bundled with the frameworks themselves: rendered on a server, and run in a browser.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { test } from "node:test";
import { build } from "esbuild";
import { compile as compileSvelte } from "svelte/compiler";
import { compileScript, parse } from "vue/compiler-sfc";
import { visit } from "./browser.mjs";

const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));

/** Lets esbuild read the components of Vue and Svelte; `generate` is Svelte's `client` or `server`. */
const components = (generate) => ({
  name: "components",
  setup({ onLoad }) {
    onLoad({ filter: /\.vue$/ }, async ({ path }) => {
      const { descriptor } = parse(await readFile(path, "utf8"), { filename: path });
      const inlineTemplate = {
        inlineTemplate: true,
        id: "example",
        templateOptions: { ssr: generate === "server", ssrCssVars: [] },
      };
      return { contents: compileScript(descriptor, inlineTemplate).content, loader: "ts" };
    });
    onLoad({ filter: /\.svelte$/ }, async ({ path }) => ({
      contents: compileSvelte(await readFile(path, "utf8"), { filename: path, generate }).js.code,
      loader: "js",
    }));
  },
});

async function bundle(contents, options) {
  const generate = options.platform === "node" ? "server" : "client";
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: at("."), loader: "tsx" },
    bundle: true,
    write: false,
    jsx: "automatic",
    logLevel: "error",
    alias: { "@customer-journey/sdk": at("../src/index.ts"), $lib: at("sveltekit/src/lib") },
    define: {
      "process.env.NODE_ENV": '"production"',
      __VUE_OPTIONS_API__: "true",
      __VUE_PROD_DEVTOOLS__: "false",
      __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: "false",
    },
    plugins: [components(generate)],
    ...options,
  });
  return outputFiles[0].text;
}

const product = `{ id: "tent-2", name: "Two-person tent", price: "289.00" }`;
const svelte = "./sveltekit/src/routes/products/[id]/+page.svelte";
const next = "./next/app/products/[id]/add-to-cart";

const examples = {
  React: {
    module: "./react/journey",
    browser: `import "./react/main";`,
    server: `import { renderToString } from "react-dom/server.node"; import { ProductPage } from "./react/product-page";
      export const html = renderToString(<ProductPage product={${product}} />);`,
  },
  Vue: {
    module: "./vue/journey",
    browser: `import "./vue/main";`,
    server: `import { createSSRApp } from "vue"; import { renderToString } from "vue/server-renderer"; import Page from "./vue/ProductPage.vue";
      export const html = await renderToString(createSSRApp(Page, { product: ${product} }));`,
  },
  "Next.js": {
    module: "./next/lib/journey",
    browser: `import "./next/instrumentation-client"; import { createRoot } from "react-dom/client"; import { AddToCart } from "${next}";
      createRoot(document.getElementById("root")).render(<AddToCart {...${product}} />);`,
    server: `import { renderToString } from "react-dom/server.node"; import { AddToCart } from "${next}";
      export const html = renderToString(<AddToCart {...${product}} />);`,
  },
  SvelteKit: {
    module: "./sveltekit/src/lib/journey",
    browser: `import "./sveltekit/src/hooks.client"; import { mount } from "svelte"; import Page from "${svelte}";
      mount(Page, { target: document.getElementById("root"), props: { data: { product: ${product} } } });`,
    server: `import { render } from "svelte/server"; import Page from "${svelte}";
      export const html = (await render(Page, { props: { data: { product: ${product} } } })).body;`,
  },
};

for (const [name, { module, browser, server }] of Object.entries(examples)) {
  test(`${name} renders the example on a server, where the SDK does nothing`, async () => {
    // CommonJS inside of packages asks for Node's own modules with require, which a module has not.
    const banner = {
      js: `import { createRequire } from "node:module"; const require = createRequire(${JSON.stringify(import.meta.url)});`,
    };
    const code = await bundle(server, { platform: "node", format: "esm", conditions: ["node"], banner });
    const { html } = await import(`data:text/javascript;base64,${Buffer.from(code).toString("base64")}`);
    assert.match(html, /<button data-cj-name="buy"/);
  });

  test(`${name} tells in a browser what is seen and bought`, async (context) => {
    // The examples' own tracker, where the script tag would have put it.
    const expose = `import { journey } from "${module}"; window.customerJourney = journey;`;
    const code = await bundle(expose + browser, { platform: "browser", format: "iife", conditions: ["browser"] });
    const page = await visit(
      `<title>Shop</title><div id="root"></div><div id="app"></div><script>${code.replaceAll("</script", "<\\/script")}</script>`,
    );
    context.after(page.close);
    await page.until(() => page.document.querySelector("[data-cj-name=buy]"));
    page.click("[data-cj-name=buy]");
    // React tells components that they are there in its own time.
    const isSeen = (event) => event.event_type === "product_view";
    await page.until(async () => (await page.events()).some(isSeen));
    const events = await page.events();
    const seen = events.filter(isSeen);
    assert.deepEqual(
      seen.map((event) => [event.product_id, event.product_price]),
      [["tent-2", "289.00"]],
    );
    assert.equal(events.find((event) => event.event_type === "add_to_cart").quantity, 1);
    assert.deepEqual(page.errors, []);
  });
}
