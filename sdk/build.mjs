// Builds the package (dist/) and the script that the service hands out (assets/sdk/<version>/), and prints sizes and the
// SRI hash. The script is committed: the service is compiled without Node, and sites pin old versions by their hash.
//
//   node build.mjs            builds
//   node build.mjs --check    builds elsewhere and fails where the committed script is not what the sources give
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { build } from "esbuild";
import { minify as terser } from "terser";
import { minify as uglify } from "uglify-js";

const here = dirname(fileURLToPath(import.meta.url));
const { version } = JSON.parse(readFileSync(join(here, "package.json"), "utf8"));
const SCRIPT = "customer-journey.min.js";

const shared = {
  absWorkingDir: here,
  bundle: true,
  target: "es2020",
  // Internal members begin with an underscore so that they can lose their names.
  mangleProps: /^_/,
  legalComments: "none",
  sourcemap: true,
  write: false,
};

/** Bundles one entry; returns its code and source map. */
async function bundle(entry, options) {
  const { outputFiles } = await build({ ...shared, entryPoints: [entry], outfile: `dist/${SCRIPT}`, ...options });
  const text = (suffix) => outputFiles.find((file) => file.path.endsWith(suffix)).text;
  return { code: text(".js"), map: text(".js.map") };
}

/**
 * esbuild joins the modules, terser and uglify each shorten what the other leaves: some per cent less than any alone.
 * `let` for `const` changes nothing in modules that were type-checked, and lets declarations be joined.
 */
async function buildScript() {
  const { code, map } = await bundle("src/script.ts", { format: "iife" });
  const options = {
    // With `true` the function around everything is opened, and all its names become the page's.
    toplevel: false,
    compress: { passes: 5, unsafe: true, pure_getters: true },
    sourceMap: { content: map, includeSources: true },
  };
  const modern = { unsafe_arrows: true, unsafe_methods: true };
  // Without the comment that names the map: the service names it in a header. Bundled modules assign to no undeclared
  // name, so that being strict changes nothing, either.
  const plain = code
    .replace(/\/\/# sourceMappingURL=.*\n?$/, "")
    .replace(/^"use strict";/, "")
    .replace(/\bconst /g, "let   ");
  const once = await terser(plain, { ...options, ecma: 2020, compress: { ...options.compress, ...modern } });
  return uglify(once.code, { ...options, sourceMap: { ...options.sourceMap, content: once.map } });
}

function write(folder, files) {
  mkdirSync(folder, { recursive: true });
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
}

function describe({ code }) {
  return {
    integrity: `sha384-${createHash("sha384").update(code).digest("base64")}`,
    bytes: Buffer.byteLength(code),
    gzip_bytes: gzipSync(code, { level: 9 }).length,
  };
}

/** Writes the script of this version, and what versions there are; older versions stay as they are. */
function publish(assets, script, versions) {
  const before = versions[version];
  const now = { ...describe(script), ...((before?.released || isRelease) && { released: true }) };
  if (before?.released && before.integrity !== now.integrity) {
    console.error(`${version} is released, and sites pin its hash: raise the version in package.json.`);
    process.exit(1);
  }
  write(join(assets, version), { [SCRIPT]: script.code, [`${SCRIPT}.map`]: script.map });
  const list = { current: version, versions: { ...versions, [version]: now } };
  write(assets, { "versions.json": `${JSON.stringify(list, null, 2)}\n` });
}

/** Writes the types that a site sees, and none of those inside. */
function writeTypes(folder) {
  execFileSync(join(here, "node_modules/.bin/tsc"), ["--project", "tsconfig.build.json"], {
    cwd: here,
    stdio: "inherit",
  });
  const seen = ["index.d.ts", "types.d.ts", "event-fields.d.ts"];
  for (const name of readdirSync(folder).filter((name) => name.endsWith(".d.ts"))) {
    const file = join(folder, name);
    if (!seen.includes(name)) rmSync(file);
    // The compiler leaves the names of the sources in types.
    else writeFileSync(file, readFileSync(file, "utf8").replaceAll('.ts"', '.js"'));
  }
}

function readVersions(assets) {
  try {
    return JSON.parse(readFileSync(join(assets, "versions.json"), "utf8")).versions;
  } catch {
    return {};
  }
}

const assets = join(here, "../assets/sdk");
/** With `--release`, nobody changes this version any more. */
const isRelease = process.argv.includes("--release");
const script = await buildScript();
if (process.argv.includes("--check")) {
  const scratch = mkdtempSync(join(tmpdir(), "sdk-build-"));
  publish(scratch, script, readVersions(assets));
  const names = ["versions.json", join(version, SCRIPT), join(version, `${SCRIPT}.map`)];
  const stale = names.filter(
    (name) => readFileSync(join(scratch, name), "utf8") !== readFileSync(join(assets, name), "utf8"),
  );
  rmSync(scratch, { recursive: true });
  if (stale.length > 0) {
    console.error(
      `assets/sdk is older than its sources (${stale.join(", ")}): run "npm run build" in sdk/ and commit the result.`,
    );
    process.exit(1);
  }
} else {
  publish(assets, script, readVersions(assets));
}

const module = await bundle("src/index.ts", { format: "esm", minify: true, outfile: "dist/index.js" });
write(join(here, "dist"), {
  [SCRIPT]: script.code,
  [`${SCRIPT}.map`]: script.map,
  "index.js": module.code,
  "index.js.map": module.map,
});
writeTypes(join(here, "dist"));

const { integrity, bytes, gzip_bytes } = describe(script);
console.log(
  `${SCRIPT} ${version}: ${bytes} bytes, ${gzip_bytes} gzip, ${brotliCompressSync(script.code).length} brotli`,
);
console.log(`integrity="${integrity}"`);
