/**
 * The pages of the shop, except the checkout form. Each page names itself in `<body data-page>`.
 */
import { CATEGORIES, PRODUCTS, findCategory, findProduct, formatMoney, searchProducts } from "/demo/catalog.js";
import { QUANTITY_MAX, addToCart, cartLines, cartTotals, productFields, setQuantity } from "/demo/cart.js";
import { readLastOrder, startCheckout } from "/demo/checkout.js";
import { byId, element } from "/demo/dom.js";
import { startPanel } from "/demo/panel.js";

const parameters = new URLSearchParams(location.search);

function picture(name, className) {
  return element("img", { src: `/demo/art/${name}.svg`, alt: "", class: className, width: "320", height: "240", loading: "lazy" });
}

function productLink(product) {
  return `/demo/product.html?sku=${encodeURIComponent(product.sku)}`;
}

function productCard(product) {
  return element("li", { class: "card" },
    element("a", { href: productLink(product), class: "card-link" },
      picture(product.art, "card-art"),
      element("span", { class: "card-text" },
        element("span", { class: "card-name" }, product.name),
        element("span", { class: "card-line" }, product.line),
        element("span", { class: "price" }, formatMoney(product.priceCents)))));
}

function showHome() {
  byId("featured").replaceChildren(...PRODUCTS.filter((product) => product.featured).map(productCard));
  byId("categories").replaceChildren(...CATEGORIES.map((category) => element("li", {},
    element("a", { href: `/demo/products.html?category=${category.id}`, class: "tile" },
      picture(category.art, "tile-art"),
      element("span", { class: "tile-text" }, element("strong", {}, category.name), element("span", {}, category.line))))));
}

const ORDERS = {
  shop: () => 0,
  price: (left, right) => left.priceCents - right.priceCents,
  "price-down": (left, right) => right.priceCents - left.priceCents,
  name: (left, right) => left.name.localeCompare(right.name),
};

function showFilters(current) {
  const choices = [{ id: "", name: "Everything" }, ...CATEGORIES];
  byId("filters").replaceChildren(...choices.map((choice) => element("li", {}, element("a", {
    href: choice.id ? `/demo/products.html?category=${choice.id}` : "/demo/products.html",
    class: "chip",
    "aria-current": choice.id === current ? "page" : null,
  }, choice.name))));
}

function showProducts() {
  const query = (parameters.get("q") ?? "").trim();
  const category = findCategory(parameters.get("category") ?? "");
  const found = query ? searchProducts(query) : PRODUCTS.filter((product) => !category || product.category === category.id);
  const title = query ? `Results for “${query}”` : category?.name ?? "All gear";
  byId("list-title").textContent = title;
  document.title = `${title} · Fern & Fjord`;
  showFilters(query ? null : category?.id ?? "");
  byId("list-count").textContent = found.length === 1 ? "1 product" : `${found.length} products`;
  byId("list-empty").hidden = found.length > 0;
  byId("sort-field").hidden = found.length < 2;
  const list = () => byId("list").replaceChildren(...[...found].sort(ORDERS[byId("sort").value]).map(productCard));
  byId("sort").addEventListener("change", list);
  list();
  if (query) {
    byId("search").value = query;
    window.customerJourney?.trackSearch(query, found.length);
  }
}

function announceAdded(product, added) {
  const note = byId("added");
  if (added > 0) {
    note.replaceChildren(`${added} × ${product.name} is in your cart. `, element("a", { href: "/demo/cart.html" }, "View cart"));
  } else {
    note.textContent = cartTotals().pieces > 0
      ? `The cart already holds ${QUANTITY_MAX} of these, the most we sell at once.`
      : "Your browser forbids this shop to remember a cart.";
  }
  note.hidden = false;
}

