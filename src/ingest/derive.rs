//! Sessions, lives and customers follow the events, inside the transaction that stores them.
//!
//! Events that come after everything known of their device extend its last session. Anything else (a late
//! event, an unmerge, a rebuild) reads the device's history again. Both ways end in the same rows, because
//! both are the same fold.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    event::Event,
    session::{Derived, Life, OrderKey, Rules, Session, SessionEvent, StateError, Timeline},
    store::{
        StoreError, attributes, customers,
        devices::{self, Device, DeviceLife},
        events, identity, sessions,
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
}

/// Brings sessions, lives, facts and customers up to date with events that were just stored.
///
/// `locked` holds the state of every device of `new`, and its rows are locked by this transaction.
pub async fn follow(
    connection: &mut PgConnection,
    locked: Vec<Device>,
    new: &[&Event],
    rules: &Rules,
    now: DateTime<Utc>,
) -> Result<Changes, StoreError> {
    let mut by_device = group(connection, new).await?;
    let (in_order, out_of_order): (Vec<_>, Vec<_>) = locked
        .into_iter()
        .filter_map(|device| by_device.remove(&device.device_id).map(|events| (device, events)))
        .partition(|(device, events)| match device.cursor() {
            Some(cursor) => events.first().is_some_and(|event| cursor < event.order_key()),
            None => true,
        });

    let mut changes = extend(connection, in_order, rules, now).await?;
    for (device, _) in out_of_order {
        changes.merge(rederive(connection, &device.device_id, rules, now).await?);
    }
    append_facts(connection, new, &mut changes).await?;
    recompute(connection, &changes).await?;
    Ok(changes)
}

/// Computes the customers again that the changes touched.
pub async fn recompute(connection: &mut PgConnection, changes: &Changes) -> Result<(), StoreError> {
    let ids: Vec<Uuid> = changes.customers.union(&changes.attributes).copied().collect();
    if ids.is_empty() {
        return Ok(());
    }
    customers::lock(connection, &ids).await?;
    customers::recompute(connection, &ids).await?;
    if !changes.attributes.is_empty() {
        let ids: Vec<Uuid> = changes.attributes.iter().copied().collect();
        customers::recompute_attributes(connection, &ids).await?;
    }
    Ok(())
}

