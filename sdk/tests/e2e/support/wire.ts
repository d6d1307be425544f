/** A way to a server that can be cut and mended, as a network does. */
import { connect, createServer, type Server, type Socket } from "node:net";

import { freePort } from "./port.ts";

export class Wire {
  private server: Server;
  private readonly sockets = new Set<Socket>();

  private constructor(
    private readonly target: URL,
    private readonly port: number,
  ) {
    this.server = this.makeServer();
  }

  /** Lays one to the server that `url` names. */
  static async to(url: string): Promise<Wire> {
    const wire = new Wire(new URL(url), await freePort());
    await wire.listen();
    return wire;
  }

  /** The address of the server as seen through the wire, with another path if one is given. */
  url(path?: string): string {
    const url = new URL(this.target);
    url.host = `127.0.0.1:${this.port}`;
    if (path !== undefined) url.pathname = path;
    return url.href;
  }

  /** Cuts every connection and refuses new ones. */
  async cut(): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve));
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }

  /** Lets connections through again, on the same port. */
  async mend(): Promise<void> {
    if (this.server.listening) return;
    this.server = this.makeServer();
    await this.listen();
  }

  private makeServer(): Server {
    return createServer((client) => {
      const server = connect(Number(this.target.port), this.target.hostname);
      for (const [one, other] of [
        [client, server],
        [server, client],
      ] as const) {
        this.sockets.add(one);
        one.pipe(other);
        one.on("error", () => other.destroy());
        one.on("close", () => {
          this.sockets.delete(one);
          other.destroy();
        });
      }
    });
  }

  private listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.server.once("error", reject);
      this.server.listen(this.port, "127.0.0.1", resolve);
    });
  }
}
