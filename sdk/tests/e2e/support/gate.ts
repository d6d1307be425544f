/** What stands between the browser and the service: passes requests on, notes each, and misbehaves when told to. */
import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";

import { freePort } from "./port.ts";
import type { WireEvent } from "./wire-event.ts";

/** What the gate does with a request. */
type Behaviour =
  | { kind: "pass"; delayMs: number }
  | { kind: "answer"; status: number; headers: Record<string, string>; body: string }
  | { kind: "lose" }
  | { kind: "hang" };

/** A request for the ingest endpoint, as it came. */
export interface Sending {
  /** When it came, and when it was answered, in ms since 1970. */
  at: number;
  answeredAt?: number;
  method: string;
  url: URL;
  headers: IncomingMessage["headers"];
  body: string;
  bytes: number;
  /** What the body holds; empty where it is no batch. */
  events: WireEvent[];
  /** The status the browser was shown; none where it was shown nothing. */
  status?: number;
}

export class Gate {
  /** Every request for the ingest endpoint, in order; preflights are apart. */
  readonly sendings: Sending[] = [];
  /** Requests by which a browser asks for leave; there must be none. */
  readonly preflights: string[] = [];
  private behaviour: Behaviour = { kind: "pass", delayMs: 0 };
  private readonly sockets = new Set<Socket>();
  private server: Server;

  private constructor(
    private readonly target: URL,
    private readonly port: number,
  ) {
    this.server = this.makeServer();
  }

  static async to(target: string): Promise<Gate> {
    const gate = new Gate(new URL(target), await freePort());
    await gate.accept();
    return gate;
  }

  /** Its address, of another origin than the pages. */
  get address(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Passes requests on. */
  pass(): void {
    this.behaviour = { kind: "pass", delayMs: 0 };
  }

  /** Passes requests on and takes its time before the answer. */
  slow(delayMs: number): void {
    this.behaviour = { kind: "pass", delayMs };
  }

  /** Answers by itself; the service never hears of it. */
  answer(status: number, headers: Record<string, string> = {}, body: unknown = {}): void {
    this.behaviour = { kind: "answer", status, headers, body: JSON.stringify(body) };
  }

  /** Passes requests on and cuts the connection in place of the answer: stored, but the browser never learns it. */
  loseAnswers(): void {
    this.behaviour = { kind: "lose" };
  }

  /** Neither answers nor cuts. */
  hang(): void {
    this.behaviour = { kind: "hang" };
  }

  /** Cuts every connection and refuses new ones. */
  async refuse(): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve));
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }

  /** Takes connections, on the port it had. */
  async accept(): Promise<void> {
    this.server = this.makeServer();
    await new Promise<void>((resolve, reject) => {
      this.server.once("error", reject);
      this.server.listen(this.port, "127.0.0.1", resolve);
    });
  }

  /** Every event that came, in order, as often as it came. */
  get events(): WireEvent[] {
    return this.sendings.flatMap((sending) => sending.events);
  }

  /** How often each event came, by its id. */
  get timesSent(): Map<string, number> {
    const times = new Map<string, number>();
    for (const { event_id } of this.events) times.set(event_id, (times.get(event_id) ?? 0) + 1);
    return times;
  }

  private makeServer(): Server {
    const server = createServer((incoming, outgoing) => void this.receive(incoming, outgoing));
    server.on("connection", (socket) => {
      this.sockets.add(socket);
      socket.on("close", () => this.sockets.delete(socket));
    });
    return server;
  }

  private async receive(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const body = await read(incoming);
    const url = new URL(incoming.url ?? "/", this.address);
    if (incoming.method === "OPTIONS") {
      this.preflights.push(`${url.pathname} for ${incoming.headers["access-control-request-headers"]}`);
    }
    const sending: Sending = {
      at: Date.now(),
      method: incoming.method ?? "",
      url,
      headers: incoming.headers,
      body: body.toString(),
      bytes: body.length,
      events: eventsOf(body),
    };
    if (incoming.method !== "OPTIONS") this.sendings.push(sending);
    await this.treat(incoming, outgoing, body, sending);
  }

  private async treat(
    incoming: IncomingMessage,
    outgoing: ServerResponse,
    body: Buffer,
    sending: Sending,
  ): Promise<void> {
    const behaviour = this.behaviour;
    if (behaviour.kind === "hang") return;
    if (behaviour.kind === "answer") {
      const cors = { "access-control-allow-origin": "*", "access-control-expose-headers": "retry-after" };
      note(sending, behaviour.status);
      outgoing.writeHead(behaviour.status, { ...cors, ...behaviour.headers }).end(behaviour.body);
      return;
    }
    try {
      const answer = await this.forward(incoming, body);
      if (behaviour.kind === "lose") {
        incoming.socket.destroy();
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, behaviour.delayMs));
      note(sending, answer.status);
      outgoing.writeHead(answer.status, answer.headers).end(answer.body);
    } catch {
      // The service is away: so is what stands before it.
      incoming.socket.destroy();
    }
  }

  private forward(
    incoming: IncomingMessage,
    body: Buffer,
  ): Promise<{ status: number; headers: IncomingMessage["headers"]; body: Buffer }> {
    return new Promise((resolve, reject) => {
      const passed = request(
        {
          host: this.target.hostname,
          port: this.target.port,
          path: incoming.url,
          method: incoming.method,
          headers: incoming.headers,
        },
        (answer) => {
          read(answer).then(
            (text) => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: text }),
            reject,
          );
        },
      );
      passed.on("error", reject);
      passed.end(body);
    });
  }
}

/** Before the answer goes out: the browser counts its waits from there, and may be quicker than this process. */
function note(sending: Sending, status: number): void {
  sending.status = status;
  sending.answeredAt = Date.now();
}

async function read(message: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of message) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

function eventsOf(body: Buffer): WireEvent[] {
  if (!body.length) return [];
  const { events } = JSON.parse(body.toString()) as { events?: WireEvent[] };
  return events ?? [];
}
