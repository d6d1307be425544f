//! Erasure: a person's data goes everywhere at once, and a tombstone keeps it from coming back.
//!
//! One transaction under the lock that keeps all writers out. What still waits in the queue is refused by the
//! tombstones when its turn comes, and counted as rejected.
//!
//! **What the tombstones refuse.** The user's name: every event that carries it, up to the erasure. A device
//! that nobody else used: all its events up to the erasure. A device that others used, too: its events within
//! the person's own stretches of it, and nothing outside of them, so that late events of the others still
//! come in. Where two lives meet within one microsecond, late events of that microsecond are refused.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::json;
use sqlx::{Connection, PgConnection};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Person, Removed, Rights, RightsError, find_person, patiently, queue, remove::Removal};
use crate::{
    ingest::settle::{ERASED_DEVICE, ERASED_USER},
    store::{
        StoreError, devices,
        erasure::{self, Tombstone},
        situation,
        span::{self, EARLIEST, OwnedLife, Span},
    },
};

/// What an erasure took away, or would.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Erasure {
    /// Names the erasure in the audit log, which does not say whom it was about. Absent in a preview.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erasure_id: Option<Uuid>,
    /// Nothing has changed: this is what would go.
    pub preview: bool,
    pub customer_id: Uuid,
    /// The newest moment whose events are refused from now on.
    pub erased_at: DateTime<Utc>,
    pub rows: Removed,
    /// Hours of the roll-up that are computed again.
    pub rollup_hours: u64,
    /// Keyed hashes that stay, to refuse what a backup or a client still holds.
    pub tombstones: u64,
    pub queue: QueueErasure,
}

/// What the queue held of the person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct QueueErasure {
    /// Events that wait; they are refused when their turn comes.
    pub waiting: u64,
    /// Events taken out of dead letters.
    pub dead_letters: u64,
    /// Dead letters that nobody can read, and that may hold anyone's events: discard them.
    pub dead_letters_unreadable: u64,
}

impl Rights {
    /// Erases a person. `actor` says who did it, as in `key:7`, and goes into the audit log.
    ///
    /// # Errors
    /// [`RightsError`]; nothing has changed in the store then.
    pub async fn erase(&self, reference: &str, actor: &str) -> Result<Erasure, RightsError> {
        patiently(|| self.run(reference, Some(actor))).await
    }

    /// Says what [`Rights::erase`] would take away: does it, and takes it back.
    ///
    /// # Errors
    /// [`RightsError`].
    pub async fn preview(&self, reference: &str) -> Result<Erasure, RightsError> {
        patiently(|| self.run(reference, None)).await
    }

    async fn run(&self, reference: &str, actor: Option<&str>) -> Result<Erasure, RightsError> {
        let step = "store.erase";
        let mut connection = self.pool.acquire().await.map_err(StoreError::during(step))?;
        let mut transaction = connection.begin().await.map_err(StoreError::during(step))?;
        erasure::lock_exclusive(&mut transaction).await?;
        situation::allow_large_deletes(&mut transaction, self.situation).await?;
        let person = find_person(&mut transaction, &self.hasher, reference).await?;
        let now = self.clock.now();
        let newest = newest_moments(&mut transaction, &person).await?;
        let erased_at = newest.iter().flatten().copied().fold(now, DateTime::max);

        let owner = queue::Owner::find(&mut transaction, self.queue.as_deref(), &person).await?;
        let mut found = QueueErasure::default();
        if let Some(queue) = self.queue.as_deref() {
            found.waiting = owner.waiting(queue).await?.len() as u64;
            let (dead, unreadable) = owner.dead(queue).await?;
            found.dead_letters = dead.len() as u64;
            found.dead_letters_unreadable = unreadable;
        }
        let tombstones = self.tombstones(&person, &newest, &owner.new_devices, erased_at);
        erasure::save_tombstones(&mut transaction, &tombstones).await?;

        let mut removal = Removal::new(
            &self.rules,
            now,
            person.user_id.as_deref().map(|user| (user, erased_at)),
        );
        remove_person(&mut transaction, &person, &mut removal).await?;
        let hours = self.whole_hours(&removal.hours, now);
        situation::mark_dirty(&mut transaction, self.situation, &hours).await?;
        let mut report = Erasure {
            erasure_id: None,
            preview: actor.is_none(),
            customer_id: person.customer_id,
            erased_at,
            rows: removal.removed,
            rollup_hours: hours.len() as u64,
            tombstones: tombstones.len() as u64,
            queue: found,
        };
        let Some(actor) = actor else {
            transaction.rollback().await.map_err(StoreError::during(step))?;
            return Ok(report);
        };

        let erasure_id = Uuid::now_v7();
        report.erasure_id = Some(erasure_id);
        let details = json!({
            "erasure_id": erasure_id, "rows": report.rows, "queue": report.queue,
            "rollup_hours": report.rollup_hours, "tombstones": report.tombstones,
        });
        erasure::append_audit(&mut transaction, now, actor, "erase", &details).await?;
        // Before the commit: if Redis fails here, the person is still there and the erasure can be repeated.
        if let Some(queue) = self.queue.as_deref() {
            owner.erase_dead(queue).await?;
        }
        transaction.commit().await.map_err(StoreError::during(step))?;
        self.refresh(&mut connection, &hours).await;
        Ok(report)
    }

