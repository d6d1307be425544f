//! Sessions, lives and customers follow the events, inside the transaction that stores them.
//!
//! Events that come after everything known of their device extend its last session ([`extend`]). Anything
//! else (a late event, an unmerge, a rebuild) reads the device's history again ([`history`]). Both ways end
//! in the same rows, because both are the same fold.

mod extend;
mod facts;
mod history;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

pub use self::{
    extend::{Extension, Plan},
    history::{is_whole, rederive},
};
use crate::{
    event::Event,
    session::{Derived, Rules, SessionEvent},
    store::{
        StoreError, customers,
        devices::{self, Device, DeviceLife},
        identity,
        index_changes::{self, Change},
        sessions,
    },
};

/// What a derivation changed in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Sessions written because they were new or different.
    pub sessions_written: usize,
    pub sessions_deleted: usize,
    pub lives_written: usize,
    /// Customers whose rows must be computed again.
    pub customers: BTreeSet<Uuid>,
    /// Customers whose attributes must be computed again.
    pub attributes: BTreeSet<Uuid>,
    /// Those of `customers` whose sessions before this time are what they were: events only came after all others.
    pub grown: BTreeMap<Uuid, DateTime<Utc>>,
}

/// Writes what was planned for events that are stored now, and brings facts and customers up to date.
pub async fn follow(
    connection: &mut PgConnection,
    extension: Extension,
    new: &[&Event],
    rules: &Rules,
    now: DateTime<Utc>,
) -> Result<Changes, StoreError> {
    let mut changes = extension.changes();
    for (device_id, claimed) in &extension.claimed {
        sessions::assign_life(
            connection,
            device_id,
            claimed.life,
            &claimed.user_id,
            claimed.customer_id,
        )
        .await?;
    }
    devices::save_lives(connection, &extension.lives).await?;
    sessions::save(connection, &extension.sessions).await?;
    devices::save(connection, &extension.states).await?;
    identity::append_links(connection, &extension.claims, now).await?;
    for device_id in &extension.again {
        changes.merge(rederive(connection, device_id, rules, now).await?);
    }
    facts::append(connection, new, &mut changes).await?;
    recompute(connection, &changes).await?;
    Ok(changes)
}

/// Computes the customers again that the changes touched, and notes for the journey index whose sessions they are.
pub async fn recompute(connection: &mut PgConnection, changes: &Changes) -> Result<(), StoreError> {
    index_changes::record(connection, &changes.for_index()).await?;
    let ids: Vec<Uuid> = changes.customers.union(&changes.attributes).copied().collect();
    if ids.is_empty() {
        return Ok(());
    }
    // A person whose row is new may have been here before: the row goes with the last session, facts stay.
    let made = customers::lock(connection, &ids).await?;
    customers::recompute(connection, &ids).await?;
    if !changes.attributes.is_empty() || !made.is_empty() {
        let ids: Vec<Uuid> = changes.attributes.iter().copied().chain(made).collect();
        customers::recompute_attributes(connection, &ids).await?;
    }
    Ok(())
}

impl Changes {
    fn for_index(&self) -> Vec<Change> {
        let change = |customer_id: &Uuid| Change {
            customer_id: *customer_id,
            since: self.grown.get(customer_id).copied(),
        };
        self.customers.iter().map(change).collect()
    }

    fn merge(&mut self, other: Self) {
        for customer in &other.customers {
            if !other.grown.contains_key(customer) {
                self.grown.remove(customer);
            }
        }
        self.sessions_written += other.sessions_written;
        self.sessions_deleted += other.sessions_deleted;
        self.lives_written += other.lives_written;
        self.customers.extend(other.customers);
        self.attributes.extend(other.attributes);
    }
}

fn state_of(derived: &Derived) -> Device {
    Device {
        device_id: derived.device_id.clone(),
        last_timestamp: derived.cursor.as_ref().map(|cursor| cursor.timestamp),
        last_seq: derived.cursor.as_ref().and_then(|cursor| cursor.seq),
        last_event_id: derived.cursor.as_ref().map(|cursor| cursor.event_id.clone()),
        logged_out: derived.logged_out,
        ..Device::default()
    }
}

fn lives_of(derived: &Derived) -> Vec<DeviceLife> {
    derived
        .lives
        .iter()
        .map(|life| DeviceLife {
            device_id: derived.device_id.clone(),
            life: life.clone(),
        })
        .collect()
}

/// Returns the claims behind new or changed lives, with the first event that makes each.
fn claims_of(derived: &Derived, events: &[SessionEvent]) -> Vec<identity::Claim> {
    let users: BTreeSet<&str> = derived
        .lives
        .iter()
        .filter_map(|life| life.user_id.as_deref())
        .collect();
    users
        .into_iter()
        .filter_map(|user| {
            let event = events
                .iter()
                .find(|event| event.user_id.as_deref() == Some(user))?;
            Some(identity::Claim {
                device_id: derived.device_id.clone(),
                user_id: user.to_owned(),
                event_id: event.event_id.clone(),
            })
        })
        .collect()
}
