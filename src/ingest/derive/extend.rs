//! Extending devices by events that come after everything known of them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Changes, claims_of, lives_of, state_of};
use crate::{
    event::Event,
    session::{Claim, Life, Rules, Session, SessionEvent, StateError, Timeline},
    store::{
        StoreError,
        devices::{self, Device, DeviceLife},
        identity, sessions,
    },
};

/// Everything that must be read before a batch of events can be derived.
pub struct Plan {
    in_order: Vec<(Device, Vec<SessionEvent>)>,
    /// Devices with an event that comes before one already stored.
    out_of_order: Vec<String>,
    known: Known,
}

impl Plan {
    /// Reads what the store knows of the devices of `new`, whose rows are `locked` by this transaction.
    pub async fn load(
        connection: &mut PgConnection,
        locked: Vec<Device>,
        new: &[&Event],
    ) -> Result<Self, StoreError> {
        let mut by_device = group(connection, new).await?;
        let (in_order, out_of_order): (Vec<_>, Vec<_>) = locked
            .into_iter()
            .filter_map(|device| by_device.remove(&device.device_id).map(|events| (device, events)))
            .partition(|(device, events)| match device.cursor() {
                Some(cursor) => events.first().is_some_and(|event| cursor < event.order_key()),
                None => true,
            });
        let known = Known::load(connection, &in_order).await?;
        let out_of_order = out_of_order
            .into_iter()
            .map(|(device, _)| device.device_id)
            .collect();
        Ok(Self {
            in_order,
            out_of_order,
            known,
        })
    }

    /// Derives the rows. Needs nothing but the processor, so it can happen while PostgreSQL stores the events.
    pub fn derive(mut self, rules: &Rules) -> Extension {
        let mut extension = Extension {
            again: self.out_of_order,
            ..Extension::default()
        };
        for (device, events) in self.in_order {
            let before = self
                .known
                .lives
                .get(&device.device_id)
                .map(|life| life.customer_id);
            match self.known.timeline(&device) {
                Ok(timeline) => extension.take(timeline, &events, before, rules),
                Err(error) => {
                    tracing::debug!(%error, "a session's state is of another release; reading its device again");
                    extension.again.push(device.device_id);
                }
            }
        }
        extension
    }
}

/// Rows that extend devices, ready to be written.
#[derive(Default)]
pub struct Extension {
    pub(super) states: Vec<Device>,
    pub(super) lives: Vec<DeviceLife>,
    pub(super) sessions: Vec<Session>,
    /// Lives, by device, that a user claimed after some of their sessions were stored.
    pub(super) claimed: Vec<(String, Claim)>,
    pub(super) claims: Vec<identity::Claim>,
    /// Devices whose history has to be read again instead.
    pub(super) again: Vec<String>,
    /// Customers who lost a claimed life.
    left: BTreeSet<Uuid>,
}

impl Extension {
    fn take(&mut self, mut timeline: Timeline, events: &[SessionEvent], before: Option<Uuid>, rules: &Rules) {
        for event in events {
            if timeline.follows(&event.order_key()) {
                timeline.push(event, rules);
            }
        }
        let derived = timeline.finish();
        self.states.push(state_of(&derived));
        self.claims.extend(claims_of(&derived, events));
        self.lives.extend(lives_of(&derived));
        if let Some(claimed) = derived.claimed {
            self.left.extend(before);
            self.claimed.push((derived.device_id, claimed));
        }
        self.sessions.extend(derived.sessions);
    }

    /// Returns since when each person's sessions are others, those left out of whom more changed.
    fn grown(&self, moved: &BTreeSet<Uuid>) -> BTreeMap<Uuid, DateTime<Utc>> {
        let mut grown: BTreeMap<Uuid, DateTime<Utc>> = BTreeMap::new();
        for session in self
            .sessions
            .iter()
            .filter(|session| !moved.contains(&session.customer_id))
        {
            grown
                .entry(session.customer_id)
                .and_modify(|since| *since = session.started_at.min(*since))
                .or_insert(session.started_at);
        }
        grown
    }

