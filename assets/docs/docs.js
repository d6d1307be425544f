/**
 * The API browser: loads `/openapi.json` and shows its operations by tag, with search and deep links.
 */
import { element, prose } from "/docs/dom.js";
import { listOperations, operationView } from "/docs/operation.js";
import { readKey, writeKey } from "/docs/request.js";
import { lazily, schemaView } from "/docs/schema.js";

const DOCUMENT_URL = "/openapi.json";
const SCHEMA_ANCHOR = "schema-";

const byId = (id) => document.getElementById(id);

/** Groups operations by their first tag: the document's order of tags first, others as they come. */
function groupByTag(root, entries) {
  const groups = new Map((root.tags ?? []).map((tag) => [tag.name, { description: tag.description, entries: [] }]));
  entries.forEach((entry) => {
    if (!groups.has(entry.tag)) groups.set(entry.tag, { description: "", entries: [] });
    groups.get(entry.tag).entries.push(entry);
  });
  return [...groups].filter(([, group]) => group.entries.length > 0);
}

function showIntro(root) {
  const { title = "API", version, description, license } = root.info ?? {};
  byId("title").textContent = title;
  document.title = `${title} · API documentation`;
  byId("version").replaceChildren(
    [version && `Version ${version}`, `OpenAPI ${root.openapi ?? "?"}`, license?.name].filter(Boolean).join(" · "), " · ",
    element("a", { href: DOCUMENT_URL }, "openapi.json"));
  byId("intro").replaceChildren(...prose(description));
}

function showOperations(root, groups) {
  byId("operations").replaceChildren(...groups.map(([tag, group], place) => element("section", { class: "tag", "aria-labelledby": `tag-${place}` },
    element("h2", { id: `tag-${place}` }, tag), prose(group.description), group.entries.map((entry) => operationView(root, entry)))));
  byId("index").replaceChildren(...groups.map(([tag, group]) => element("section", { class: "index-tag" },
    element("h2", {}, tag),
    element("ul", {}, group.entries.map((entry) => element("li", { "data-for": entry.id },
      element("a", { href: `#${entry.id}` }, element("span", { class: `method method-${entry.method}` }, entry.method.toUpperCase()),
        element("span", { class: "index-path" }, entry.operation.summary || entry.path))))))));
}

function showSchemas(root) {
  const names = Object.keys(root.components?.schemas ?? {}).sort((left, right) => left.localeCompare(right));
  byId("schemas-section").hidden = names.length === 0;
  byId("schemas").replaceChildren(...names.map((name) => lazily(
    element("details", { class: "schema", id: SCHEMA_ANCHOR + name }, element("summary", {}, element("code", {}, name))),
    () => element("div", { class: "operation-body" }, schemaView(root, root.components.schemas[name])))));
}

function searchText({ path, method, id, operation }) {
  return [path, method, id, operation.summary, operation.description, ...(operation.tags ?? [])].join(" ").toLowerCase();
}

/** Hides the operations in which not every word of the search occurs. */
function startSearch(entries) {
  const texts = entries.map((entry) => [entry.id, searchText(entry)]);
  const apply = () => {
    const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    texts.forEach(([id, text]) => {
      const fits = words.every((word) => text.includes(word));
      found += fits ? 1 : 0;
      byId(id).hidden = !fits;
      byId("index").querySelector(`[data-for="${CSS.escape(id)}"]`).hidden = !fits;
    });
    document.querySelectorAll(".tag, .index-tag").forEach((section) => {
      section.hidden = !section.querySelector(".operation:not([hidden]), li:not([hidden])");
    });
    byId("schemas-section").hidden = words.length > 0 || byId("schemas").childElementCount === 0;
    byId("found").textContent = found === 1 ? "1 operation" : `${found} operations`;
    if (words.length > 0) byId("side-list").open = true;
  };
  byId("search").addEventListener("input", apply);
  apply();
  document.addEventListener("keydown", (event) => {
    const typing = event.target instanceof Element && event.target.closest("input, textarea, select");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      byId("search").focus();
    } else if (event.key === "Escape" && event.target === byId("search")) {
      byId("search").value = "";
      apply();
    }
  });
}

/** Opens and shows what the address names after `#`. */
function followAnchor() {
  let target = null;
  try {
    target = byId(decodeURIComponent(location.hash.slice(1)));
  } catch {
    // A broken escape names nothing.
  }
  document.querySelectorAll("#index [aria-current]").forEach((link) => link.removeAttribute("aria-current"));
  if (!(target instanceof HTMLDetailsElement)) return;
  target.open = true;
  if (!WIDE.matches) byId("side-list").open = false;
  byId("index").querySelector(`[data-for="${CSS.escape(target.id)}"] a`)?.setAttribute("aria-current", "true");
  target.querySelector("summary").focus({ preventScroll: true });
  target.scrollIntoView({ block: "start" });
}

function startKeyField() {
  const field = byId("key");
  field.value = readKey();
  field.addEventListener("input", () => writeKey(field.value.trim()));
  byId("key-form").addEventListener("submit", (event) => event.preventDefault());
  byId("key-clear").addEventListener("click", () => {
    field.value = "";
    writeKey("");
    field.focus();
  });
}

/** On a wide window the list of operations stays open beside the text; on a narrow one it folds away above it. */
const WIDE = window.matchMedia("(min-width: 60rem)");

function startSideList() {
  const apply = () => { byId("side-list").open = WIDE.matches; };
  WIDE.addEventListener("change", apply);
  apply();
}

async function start() {
  startKeyField();
  startSideList();
  try {
    const answer = await fetch(DOCUMENT_URL, { credentials: "same-origin" });
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    const root = await answer.json();
    const entries = listOperations(root);
    showIntro(root);
    showOperations(root, groupByTag(root, entries));
    showSchemas(root);
    startSearch(entries);
    window.addEventListener("hashchange", followAnchor);
    followAnchor();
  } catch (error) {
    byId("operations").replaceChildren(element("p", { role: "alert", class: "status status-bad" }, `The document cannot be shown: ${error.message}.`));
  }
}

start();
