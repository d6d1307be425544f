/**
 * Schemas: resolves references, draws a schema as a tree that opens step by step, and makes up an example.
 * A branch is drawn only when it is opened, so a schema that contains itself is no trouble.
 */
import { element, jsonBlock, prose } from "/docs/dom.js";

const REFERENCE_HOPS_MAX = 20;
const EXAMPLE_DEPTH_MAX = 6;
/** An object with more fields than this is shown with its required ones only. */
const EXAMPLE_FIELDS_MAX = 12;
const ENUM_VALUES_SHOWN_MAX = 30;

/** Finds what a local reference (`#/components/…`) points at; `undefined` when it leads nowhere. */
function lookUp(root, reference) {
  if (!reference.startsWith("#/")) return undefined;
  return reference.slice(2).split("/")
    .map((part) => decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~"))
    .reduce((value, part) => (value !== null && typeof value === "object" && Object.hasOwn(value, part) ? value[part] : undefined), root);
}

/**
 * Follows references until there is none. Keywords beside `$ref` stay in force, as OpenAPI 3.1 has it; a circle of
 * references or one that leads nowhere is described as such.
 */
export function resolve(root, value) {
  let current = value;
  for (let hop = 0; current && typeof current === "object" && typeof current.$ref === "string"; hop += 1) {
    const { $ref, ...beside } = current;
    const target = hop < REFERENCE_HOPS_MAX ? lookUp(root, $ref) : undefined;
    if (target === undefined) return { ...beside, description: `The reference ${$ref} leads nowhere or in a circle.` };
    current = target !== null && typeof target === "object" ? { ...target, ...beside } : target;
  }
  return current;
}

/** Returns the last part of a reference: the schema's name. */
export function referenceName(schema) {
  return typeof schema?.$ref === "string" ? decodeURIComponent(schema.$ref.split("/").at(-1)) : null;
}

function typesOf(schema) {
  const types = [schema.type ?? []].flat();
  if (types.length > 0) return types;
  if (schema.properties || schema.additionalProperties) return ["object"];
  if (schema.items || schema.prefixItems) return ["array"];
  return [];
}

/** Says the type of a schema in a few words, such as `array of Event or null`. */
export function typeWords(root, given, depth = 0) {
  if (given === true || given === undefined) return "any";
  if (given === false) return "nothing";
  const name = referenceName(given);
  if (name) return name;
  const schema = resolve(root, given);
  if ("const" in schema) return JSON.stringify(schema.const);
  for (const [key, word] of [["oneOf", " or "], ["anyOf", " or "], ["allOf", " and "]]) {
    if (schema[key] && depth < 3) return schema[key].map((choice) => typeWords(root, choice, depth + 1)).join(word);
  }
  const words = typesOf(schema).map((type) => {
    if (type === "array" && schema.items && depth < 3) return `array of ${typeWords(root, schema.items, depth + 1)}`;
    return type;
  });
  const format = schema.format ? ` (${schema.format})` : "";
  return (words.join(" or ") || (schema.enum ? "enum" : "any")) + format;
}

const LIMITS = [
  ["minimum", "≥"], ["exclusiveMinimum", ">"], ["maximum", "≤"], ["exclusiveMaximum", "<"], ["multipleOf", "multiple of"],
  ["minLength", "at least characters:"], ["maxLength", "at most characters:"], ["pattern", "pattern"],
  ["minItems", "at least items:"], ["maxItems", "at most items:"], ["minProperties", "at least keys:"], ["maxProperties", "at most keys:"],
];

/** Lists limits, default and allowed values of a schema. */
export function limitNotes(schema) {
  const notes = LIMITS.filter(([key]) => schema[key] !== undefined).map(([key, words]) => `${words} ${schema[key]}`);
  if (schema.uniqueItems) notes.push("no item twice");
  if (schema.default !== undefined) notes.push(`default ${JSON.stringify(schema.default)}`);
  if (schema.readOnly) notes.push("only in answers");
  if (schema.writeOnly) notes.push("only in requests");
  const allowed = schema.enum?.slice(0, ENUM_VALUES_SHOWN_MAX).map((value) => element("code", {}, JSON.stringify(value)));
  return [
    notes.length > 0 ? element("p", { class: "limits" }, notes.join(" · ")) : null,
    allowed ? element("p", { class: "limits" }, "one of ", allowed.map((code) => [code, " "]),
      schema.enum.length > allowed.length ? `and ${schema.enum.length - allowed.length} more` : null) : null,
  ];
}

/**
 * Looks through "array of objects" and "object or null" to the object itself, so that its fields need one step less.
 * Only an object with fields of its own is looked through to, hence a schema that contains itself stays a tree.
 */
function innerObject(root, schema) {
  const choices = (schema.oneOf ?? schema.anyOf ?? []).filter((choice) => !isNullType(root, choice));
  const inner = resolve(root, choices.length === 1 && !schema.properties ? choices[0] : schema.items);
  return inner?.properties ? inner : schema;
}

/** Returns the parts of a schema that have a tree of their own, as `[label, schema, required]`. */
function branches(root, outer) {
  const schema = innerObject(root, outer);
  const required = schema.required ?? [];
  const rows = Object.entries(schema.properties ?? {}).map(([name, property]) => [name, property, required.includes(name)]);
  Object.entries(schema.patternProperties ?? {}).forEach(([pattern, property]) => rows.push([`keys like ${pattern}`, property, false]));
  if (schema.additionalProperties && typeof schema.additionalProperties === "object") rows.push(["any other key", schema.additionalProperties, false]);
  (schema.prefixItems ?? []).forEach((item, place) => rows.push([`item ${place + 1}`, item, false]));
  if (schema.items && typeof schema.items === "object") rows.push(["each item", schema.items, false]);
  for (const [key, word] of [["allOf", "all of"], ["oneOf", "one of"], ["anyOf", "any of"]]) {
    (schema[key] ?? []).forEach((choice, place) => rows.push([`${word}, ${place + 1}`, choice, false]));
  }
  return rows;
}

/** Calls `fill` when a `<details>` is opened for the first time. */
export function lazily(details, fill) {
  details.addEventListener("toggle", () => {
    if (details.open && !details.dataset.filled) {
      details.dataset.filled = "yes";
      details.append(...[fill()].flat(Infinity).filter(Boolean));
    }
  });
  return details;
}

function row(root, [label, given, required]) {
  const schema = resolve(root, given);
  const head = [
    element("code", { class: "field-name" }, label),
    element("span", { class: "type" }, typeWords(root, given)),
    required ? element("span", { class: "required" }, "required") : null,
    schema?.deprecated ? element("span", { class: "deprecated" }, "deprecated") : null,
  ];
  if (!schema || typeof schema !== "object") return element("li", {}, element("div", { class: "row" }, head));
  const notes = [prose(schema.description), limitNotes(schema)];
  if (branches(root, schema).length === 0) return element("li", {}, element("div", { class: "row" }, head), notes);
  return element("li", {}, lazily(element("details", {}, element("summary", { class: "row" }, head)), () => [notes, schemaTree(root, schema)]));
}

/** Draws the fields of a schema; deeper levels open on demand. */
export function schemaTree(root, given) {
  const schema = resolve(root, given);
  if (!schema || typeof schema !== "object") return element("p", { class: "muted" }, typeWords(root, given));
  const rows = branches(root, schema);
  if (rows.length === 0) return element("p", { class: "muted" }, typeWords(root, given));
  return element("ul", { class: "tree" }, rows.map((branch) => row(root, branch)));
}

/** Draws a schema with its name, text, limits and tree. */
export function schemaView(root, given) {
  const schema = resolve(root, given);
  if (!schema || typeof schema !== "object") return [schemaTree(root, given)];
  const examples = [schema.examples ?? [], "example" in schema ? [schema.example] : []].flat();
  return [
    element("p", { class: "type-line" }, element("span", { class: "type" }, typeWords(root, given))),
    prose(schema.description),
    limitNotes(schema),
    branches(root, schema).length > 0 ? schemaTree(root, given) : null,
    examples.map((example) => jsonBlock(example, "Example")),
  ];
}

const FORMAT_EXAMPLES = {
  "date-time": "2026-01-31T12:00:00.000Z", date: "2026-01-31", time: "12:00:00Z", email: "kari@example.org",
  uri: "https://example.org/", uuid: "01890a5d-ac96-774b-bcce-b302099a8057", ipv4: "192.0.2.1", ipv6: "2001:db8::1",
};

function objectExample(root, schema, depth) {
  const result = {};
  const properties = Object.entries(schema.properties ?? {});
  const complete = depth < 3 && properties.length <= EXAMPLE_FIELDS_MAX;
  properties.forEach(([name, property]) => {
    const wanted = complete || (schema.required ?? []).includes(name);
    const value = wanted && !resolve(root, property)?.readOnly ? exampleOf(root, property, depth + 1) : undefined;
    if (value !== undefined) Object.defineProperty(result, name, { value, enumerable: true });
  });
  return result;
}

function isNullType(root, choice) {
  return resolve(root, choice)?.type === "null";
}

/**
 * Makes up a value that fits the schema. Branches deeper than `EXAMPLE_DEPTH_MAX`, where recursion may sit, are left
 * out (`undefined`).
 */
export function exampleOf(root, given, depth = 0) {
  const schema = resolve(root, given);
  if (!schema || typeof schema !== "object" || depth > EXAMPLE_DEPTH_MAX) return undefined;
  if (schema.examples?.length > 0) return schema.examples[0];
  for (const key of ["example", "default", "const"]) if (schema[key] !== undefined) return schema[key];
  if (schema.enum) return schema.enum[0];
  if (schema.allOf) {
    const parts = [...schema.allOf, { type: "object", properties: schema.properties, required: schema.required }];
    const values = parts.map((part) => exampleOf(root, part, depth + 1)).filter((value) => value !== undefined && value !== null);
    return values.every((value) => typeof value === "object" && !Array.isArray(value)) ? Object.assign({}, ...values) : values[0];
  }
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices) return exampleOf(root, choices.find((choice) => !isNullType(root, choice)) ?? choices[0], depth + 1);
  return plainExample(root, schema, depth);
}

function plainExample(root, schema, depth) {
  const type = typesOf(schema).find((candidate) => candidate !== "null") ?? typesOf(schema)[0];
  switch (type) {
    case "object": return objectExample(root, schema, depth);
    case "array": {
      const items = schema.prefixItems ?? (schema.items ? Array(Math.max(1, Math.min(schema.minItems ?? 1, 4))).fill(schema.items) : []);
      return items.map((item) => exampleOf(root, item, depth + 1)).filter((item) => item !== undefined);
    }
    case "string": return FORMAT_EXAMPLES[schema.format] ?? "text";
    case "integer":
    case "number": return schema.minimum ?? 1;
    case "boolean": return true;
    case "null": return null;
    default: return undefined;
  }
}
