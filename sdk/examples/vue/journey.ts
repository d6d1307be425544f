// doc: vue-plugin
import { CustomerJourneySDK } from "@customer-journey/sdk";
import type { App } from "vue";

export const journey = new CustomerJourneySDK({
  apiUrl: "https://journey.example.com",
  apiKey: "pk_…",
});

/** Vue keeps the errors of components to itself unless somebody asks for them. */
export function reportErrors(app: App) {
  app.config.errorHandler = (error, _component, where) => {
    journey.trackError(error, { custom_properties: { where } });
    console.error(error);
  };
}
// doc end
