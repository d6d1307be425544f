// doc: svelte-journey
// src/lib/journey.ts
import { CustomerJourneySDK } from "@customer-journey/sdk";

/** Does nothing on the server, so pages that are rendered there may import it. */
export const journey = new CustomerJourneySDK({
  apiUrl: "https://journey.example.com",
  apiKey: "pk_…",
});
// doc end
