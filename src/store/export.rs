//! Whole tables as JSON rows, one after the other, for the `export` command.

use chrono::{DateTime, Utc};
use futures_util::{Stream, TryStreamExt as _};
use sqlx::PgConnection;

use super::StoreError;

/// Which rows are exported. `None` lets all pass.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Inclusive.
    pub from: Option<DateTime<Utc>>,
    /// Exclusive.
    pub to: Option<DateTime<Utc>>,
    pub device_id: Option<String>,
    pub user_id: Option<String>,
    /// Of events only.
    pub event_type: Option<String>,
}

/// Events in the wire form of `POST /api/v1/events`, and what else is needed to get the same rows back.
///
/// Amounts are texts, so that no digit is lost. The attributes an event brought are read from the facts, by
/// category, as far as these are still kept. A device the service made of a user id is left out: it is made
/// again.
pub const EVENTS: &str = "
    SELECT row_to_json(r)::text FROM (
        SELECT 1 AS journey_export,
               e.event_id, e.event_type, e.timestamp, e.client_timestamp, e.seq,
               CASE WHEN e.user_id IS NULL OR e.device_id <> 'user:' || e.user_id THEN e.device_id END
                   AS device_id,
               e.user_id, e.session_id, e.page_url, e.page_title, e.referrer,
               e.utm_source, e.utm_medium, e.utm_campaign, e.utm_term, e.utm_content, e.click_id,
               e.element_selector, e.element_text, e.element_id, e.element_classes,
               CASE WHEN e.x IS NOT NULL THEN json_build_array(e.x, e.y) END AS coordinates,
               e.scroll_depth, e.form_id, e.form_field_name, e.form_field_type, e.form_validation_errors,
               e.product_id, e.product_name, e.product_category, e.product_price::text AS product_price,
               e.quantity, e.cart_total::text AS cart_total, e.order_id, e.order_total::text AS order_total,
               e.currency, e.search_query, e.search_results_count, e.error_message, e.error_stack,
               e.device_type, e.browser, e.os, e.country, e.ip_hash,
               CASE WHEN e.screen_width IS NOT NULL
                    THEN json_build_array(e.screen_width, e.screen_height) END AS screen_resolution,
               CASE WHEN e.viewport_width IS NOT NULL
                    THEN json_build_array(e.viewport_width, e.viewport_height) END AS viewport_size,
               e.page_load_time_ms, e.time_on_page_seconds, e.truncated,
               e.properties AS custom_properties, facts.attributes AS customer_attributes
        FROM events e
        LEFT JOIN LATERAL (
            SELECT json_object_agg(category, of_category) AS attributes FROM (
                SELECT f.category, json_object_agg(f.name, f.value) AS of_category
                FROM attribute_facts f
                WHERE f.device_id = e.device_id AND f.occurred_at = e.timestamp
                  AND f.event_id = e.event_id
                GROUP BY f.category
            ) by_category
        ) facts ON true
        WHERE e.timestamp >= coalesce($1, '-infinity') AND e.timestamp < coalesce($2, 'infinity')
          AND ($3::text IS NULL OR e.device_id = $3) AND ($4::text IS NULL OR e.user_id = $4)
          AND ($5::text IS NULL OR e.event_type = $5)
        ORDER BY e.timestamp, e.seq NULLS FIRST, e.event_id
    ) r";

/// Sessions that started in the time, without what the service keeps to extend them.
pub const SESSIONS: &str = "
    SELECT row_to_json(r)::text FROM (
        SELECT s.id, s.session_id, s.client_session_id, s.device_id, s.customer_id, s.user_id,
               s.started_at, s.ended_at, s.duration_seconds, s.event_count, s.page_views, s.clicks,
               s.rage_clicks, s.dead_clicks, s.form_errors, s.errors, s.searches, s.event_counts, s.pages,
               s.entry_page, s.exit_page, s.source, s.medium, s.campaign, s.channel, s.referrer_host,
               s.device_type, s.browser, s.os, s.country, s.converted,
               s.conversion_value::text AS conversion_value, s.currency, s.order_ids,
               s.cart_value::text AS cart_value, s.abandoned, s.drop_off_page, s.drop_off_reason,
               s.mean_scroll_depth, s.visible_seconds, s.engagement, s.engaged
        FROM sessions s
        WHERE s.started_at >= coalesce($1, '-infinity') AND s.started_at < coalesce($2, 'infinity')
          AND ($3::text IS NULL OR s.device_id = $3) AND ($4::text IS NULL OR s.user_id = $4)
          AND ($5::text IS NULL OR s.event_counts ? $5)
        ORDER BY s.started_at, s.id
    ) r";

/// Customers who were seen within the time.
pub const CUSTOMERS: &str = "
    SELECT row_to_json(r)::text FROM (
        SELECT c.id, c.user_id, c.first_seen, c.last_seen, c.devices, c.sessions, c.events, c.page_views,
               c.conversions, c.revenue, c.abandoned_carts, c.visible_seconds, c.source, c.medium,
               c.campaign, c.channel, c.entry_page, c.device_type, c.country, c.attributes
        FROM customers c
        WHERE c.last_seen >= coalesce($1, '-infinity') AND c.first_seen < coalesce($2, 'infinity')
          AND ($3::text IS NULL OR EXISTS (
              SELECT 1 FROM device_lives l WHERE l.customer_id = c.id AND l.device_id = $3))
          AND ($4::text IS NULL OR c.user_id = $4)
          AND ($5::text IS NULL OR EXISTS (
              SELECT 1 FROM sessions s WHERE s.customer_id = c.id AND s.event_counts ? $5))
        ORDER BY c.first_seen, c.id
    ) r";

/// Streams the rows of [`EVENTS`], [`SESSIONS`] or [`CUSTOMERS`] as JSON texts, as they were at one moment.
pub fn stream<'a>(
    connection: &'a mut PgConnection,
    query: &'static str,
    selection: &'a Selection,
) -> impl Stream<Item = Result<String, StoreError>> + 'a {
    sqlx::query_scalar(query)
        .bind(selection.from)
        .bind(selection.to)
        .bind(&selection.device_id)
        .bind(&selection.user_id)
        .bind(&selection.event_type)
        .fetch(connection)
        .map_err(|error| StoreError::during("store.export.stream")(error))
}
