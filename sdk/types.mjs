// Makes src/event-fields.ts, the fields of an event, from the service's own description: docs/openapi.json.
//
//   node types.mjs            writes the file
//   node types.mjs --check    fails where the committed file is not what the description gives
import { readFileSync, writeFileSync } from "node:fs";
import { compile } from "json-schema-to-typescript";

const OPENAPI = new URL("../docs/openapi.json", import.meta.url);
const TARGET = new URL("src/event-fields.ts", import.meta.url);
/** What the SDK says itself; a site cannot. */
const OWN = ["event_id", "event_type", "timestamp", "seq", "device_id", "session_id", "user_id"];

const { EventIn, AmountIn } = JSON.parse(readFileSync(OPENAPI, "utf8")).components.schemas;

/** Leaves of a schema what a page needs: references resolved, and no `null`, since a field may as well be left out. */
function simplify({ examples: _, example: __, ...schema }) {
  if (schema.$ref) return { ...simplify(AmountIn), ...(schema.description && { description: schema.description }) };
  if (schema.oneOf) {
    const kinds = schema.oneOf.filter((kind) => kind.type !== "null").map(simplify);
    return kinds.length === 1
      ? { ...kinds[0], ...(schema.description && { description: schema.description }) }
      : { ...schema, oneOf: kinds };
  }
  const type = [schema.type].flat().filter((kind) => kind !== "null");
  return { ...schema, type: type.length === 1 ? type[0] : type };
}

const properties = Object.entries(EventIn.properties)
  .filter(([name]) => !OWN.includes(name))
  .map(([name, schema]) => [name, simplify(schema)]);
const schema = {
  type: "object",
  description: "The typed fields of an event; any further field is kept by the service as a property of the event.",
  properties: Object.fromEntries(properties),
  additionalProperties: true,
};
const text = await compile(schema, "EventFields", {
  bannerComment: "// Made by types.mjs from docs/openapi.json.",
  style: { printWidth: 120 },
});
if (!process.argv.includes("--check")) {
  writeFileSync(TARGET, text);
} else if (readFileSync(TARGET, "utf8") !== text) {
  console.error(
    'src/event-fields.ts is older than docs/openapi.json: run "node types.mjs" in sdk/ and commit the result.',
  );
  process.exit(1);
}
