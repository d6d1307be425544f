//! Raw events: stored once each, read back in order.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{StoreError, json_rows};
use crate::{event::Event, session::SessionEvent};

/// The columns that sessions are made of, in the order of no importance: they are matched by name.
///
/// A claim that an unmerge took back reads as if the event had named nobody. `$2` bounds the time from below.
const SELECT_SESSION_EVENTS: &str = "
    SELECT e.timestamp, e.seq, e.event_id, e.event_type,
           CASE WHEN e.user_id IS NULL OR EXISTS (
               SELECT 1 FROM identity_log l
               WHERE l.device_id = e.device_id AND l.user_id = e.user_id
                 AND l.action = 'unlink' AND l.recorded_at >= e.received_at
           ) THEN NULL ELSE e.user_id END AS user_id,
           e.session_id, e.page_host, e.page_path, e.referrer_host,
           e.utm_source, e.utm_medium, e.utm_campaign, e.click_id, e.scroll_depth,
           e.time_on_page_seconds, e.cart_total, e.order_id, e.order_total, e.currency, e.error_message,
           e.device_type, e.browser, e.os, e.country
    FROM events e
    WHERE e.device_id = $1 AND e.timestamp > $2
    ORDER BY e.timestamp, e.seq NULLS FIRST, e.event_id";

/// Remembers the ids that are new and returns them; the others were stored before.
///
/// `keys` must be sorted, so that two writers never wait for each other in a circle.
pub async fn claim_keys(
    connection: &mut PgConnection,
    keys: &[Uuid],
    timestamps: &[DateTime<Utc>],
) -> Result<Vec<Uuid>, StoreError> {
    sqlx::query_scalar(
        "INSERT INTO event_keys (event_key, timestamp)
         SELECT * FROM unnest($1::uuid[], $2::timestamptz[])
         ON CONFLICT DO NOTHING RETURNING event_key",
    )
    .bind(keys)
    .bind(timestamps)
    .fetch_all(connection)
    .await
    .map_err(StoreError::during("store.events.claim_keys"))
}

/// How rows get into the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// `COPY … FROM STDIN`, the fastest way PostgreSQL has.
    Copy,
    /// One `INSERT` of a JSON set, for servers that do not offer `COPY` to their clients.
    Insert,
}

/// Rows on their way into the table.
pub struct Rows<'a> {
    events: Vec<&'a Event>,
    load: Load,
    /// The rows in the text format of `COPY`, one after the other; empty for [`Load::Insert`].
    text: String,
    /// Where each row's text ends.
    ends: Vec<usize>,
}

impl<'a> Rows<'a> {
    /// Makes the rows' text, which takes some time but no connection.
    pub fn prepare(events: impl Iterator<Item = &'a Event>, load: Load) -> Self {
        let events: Vec<&Event> = events.collect();
        let mut rows = CopyRows::with_capacity(events.len());
        let mut ends = Vec::with_capacity(events.len());
        if load == Load::Copy {
            for event in &events {
                rows.push(event);
                ends.push(rows.text.len());
            }
        }
        Self {
            events,
            load,
            text: rows.text,
            ends,
        }
    }

    /// Writes those rows that `wanted` says; the caller has made sure that none of them is there yet.
    pub async fn insert(&self, connection: &mut PgConnection, wanted: &[bool]) -> Result<(), StoreError> {
        let all = wanted.iter().all(|wanted| *wanted);
        match self.load {
            Load::Copy if all => copy(connection, &self.text).await,
            Load::Copy => copy(connection, &self.text_of(wanted)).await,
            Load::Insert => {
                let events: Vec<&Event> = self
                    .events
                    .iter()
                    .zip(wanted)
                    .filter_map(|(event, wanted)| wanted.then_some(*event))
                    .collect();
                insert(connection, &events).await
            }
        }
    }

    fn text_of(&self, wanted: &[bool]) -> String {
        let mut text = String::with_capacity(self.text.len());
        let mut start = 0;
        for (end, wanted) in self.ends.iter().zip(wanted) {
            if *wanted {
                text.push_str(&self.text[start..*end]);
            }
            start = *end;
        }
        text
    }
}

async fn copy(connection: &mut PgConnection, text: &str) -> Result<(), StoreError> {
    let step = "store.events.copy";
    let mut copy = connection
        .copy_in_raw(COPY_EVENTS)
        .await
        .map_err(StoreError::during(step))?;
    copy.send(text.as_bytes())
        .await
        .map_err(StoreError::during(step))?;
    copy.finish().await.map_err(StoreError::during(step))?;
    Ok(())
}

async fn insert(connection: &mut PgConnection, events: &[&Event]) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO events SELECT * FROM json_populate_recordset(NULL::events, $1::text::json)")
        .bind(json_rows(events))
        .execute(connection)
        .await
        .map_err(StoreError::during("store.events.insert"))?;
    Ok(())
}

/// Reads a device's events after `after`, oldest first.
pub async fn find_by_device(
    connection: &mut PgConnection,
    device_id: &str,
    after: DateTime<Utc>,
) -> Result<Vec<SessionEvent>, StoreError> {
    sqlx::query_as(SELECT_SESSION_EVENTS)
        .bind(device_id)
        .bind(after)
        .fetch_all(connection)
        .await
        .map_err(StoreError::during("store.events.find_by_device"))
}

/// Returns the time of a device's oldest stored event.
pub async fn oldest_of_device(
    connection: &mut PgConnection,
    device_id: &str,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    sqlx::query_scalar("SELECT min(timestamp) FROM events WHERE device_id = $1")
        .bind(device_id)
        .fetch_one(connection)
        .await
        .map_err(StoreError::during("store.events.oldest_of_device"))
}

