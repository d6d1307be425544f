import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { journey } from "./journey";
import { ProductPage } from "./product-page";

// doc: react-errors
// What an error boundary catches never reaches the window, so React has to hand it over.
const root = createRoot(document.getElementById("root")!, {
  onCaughtError: (error) => journey.trackError(error),
});
// doc end

root.render(
  <StrictMode>
    <ProductPage product={{ id: "tent-2", name: "Two-person tent", price: "289.00" }} />
  </StrictMode>,
);