function showProduct() {
  const product = findProduct(parameters.get("sku") ?? "");
  byId("product").hidden = !product;
  byId("product-missing").hidden = Boolean(product);
  if (!product) {
    document.title = "Product not found · Fern & Fjord";
    return;
  }
  const category = findCategory(product.category);
  document.title = `${product.name} · Fern & Fjord`;
  window.customerJourney?.trackProductView(productFields(product));
  byId("product-art").src = `/demo/art/${product.art}.svg`;
  byId("product-category").textContent = category.name;
  byId("product-category").href = `/demo/products.html?category=${category.id}`;
  byId("product-name").textContent = product.name;
  byId("product-price").textContent = formatMoney(product.priceCents);
  byId("product-text").textContent = product.text;
  byId("product-sku").textContent = product.sku;
  byId("product-facts").replaceChildren(...product.facts.map((fact) => element("li", {}, fact)));
  byId("add-form").addEventListener("submit", (event) => {
    event.preventDefault();
    announceAdded(product, addToCart(product.sku, Number(byId("quantity").value)));
  });
  const related = PRODUCTS.filter((other) => other !== product)
    .sort((left, right) => (right.category === product.category) - (left.category === product.category)).slice(0, 4);
  byId("related").replaceChildren(...related.map(productCard));
}

function stepButton(line, step, label) {
  return element("button", {
    type: "button",
    class: "step",
    id: `${step > 0 ? "more" : "less"}-${line.product.sku}`,
    "aria-label": `${label} ${line.product.name}`,
    disabled: step > 0 && line.quantity >= QUANTITY_MAX,
    onclick: () => changeLine(line.product.sku, line.quantity + step, `${step > 0 ? "more" : "less"}-${line.product.sku}`),
  }, step > 0 ? "+" : "−");
}

/** Changes a cart line, then gives the focus back to the button that was rebuilt, or to the title when it is gone. */
function changeLine(sku, quantity, focusId) {
  setQuantity(sku, quantity);
  showCart();
  (byId(focusId) ?? byId("cart-title")).focus();
}

function cartRow(line) {
  return element("li", { class: "line" },
    picture(line.product.art, "line-art"),
    element("div", { class: "line-text" },
      element("a", { href: productLink(line.product) }, line.product.name),
      element("span", { class: "muted" }, `${formatMoney(line.product.priceCents)} each`)),
    element("div", { class: "stepper" },
      stepButton(line, -1, "One less of"),
      element("span", { class: "stepper-value" }, element("span", { class: "visually-hidden" }, "Quantity "), String(line.quantity)),
      stepButton(line, 1, "One more of")),
    element("span", { class: "line-sum" }, formatMoney(line.sumCents)),
    element("button", {
      type: "button", class: "link-button", "aria-label": `Remove ${line.product.name}`,
      onclick: () => changeLine(line.product.sku, 0, "cart-title"),
    }, "Remove"));
}

function showCart() {
  const lines = cartLines();
  const totals = cartTotals(lines);
  byId("cart-empty").hidden = lines.length > 0;
  byId("cart-full").hidden = lines.length === 0;
  byId("lines").replaceChildren(...lines.map(cartRow));
  byId("goods").textContent = formatMoney(totals.goodsCents);
  byId("shipping").textContent = totals.shippingCents ? formatMoney(totals.shippingCents) : "Free";
  byId("total").textContent = formatMoney(totals.totalCents);
}

function showConfirmation() {
  // A form without named fields leaves a bare question mark in the address.
  history.replaceState(null, "", location.pathname);
  const order = readLastOrder();
  byId("order").hidden = !order;
  byId("order-missing").hidden = Boolean(order);
  if (!order) return;
  byId("order-id").textContent = order.orderId;
  byId("order-total").textContent = formatMoney(order.totalCents);
  byId("order-lines").replaceChildren(...order.lines.map((line) => element("li", {},
    element("span", {}, `${line.quantity} × ${line.name}`), element("span", {}, formatMoney(line.sumCents)))));
}

function showCartCount() {
  const { pieces } = cartTotals();
  const count = byId("cart-count");
  count.textContent = String(pieces);
  count.hidden = pieces === 0;
  byId("cart-link").setAttribute("aria-label", pieces === 1 ? "Cart, 1 piece" : `Cart, ${pieces} pieces`);
}

const PAGES = {
  home: showHome,
  products: showProducts,
  product: showProduct,
  cart: showCart,
  checkout: startCheckout,
  confirmation: showConfirmation,
};

startPanel();
document.addEventListener("cart:change", showCartCount);
// Another tab may change the cart, and a page may come back from the browser's page cache.
window.addEventListener("storage", showCartCount);
window.addEventListener("pageshow", showCartCount);
PAGES[document.body.dataset.page]();
