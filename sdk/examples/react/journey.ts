// doc: react-journey
import { CustomerJourneySDK } from "@customer-journey/sdk";

/** One for the whole page: import it, do not construct it in a component. */
export const journey = new CustomerJourneySDK({
  apiUrl: "https://journey.example.com",
  apiKey: "pk_…",
});
// doc end