    /// Returns what writing these rows changes.
    pub(super) fn changes(&self) -> Changes {
        let claimed = self.claimed.iter().map(|(_, claimed)| claimed.customer_id);
        let moved: BTreeSet<Uuid> = claimed.chain(self.left.iter().copied()).collect();
        let written = self.sessions.iter().map(|session| session.customer_id);
        Changes {
            sessions_written: self.sessions.len(),
            sessions_deleted: 0,
            lives_written: self.lives.len(),
            customers: written.chain(moved.iter().copied()).collect(),
            grown: self.grown(&moved),
            attributes: moved,
        }
    }
}

/// Sorts the events of each device, with the claims left out that an unmerge took back.
async fn group(
    connection: &mut PgConnection,
    new: &[&Event],
) -> Result<HashMap<String, Vec<SessionEvent>>, StoreError> {
    let devices: BTreeSet<&str> = new.iter().map(|event| event.device_id.as_str()).collect();
    let unlinks = identity::unlinks(connection, &devices.into_iter().collect::<Vec<_>>()).await?;
    let mut by_device: HashMap<String, Vec<SessionEvent>> = HashMap::new();
    for event in new {
        let mut view = SessionEvent::from(*event);
        let undone = unlinks.iter().any(|unlink| {
            unlink.device_id == event.device_id
                && Some(&unlink.user_id) == event.user_id.as_ref()
                && unlink.recorded_at >= event.received_at
        });
        if undone {
            view.user_id = None;
        }
        by_device.entry(event.device_id.clone()).or_default().push(view);
    }
    for events in by_device.values_mut() {
        events.sort_by_cached_key(SessionEvent::order_key);
    }
    Ok(by_device)
}

/// What the store knows of the end of some devices.
struct Known {
    lives: HashMap<String, Life>,
    sessions: HashMap<String, Session>,
    /// Clients' session ids that a stored session of the device has kept.
    taken: HashMap<String, HashSet<String>>,
}

impl Known {
    async fn load(
        connection: &mut PgConnection,
        work: &[(Device, Vec<SessionEvent>)],
    ) -> Result<Self, StoreError> {
        let known: Vec<&str> = work
            .iter()
            .filter(|(device, _)| device.last_event_id.is_some())
            .map(|(device, _)| device.device_id.as_str())
            .collect();
        let mut found = Self {
            lives: HashMap::new(),
            sessions: HashMap::new(),
            taken: HashMap::new(),
        };
        if known.is_empty() {
            return Ok(found);
        }
        for life in devices::last_lives(connection, &known).await? {
            found.lives.insert(life.device_id, life.life);
        }
        for session in sessions::last_of_devices(connection, &known).await? {
            found.sessions.insert(session.device_id.clone(), session);
        }
        let named: BTreeSet<&str> = work
            .iter()
            .flat_map(|(_, events)| events.iter().filter_map(|event| event.session_id.as_deref()))
            .collect();
        for kept in sessions::kept_ids(connection, &known, &named.into_iter().collect::<Vec<_>>()).await? {
            found
                .taken
                .entry(kept.device_id)
                .or_default()
                .insert(kept.session_id);
        }
        Ok(found)
    }

    /// Returns the device's timeline where it stands; an error when another release wrote the session's state.
    fn timeline(&mut self, device: &Device) -> Result<Timeline, StateError> {
        let id = device.device_id.as_str();
        match (device.cursor(), self.lives.remove(id)) {
            (Some(cursor), Some(life)) => Timeline::resume(
                id,
                cursor,
                device.logged_out,
                life,
                self.sessions.remove(id),
                self.taken.remove(id).unwrap_or_default(),
            ),
            _ => Ok(Timeline::new(id)),
        }
        .map(|timeline| timeline.with_breaks(device.breaks.keys()))
    }
}
