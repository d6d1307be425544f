/**
 * What the shop sells. Prices are whole cents, so that no sum is ever a rounded fraction.
 */

export const CURRENCY = "EUR";

export const CATEGORIES = [
  { id: "shelter", name: "Shelter", art: "tarp", line: "A dry place to stop" },
  { id: "sleep", name: "Sleep", art: "sleeping-bag", line: "Warm until the birds start" },
  { id: "kitchen", name: "Camp kitchen", art: "kettle", line: "Coffee before the climb" },
  { id: "carry", name: "Carry", art: "pack", line: "Weight where it belongs" },
  { id: "way", name: "Light & way", art: "compass", line: "See it, find it" },
];

export const PRODUCTS = [
  {
    sku: "FF-101", name: "Hollow Ridge tent", category: "shelter", priceCents: 28900, art: "tent", featured: true,
    line: "Two people, three seasons, one pole",
    text: "A two-person tent that stands in four minutes and shrugs off a night of sideways rain. The porch is deep enough to cook in.",
    facts: ["Weight 1.9 kg", "Two doors, one porch", "Poles of recycled aluminium"],
  },
  {
    sku: "FF-102", name: "Drift tarp", category: "shelter", priceCents: 7950, art: "tarp", featured: false,
    line: "Three by three metres of dry",
    text: "Sixteen loops, endless shapes. String it between two trees and have lunch while the shower passes.",
    facts: ["Weight 640 g", "3 × 3 m", "Comes with 20 m of line"],
  },
  {
    sku: "FF-201", name: "Moss sleeping bag", category: "sleep", priceCents: 16400, art: "sleeping-bag", featured: true,
    line: "Comfortable down to −2 °C",
    text: "A roomy bag with a cut that lets you sleep on your side. The filling is spun from fishing nets taken out of the sea.",
    facts: ["Weight 1.2 kg", "Comfort −2 °C", "Two-way zip on the left"],
  },
  {
    sku: "FF-202", name: "Raft sleeping pad", category: "sleep", priceCents: 8990, art: "pad", featured: false,
    line: "Seven centimetres above the stones",
    text: "Five long chambers, a valve that does not hiss, and a cover that stays quiet when you turn over.",
    facts: ["Weight 520 g", "R-value 4.1", "Repair patches included"],
  },
  {
    sku: "FF-203", name: "Two Birches hammock", category: "sleep", priceCents: 6400, art: "hammock", featured: false,
    line: "An afternoon between two trees",
    text: "Broad, soft and strong, with straps that are kind to bark. Packs down to the size of a grapefruit.",
    facts: ["Weight 480 g", "Holds 180 kg", "Tree straps included"],
  },
  {
    sku: "FF-301", name: "Ember stove", category: "kitchen", priceCents: 5490, art: "stove", featured: true,
    line: "Half a litre in three minutes",
    text: "A small burner with a wide flame, so that porridge does not burn in the middle. Lights with gloves on.",
    facts: ["Weight 96 g", "Fits screw cartridges", "Folding pot stand"],
  },
  {
    sku: "FF-302", name: "Fjord kettle", category: "kitchen", priceCents: 3850, art: "kettle", featured: false,
    line: "One litre, no drips",
    text: "A flat-bottomed kettle that boils fast and pours clean. The handle stays cool over gas and over embers.",
    facts: ["Weight 230 g", "1.0 l", "Hard-anodised"],
  },
  {
    sku: "FF-303", name: "Speckle mug", category: "kitchen", priceCents: 1600, art: "mug", featured: true,
    line: "Enamel, as it should be",
    text: "Steel under two coats of enamel. It will chip one day, and you will like it better for it.",
    facts: ["Weight 130 g", "350 ml", "Safe in the dishwasher"],
  },
  {
    sku: "FF-401", name: "Cairn 45 pack", category: "carry", priceCents: 17900, art: "pack", featured: true,
    line: "Forty-five litres for a long weekend",
    text: "A pack that sits close and breathes well, with one big opening and pockets you can reach while walking.",
    facts: ["Weight 1.3 kg", "Back adjusts 42–52 cm", "Rain cover included"],
  },
  {
    sku: "FF-402", name: "Tarn dry bag", category: "carry", priceCents: 2990, art: "dry-bag", featured: false,
    line: "Rolls shut, stays shut",
    text: "Welded seams and a roll top. Swim with it, drop it in the river, find your jumper dry.",
    facts: ["Weight 140 g", "20 l", "Floats when closed"],
  },
  {
    sku: "FF-501", name: "Nightjar lantern", category: "way", priceCents: 4200, art: "lantern", featured: true,
    line: "Warm light, four evenings long",
    text: "A lantern with the glow of a candle and none of the fire. Hang it, stand it or turn it down to a whisper.",
    facts: ["Weight 210 g", "5–300 lumens", "Charges over USB-C"],
  },
  {
    sku: "FF-502", name: "True North compass", category: "way", priceCents: 3450, art: "compass", featured: false,
    line: "Works where the bars end",
    text: "A brass compass with a quick needle and a dial you can read at dusk. It never needs an update.",
    facts: ["Weight 74 g", "2° marks", "Lifetime guarantee"],
  },
];

/** Returns the product with this number, or `undefined`. */
export function findProduct(sku) {
  return PRODUCTS.find((product) => product.sku === sku);
}

/** Returns the category with this id, or `undefined`. */
export function findCategory(id) {
  return CATEGORIES.find((category) => category.id === id);
}

/** Returns the products in which every word of the query occurs. */
export function searchProducts(query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  return PRODUCTS.filter((product) => {
    const text = [product.name, product.line, product.text, findCategory(product.category).name].join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
  });
}

const money = new Intl.NumberFormat("en-IE", { style: "currency", currency: CURRENCY });

/** Formats whole cents for people. */
export function formatMoney(cents) {
  return money.format(cents / 100);
}
