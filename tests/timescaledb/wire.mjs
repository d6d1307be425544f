// The few parts of the PostgreSQL wire protocol (version 3.0) that a server without users, passwords or TLS needs.
// See https://www.postgresql.org/docs/17/protocol-message-formats.html.

const SSL_REQUEST = 80877103;
const GSS_REQUEST = 80877104;
const CANCEL_REQUEST = 80877102;

/** Cuts a stream of bytes into whole messages: TCP cuts wherever it likes. */
export class MessageReader {
  #pending = Buffer.alloc(0);

  push(bytes) {
    this.#pending = Buffer.concat([this.#pending, bytes]);
  }

  /** The untagged first message of a connection, or null while it is incomplete. */
  takeStartup() {
    if (this.#pending.length < 8) return null;
    const length = this.#pending.readInt32BE(0);
    if (this.#pending.length < length) return null;
    const message = this.#take(length);
    const code = message.readInt32BE(4);
    if (code === SSL_REQUEST || code === GSS_REQUEST) return { kind: "encryption" };
    if (code === CANCEL_REQUEST) return { kind: "cancel" };
    return { kind: "startup", parameters: readParameters(message.subarray(8)) };
  }

  /** All whole messages received so far as one buffer, so that the answers keep the order of the questions. */
  takeMessages() {
    let end = 0;
    while (this.#pending.length >= end + 5) {
      const next = end + 1 + this.#pending.readInt32BE(end + 1);
      if (next > this.#pending.length) break;
      end = next;
    }
    return this.#take(end);
  }

  #take(length) {
    const taken = this.#pending.subarray(0, length);
    this.#pending = this.#pending.subarray(length);
    return taken;
  }
}

function readParameters(bytes) {
  const words = bytes.toString("utf8").split("\0");
  const parameters = {};
  for (let i = 0; i + 1 < words.length && words[i] !== ""; i += 2) parameters[words[i]] = words[i + 1];
  return parameters;
}

/** Yields the tag and the body of each message in a buffer of whole messages. */
export function* messagesIn(bytes) {
  for (let start = 0; start < bytes.length; ) {
    const end = start + 1 + bytes.readInt32BE(start + 1);
    yield { tag: String.fromCharCode(bytes[start]), whole: bytes.subarray(start, end), body: bytes.subarray(start + 5, end) };
    start = end;
  }
}

function message(tag, body) {
  const head = Buffer.alloc(5);
  head.write(tag, 0, "latin1");
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

const text = (value) => Buffer.from(`${value}\0`, "utf8");
const int32 = (value) => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
};

export const readyForQuery = () => message("Z", Buffer.from("I"));

export const errorResponse = (severity, code, sentence) =>
  message("E", Buffer.concat([text(`S${severity}`), text(`V${severity}`), text(`C${code}`), text(`M${sentence}`), Buffer.alloc(1)]));

/** What a client expects after its startup message: it is let in, and learns a few settings. */
export function welcome(settings) {
  const states = Object.entries(settings).map(([name, value]) => message("S", Buffer.concat([text(name), text(value)])));
  const key = message("K", Buffer.concat([int32(1), int32(1)]));
  return Buffer.concat([message("R", int32(0)), ...states, key, readyForQuery()]);
}
