import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { test } from "node:test";

const folder = fileURLToPath(new URL("..", import.meta.url));

/** Runs a checker of `node_modules/.bin` and fails with what it prints. */
const check = (command, ...parameters) =>
  new Promise((resolve) => {
    execFile(`${folder}node_modules/.bin/${command}`, parameters, { cwd: folder }, (error, stdout, stderr) => {
      assert.ok(!error, stdout + stderr);
      resolve();
    });
  });

test("the example of every method has the SDK's types", () => check("tsc", "--project", "methods"));
test("React's example has React's types", () => check("tsc", "--project", "react"));
test("Vue's example has Vue's types, in the template, too", () => check("vue-tsc", "--project", "vue"));
test("the example of Next.js has its types", () => check("tsc", "--project", "next"));
test("SvelteKit's example has its types", () =>
  check("svelte-check", "--workspace", "sveltekit", "--tsconfig", "tsconfig.json", "--fail-on-warnings"));
test("Shopify's pixel has Shopify's types", () => check("tsc", "--project", "shopify"));
test("the server's example has the types of Node", () => check("tsc", "--project", "server"));
