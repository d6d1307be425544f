/** A web site that embeds the SDK: pages made of a few lines, on an origin that is not the service's. */
import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { resolve } from "node:path";
import { text } from "node:stream/consumers";

import type { Options } from "../../../src/types.ts";

/** The build under test, as the service would serve it. */
export const SCRIPT = resolve(import.meta.dirname, "../../../dist/customer-journey.min.js");

/** Where pages that go away say which events they recorded last. */
export const LAST_WORDS_PATH = "/last-words";

/** What a page consists of. */
export interface PageParts {
  /** Put before the SDK's script tag. */
  head?: string;
  body?: string;
  title?: string;
  headers?: Record<string, string>;
  /** Whether the page carries the script tag; `head` may hold another. */
  embeds?: boolean;
  /** Changes the options of the site for this page. */
  options?: Partial<Options>;
}

export class Site {
  /** Ids of events that pages recorded while they went away. */
  readonly lastWords: string[] = [];
  /** Paths that were asked for, in order. */
  readonly requests: string[] = [];
  private readonly pages = new Map<string, PageParts>();
  private readonly server: Server;
  private readonly files = new Map<string, { type: string; text: string; delayMs: number }>();

  private constructor(private readonly options: Options) {
    this.server = createServer((incoming, outgoing) => this.serve(incoming, outgoing));
  }

  /** Opens a site whose pages start the SDK with `options`. */
  static async open(options: Options): Promise<Site> {
    const site = new Site(options);
    await new Promise<void>((resolve) => site.server.listen(0, "127.0.0.1", resolve));
    site.file("/customer-journey.min.js", "text/javascript", await readFile(SCRIPT, "utf8"));
    return site;
  }

  /** The origin of its pages. */
  get origin(): string {
    return `http://localhost:${this.port}`;
  }

  /** Another origin that gives the same script, as a network of caches would. */
  get scriptOrigin(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  private get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** Makes a page of its own for `path`; every other path is an empty page. Returns its address. */
  page(path: string, parts: PageParts): string {
    this.pages.set(path, parts);
    return this.origin + path;
  }

  /** Serves a file beside the pages, after a while if told so. */
  file(path: string, type: string, text: string, delayMs = 0): string {
    this.files.set(path, { type, text, delayMs });
    return this.origin + path;
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve));
    this.server.closeAllConnections();
    await closed;
  }

  /** The script tag with the options as its attributes. */
  scriptTag(options: Partial<Options> = {}, attributes = "async", origin = ""): string {
    const data = Object.entries({ ...this.options, ...options })
      .map(([name, value]) => `data-${kebab(name)}="${Array.isArray(value) ? value.join(",") : value}"`)
      .join(" ");
    return `<script ${attributes} src="${origin}/customer-journey.min.js" ${data}></script>`;
  }

  private serve(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const { pathname } = new URL(incoming.url ?? "/", this.origin);
    this.requests.push(pathname);
    const file = this.files.get(pathname);
    if (file) {
      const headers = { "content-type": file.type, "access-control-allow-origin": "*" };
      setTimeout(() => outgoing.writeHead(200, headers).end(file.text), file.delayMs);
    } else if (pathname === LAST_WORDS_PATH) {
      void text(incoming).then((id) => this.lastWords.push(id));
      outgoing.writeHead(204).end();
    } else if (pathname === "/favicon.ico") {
      outgoing.writeHead(204).end();
    } else {
      const parts = this.pages.get(pathname) ?? {};
      outgoing.writeHead(200, { "content-type": "text/html; charset=utf-8", ...parts.headers });
      outgoing.end(this.html(parts));
    }
  }

  private html(parts: PageParts): string {
    return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>${parts.title ?? "A page"}</title>
${parts.head ?? ""}
${parts.embeds === false ? "" : this.scriptTag(parts.options)}
</head>
<body>${parts.body ?? "<p>Nothing here.</p>"}</body>
</html>`;
  }
}

function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
