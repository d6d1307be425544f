// doc: server-node
// Node 20 or newer, no package needed. The key is a secret one: customer-journey keys create --kind secret --scope ingest
const address = process.env.JOURNEY_URL ?? "https://journey.example.com";
const key = process.env.JOURNEY_SECRET_KEY;

/**
 * Sends events and returns once the service has them. Throws where it refuses them or cannot be reached.
 *
 * @param {{ event_id: string, event_type: string, device_id?: string, user_id?: string, [field: string]: unknown }[]} events
 */
export async function send(events, attempts = 5) {
  const response = await fetch(`${address}/api/v1/events/batch`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify({ events, sent_at: new Date().toISOString() }),
    signal: AbortSignal.timeout(10_000),
  });
  if ((response.status === 429 || response.status >= 500) && attempts > 1) {
    const seconds = Number(response.headers.get("retry-after") ?? 1);
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    return send(events, attempts - 1);
  }
  const answer = /** @type {{ rejected?: number }} */ (await response.json());
  if (!response.ok || answer.rejected)
    throw new Error(`Customer Journey: ${response.status} ${JSON.stringify(answer)}`);
}

/**
 * A paid order, told by the payment provider's webhook. Webhooks come twice; the event's id keeps it one purchase.
 *
 * @param {{ id: string, total: string, currency: string, deviceId: string, paidAt: Date }} order `deviceId` is what
 *   `customerJourney.getDeviceId()` said in the browser, sent along with the checkout form and kept with the order.
 */
export function sendPurchase(order) {
  return send([
    {
      event_id: `purchase-${order.id}`,
      event_type: "purchase",
      timestamp: order.paidAt.toISOString(),
      device_id: order.deviceId,
      order_id: order.id,
      order_total: order.total,
      currency: order.currency,
    },
  ]);
}
// doc end
