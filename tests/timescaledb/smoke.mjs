// Starts the server, runs smoke.sql against it with psql, and says in one line whether all of it works.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const started = Date.now();
const server = spawn(process.execPath, [here("server.mjs"), "0"], { stdio: ["ignore", "pipe", "inherit"] });

function psql(database, ...options) {
  const url = readyUrl.replace("/postgres?", `/${database}?`);
  return execFileSync("psql", ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", url, ...options], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  }).trim();
}

function check(name, holds) {
  if (!holds) throw new Error(name);
}

let readyUrl;
try {
  const [line] = await Promise.race([once(createInterface({ input: server.stdout }), "line"), once(server, "exit")]);
  readyUrl = String(line).match(/postgres:\S+/)?.[0];
  check("the server did not become ready", readyUrl);
  const startSeconds = (Date.now() - started) / 1000;

  psql("once_smoke", "--file", here("smoke.sql"));
  check("a once_ database outlived its connection", psql("once_smoke", "--command", "SELECT to_regclass('event')") === "");
  psql("kept", "--command", "CREATE TABLE kept (a int)");
  psql("kept", "--command", "PREPARE leftover AS SELECT 1", "--command", "BEGIN", "--command", "DROP TABLE kept");
  psql("kept", "--command", "PREPARE leftover AS SELECT 1", "--command", "SELECT * FROM kept");
  const long = "x".repeat(90_000);
  check("a long query was cut", psql("kept", "--command", `SELECT length('${long}')`) === "90000");
  console.log(`timescaledb smoke: all works (started in ${startSeconds.toFixed(1)} s)`);
} catch (error) {
  console.error(`timescaledb smoke: ${error.stderr || error.message}`);
  process.exitCode = 1;
} finally {
  server.kill();
}
