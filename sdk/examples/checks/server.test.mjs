import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { test } from "node:test";

const order = {
  id: "1001",
  total: "289.00",
  currency: "EUR",
  deviceId: "device-1",
  paidAt: new Date("2026-11-23T10:00:00Z"),
};

/** A service that notes every request and answers with the next of `answers`. */
async function startService(context, answers) {
  const requests = [];
  const server = createServer(async (request, response) => {
    const chunks = await request.toArray();
    requests.push({
      method: request.method,
      url: request.url,
      headers: request.headers,
      body: JSON.parse(Buffer.concat(chunks)),
    });
    const { status, headers = {}, body } = answers.shift();
    response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  context.after(() => server.close());
  process.env.JOURNEY_URL = `http://127.0.0.1:${server.address().port}`;
  process.env.JOURNEY_SECRET_KEY = "sk_test";
  // The address is read when the module is loaded: every test loads its own.
  const { send, sendPurchase } = await import(`../server/journey.mjs?port=${server.address().port}`);
  return { requests, send, sendPurchase };
}

const accepted = { status: 202, body: { accepted: 1, rejected: 0, event_ids: ["purchase-1001"], errors: [] } };

test("a paid order becomes one purchase under an id of its own", async (context) => {
  const { requests, sendPurchase } = await startService(context, [accepted]);
  await sendPurchase(order);
  const [{ method, url, headers, body }] = requests;
  assert.deepEqual([method, url], ["POST", "/api/v1/events/batch"]);
  assert.equal(headers.authorization, "Bearer sk_test");
  assert.deepEqual(body.events, [
    {
      event_id: "purchase-1001",
      event_type: "purchase",
      timestamp: "2026-11-23T10:00:00.000Z",
      device_id: "device-1",
      order_id: "1001",
      order_total: "289.00",
      currency: "EUR",
    },
  ]);
  assert.ok(Math.abs(Date.parse(body.sent_at) - Date.now()) < 60_000);
});

test("a service without room gets the same events again", async (context) => {
  const busy = { status: 503, headers: { "retry-after": "0" }, body: { status: 503, code: "queue_full" } };
  const { requests, sendPurchase } = await startService(context, [busy, busy, accepted]);
  await sendPurchase(order);
  assert.equal(requests.length, 3);
  assert.deepEqual(requests[2].body.events, requests[0].body.events);
});

test("what the service refuses is an error that says why", async (context) => {
  const refused = { status: 401, body: { status: 401, code: "unknown_key", detail: "This key is not known" } };
  const invalid = {
    status: 202,
    body: { accepted: 1, rejected: 1, errors: [{ index: 1, code: "invalid_field", field: "currency" }] },
  };
  const { requests, send } = await startService(context, [refused, invalid]);
  await assert.rejects(send([]), /401.*unknown_key/);
  await assert.rejects(send([]), /invalid_field.*currency/);
  assert.equal(requests.length, 2);
});
