/** Ports for servers that go away and come back. */
import { createServer } from "node:net";

/** The system gives the ports from 32768 on to outgoing connections: one of these could take it while its server is away. */
const FIRST = 20_000;
const BEYOND = 32_768;

/** Returns a port nobody listens on at the moment. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST + Math.floor(Math.random() * (BEYOND - FIRST));
    const listener = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      listener.once("error", () => resolve(false));
      listener.listen(port, "127.0.0.1", () => resolve(true));
    });
    if (!isFree) continue;
    await new Promise((resolve) => listener.close(resolve));
    return port;
  }
}
