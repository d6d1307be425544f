/**
 * The cart: kept in localStorage, reported to the tracker on every change.
 */
import { CURRENCY, findCategory, findProduct } from "/demo/catalog.js";

const CART_KEY = "shop.cart";
/** Most pieces of one product in a cart. */
export const QUANTITY_MAX = 9;
const SHIPPING_CENTS = 690;
const FREE_SHIPPING_FROM_CENTS = 10000;

function readQuantities() {
  try {
    const stored = JSON.parse(localStorage.getItem(CART_KEY) ?? "{}");
    return stored && typeof stored === "object" ? stored : {};
  } catch {
    return {};
  }
}

function writeQuantities(quantities) {
  try {
    localStorage.setItem(CART_KEY, JSON.stringify(quantities));
  } catch {
    // Where the browser forbids storage there is no cart; the product page says so.
  }
  document.dispatchEvent(new CustomEvent("cart:change"));
}

/** Returns the lines of the cart: product, quantity, sum in cents. */
export function cartLines() {
  return Object.entries(readQuantities())
    .map(([sku, quantity]) => ({ product: findProduct(sku), quantity: Number(quantity) }))
    .filter((line) => line.product && line.quantity > 0)
    .map((line) => ({ ...line, sumCents: line.product.priceCents * line.quantity }));
}

/** Returns pieces, goods, shipping and total of the cart; amounts in cents. */
export function cartTotals(lines = cartLines()) {
  const pieces = lines.reduce((sum, line) => sum + line.quantity, 0);
  const goodsCents = lines.reduce((sum, line) => sum + line.sumCents, 0);
  const shippingCents = goodsCents === 0 || goodsCents >= FREE_SHIPPING_FROM_CENTS ? 0 : SHIPPING_CENTS;
  return { pieces, goodsCents, shippingCents, totalCents: goodsCents + shippingCents };
}

/** Returns the event fields that describe a product. */
export function productFields(product) {
  return {
    product_id: product.sku,
    product_name: product.name,
    product_category: findCategory(product.category).name,
    product_price: product.priceCents / 100,
    currency: CURRENCY,
  };
}

/** Sets how many pieces of a product the cart holds and reports the difference. */
export function setQuantity(sku, wanted) {
  const product = findProduct(sku);
  if (!product) return;
  const quantities = readQuantities();
  const before = Number(quantities[sku] ?? 0);
  const after = Math.max(0, Math.min(QUANTITY_MAX, Math.trunc(wanted) || 0));
  if (after === before) return;
  if (after === 0) delete quantities[sku];
  else quantities[sku] = after;
  writeQuantities(quantities);
  const change = {
    ...productFields(product),
    quantity: Math.abs(after - before),
    cart_total: cartTotals().goodsCents / 100,
  };
  if (after > before) window.customerJourney?.trackAddToCart(change);
  else window.customerJourney?.trackRemoveFromCart(change);
}

/** Adds pieces of a product to those already there; returns how many really were added. */
export function addToCart(sku, quantity) {
  const before = Number(readQuantities()[sku] ?? 0);
  setQuantity(sku, before + quantity);
  return Number(readQuantities()[sku] ?? 0) - before;
}

/** Empties the cart after an order; the purchase itself is reported by the checkout. */
export function clearCart() {
  writeQuantities({});
}
