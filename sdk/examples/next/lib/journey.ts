// doc: next-journey
import { CustomerJourneySDK } from "@customer-journey/sdk";

/** Does nothing on the server, so any component may import it. */
export const journey = new CustomerJourneySDK({
  apiUrl: "https://journey.example.com",
  apiKey: "pk_…",
});
// doc end
