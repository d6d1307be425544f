/**
 * The "try it" form: builds a request from what the reader filled in, sends it, and shows the answer as text.
 * The API key lives in sessionStorage only and never appears in the shown command.
 */
import { element, jsonBlock, prose } from "/docs/dom.js";
import { exampleOf, resolve, typeWords } from "/docs/schema.js";

const KEY_STORE = "docs.apiKey";
/** Most characters of an answer that are shown; a long stream must not fill the memory. */
const SHOWN_CHARACTERS_MAX = 200000;

/** Returns the key the reader entered in this tab, or an empty string. */
export function readKey() {
  return sessionStorage.getItem(KEY_STORE) ?? "";
}

/** Keeps the key for this tab; an empty one forgets it. */
export function writeKey(key) {
  if (key) sessionStorage.setItem(KEY_STORE, key);
  else sessionStorage.removeItem(KEY_STORE);
}

/** Returns the security schemes of the operation's first alternative that are defined in the document. */
function schemesOf(root, operation) {
  const first = (operation.security ?? root.security ?? []).find((alternative) => Object.keys(alternative).length > 0);
  return Object.keys(first ?? {}).map((name) => resolve(root, root.components?.securitySchemes?.[name])).filter(Boolean);
}

/** Puts the key where each security scheme wants it: a header, or the query string. */
function applyKey(schemes, key, headers, query) {
  schemes.forEach((scheme) => {
    if (scheme.type === "apiKey" && scheme.in === "header") headers.set(scheme.name, key);
    else if (scheme.type === "apiKey" && scheme.in === "query") query.set(scheme.name, key);
    else if (scheme.type === "http" && scheme.scheme?.toLowerCase() === "bearer") headers.set("Authorization", `Bearer ${key}`);
  });
}

function serverBase(root) {
  const url = root.servers?.[0]?.url ?? "";
  return url.startsWith("http") ? url.replace(/\/+$/, "") : location.origin + url.replace(/\/+$/, "");
}

function exampleText(root, media) {
  const value = media.example ?? resolve(root, Object.values(media.examples ?? {})[0])?.value ?? exampleOf(root, media.schema ?? {});
  if (value === undefined) return "";
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

function parameterInput(root, parameter, id) {
  const schema = resolve(root, parameter.schema) ?? {};
  const values = schema.enum ?? (schema.type === "boolean" ? [true, false] : null);
  if (values) {
    return element("select", { id, required: parameter.required }, element("option", { value: "" }, "not set"),
      values.map((value) => element("option", { value: String(value) }, String(value))));
  }
  const sample = parameter.example ?? schema.examples?.[0] ?? schema.example ?? schema.default;
  return element("input", {
    id, type: "text", spellcheck: "false", autocomplete: "off", required: parameter.required,
    placeholder: sample === undefined ? typeWords(root, parameter.schema) : `such as ${sample}`,
  });
}

/** Builds the part of the form that asks for the body; `null` when the operation takes none. */
function bodyFields(root, operation, prefix) {
  const content = resolve(root, operation.requestBody)?.content ?? {};
  const types = Object.keys(content);
  if (types.length === 0) return null;
  const text = element("textarea", { id: `${prefix}-body`, rows: "10", spellcheck: "false" });
  const type = element("select", { id: `${prefix}-type`, onchange: () => fill() }, types.map((name) => element("option", {}, name)));
  const fill = () => { text.value = exampleText(root, content[type.value]); };
  fill();
  return {
    read: () => ({ type: type.value, text: text.value }),
    node: element("div", {},
      element("div", { class: "try-field" }, element("label", { for: type.id }, "Content type"), type),
      element("div", { class: "try-field" }, element("label", { for: text.id }, "Body"), text)),
  };
}

/** A list is typed with commas and sent as a repeated parameter, unless the document wants it in one. */
function valuesOf(root, parameter, text) {
  const isList = [resolve(root, parameter.schema)?.type].flat().includes("array");
  return isList && parameter.explode !== false ? text.split(",").map((single) => single.trim()).filter(Boolean) : [text];
}

/** Joins path, parameters, key and body into what `fetch` takes. */
function buildRequest(root, entry, inputs, body) {
  const headers = new Headers();
  const query = new URLSearchParams();
  let path = entry.path;
  inputs.forEach(({ parameter, input }) => {
    const value = input.value;
    if (parameter.in === "path") path = path.replaceAll(`{${parameter.name}}`, encodeURIComponent(value));
    else if (value === "") return;
    else if (parameter.in === "query") valuesOf(root, parameter, value).forEach((single) => query.append(parameter.name, single));
    else if (parameter.in === "header") headers.set(parameter.name, value);
  });
  const content = body?.read();
  if (content?.text) headers.set("Content-Type", content.type);
  const shown = { headers: new Headers(headers), query: new URLSearchParams(query) };
  const schemes = schemesOf(root, entry.operation);
  applyKey(schemes, "$API_KEY", shown.headers, shown.query);
  if (readKey()) applyKey(schemes, readKey(), headers, query);
  const address = (parameters) => serverBase(root) + path + (parameters.size > 0 ? `?${parameters}` : "");
  return {
    url: address(query),
    options: { method: entry.method.toUpperCase(), headers, body: content?.text || undefined, credentials: "omit", cache: "no-store" },
    command: curlLine(entry.method, address(shown.query).replaceAll("%24API_KEY", "$API_KEY"), shown.headers, content?.text),
  };
}

function curlLine(method, url, headers, body) {
  // Double quotes let the shell fill in $API_KEY; what the reader typed goes in single quotes.
  const quote = (text) => (text.includes("$API_KEY") ? `"${text.replace(/["\\`]/g, "\\$&")}"` : `'${text.replaceAll("'", "'\\''")}'`);
  const parts = [`curl -X ${method.toUpperCase()} ${quote(url)}`];
  headers.forEach((value, name) => parts.push(`-H ${quote(`${name}: ${value}`)}`));
  if (body) parts.push(`--data-binary ${quote(body)}`);
  return parts.join(" \\\n  ");
}

