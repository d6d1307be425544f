//! Taking stretches out of one device's history, so that the rest is as if they had never been.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    event::event_key,
    ingest::{
        derive::{self, Changes},
        settle::hour_of,
    },
    session::{Life, OrderKey, Rules},
    store::{
        StoreError, devices, events, scores, sessions,
        span::{self, EARLIEST, Span, Trace},
    },
};

/// How many rows went, by table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Removed {
    pub events: u64,
    /// The memory of the events' ids.
    pub event_keys: u64,
    pub sessions: u64,
    pub attribute_facts: u64,
    pub identity_log: u64,
    /// Stretches of devices that were the person's.
    pub device_lives: u64,
    /// Devices nobody else used.
    pub devices: u64,
    pub customers: u64,
    /// Scores of those customers; they go along.
    pub customer_scores: u64,
}

impl Removed {
    /// The sum over all tables.
    pub fn total(&self) -> u64 {
        self.events
            + self.event_keys
            + self.sessions
            + self.attribute_facts
            + self.identity_log
            + self.device_lives
            + self.devices
            + self.customers
            + self.customer_scores
    }
}

impl Removed {
    /// Both together.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            events: self.events + other.events,
            event_keys: self.event_keys + other.event_keys,
            sessions: self.sessions + other.sessions,
            attribute_facts: self.attribute_facts + other.attribute_facts,
            identity_log: self.identity_log + other.identity_log,
            device_lives: self.device_lives + other.device_lives,
            devices: self.devices + other.devices,
            customers: self.customers + other.customers,
            customer_scores: self.customer_scores + other.customer_scores,
        }
    }
}

/// A removal under way, in the caller's transaction.
pub(super) struct Removal<'a> {
    pub rules: &'a Rules,
    pub now: DateTime<Utc>,
    /// Whose name goes, and up to which time.
    pub user: Option<(&'a str, DateTime<Utc>)>,
    pub removed: Removed,
    /// Hours that lost events.
    pub hours: BTreeSet<DateTime<Utc>>,
    pub changes: Changes,
}

