import { notFound } from "next/navigation";
import { AddToCart } from "./add-to-cart";

const products = [{ id: "tent-2", name: "Two-person tent", price: "289.00" }];

export default async function ProductPage({ params }: { params: Promise<{ id: string }> }) {
  const { id } = await params;
  const product = products.find((product) => product.id === id);
  if (!product) notFound();
  return (
    <main>
      <h1>{product.name}</h1>
      <AddToCart id={product.id} name={product.name} price={product.price} />
    </main>
  );
}
