/**
 * The tracker of the demo shop: turns what happens on a page into events. Nothing here throws into the page, no value
 * of a form field is ever read, and nothing at all is recorded where the visitor asks not to be tracked.
 */
import { deviceId, forgetAll, forgetIdentity, makeId, nextSequence, rememberUser, sessionId, userId } from "/demo/journey-store.js";
import { enqueue, flush, optedOut, sendLastWords, startQueue, state } from "/demo/journey-queue.js";

const SHOP_PATH = "/demo/";
const SCROLL_MILESTONES = [25, 50, 75, 100];
const TEXT_CHARACTERS_MAX = 120;
const MESSAGE_CHARACTERS_MAX = 1000;
const STACK_CHARACTERS_MAX = 4000;
/** How long a click on a shop link counts as being on the way to that page. */
const ON_THE_WAY_MS = 3000;

let pageFields = {};
const touchedForms = new Map();

function makeEvent(type, fields) {
  return {
    event_id: makeId(),
    event_type: type,
    timestamp: new Date().toISOString(),
    seq: nextSequence(),
    device_id: deviceId(),
    session_id: sessionId(),
    user_id: userId(),
    page_url: location.href,
    page_title: document.title,
    referrer: document.referrer || undefined,
    viewport_size: [window.innerWidth, window.innerHeight],
    screen_resolution: [window.screen.width, window.screen.height],
    ...fields,
  };
}

/** Records one event; fields use the names of the API. */
function track(type, fields = {}) {
  if (optedOut) return;
  const event = makeEvent(type, fields);
  if (type === "form_submit") touchedForms.delete(event.form_id);
  enqueue(event);
}

/** Links this device to a person. A second person on the same device starts a new anonymous life first. */
function identify(id) {
  if (optedOut || !id) return;
  if (userId() && userId() !== id) forgetIdentity();
  rememberUser(id);
  track("identify");
}

/** Makes this browser a new visitor; what is already recorded is still delivered. */
function reset() {
  forgetIdentity();
  document.dispatchEvent(new CustomEvent("journey:state", { detail: state() }));
}

window.customerJourney = {
  track,
  identify,
  reset,
  state,
  /** Adds fields to the page view; to be called before the page has finished loading. */
  setPage(fields) {
    pageFields = fields;
  },
};

let visibleMs = 0;
let visibleSince = null;
let deepest = 0;
let milestones = [];
let gone = false;
let onTheWayAt = -Infinity;

function scrollDepth() {
  const height = document.documentElement.scrollHeight;
  return height <= 0 ? 100 : Math.min(100, Math.round(((window.scrollY + window.innerHeight) / height) * 100));
}

function beginPage() {
  visibleMs = 0;
  visibleSince = document.visibilityState === "visible" ? Date.now() : null;
  deepest = 0;
  milestones = [];
  gone = false;
  onTheWayAt = -Infinity;
  track("page_view", pageFields);
}

function pauseClock() {
  if (visibleSince !== null) visibleMs += Date.now() - visibleSince;
  visibleSince = null;
}

/** The first call comes with the first scrolling, so a page that fits the window reports no milestones. */
function onScroll() {
  deepest = Math.max(deepest, scrollDepth());
  SCROLL_MILESTONES.filter((milestone) => deepest >= milestone && !milestones.includes(milestone)).forEach((milestone) => {
    milestones.push(milestone);
    track("scroll", { scroll_depth: milestone });
  });
}

function endPage() {
  if (gone) return;
  gone = true;
  pauseClock();
  touchedForms.forEach((field, formId) => track("form_abandon", { form_id: formId, form_field_name: field }));
  touchedForms.clear();
  track("page_leave", {
    time_on_page_seconds: Math.round(visibleMs / 100) / 10,
    scroll_depth: Math.max(deepest, scrollDepth()),
  });
  // On the way to another page of the shop the queue travels in storage, and that page reads the answer.
  if (Date.now() - onTheWayAt > ON_THE_WAY_MS) sendLastWords();
}

function onVisibility() {
  if (gone) return;
  if (document.visibilityState === "hidden") {
    pauseClock();
    flush();
  } else {
    visibleSince = Date.now();
  }
}

const INTERACTIVE = "a, button, summary, label, input, select, textarea, [role=button]";

/** Describes an element: its id, or up to four steps of tag, first class and place. */
function selectorOf(node) {
  const steps = [];
  for (let current = node; current && current !== document.body && steps.length < 4; current = current.parentElement) {
    if (current.id) {
      steps.unshift(`#${current.id}`);
      break;
    }
    const tag = current.localName;
    const sameTag = [...(current.parentElement?.children ?? [])].filter((other) => other.localName === tag);
    const place = sameTag.length > 1 ? `:nth-of-type(${sameTag.indexOf(current) + 1})` : "";
    steps.unshift(`${tag}${current.classList[0] ? `.${current.classList[0]}` : ""}${place}`);
  }
  return steps.join(" > ") || "body";
}

function isShopLink(link, event) {
  return link && link.origin === location.origin && link.pathname.startsWith(SHOP_PATH) && !link.target
    && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey && !event.defaultPrevented;
}

function onClick(event) {
  const target = event.target instanceof Element ? event.target : null;
  if (!target || target.closest("[data-journey-ignore]")) return;
  const control = target.closest(INTERACTIVE);
  const node = control ?? target;
  // The browser follows a click on a label by one on its field: that one counts.
  if (node.localName === "label" && node.control) return;
  // Words of links and buttons are the shop's own; what a field holds is the visitor's, so it is never read.
  const text = control && control.matches("a, button, summary, [role=button]") ? control.innerText.replace(/\s+/g, " ").trim() : "";
  track("click", {
    element_selector: selectorOf(node),
    element_id: node.id || undefined,
    element_text: text.slice(0, TEXT_CHARACTERS_MAX) || undefined,
    // A click made with the keyboard has no place.
    coordinates: event.detail === 0 ? undefined : [Math.round(event.pageX), Math.round(event.pageY)],
  });
  if (isShopLink(target.closest("a[href]"), event)) onTheWayAt = Date.now();
}

function onInput(event) {
  const form = event.target.form;
  if (form && form.id && form.matches("[data-journey-form]")) touchedForms.set(form.id, event.target.id || "unnamed");
}

function onSubmit(event) {
  if (!event.defaultPrevented) onTheWayAt = Date.now();
}

function onError(error, message) {
  track("error", {
    error_message: String(message || error?.message || error || "unknown error").slice(0, MESSAGE_CHARACTERS_MAX),
    error_stack: error?.stack ? String(error.stack).slice(0, STACK_CHARACTERS_MAX) : undefined,
  });
}

function startPage() {
  startQueue();
  document.addEventListener("click", onClick);
  document.addEventListener("input", onInput);
  document.addEventListener("submit", onSubmit);
  document.addEventListener("visibilitychange", onVisibility);
  window.addEventListener("scroll", onScroll, { passive: true });
  window.addEventListener("pagehide", endPage);
  window.addEventListener("pageshow", (event) => { if (event.persisted) beginPage(); });
  window.addEventListener("error", (event) => onError(event.error, event.message));
  window.addEventListener("unhandledrejection", (event) => onError(event.reason, event.reason?.message));
  document.addEventListener("DOMContentLoaded", beginPage);
}

if (optedOut) forgetAll();
else startPage();