const COPY_EVENTS: &str = "COPY events (
    timestamp, event_id, event_type, client_timestamp, received_at, seq, device_id, user_id, session_id,
    key_id, page_url, page_host, page_path, page_title, referrer, referrer_host, utm_source, utm_medium,
    utm_campaign, utm_term, utm_content, click_id, element_selector, element_text, element_id,
    element_classes, x, y, scroll_depth, form_id, form_field_name, form_field_type,
    form_validation_errors, product_id, product_name, product_category, product_price, quantity,
    cart_total, order_id, order_total, currency, search_query, search_results_count, error_message,
    error_stack, device_type, browser, os, country, ip_hash, screen_width, screen_height,
    viewport_width, viewport_height, page_load_time_ms, time_on_page_seconds, properties, truncated
) FROM STDIN";

/// Rows in the text format of `COPY`: tab between columns, `\N` for NULL, backslash escapes.
struct CopyRows {
    text: String,
}

impl CopyRows {
    /// An event of a browser takes about 600 bytes.
    fn with_capacity(rows: usize) -> Self {
        Self {
            text: String::with_capacity(rows * 600),
        }
    }

    /// Appends one row; the order of columns is that of [`COPY_EVENTS`].
    fn push(&mut self, event: &Event) {
        self.time(event.timestamp);
        self.text(&event.event_id);
        self.text(&event.event_type);
        self.optional_time(event.client_timestamp);
        self.time(event.received_at);
        self.display(event.seq);
        self.text(&event.device_id);
        for text in [&event.user_id, &event.session_id] {
            self.optional(text);
        }
        self.display(Some(event.key_id));
        for text in [
            &event.page_url,
            &event.page_host,
            &event.page_path,
            &event.page_title,
            &event.referrer,
            &event.referrer_host,
            &event.utm_source,
            &event.utm_medium,
            &event.utm_campaign,
            &event.utm_term,
            &event.utm_content,
            &event.click_id,
            &event.element_selector,
            &event.element_text,
            &event.element_id,
            &event.element_classes,
        ] {
            self.optional(text);
        }
        self.display(event.x);
        self.display(event.y);
        self.display(event.scroll_depth);
        for text in [&event.form_id, &event.form_field_name, &event.form_field_type] {
            self.optional(text);
        }
        self.array(&event.form_validation_errors);
        self.commerce(event);
        self.optional(&event.search_query);
        self.display(event.search_results_count);
        self.optional(&event.error_message);
        self.optional(&event.error_stack);
        self.text(&event.device_type);
        for text in [&event.browser, &event.os, &event.country, &event.ip_hash] {
            self.optional(text);
        }
        for number in [
            event.screen_width,
            event.screen_height,
            event.viewport_width,
            event.viewport_height,
        ] {
            self.display(number);
        }
        self.display(event.page_load_time_ms);
        self.display(event.time_on_page_seconds);
        if event.properties.is_empty() {
            self.null();
        } else {
            let json = serde_json::to_string(&event.properties).expect("a JSON map is always JSON");
            self.text(&json);
        }
        self.array(&event.truncated);
        self.text.pop();
        self.text.push('\n');
    }

    fn commerce(&mut self, event: &Event) {
        for text in [&event.product_id, &event.product_name, &event.product_category] {
            self.optional(text);
        }
        self.display(event.product_price);
        self.display(event.quantity);
        self.display(event.cart_total);
        self.optional(&event.order_id);
        self.display(event.order_total);
        self.optional(&event.currency);
    }

    fn null(&mut self) {
        self.text.push_str("\\N\t");
    }

    fn time(&mut self, time: DateTime<Utc>) {
        self.text
            .push_str(&time.to_rfc3339_opts(SecondsFormat::Micros, true));
        self.text.push('\t');
    }

    fn optional_time(&mut self, time: Option<DateTime<Utc>>) {
        match time {
            Some(time) => self.time(time),
            None => self.null(),
        }
    }

    fn display(&mut self, value: Option<impl std::fmt::Display>) {
        match value {
            Some(value) => {
                let _ = write!(self.text, "{value}\t");
            }
            None => self.null(),
        }
    }

    fn optional(&mut self, text: &Option<String>) {
        match text {
            Some(text) => self.text(text),
            None => self.null(),
        }
    }

    fn text(&mut self, text: &str) {
        self.escape(text);
        self.text.push('\t');
    }

    fn escape(&mut self, text: &str) {
        let mut rest = text;
        while let Some(place) = rest.find(['\\', '\t', '\n', '\r']) {
            self.text.push_str(&rest[..place]);
            self.text.push_str(match rest.as_bytes()[place] {
                b'\\' => "\\\\",
                b'\t' => "\\t",
                b'\n' => "\\n",
                _ => "\\r",
            });
            rest = &rest[place + 1..];
        }
        self.text.push_str(rest);
    }

    /// An empty list is NULL; a list is PostgreSQL's array text, then escaped like any other text.
    fn array(&mut self, items: &[String]) {
        if items.is_empty() {
            return self.null();
        }
        let mut literal = String::from("{");
        for item in items {
            if literal.len() > 1 {
                literal.push(',');
            }
            literal.push('"');
            for character in item.chars() {
                if matches!(character, '"' | '\\') {
                    literal.push('\\');
                }
                literal.push(character);
            }
            literal.push('"');
        }
        literal.push('}');
        self.text(&literal);
    }
}