    /// Refreshes the continuous aggregate; if that fails, its own policy does it within minutes.
    pub(super) async fn refresh(&self, connection: &mut PgConnection, hours: &[DateTime<Utc>]) {
        if let Err(error) = situation::refresh_hours(connection, self.situation, hours).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the roll-up was not refreshed; its policy will do it"
            );
        }
    }

    /// Leaves out hours that retention may have cut: computed again, they would lose everybody's events.
    pub(super) fn whole_hours(
        &self,
        hours: &BTreeSet<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Vec<DateTime<Utc>> {
        let kept_since = self
            .events_days
            .map(|days| now - TimeDelta::days(i64::from(days)));
        hours
            .iter()
            .copied()
            .filter(|hour| kept_since.is_none_or(|since| *hour >= since))
            .collect()
    }

    fn tombstones(
        &self,
        person: &Person,
        newest: &[Option<DateTime<Utc>>],
        new_devices: &BTreeSet<String>,
        erased_at: DateTime<Utc>,
    ) -> Vec<Tombstone> {
        let stone = |domain, subject: &str, since, until| Tombstone {
            subject_hash: self.hasher.digest(domain, subject).to_vec(),
            since,
            until,
            erased_at,
        };
        let whole = |device: &str| stone(ERASED_DEVICE, device, EARLIEST, erased_at);
        let user = person.user_id.as_deref();
        let mut stones: Vec<Tombstone> = user
            .map(|user| stone(ERASED_USER, user, EARLIEST, erased_at))
            .into_iter()
            .collect();
        stones.extend(new_devices.iter().map(|device| whole(device)));
        let mut done = BTreeSet::new();
        for (life, newest) in person.lives.iter().zip(newest) {
            if life.shared {
                let (since, until) = stretch(life, *newest, erased_at);
                stones.push(stone(ERASED_DEVICE, &life.device_id, since, until));
            } else if done.insert(&life.device_id) {
                stones.push(whole(&life.device_id));
            }
        }
        stones
    }
}

/// Returns the times of a life on a shared device, both included.
///
/// The microsecond in which the next life starts belongs to this one only if an event of this one is in it.
fn stretch(
    life: &OwnedLife,
    newest: Option<DateTime<Utc>>,
    erased_at: DateTime<Utc>,
) -> (DateTime<Utc>, DateTime<Utc>) {
    let since = if life.life == 0 { EARLIEST } else { life.started_at };
    let until = life
        .next_at
        .map_or(erased_at, |next| next - TimeDelta::microseconds(1));
    (since, until.max(newest.unwrap_or(life.started_at)))
}

/// Returns the time of the newest event of each of the person's lives.
async fn newest_moments(
    connection: &mut PgConnection,
    person: &Person,
) -> Result<Vec<Option<DateTime<Utc>>>, StoreError> {
    let mut newest = Vec::new();
    for span in person.spans() {
        newest.push(span::newest(connection, &span).await?);
    }
    Ok(newest)
}

/// Removes everything of a person from the store.
pub(super) async fn remove_person(
    connection: &mut PgConnection,
    person: &Person,
    removal: &mut Removal<'_>,
) -> Result<(), StoreError> {
    if let Some((user, until)) = removal.user {
        removal.removed.identity_log += span::delete_identity_of_user(connection, user, until).await?;
    }
    let spans: Vec<Span> = match removal.user {
        Some((_, until)) => person.spans().into_iter().map(|span| span.up_to(until)).collect(),
        None => person.spans(),
    };
    let mut by_device: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
    for span in &spans {
        by_device.entry(&span.device_id).or_default().push(span);
    }
    let named_on: Vec<&str> = person.named_on.iter().map(String::as_str).collect();
    let named_on = devices::existing(connection, &named_on).await?;
    for device in &named_on {
        by_device.entry(device).or_default();
    }
    for (device, spans) in by_device {
        removal.remove_from(connection, device, &spans).await?;
    }
    removal.finish(connection).await
}