impl Changes {
    fn merge(&mut self, other: Self) {
        self.sessions_written += other.sessions_written;
        self.sessions_deleted += other.sessions_deleted;
        self.lives_written += other.lives_written;
        self.customers.extend(other.customers);
        self.attributes.extend(other.attributes);
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

/// Extends devices by events that follow everything known of them.
async fn extend(
    connection: &mut PgConnection,
    work: Vec<(Device, Vec<SessionEvent>)>,
    rules: &Rules,
    now: DateTime<Utc>,
) -> Result<Changes, StoreError> {
    if work.is_empty() {
        return Ok(Changes::default());
    }
    let mut known = Known::load(connection, &work).await?;
    let mut changes = Changes::default();
    let (mut states, mut lives, mut written, mut claims) = (vec![], vec![], vec![], vec![]);
    for (device, events) in work {
        let before = known.lives.get(&device.device_id).cloned();
        let mut timeline = match known.timeline(&device) {
            Ok(timeline) => timeline,
            Err(error) => {
                tracing::debug!(%error, "a session's state is of another release; reading its device again");
                changes.merge(rederive(connection, &device.device_id, rules, now).await?);
                continue;
            }
        };
        for event in &events {
            if timeline.follows(&event.order_key()) {
                timeline.push(event, rules);
            }
        }
        let derived = timeline.finish();
        if let Some(claimed) = &derived.claimed {
            sessions::assign_life(
                connection,
                &device.device_id,
                claimed.life,
                &claimed.user_id,
                claimed.customer_id,
            )
            .await?;
            changes.customers.insert(claimed.customer_id);
            changes.attributes.insert(claimed.customer_id);
            if let Some(before) = before {
                changes.customers.insert(before.customer_id);
                changes.attributes.insert(before.customer_id);
            }
        }
        changes
            .customers
            .extend(derived.sessions.iter().map(|session| session.customer_id));
        states.push(state_of(&derived));
        claims.extend(claims_of(&derived, &events));
        lives.extend(lives_of(&derived));
        written.extend(derived.sessions);
    }
    changes.sessions_written += written.len();
    changes.lives_written += lives.len();
    devices::save_lives(connection, &lives).await?;
    sessions::save(connection, &written).await?;
    devices::save(connection, &states).await?;
    identity::append_links(connection, &claims, now).await?;
    Ok(changes)
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

/// Derives one device again from all of its stored events, and writes what differs.
///
/// Sessions whose events have been dropped by retention stay as they are. The device's row must be locked.
pub async fn rederive(
    connection: &mut PgConnection,
    device_id: &str,
    rules: &Rules,
    now: DateTime<Utc>,
) -> Result<Changes, StoreError> {
    let Some(first_event) = events::oldest_of_device(connection, device_id).await? else {
        return Ok(Changes::default());
    };
    let old_lives = devices::lives(connection, device_id).await?;
    let start = Start::find(connection, device_id, first_event, &old_lives).await?;
    let history = events::find_by_device(connection, device_id, start.after).await?;
    let old_sessions = sessions::find_by_device(connection, device_id, start.sessions_from).await?;
    let breaks = devices::breaks(connection, device_id).await?;
    let (derived, first_life) = start.derive(device_id, &history, breaks, rules);

    let mut changes = Changes::default();
    let lives = lives_of(&derived);
    let number_from = lives.first().map_or(first_life, |life| life.life.life);
    let replaced: Vec<&Life> = old_lives.iter().filter(|life| life.life >= number_from).collect();
    if replaced.len() != lives.len() || replaced.iter().zip(&lives).any(|(old, new)| **old != new.life) {
        changes.lives_written = lives.len();
        for customer in replaced
            .iter()
            .map(|life| life.customer_id)
            .chain(lives.iter().map(|life| life.life.customer_id))
        {
            changes.customers.insert(customer);
            changes.attributes.insert(customer);
        }
        devices::delete_lives_from(connection, device_id, number_from).await?;
        devices::save_lives(connection, &lives).await?;
    }
    if let Some(claimed) = &derived.claimed {
        // Sessions of this life whose events are gone follow their life, too.
        sessions::assign_life(
            connection,
            device_id,
            claimed.life,
            &claimed.user_id,
            claimed.customer_id,
        )
        .await?;
    }

    let mut written = Vec::new();
    let mut gone: BTreeMap<Uuid, &Session> =
        old_sessions.iter().map(|session| (session.id, session)).collect();
    for session in &derived.sessions {
        match gone.remove(&session.id) {
            Some(old) if old == session => {}
            old => {
                changes.customers.extend(old.map(|old| old.customer_id));
                changes.customers.insert(session.customer_id);
                written.push(session.clone());
            }
        }
    }
    let deleted: Vec<Uuid> = gone.keys().copied().collect();
    changes
        .customers
        .extend(gone.values().map(|session| session.customer_id));
    changes.sessions_written = written.len();
    changes.sessions_deleted = deleted.len();
    sessions::delete(connection, &deleted).await?;
    sessions::save(connection, &written).await?;
    devices::save(connection, &[state_of(&derived)]).await?;
    identity::append_links(connection, &claims_of(&derived, &history), now).await?;
    Ok(changes)
}

/// From where a device's history is derived again.
struct Start {
    /// Events after this are read.
    after: DateTime<Utc>,
    /// Sessions that started at or after this are compared and replaced.
    sessions_from: DateTime<Utc>,
    /// What stands before the first event that retention left; `None` when nothing is missing.
    resumed: Option<(Life, Option<Session>, i32)>,
    next_life_start: Option<String>,
    /// Session ids that sessions before the start have kept.
    taken: HashSet<String>,
}

impl Start {
    async fn find(
        connection: &mut PgConnection,
        device_id: &str,
        first_event: DateTime<Utc>,
        lives: &[Life],
    ) -> Result<Self, StoreError> {
        let just_before = first_event - TimeDelta::microseconds(1);
        let whole = Self {
            after: just_before,
            sessions_from: DateTime::<Utc>::MIN_UTC.max(DateTime::UNIX_EPOCH),
            resumed: None,
            next_life_start: None,
            taken: HashSet::new(),
        };
        if lives.first().is_none_or(|life| life.started_at >= first_event) {
            return Ok(whole);
        }
        let straddling = sessions::last_before(connection, device_id, first_event).await?;
        let life = match &straddling {
            Some(session) => lives.iter().find(|life| life.life == session.life),
            None => lives.iter().rev().find(|life| life.started_at <= first_event),
        };
        let Some(life) = life else { return Ok(whole) };
        let after = straddling
            .as_ref()
            .map_or(just_before, |session| session.ended_at.max(just_before));
        let next_life_start = lives
            .iter()
            .find(|next| next.life == life.life + 1)
            .map(|next| next.start_event.clone());
        let taken = sessions::ids_up_to(connection, device_id, after).await?;
        Ok(Self {
            after,
            // The straddling session itself is compared too: later events may extend it.
            sessions_from: straddling
                .as_ref()
                .map_or(first_event, |session| session.started_at),
            resumed: Some((life.clone(), straddling, life.life)),
            next_life_start,
            taken: taken.into_iter().collect(),
        })
    }

    fn derive(
        self,
        device_id: &str,
        history: &[SessionEvent],
        breaks: Vec<OrderKey>,
        rules: &Rules,
    ) -> (Derived, i32) {
        let Some((life, session, number)) = self.resumed else {
            let timeline = Timeline::new(device_id).with_breaks(breaks);
            return (timeline.run(history.to_vec(), rules), 0);
        };
        let cursor = OrderKey {
            timestamp: session.as_ref().map_or(self.after, |session| session.ended_at),
            seq: Some(i64::MAX),
            event_id: char::MAX.to_string(),
        };
        // Whether the last lost event was a logout is known from the life that began after it.
        let logged_out = history
            .first()
            .is_some_and(|first| self.next_life_start.as_ref() == Some(&first.event_id));
        let kept = session.clone();
        let (before, taken) = (life.clone(), self.taken.clone());
        let mut timeline = Timeline::resume(device_id, cursor.clone(), logged_out, life, session, taken)
            .or_else(|_| Timeline::resume(device_id, cursor, logged_out, before, None, self.taken))
            .expect("a timeline without a session has no state to misread")
            .with_breaks(breaks);
        for event in history {
            timeline.push(event, rules);
        }
        let mut derived = timeline.finish();
        // An untouched straddling session is not among the derived ones, and must not count as gone.
        if let Some(kept) = kept
            && derived.sessions.iter().all(|session| session.id != kept.id)
        {
            derived.sessions.insert(0, kept);
        }
        (derived, number + 1)
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

/// Records what the events say about people, and notes whose attributes that changes.
async fn append_facts(
    connection: &mut PgConnection,
    new: &[&Event],
    changes: &mut Changes,
) -> Result<(), StoreError> {
    let facts: Vec<attributes::Fact> = new.iter().flat_map(|event| facts_of(event)).collect();
    if facts.is_empty() {
        return Ok(());
    }
    attributes::append(connection, &facts).await?;
    let devices: BTreeSet<&str> = facts.iter().map(|fact| fact.device_id.as_str()).collect();
    let owners = devices::customers_of(connection, &devices.into_iter().collect::<Vec<_>>()).await?;
    changes.attributes.extend(owners);
    Ok(())
}

const CATEGORIES: [&str; 7] = [
    "demographic",
    "behavioural",
    "transactional",
    "acquisition",
    "engagement",
    "device",
    "custom",
];

/// Returns the facts of an event: `{"plan": "pro"}` is of the category `custom`, and
/// `{"demographic": {"city": "Oslo"}}` names its category.
fn facts_of(event: &Event) -> Vec<attributes::Fact> {
    let fact = |category: &'static str, name: &str, value: &serde_json::Value| attributes::Fact {
        device_id: event.device_id.clone(),
        name: name.to_owned(),
        occurred_at: event.timestamp,
        seq: event.seq,
        event_id: event.event_id.clone(),
        user_id: event.user_id.clone(),
        category,
        value: value.clone(),
        reason: format!("event:{}", event.event_type),
    };
    let mut facts = Vec::new();
    for (name, value) in &event.attributes {
        let category = CATEGORIES.into_iter().find(|category| category == name);
        match (category, value) {
            (Some(category), serde_json::Value::Object(members)) => {
                facts.extend(members.iter().map(|(name, value)| fact(category, name, value)));
            }
            _ => facts.push(fact("custom", name, value)),
        }
    }
    // One event says one thing about a name; the last category to mention it wins.
    let mut seen = HashSet::new();
    facts.reverse();
    facts.retain(|fact| seen.insert(fact.name.clone()));
    facts
}
