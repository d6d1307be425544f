/** An event as the SDK sends it. */
export interface WireEvent {
  event_id: string;
  event_type: string;
  timestamp: string | number;
  device_id?: string;
  session_id?: string;
  page_url?: string;
  custom_properties?: Record<string, unknown>;
  [field: string]: unknown;
}
