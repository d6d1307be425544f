import { createApp } from "vue";
import ProductPage from "./ProductPage.vue";
import { reportErrors } from "./journey";

const app = createApp(ProductPage, { product: { id: "tent-2", name: "Two-person tent", price: "289.00" } });
app.use(reportErrors);
app.mount("#app");
