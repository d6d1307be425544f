/** Chromium as people have it, and the ways in which it ends. */
import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";

import { until } from "./until.ts";

export const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

const USER_AGENT =
  "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36";

const LAUNCH = {
  executablePath: CHROMIUM,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    // The service takes a browser without a window for a robot. Set for the whole browser, since what a page sends while
    // it goes away no longer knows the settings of a single context.
    `--user-agent=${USER_AGENT}`,
  ],
  // Playwright switches it off; people have it, and pages come back from it.
  ignoreDefaultArgs: ["--disable-back-forward-cache"],
};

/** Starts a browser without a window, whose contexts are people who never were here. */
export function launchBrowser(): Promise<Browser> {
  return chromium.launch(LAUNCH);
}

/** Starts a browser whose profile is kept in `folder`. */
export function launchWithProfile(folder: string): Promise<BrowserContext> {
  return chromium.launchPersistentContext(folder, LAUNCH);
}

/** Starts a browser that opens `url` and that nobody steers or watches; it shows itself by its requests alone. */
export async function launchForPeople(url: string): Promise<{ end(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), "journey-profile-"));
  const child = spawn(CHROMIUM, ["--headless", ...LAUNCH.args, `--user-data-dir=${folder}`, url], { stdio: "ignore" });
  return {
    async end() {
      await killBrowser(folder);
      child.unref();
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** Kills the process that renders a page, as the memory running out would. */
export async function crash(page: Page): Promise<void> {
  const session = await page.context().newCDPSession(page);
  const crashed = new Promise((resolve) => page.once("crash", resolve));
  session.send("Page.crash").catch(() => undefined);
  await crashed;
}

/** Ends the browser that has its profile in `folder` with SIGKILL. */
export async function killBrowser(folder: string): Promise<void> {
  const found = await processesOf(folder);
  if (!found.length) throw new Error(`no browser has its profile in ${folder}`);
  for (const id of found) process.kill(id, "SIGKILL");
  await until("the browser is gone", async () => (await processesOf(folder)).length === 0);
}

/** Waits until what a page put into `localStorage` is on the disk: Chromium takes a few seconds. */
export async function untilOnDisk(folder: string, text: string): Promise<void> {
  const database = join(folder, "Default/Local Storage/leveldb");
  const wanted = [Buffer.from(text, "latin1"), Buffer.from(text, "utf16le")];
  await until(`${text} is on the disk`, async () => {
    const files = await Promise.all(
      (await readdir(database)).map((name) => readFile(join(database, name)).catch(() => Buffer.alloc(0))),
    );
    return files.some((bytes) => wanted.some((part) => bytes.includes(part)));
  });
}

/** The first process of the browser comes first, or it would start the others anew. */
async function processesOf(folder: string): Promise<number[]> {
  const found: { id: number; isChild: boolean }[] = [];
  for (const entry of await readdir("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    const line = await readFile(`/proc/${entry}/cmdline`, "utf8").catch(() => "");
    if (line.includes(`--user-data-dir=${folder}\0`))
      found.push({ id: Number(entry), isChild: line.includes("--type=") });
  }
  return found.sort((one, other) => Number(one.isChild) - Number(other.isChild)).map(({ id }) => id);
}
