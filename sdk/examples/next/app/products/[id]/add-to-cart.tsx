// doc: next-component
"use client";

import { useEffect } from "react";
import { journey } from "../../../lib/journey";

export function AddToCart({ id, name, price }: { id: string; name: string; price: string }) {
  useEffect(() => {
    journey.trackProductView({ product_id: id, product_name: name, product_price: price });
  }, [id]);

  return (
    <button
      data-cj-name="buy"
      onClick={() => journey.trackAddToCart({ product_id: id, product_price: price, quantity: 1 })}
    >
      Add to cart
    </button>
  );
}
// doc end
