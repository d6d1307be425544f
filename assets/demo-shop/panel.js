/**
 * The "Your journey" panel: shows which events this page sends and what the service says to each of them.
 * It only listens to what the SDK announces; the shop and the SDK work the same without it.
 */
import { copyText, element } from "/demo/dom.js";
import { readTab, writeTab } from "/demo/tab.js";

const LOG_KEY = "journey-panel.log";
const OPEN_KEY = "journey-panel.open";
const LOG_ENTRIES_MAX = 60;

const VERDICT_WORDS = {
  waiting: "waiting",
  accepted: "accepted",
  rejected: "rejected",
  refused: "refused",
  dropped: "dropped",
};
/** Verdicts after which the event will not be in the journey. */
const BAD_VERDICTS = ["rejected", "refused", "dropped"];

const list = element("ol", { class: "journey-list", "aria-label": "Events, newest first" });
const headline = element("span", { class: "journey-headline" });
const notice = element("p", { class: "journey-notice", role: "status" });
const device = element("code", { class: "journey-device" });
const journey = window.customerJourney;
const command = element("code", {});
let log = readTab(LOG_KEY) ?? [];

function writeLog() {
  log = log.slice(-LOG_ENTRIES_MAX);
  writeTab(LOG_KEY, log);
}

/** Says in a few words what is special about an event. */
function subject(event) {
  const parts = [event.product_name, event.search_query && `“${event.search_query}”`, event.element_text ?? event.element_selector, event.form_id,
    event.order_id, event.error_message, event.time_on_page_seconds !== undefined && `${event.time_on_page_seconds} s`,
    event.scroll_depth !== undefined && `${event.scroll_depth} %`,
    event.form_validation_errors && `${event.form_validation_errors.length} to fix`];
  return parts.filter(Boolean).join(" · ").slice(0, 80) || new URL(event.page_url).pathname;
}

function entryRow(entry) {
  const kind = BAD_VERDICTS.includes(entry.verdict) ? "bad" : entry.verdict === "waiting" ? "waiting" : "good";
  return element("li", {},
    element("time", { datetime: entry.at }, new Date(entry.at).toLocaleTimeString()),
    element("span", { class: "journey-type" }, entry.type),
    element("span", { class: "journey-subject" }, entry.subject),
    element("span", { class: `verdict verdict-${kind}`, title: entry.detail || null }, VERDICT_WORDS[entry.verdict] ?? entry.verdict),
    entry.detail ? element("span", { class: "journey-detail" }, entry.detail) : null);
}

function showLog() {
  list.replaceChildren(...[...log].reverse().map(entryRow));
  const answered = log.filter((entry) => entry.verdict !== "waiting").length;
  const last = log.at(-1);
  headline.textContent = last ? `${answered} of ${log.length} events answered · last: ${last.type}` : "no event yet";
}

/** Says what there is to know about the sending: `waiting`, `failures` and `stopped` come from the SDK. */
function stateNotice({ waiting = 0, failures = 0, stopped = "" }) {
  if (!journey) return "The analytics script was not loaded, perhaps by an ad blocker; this shop works the same without it.";
  if (journey.hasOptedOut()) return "Your browser sends Global Privacy Control or Do Not Track, so this shop records nothing.";
  if (stopped) return `Sending stopped: ${stopped}. The events wait in this browser; reload the page once the key is right.`;
  if (failures > 0) return `The service cannot be reached; ${waiting} events wait in this browser and will be sent later.`;
  return "";
}

function showState(state) {
  const deviceId = journey?.getDeviceId() ?? null;
  device.textContent = deviceId ?? "none";
  command.textContent = deviceId
    ? `curl -H "X-API-Key: $JOURNEY_SECRET_KEY" "${location.origin}/api/v1/customers/${deviceId}/journey"`
    : "";
  notice.textContent = stateNotice(state);
  notice.hidden = notice.textContent === "";
  if (!journey || journey.hasOptedOut()) headline.textContent = "off";
}

function onEvent({ event }) {
  // A page view is dated back to when the page came, which is before what its scripts have said already.
  log.push({ id: event.event_id, type: event.event_type, at: event.timestamp, subject: subject(event), verdict: "waiting", detail: "" });
  log.sort((left, right) => left.at.localeCompare(right.at));
  writeLog();
  showLog();
}

function onVerdict({ event_id: eventId, verdict, detail }) {
  const entry = log.find((candidate) => candidate.id === eventId);
  if (!entry) return;
  Object.assign(entry, { verdict, detail: detail ?? "" });
  writeLog();
  showLog();
}

function startAnew() {
  log = [];
  writeLog();
  journey?.reset();
  journey?.track("page_view", { page_title: document.title });
}

function breakSomething() {
  throw new Error("The demo shop broke on purpose");
}

function panelBody() {
  const copy = element("button", { type: "button", class: "small-button", onclick: () => copyText(copy, command.textContent) }, "Copy");
  return element("div", { class: "journey-body" },
    element("p", {}, "This list shows every event this shop sends about your visit as it is sent, and what the analytics service answered: it is the journey an analyst will see."),
    notice,
    element("dl", { class: "journey-facts" },
      element("dt", {}, "Your device id"), element("dd", {}, device),
      element("dt", {}, "Read it back"), element("dd", { class: "journey-command" }, element("pre", { tabindex: "0", "aria-label": "Command" }, command), copy)),
    element("p", { class: "journey-tools" },
      element("a", { href: "/docs" }, "API documentation"),
      element("button", { type: "button", class: "small-button", onclick: startAnew }, "Become a new visitor"),
      element("button", { type: "button", class: "small-button", onclick: breakSomething }, "Cause a script error")),
    list);
}

/** Adds the panel to the page and keeps it up to date. */
export function startPanel() {
  const panel = element("details", { class: "journey", "data-cj-ignore": true, open: readTab(OPEN_KEY) },
    element("summary", {}, element("span", { class: "journey-title" }, "Your journey"), headline), panelBody());
  panel.addEventListener("toggle", () => writeTab(OPEN_KEY, panel.open));
  const listeners = { event: onEvent, verdict: onVerdict, state: showState };
  document.addEventListener("customer-journey", ({ detail }) => listeners[detail.kind](detail));
  document.body.append(panel);
  showLog();
  showState({});
}