/** Reads an answer piece by piece, so that a stream shows what has come so far. */
async function readText(response, show) {
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    text += piece.value;
    show(text.slice(0, SHOWN_CHARACTERS_MAX));
    if (text.length > SHOWN_CHARACTERS_MAX) {
      await reader.cancel();
      show(`${text.slice(0, SHOWN_CHARACTERS_MAX)}\n… the rest is not shown`);
      return;
    }
  }
  show(prettyText(text, response.headers.get("Content-Type") ?? ""));
}

function prettyText(text, type) {
  if (!type.includes("json") || type.includes("ndjson")) return text;
  try {
    // Parsing would round long numbers; then the text stays as it came.
    return /\d{16,}/.test(text) ? text : JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

async function send(request, result, signal) {
  const started = performance.now();
  const status = element("p", { class: "status", role: "status" }, "Sending …");
  result.replaceChildren(status);
  try {
    const response = await fetch(request.url, { ...request.options, signal });
    const elapsedMs = Math.round(performance.now() - started);
    status.textContent = `${response.status} ${response.statusText} · ${elapsedMs} ms`;
    status.classList.add(response.ok ? "status-good" : "status-bad");
    const headers = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
    const body = jsonBlock("", "Answer body");
    result.append(element("h5", {}, "Headers"), jsonBlock(headers, "Answer headers"), element("h5", {}, "Body"), body);
    await readText(response, (text) => { body.textContent = text; });
    if (!body.textContent) body.textContent = "(empty)";
  } catch (error) {
    status.classList.add("status-bad");
    status.textContent = error.name === "AbortError" ? `${status.textContent} · stopped` : `The request failed: ${error.message}`;
  }
}

/** Builds the form that sends one operation's request. */
export function requestForm(root, entry, prefix) {
  const inputs = entry.parameters.filter((parameter) => parameter.in !== "cookie").map((parameter, place) => ({
    parameter, input: parameterInput(root, parameter, `${prefix}-parameter-${place}`),
  }));
  const body = bodyFields(root, entry.operation, prefix);
  const result = element("div", { class: "result" });
  const command = jsonBlock("", "Command");
  const stop = element("button", { type: "button", hidden: true }, "Stop");
  const form = element("form", { class: "try", autocomplete: "off" },
    inputs.map(({ parameter, input }) => element("div", { class: "try-field" },
      element("label", { for: input.id }, element("code", {}, parameter.name), ` in ${parameter.in}`,
        parameter.required ? element("span", { class: "required" }, " required") : null), input)),
    body?.node,
    element("p", { class: "try-buttons" }, element("button", { type: "submit", class: "send" }, "Send"), stop),
    element("details", {}, element("summary", {}, "As a command"), command), result);
  const showCommand = () => { command.textContent = buildRequest(root, entry, inputs, body).command; };
  form.addEventListener("input", showCommand);
  form.addEventListener("change", showCommand);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (entry.method === "delete" && !window.confirm(`Really send DELETE ${entry.path}? It may remove data for good.`)) return;
    const abort = new AbortController();
    stop.hidden = false;
    stop.onclick = () => abort.abort();
    await send(buildRequest(root, entry, inputs, body), result, abort.signal);
    stop.hidden = true;
  });
  showCommand();
  return [prose("The request goes to this service with the key from the top of the page."), form];
}
