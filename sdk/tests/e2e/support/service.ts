/** The real service as a process of its own, with a database and a queue of its own, to be killed and started again. */
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";

import { freePort } from "./port.ts";
import { until } from "./until.ts";
import { Wire } from "./wire.ts";

const run = promisify(execFile);

/** The program under test: `JOURNEY_BINARY`, or what `cargo build` leaves behind. */
export const BINARY = resolve(
  process.env.JOURNEY_BINARY ??
    join(process.env.CARGO_TARGET_DIR ?? join(import.meta.dirname, "../../../../target"), "debug/customer-journey"),
);

export class Service {
  /** Sends events from any origin. */
  writeKey = "";
  /** Reads what was stored. */
  secretKey = "";
  readonly address: string;
  private child: ChildProcess | undefined;

  private constructor(
    private readonly folder: string,
    port: number,
    private readonly databaseName: string,
    /** The way from the service to PostgreSQL. */
    readonly database: Wire,
    /** The way from the service to Redis. */
    readonly queue: Wire,
  ) {
    this.address = `http://127.0.0.1:${port}`;
  }

  /** Makes the database, starts the service on it, and makes its keys. */
  static async start(): Promise<Service> {
    const name = `e2e_${randomUUID().replaceAll("-", "")}`;
    await psql(`CREATE DATABASE ${name}`);
    const folder = await mkdtemp(join(tmpdir(), "journey-e2e-"));
    const database = await Wire.to(server("DATABASE_URL"));
    const queue = await Wire.to(server("REDIS_URL"));
    const service = new Service(folder, await freePort(), name, database, queue);
    await writeFile(service.configuration, service.toToml());
    await service.startAgain();
    service.writeKey = await service.createKey("write");
    service.secretKey = await service.createKey("secret", "--scope", "read", "--scope", "admin");
    return service;
  }

  /** Starts it on the port and the data it had, and waits until it answers. */
  async startAgain(): Promise<void> {
    const log = await open(this.log, "a");
    const child = spawn(BINARY, ["serve", "--config", this.configuration], {
      env: {},
      stdio: ["ignore", "ignore", log.fd],
    });
    this.child = child;
    await log.close();
    await until("the service answers", async () => {
      if (child.exitCode !== null) throw new Error(`the service ended at once:\n${await this.logText()}`);
      const answer = await fetch(`${this.address}/health`).catch(() => undefined);
      return answer?.ok;
    });
  }

  /** Makes good what a test that failed left broken. */
  async restore(): Promise<void> {
    await Promise.all([this.database.mend(), this.queue.mend()]);
    if (!this.isRunning) await this.startAgain();
  }

  /** Ends it with SIGKILL, as a loss of power would. */
  async kill(): Promise<void> {
    const child = this.child;
    if (!child || !this.isRunning) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  }

  /** Ends it and removes all it had. */
  async remove(): Promise<void> {
    await this.kill();
    await Promise.all([this.database.cut(), this.queue.cut()]);
    await psql(`DROP DATABASE IF EXISTS ${this.databaseName} WITH (FORCE)`);
    await rm(this.folder, { recursive: true, force: true });
  }

  logText(): Promise<string> {
    return readFile(this.log, "utf8");
  }

  private get isRunning(): boolean {
    return this.child?.exitCode === null && this.child.signalCode === null;
  }

  private get configuration(): string {
    return join(this.folder, "config.toml");
  }

  private get log(): string {
    return join(this.folder, "service.log");
  }

  private toToml(): string {
    const settings = {
      "server.listen": this.address.slice("http://".length),
      "database.url": this.database.url(this.databaseName),
      "database.connections_max": 8,
      "database.acquire_timeout_seconds": 1,
      "redis.queue_url": this.queue.url(),
      "redis.key_prefix": this.databaseName,
      "redis.timeout_ms": 900,
      // What a killed writer had taken comes back soon.
      "writer.claim_idle_ms": 1000,
      "ingest.retry_after_seconds": 1,
      "privacy.cookieless": true,
      "jobs.enabled": false,
      "telemetry.log_format": "text",
      "secrets.api_key_salt": "salt-of-the-browser-tests",
    };
    const lines = Object.entries(settings).map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`);
    return lines.join("");
  }

  private async createKey(kind: string, ...more: string[]): Promise<string> {
    const { stdout } = await run(
      BINARY,
      ["--config", this.configuration, "keys", "create", "--json", "--kind", kind, "--name", kind, ...more],
      { env: {} },
    );
    return (JSON.parse(stdout) as { key: string }).key;
  }
}

function server(variable: string): string {
  const url = process.env[variable];
  if (!url)
    throw new Error(`${variable} is not set: run the tests with \`make test\`, or see scripts/test-services.sh`);
  return url;
}

async function psql(statement: string): Promise<void> {
  const program = process.env.PG_BIN ? join(process.env.PG_BIN, "psql") : "psql";
  await run(program, [server("DATABASE_URL"), "--no-psqlrc", "--quiet", "--command", statement]);
}
