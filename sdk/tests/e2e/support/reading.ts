/** What the service stored, read back through its own API. */
import type { Service } from "./service.ts";

/** An event as the API gives it, as far as the tests look. */
export interface StoredEvent {
  event_id: string;
  event_type: string;
  timestamp: string;
  seq: number;
  client_timestamp: string | null;
  device_id: string;
  user_id: string | null;
  session_id: string | null;
  page_url: string | null;
  properties: Record<string, unknown> | null;
  [field: string]: unknown;
}

/** The equation of the drop ledger: nothing vanishes. */
interface Balance {
  total: Record<"received" | "stored" | "duplicate" | "rejected" | "queued", number>;
  difference: number;
}

/** Every stored event, oldest first. */
export async function storedEvents(service: Service): Promise<StoredEvent[]> {
  const text = await get(service, "/api/v1/events?order=oldest&format=ndjson");
  const lines = text.split("\n").filter(Boolean);
  return lines.map((line) => JSON.parse(line) as StoredEvent);
}

/** What became of everything that arrived. */
export async function balance(service: Service): Promise<Balance> {
  return JSON.parse(await get(service, "/api/v1/ledger/balance")) as Balance;
}

/** A session as the service made it, as far as the tests look. */
export interface StoredSession {
  client_session_id: string | null;
  started_at: string;
  event_count: number;
  page_views: number;
  [field: string]: unknown;
}

/** The sessions the service made of a device's events, oldest first. */
export async function sessionsOf(service: Service, device: string): Promise<StoredSession[]> {
  const path = `/api/v1/customers/${encodeURIComponent(device)}/journey`;
  const journey = JSON.parse(await get(service, path)) as { entries: { kind: string; session?: StoredSession }[] };
  return journey.entries.flatMap((entry) => (entry.kind === "session" && entry.session ? [entry.session] : []));
}

async function get(service: Service, path: string): Promise<string> {
  const answer = await fetch(service.address + path, { headers: { "x-api-key": service.secretKey } });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${text}`);
  return text;
}