impl<'a> Removal<'a> {
    pub fn new(rules: &'a Rules, now: DateTime<Utc>, user: Option<(&'a str, DateTime<Utc>)>) -> Self {
        Self {
            rules,
            now,
            user,
            removed: Removed::default(),
            hours: BTreeSet::new(),
            changes: Changes::default(),
        }
    }

    /// Takes these stretches, and the events that name the user, out of one device.
    ///
    /// Where others remain on the device, a break is left at the start of each life that went, and the rest
    /// is derived again.
    pub async fn remove_from(
        &mut self,
        connection: &mut PgConnection,
        device_id: &str,
        spans: &[&Span],
    ) -> Result<(), StoreError> {
        devices::lock(connection, &[device_id], self.now).await?;
        let sessions_before = span::count_sessions(connection, device_id).await?;
        let is_whole = derive::is_whole(connection, device_id).await?;
        for span in spans {
            let gone = span::delete_events(connection, span).await?;
            self.forget(connection, &gone).await?;
            self.removed.attribute_facts += span::delete_facts(connection, span).await?;
        }
        let mut torn = Vec::new();
        if let Some((user, until)) = self.user {
            torn = span::delete_events_naming(connection, device_id, user, until).await?;
            self.forget(connection, &torn).await?;
            self.removed.attribute_facts +=
                span::delete_facts_naming(connection, device_id, user, until).await?;
        }
        if !torn.is_empty() {
            self.keep_apart(connection, device_id, &torn).await?;
        }
        let mut left = self.remove_lives(connection, device_id, spans).await?;
        if let Some(first) = torn.iter().map(|trace| trace.timestamp).min() {
            let from = if is_whole { EARLIEST } else { first };
            left = self.tear(connection, device_id, left, from).await?;
        }
        self.settle_rest(connection, device_id, left).await?;
        let sessions_after = span::count_sessions(connection, device_id).await?;
        self.removed.sessions += sessions_before.saturating_sub(sessions_after);
        Ok(())
    }

    /// Leaves a break where a life began at, or after, an event that went: it may have been what kept two
    /// people apart, a logout for example.
    async fn keep_apart(
        &mut self,
        connection: &mut PgConnection,
        device_id: &str,
        torn: &[Trace],
    ) -> Result<(), StoreError> {
        let lives = devices::lives(connection, device_id).await?;
        for (before, life) in lives.iter().zip(lives.iter().skip(1)) {
            let between = before.started_at..=life.started_at;
            if torn.iter().any(|trace| between.contains(&trace.timestamp)) {
                devices::add_break(connection, device_id, &start_of(life)).await?;
            }
        }
        Ok(())
    }

    /// Removes the sessions and lives that events from `from` on may have made, for what remains to make
    /// them anew; returns the earlier lives.
    ///
    /// Of a session that began before retention's cut nobody can tell what the events that went were in it:
    /// it goes as a whole.
    async fn tear(
        &mut self,
        connection: &mut PgConnection,
        device_id: &str,
        lives: Vec<Life>,
        from: DateTime<Utc>,
    ) -> Result<Vec<Life>, StoreError> {
        span::delete_sessions_ended_from(connection, device_id, from).await?;
        let (earlier, torn): (Vec<Life>, Vec<Life>) =
            lives.into_iter().partition(|life| life.started_at < from);
        if let Some(first) = torn.first() {
            devices::delete_lives_from(connection, device_id, first.life).await?;
        }
        let owners = torn.iter().map(|life| life.customer_id);
        self.changes.customers.extend(owners.clone());
        self.changes.attributes.extend(owners);
        Ok(earlier)
    }

    async fn forget(&mut self, connection: &mut PgConnection, gone: &[Trace]) -> Result<(), StoreError> {
        let keys: Vec<Uuid> = gone.iter().map(|trace| event_key(&trace.event_id)).collect();
        self.removed.events += gone.len() as u64;
        self.removed.event_keys += span::delete_keys(connection, &keys).await?;
        self.hours
            .extend(gone.iter().map(|trace| hour_of(trace.timestamp)));
        Ok(())
    }

    /// Removes the lives that start in the stretches, with their sessions; returns the others.
    async fn remove_lives(
        &mut self,
        connection: &mut PgConnection,
        device_id: &str,
        spans: &[&Span],
    ) -> Result<Vec<Life>, StoreError> {
        let lives = devices::lives(connection, device_id).await?;
        let is_gone = |life: &Life| {
            let start = start_of(life);
            spans.iter().any(|span| span.contains(device_id, &start))
        };
        let (gone, left): (Vec<Life>, Vec<Life>) = lives.into_iter().partition(is_gone);
        if gone.is_empty() {
            return Ok(left);
        }
        let numbers: Vec<i32> = gone.iter().map(|life| life.life).collect();
        span::delete_sessions_of_lives(connection, device_id, &numbers).await?;
        self.removed.device_lives += gone.len() as u64;
        devices::delete_lives_from(connection, device_id, 0).await?;
        for life in &gone {
            self.changes.customers.insert(life.customer_id);
            self.changes.attributes.insert(life.customer_id);
            // Alone on the device, the person leaves nobody to keep apart.
            if !left.is_empty() {
                devices::add_break(connection, device_id, &start_of(life)).await?;
            }
        }
        Ok(left)
    }

    /// Numbers the remaining lives anew and derives them again, or removes the device when nothing remains.
    async fn settle_rest(
        &mut self,
        connection: &mut PgConnection,
        device_id: &str,
        left: Vec<Life>,
    ) -> Result<(), StoreError> {
        let has_events = events::oldest_of_device(connection, device_id).await?.is_some();
        if left.is_empty() && !has_events {
            self.removed.identity_log += span::delete_identity_of_device(connection, device_id).await?;
            self.removed.devices += devices::delete(connection, device_id).await?;
            return Ok(());
        }
        let old: Vec<i32> = left.iter().map(|life| life.life).collect();
        let new: Vec<i32> = (0..).take(left.len()).collect();
        span::renumber_sessions(connection, device_id, &old, &new).await?;
        let lives: Vec<devices::DeviceLife> = left
            .into_iter()
            .zip(new)
            .map(|(life, number)| devices::DeviceLife {
                device_id: device_id.to_owned(),
                life: Life { life: number, ..life },
            })
            .collect();
        devices::save_lives(connection, &lives).await?;
        // What the user's name stood on may have been part of another's life.
        let owners = lives.iter().map(|life| life.life.customer_id);
        // A session of theirs may have gone without another in its place.
        self.changes.customers.extend(owners.clone());
        self.changes.attributes.extend(owners);
        if has_events {
            let changes = derive::rederive(connection, device_id, self.rules, self.now).await?;
            self.changes.customers.extend(changes.customers);
            self.changes.attributes.extend(changes.attributes);
            return Ok(());
        }
        self.resume_without_events(connection, device_id, &lives).await
    }

    /// Sets a device back to the end of its last session, when retention has dropped all remaining events.
    async fn resume_without_events(
        &mut self,
        connection: &mut PgConnection,
        device_id: &str,
        lives: &[devices::DeviceLife],
    ) -> Result<(), StoreError> {
        let Some(last) = lives.last() else { return Ok(()) };
        let session = sessions::last_of_devices(connection, &[device_id]).await?.pop();
        let device = devices::Device {
            device_id: device_id.to_owned(),
            last_timestamp: Some(session.map_or(last.life.started_at, |session| session.ended_at)),
            last_seq: Some(i64::MAX),
            last_event_id: Some(last.life.start_event.clone()),
            ..devices::Device::default()
        };
        devices::save(connection, &[device]).await
    }

    /// Brings the touched customers up to date; to be called after the last device.
    pub async fn finish(&mut self, connection: &mut PgConnection) -> Result<(), StoreError> {
        let touched: Vec<Uuid> = self.changes.customers.iter().copied().collect();
        let before = span::count_customers(connection, &touched).await?;
        let scored_before = scores::count_of(connection, &touched).await?;
        derive::recompute(connection, &self.changes).await?;
        let after = span::count_customers(connection, &touched).await?;
        let scored_after = scores::count_of(connection, &touched).await?;
        self.removed.customers += before.saturating_sub(after);
        self.removed.customer_scores += scored_before.saturating_sub(scored_after);
        Ok(())
    }
}

fn start_of(life: &Life) -> OrderKey {
    OrderKey {
        timestamp: life.started_at,
        seq: life.start_seq,
        event_id: life.start_event.clone(),
    }
}
