// A browser in which the pages of the examples run with the real SDK, against a service that notes what it gets.
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { Browser } from "happy-dom";

const SERVICE = "https://journey.example.com";
const SCRIPT = /^https:\/\/journey\.example\.com\/sdk\/(\d+\.\d+\.\d+\/)?customer-journey\.min\.js$/;
const SHOP = "https://shop.example/";

const { outputFiles } = await build({
  entryPoints: [fileURLToPath(new URL("../../src/script.ts", import.meta.url))],
  bundle: true,
  format: "iife",
  target: "es2020",
  write: false,
});
const script = outputFiles[0].text;

/**
 * Opens a page and returns what a test needs of it: its window, the events the service got so far, and `errors`, which
 * must stay empty.
 *
 * @param {string} html
 * @param {{ before?: (window: any) => void }} [options] `before` runs ahead of the page's own scripts.
 */
export async function visit(html, { before } = {}) {
  const requests = [];
  const errors = [];

  const take = async (request) => {
    const { events } = JSON.parse(await request.text());
    requests.push({ url: request.url, method: request.method, events });
    return { accepted: events.length, rejected: 0, event_ids: events.map((event) => event.event_id), errors: [] };
  };

  const browser = new Browser({
    settings: {
      enableJavaScriptEvaluation: true,
      suppressInsecureJavaScriptEnvironmentWarning: true,
      errorCapture: "tryAndCatch",
      navigation: {
        beforeContentCallback(window) {
          // What this browser lacks.
          const { document } = window;
          window.performance.timing = {
            get domContentLoadedEventStart() {
              return document.readyState === "loading" ? 0 : 1;
            },
          };
          before?.(window);
        },
      },
      fetch: {
        interceptor: {
          async beforeAsyncRequest({ request, window }) {
            if (request.url === SHOP) return new window.Response(html, { headers: { "content-type": "text/html" } });
            if (SCRIPT.test(request.url)) return new window.Response(script);
            if (request.url.startsWith(`${SERVICE}/api/v1/events/batch?key=`)) {
              return new window.Response(JSON.stringify(await take(request)), { status: 202 });
            }
            return new window.Response(`nothing at ${request.url}`, { status: 404 });
          },
          beforeSyncRequest({ request }) {
            if (!SCRIPT.test(request.url)) return;
            return {
              status: 200,
              statusText: "OK",
              ok: true,
              url: request.url,
              redirected: false,
              headers: new Headers(),
              body: Buffer.from(script),
            };
          },
        },
      },
    },
  });
  const page = browser.newPage();
  for (const kind of ["error", "warn"]) page.console[kind] = (...values) => errors.push(values.map(String).join(" "));
  await page.goto(SHOP);
  const window = page.mainFrame.window;
  window.addEventListener("error", (event) => errors.push(event.message));

  return {
    window,
    document: window.document,
    errors,
    /** Clicks what the selector finds. */
    click: (selector) => window.document.querySelector(selector).click(),
    /** Has everything sent and returns the events so far, in order. */
    async events() {
      // What is recorded in a turn of its own comes first.
      await new Promise((resolve) => setTimeout(resolve));
      await window.customerJourney.flush();
      return requests.flatMap((request) => request.events).sort((one, other) => one.seq - other.seq);
    },
    /** Waits until `condition` holds. */
    async until(condition, timeoutMs = 5000) {
      const end = Date.now() + timeoutMs;
      while (!(await condition())) {
        if (Date.now() > end) throw new Error(`waited in vain for ${condition}; errors: ${errors}`);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    },
    requests,
    close: () => browser.close(),
  };
}
