import { useEffect, useState } from "react";
import { journey } from "./journey";

export interface ShopProduct {
  id: string;
  name: string;
  price: string;
}

export function ProductPage({ product }: { product: ShopProduct }) {
  const [quantity, setQuantity] = useState(1);

  // doc: react-component
  useEffect(() => {
    journey.trackProductView({ product_id: product.id, product_name: product.name, product_price: product.price });
  }, [product.id]);

  function addToCart() {
    journey.trackAddToCart({ product_id: product.id, product_price: product.price, quantity });
  }
  // doc end

  return (
    <main>
      <h1>{product.name}</h1>
      <div>
        <button onClick={() => setQuantity(Math.max(1, quantity - 1))}>−</button>
        {quantity}
        <button onClick={() => setQuantity(quantity + 1)}>+</button>
      </div>
      <button data-cj-name="buy" onClick={addToCart}>
        Add to cart
      </button>
    </main>
  );
}
