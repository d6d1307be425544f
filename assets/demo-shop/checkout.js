/**
 * The checkout form. Its fields have no `name`, so not even the browser's own form submission can carry a value;
 * the only thing that is told to anyone is the e-mail, as the identity of the visitor.
 */
import { CURRENCY, formatMoney } from "/demo/catalog.js";
import { cartLines, cartTotals, clearCart } from "/demo/cart.js";
import { byId, element } from "/demo/dom.js";
import { readTab, writeTab } from "/demo/tab.js";

const FORM_ID = "checkout";
const ORDER_KEY = "shop.order";
const STARTED_KEY = "shop.checkoutStarted";
/** A card number with a valid check digit that this shop always declines. */
const DECLINED_CARD = "4000000000000002";

/** Tells whether the digits end in a right check digit (Luhn: every second digit from the right counts double). */
export function hasValidCheckDigit(digits) {
  let sum = 0;
  [...digits].reverse().forEach((character, place) => {
    const doubled = Number(character) * (place % 2 === 0 ? 1 : 2);
    sum += doubled > 9 ? doubled - 9 : doubled;
  });
  return sum % 10 === 0;
}

function expiryProblem(value) {
  const parts = /^(\d{2})\s*\/\s*(\d{2})$/.exec(value);
  if (!parts || Number(parts[1]) < 1 || Number(parts[1]) > 12) return ["wrong_format", "Write the month and year as MM/YY."];
  const firstOfNextMonth = new Date(2000 + Number(parts[2]), Number(parts[1]), 1);
  return firstOfNextMonth <= new Date() ? ["expired", "This card has expired."] : null;
}

function cardProblem(value) {
  const digits = value.replace(/[\s-]/g, "");
  if (!/^\d{12,19}$/.test(digits)) return ["wrong_format", "A card number has 12 to 19 digits."];
  if (!hasValidCheckDigit(digits)) return ["check_digit", "Please check the card number, a digit seems wrong."];
  return digits === DECLINED_CARD ? ["declined", "The bank declined this card. Try another one."] : null;
}

const matches = (pattern, sentence) => (value) => (pattern.test(value) ? null : ["wrong_format", sentence]);

/** Each field, what is asked when it is empty, and what else may be wrong with it. */
const FIELDS = [
  { id: "email", empty: "Enter your e-mail address.", check: matches(/^[^\s@]+@[^\s@]+\.[^\s@.]{2,}$/, "This is not a complete e-mail address.") },
  { id: "full-name", empty: "Enter your name." },
  { id: "street", empty: "Enter street and number." },
  { id: "postcode", empty: "Enter your postcode.", check: matches(/^[A-Za-z0-9][A-Za-z0-9 -]{2,9}$/, "A postcode has 3 to 10 letters or digits.") },
  { id: "city", empty: "Enter your town." },
  { id: "country", empty: "Choose a country." },
  { id: "card", empty: "Enter a card number.", check: cardProblem },
  { id: "expiry", empty: "Enter when the card expires.", check: expiryProblem },
  { id: "code", empty: "Enter the code on the back of the card.", check: matches(/^\d{3,4}$/, "The code has 3 or 4 digits.") },
  { id: "terms", empty: "Tick the box to order." },
];

/** Returns `[reason, sentence]` when something is wrong with the field, else `null`. */
function fieldProblem(field) {
  const input = byId(field.id);
  const value = input.type === "checkbox" ? (input.checked ? "yes" : "") : input.value.trim();
  if (!value) return ["missing", field.empty];
  return field.check ? field.check(value) : null;
}

function showFieldProblem(field, problem) {
  const note = byId(`${field.id}-error`);
  note.textContent = problem ? problem[1] : "";
  byId(field.id).setAttribute("aria-invalid", problem ? "true" : "false");
}

function showSummary(problems) {
  const summary = byId("problems");
  summary.hidden = problems.length === 0;
  byId("problem-list").replaceChildren(...problems.map(({ field, problem }) => element("li", {},
    element("a", { href: `#${field.id}`, onclick: (event) => { event.preventDefault(); byId(field.id).focus(); } }, problem[1]))));
  if (problems.length > 0) summary.focus();
}

/** Checks the whole form, shows what is wrong, and returns the problems. */
function checkForm() {
  const problems = FIELDS.map((field) => ({ field, problem: fieldProblem(field) }));
  problems.forEach(({ field, problem }) => showFieldProblem(field, problem));
  const found = problems.filter(({ problem }) => problem);
  showSummary(found);
  return found;
}

function makeOrderId() {
  const letters = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
  const random = crypto.getRandomValues(new Uint8Array(8));
  return `FF-${[...random].map((byte) => letters[byte % letters.length]).join("")}`;
}

function placeOrder() {
  const lines = cartLines();
  const totals = cartTotals(lines);
  const order = {
    orderId: makeOrderId(),
    totalCents: totals.totalCents,
    lines: lines.map((line) => ({ name: line.product.name, quantity: line.quantity, sumCents: line.sumCents })),
  };
  const journey = window.customerJourney;
  journey?.identify(byId("email").value.trim().toLowerCase());
  journey?.trackPurchase({
    order_id: order.orderId,
    order_total: totals.totalCents / 100,
    currency: CURRENCY,
    quantity: totals.pieces,
  });
  writeTab(ORDER_KEY, order);
  writeTab(STARTED_KEY, null);
  clearCart();
}

function onSubmit(event) {
  const problems = checkForm();
  if (problems.length === 0) {
    placeOrder();
    return;
  }
  event.preventDefault();
}

function reportStart(totals) {
  if (readTab(STARTED_KEY)) return;
  writeTab(STARTED_KEY, true);
  window.customerJourney?.trackCheckoutStart({
    cart_total: totals.goodsCents / 100, quantity: totals.pieces, currency: CURRENCY,
  });
}

/** Shows the checkout page and reports that a checkout began, once per cart. */
export function startCheckout() {
  const lines = cartLines();
  const totals = cartTotals(lines);
  byId("checkout-empty").hidden = lines.length > 0;
  byId("checkout-full").hidden = lines.length === 0;
  if (lines.length === 0) return;
  byId("summary-lines").replaceChildren(...lines.map((line) => element("li", {},
    element("span", {}, `${line.quantity} × ${line.product.name}`), element("span", {}, formatMoney(line.sumCents)))));
  byId("summary-shipping").textContent = totals.shippingCents ? formatMoney(totals.shippingCents) : "Free";
  byId("summary-total").textContent = formatMoney(totals.totalCents);
  byId(FORM_ID).addEventListener("submit", onSubmit);
  FIELDS.forEach((field) => byId(field.id).addEventListener("input", () => {
    // A complaint goes as soon as its reason is gone; while typing, not on leaving the field, since the page would
    // then move under a click that is already under way. New complaints wait for the button.
    const complained = byId(field.id).getAttribute("aria-invalid") === "true";
    if (complained && !fieldProblem(field)) showFieldProblem(field, null);
  }));
  reportStart(totals);
}

/** Returns the order placed last in this tab, or `null`. */
export function readLastOrder() {
  return readTab(ORDER_KEY);
}
