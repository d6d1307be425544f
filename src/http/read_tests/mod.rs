//! Tests of the read side through the router, over rows written straight into the tables.

mod attributes;
mod flows;
mod heatmaps;
mod journeys;
mod lists;
mod metrics;
mod scores;
mod segments;
mod series;

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Method, Request, StatusCode},
};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::PgPool;
use tower::ServiceExt;
use uuid::Uuid;

use super::{AppState, Parts};
use crate::{
    config::Config,
    event::Hasher,
    index::{Index, View},
    ops::Clock,
    store::keys::{self, KeyKind, NewKey, Scope},
};

/// The present of every test.
pub(super) const NOW: &str = "2026-06-15T12:34:56Z";

/// The service over a database of its own, and a key that may read.
pub(super) struct World {
    pub(super) pool: PgPool,
    router: Router,
    key: String,
}

impl World {
    pub(super) async fn new(pool: PgPool) -> Self {
        Self::with_scope(pool, Scope::Read).await
    }

    /// With a journey index that is full already.
    pub(super) async fn with_index(pool: PgPool, view: View) -> Self {
        Self::build(pool, Scope::Read, Some(Arc::new(Index::of(view)))).await
    }

    pub(super) async fn with_scope(pool: PgPool, scope: Scope) -> Self {
        Self::build(pool, scope, None).await
    }

    async fn build(pool: PgPool, scope: Scope, index: Option<Arc<Index>>) -> Self {
        let mut config = Config::default();
        config.secrets.api_key_salt = "a salt of sixteen".into();
        config.site.timezone = "Europe/Berlin".into();
        let now: DateTime<Utc> = NOW.parse().unwrap();
        let mut parts = Parts::new(pool.clone(), Arc::new(config), Clock::fixed(now));
        parts.index = index;
        let state = AppState::from(parts);
        let new_key = NewKey::checked(KeyKind::Secret, "reader", &[], &[scope], None).unwrap();
        let mut connection = pool.acquire().await.unwrap();
        let issued = keys::create_key(&mut connection, &state.hasher, &new_key, now)
            .await
            .unwrap();
        // The service makes this relation at its start, since it differs between editions of the store.
        sqlx::query("CREATE VIEW events_hourly AS SELECT * FROM events_hourly_rows")
            .execute(&mut *connection)
            .await
            .unwrap();
        Self {
            pool,
            router: super::router(state),
            key: issued.key,
        }
    }

    /// The same, asked with a key that may also administrate.
    pub(super) async fn into_admin(self) -> Self {
        let scopes = [Scope::Read, Scope::Admin];
        let new_key = NewKey::checked(KeyKind::Secret, "admin", &[], &scopes, None).unwrap();
        let mut connection = self.pool.acquire().await.unwrap();
        let hasher = Hasher::new("a salt of sixteen");
        let issued = keys::create_key(&mut connection, &hasher, &new_key, NOW.parse().unwrap())
            .await
            .unwrap();
        Self {
            key: issued.key,
            ..self
        }
    }

