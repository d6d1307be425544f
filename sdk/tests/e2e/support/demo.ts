/** The demo as a newcomer starts it: a service, its data, and the shop that is measured by the SDK. */
import { spawn } from "node:child_process";
import { mkdtemp, readFile, readlink, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { BINARY } from "./service.ts";
import { until } from "./until.ts";

export interface Demo {
  /** As in `http://127.0.0.1:8030`. */
  origin: string;
  secretKey: string;
  stop(): Promise<void>;
}

/** Starts a small demo on a free port; a browser that is steered counts as a visitor. */
export async function startDemo(): Promise<Demo> {
  const folder = await mkdtemp(join(tmpdir(), "journey-demo-"));
  const options = ["--port", "0", "--people", "30", "--days", "3", "--allow-bots"];
  const child = spawn(BINARY, ["demo", "--state-dir", folder, ...options], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (said += text));
  const isOver = () => child.exitCode !== null || child.signalCode !== null;
  await until(
    "the demo is ready",
    () => {
      if (isOver()) throw new Error(`the demo ended at once:\n${said}`);
      return said.includes("Ctrl-C stops");
    },
    60_000,
  );
  const state = JSON.parse(await readFile(join(folder, "state.json"), "utf8")) as { secret_key: string };
  return {
    origin: /http:\/\/127\.0\.0\.1:\d+/.exec(said)![0],
    secretKey: state.secret_key,
    async stop() {
      child.kill("SIGINT");
      await until("the demo has stopped", isOver);
      // As root, the data lies where the servers' own user may reach it.
      const data = await readlink(join(folder, "data")).catch(() => undefined);
      if (data) await rm(data, { recursive: true, force: true });
      await rm(folder, { recursive: true, force: true });
    },
  };
}
