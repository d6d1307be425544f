// doc: next-start
// instrumentation-client.ts: Next.js runs it in the browser before the page is hydrated.
import "./lib/journey";
// doc end