    /// Asks with the key; returns status and body.
    pub(super) async fn text(&self, path: &str) -> (StatusCode, String) {
        let request = Request::get(path)
            .header("X-API-Key", &self.key)
            .body(Body::empty())
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    /// Sends a body, or nothing for `null`; returns status and what was answered, `null` for nothing.
    pub(super) async fn send(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let text = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("X-API-Key", &self.key)
            .header("Content-Type", "application/json")
            .body(Body::from(text))
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    pub(super) async fn json(&self, path: &str) -> (StatusCode, Value) {
        let (status, text) = self.text(path).await;
        let value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {text}"));
        (status, value)
    }

    /// Asks for what has to be there.
    pub(super) async fn ok(&self, path: &str) -> Value {
        let (status, value) = self.json(path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {value}");
        value
    }

    /// Asks for what has to be refused; returns the problem's code.
    pub(super) async fn refused(&self, path: &str, expected: StatusCode) -> String {
        let (status, value) = self.json(path).await;
        assert_eq!(status, expected, "{path}: {value}");
        value["code"].as_str().unwrap().to_owned()
    }

    /// Follows the cursors of a list to its end.
    pub(super) async fn walk(&self, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut page = self.ok(path).await;
        loop {
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            let Some(cursor) = page["next_cursor"].as_str() else {
                return items;
            };
            let joiner = if path.contains('?') { '&' } else { '?' };
            page = self.ok(&format!("{path}{joiner}cursor={cursor}")).await;
        }
    }

    pub(super) async fn event(&self, fields: Value) {
        let text = "INSERT INTO events SELECT * FROM jsonb_populate_record(NULL::events, $1)";
        let defaults = json!({
            "event_id": Uuid::now_v7().to_string(), "event_type": "page_view", "device_id": "d1", "key_id": 1,
            "received_at": fields["timestamp"], "device_type": "desktop",
        });
        self.insert(text, defaults, fields).await;
    }

    pub(super) async fn session(&self, fields: Value) -> Uuid {
        let text = "INSERT INTO sessions SELECT * FROM jsonb_populate_record(NULL::sessions, $1)";
        let id = Uuid::now_v7();
        let defaults = json!({
            "id": id, "session_id": format!("s-{id}"), "device_id": "d1", "life": 0,
            "customer_id": Uuid::nil(), "ended_at": fields["started_at"], "duration_seconds": 0.0, "event_count": 1,
            "page_views": 1, "clicks": 0, "rage_clicks": 0, "dead_clicks": 0, "form_errors": 0, "errors": 0,
            "searches": 0, "event_counts": {"page_view": 1}, "pages": [], "source": "direct",
            "channel": "direct", "device_type": "desktop", "converted": false, "conversion_value": "0",
            "order_ids": [], "abandoned": false, "visible_seconds": 0.0, "engagement": 0, "engaged": true,
            "state": {},
        });
        self.insert(text, defaults, fields).await;
        id
    }

    pub(super) async fn customer(&self, fields: Value) -> Uuid {
        let text = "INSERT INTO customers SELECT * FROM jsonb_populate_record(NULL::customers, $1)";
        let id = fields["id"]
            .as_str()
            .map_or_else(Uuid::now_v7, |id| id.parse().unwrap());
        let defaults = json!({
            "id": id, "first_seen": "2026-06-01T00:00:00Z", "last_seen": "2026-06-02T00:00:00Z", "devices": 1,
            "sessions": 1, "events": 1, "page_views": 1, "conversions": 0, "revenue": {}, "abandoned_carts": 0,
            "visible_seconds": 0.0, "source": "direct", "channel": "direct", "device_type": "desktop",
            "attributes": {},
        });
        self.insert(text, defaults, fields).await;
        id
    }

    pub(super) async fn life(&self, fields: Value) {
        let text = "INSERT INTO device_lives SELECT * FROM jsonb_populate_record(NULL::device_lives, $1)";
        self.insert(
            text,
            json!({"device_id": "d1", "life": 0, "start_event": ""}),
            fields,
        )
        .await;
    }

    pub(super) async fn fact(&self, fields: Value) {
        let text =
            "INSERT INTO attribute_facts SELECT * FROM jsonb_populate_record(NULL::attribute_facts, $1)";
        let defaults = json!({
            "device_id": "d1", "event_id": Uuid::now_v7().to_string(), "category": "custom",
            "reason": "event:identify",
        });
        self.insert(text, defaults, fields).await;
    }

    pub(super) async fn identity(&self, fields: Value) {
        let text = "INSERT INTO identity_log (recorded_at, device_id, user_id, action, event_id, reason) \
                    SELECT recorded_at, device_id, user_id, action, event_id, reason \
                    FROM jsonb_populate_record(NULL::identity_log, $1)";
        let defaults = json!({"device_id": "d1", "action": "link", "reason": "event:identify"});
        self.insert(text, defaults, fields).await;
    }

    async fn insert(&self, text: &'static str, mut row: Value, fields: Value) {
        let row_fields = row.as_object_mut().unwrap();
        row_fields.extend(fields.as_object().unwrap().clone());
        sqlx::query(text).bind(row).execute(&self.pool).await.unwrap();
    }
}

/// The members `name` of a list of objects.
pub(super) fn column<'rows>(rows: &'rows [Value], name: &str) -> Vec<&'rows str> {
    rows.iter().map(|row| row[name].as_str().unwrap()).collect()
}

/// Encodes a value for a query string.
pub(super) fn encoded(value: &str) -> String {
    url::form_urlencoded::byte_serialize(value.as_bytes()).collect()
}
