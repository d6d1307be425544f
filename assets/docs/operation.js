/**
 * Draws one operation: parameters, body, answers, security and the form to try it.
 */
import { element, jsonBlock, prose } from "/docs/dom.js";
import { exampleOf, lazily, limitNotes, resolve, schemaView, typeWords } from "/docs/schema.js";
import { requestForm } from "/docs/request.js";

export const METHODS = ["get", "post", "put", "patch", "delete", "head", "options", "trace"];

/** Lists the operations of a document; each carries its own parameters and those of its path. */
export function listOperations(root) {
  const entries = [];
  Object.entries(root.paths ?? {}).forEach(([path, given]) => {
    const item = resolve(root, given);
    METHODS.filter((method) => item?.[method]).forEach((method) => {
      const operation = item[method];
      entries.push({
        path,
        method,
        operation,
        id: operation.operationId ?? `${method}-${path.replace(/[^A-Za-z0-9]+/g, "-").replace(/^-|-$/g, "")}`,
        tag: operation.tags?.[0] ?? "other",
        parameters: mergeParameters(root, item.parameters, operation.parameters),
      });
    });
  });
  return entries;
}

/** An operation's parameter replaces its path's of the same name and place. */
function mergeParameters(root, ofPath = [], ofOperation = []) {
  const merged = new Map();
  [...ofPath, ...ofOperation].map((parameter) => resolve(root, parameter)).forEach((parameter) => {
    merged.set(`${parameter.in} ${parameter.name}`, parameter);
  });
  return [...merged.values()];
}

function parametersView(root, parameters) {
  if (parameters.length === 0) return null;
  const rows = parameters.map((parameter) => {
    const schema = resolve(root, parameter.schema) ?? {};
    return element("li", {},
      element("div", { class: "row" },
        element("code", { class: "field-name" }, parameter.name),
        element("span", { class: "place" }, parameter.in),
        element("span", { class: "type" }, typeWords(root, parameter.schema)),
        parameter.required ? element("span", { class: "required" }, "required") : null,
        parameter.deprecated ? element("span", { class: "deprecated" }, "deprecated") : null),
      prose(parameter.description ?? schema.description),
      limitNotes(schema),
      parameter.example !== undefined ? element("p", { class: "limits" }, "such as ", element("code", {}, String(parameter.example))) : null);
  });
  return [element("h4", {}, "Parameters"), element("ul", { class: "tree" }, rows)];
}

function exampleViews(root, media) {
  const named = Object.entries(media.examples ?? {}).map(([name, example]) => [name, resolve(root, example)]);
  if (named.length > 0) {
    return named.map(([name, example]) => element("details", {}, element("summary", {}, `Example: ${example?.summary ?? name}`),
      prose(example?.description), jsonBlock(example?.value ?? "", `Example ${name}`)));
  }
  const value = media.example ?? exampleOf(root, media.schema ?? {});
  if (value === undefined || value === null) return null;
  return element("details", {}, element("summary", {}, "Example"), jsonBlock(value, "Example"));
}

function contentView(root, content = {}) {
  return Object.entries(content).map(([type, media]) => element("div", { class: "content" },
    element("p", { class: "media" }, element("code", {}, type)),
    media.schema !== undefined ? schemaView(root, media.schema) : null,
    exampleViews(root, media)));
}

function bodyView(root, given) {
  const body = resolve(root, given);
  if (!body) return null;
  return [
    element("h4", {}, "Body", body.required ? element("span", { class: "required" }, " required") : null),
    prose(body.description),
    contentView(root, body.content),
  ];
}

function headersView(root, headers = {}) {
  const names = Object.keys(headers);
  if (names.length === 0) return null;
  return element("ul", { class: "tree" }, names.map((name) => {
    const header = resolve(root, headers[name]);
    return element("li", {}, element("div", { class: "row" }, element("code", { class: "field-name" }, name),
      element("span", { class: "type" }, `header, ${typeWords(root, header?.schema)}`)), prose(header?.description));
  }));
}

function responsesView(root, responses = {}) {
  const items = Object.entries(responses).map(([code, given]) => {
    const response = resolve(root, given);
    const kind = code.startsWith("2") ? "good" : /^[45]/.test(code) ? "bad" : "other";
    return lazily(element("details", { class: "response" },
      element("summary", {}, element("span", { class: `code code-${kind}` }, code), " ", firstLine(response?.description))),
    () => {
      const parts = [restOf(response?.description), headersView(root, response?.headers), contentView(root, response?.content)];
      return parts.flat(Infinity).filter(Boolean).length > 0 ? parts : element("p", { class: "muted" }, "No body.");
    });
  });
  return [element("h4", {}, "Answers"), items];
}

function firstLine(text = "") {
  return text.split("\n")[0];
}

function restOf(text = "") {
  return prose(text.split("\n").slice(1).join("\n"));
}

function schemeWords(root, name) {
  const scheme = resolve(root, root.components?.securitySchemes?.[name]) ?? {};
  if (scheme.type === "apiKey") return `${name} (key in ${scheme.in} ${scheme.name})`;
  return scheme.type === "http" ? `${name} (HTTP ${scheme.scheme})` : `${name}${scheme.type ? ` (${scheme.type})` : ""}`;
}

function securityView(root, operation) {
  const alternatives = operation.security ?? root.security ?? [];
  const words = alternatives.map((alternative) => Object.entries(alternative)
    .map(([name, scopes]) => schemeWords(root, name) + (scopes.length > 0 ? ` with ${scopes.join(", ")}` : ""))
    .join(" and ") || "no key");
  return [element("h4", {}, "Security"), element("p", {}, words.length > 0 ? words.join(", or ") : "No key is needed.")];
}

function operationBody(root, entry) {
  const { operation } = entry;
  return element("div", { class: "operation-body" },
    operation.deprecated ? element("p", { class: "deprecated" }, "Deprecated: do not build anything new on it.") : null,
    prose(operation.description),
    element("p", { class: "permalink" }, element("a", { href: `#${entry.id}` }, `#${entry.id}`)),
    securityView(root, operation),
    parametersView(root, entry.parameters),
    bodyView(root, operation.requestBody),
    responsesView(root, operation.responses),
    element("h4", {}, "Try it"),
    requestForm(root, entry, `try-${entry.id}`));
}

/** Draws an operation as a line that opens; its inside is built on the first opening. */
export function operationView(root, entry) {
  return lazily(element("details", { class: "operation", id: entry.id },
    element("summary", {},
      element("span", { class: `method method-${entry.method}` }, entry.method.toUpperCase()),
      element("code", { class: entry.operation.deprecated ? "path struck" : "path" }, entry.path),
      element("span", { class: "summary-text" }, entry.operation.summary ?? ""))),
  () => operationBody(root, entry));
}
