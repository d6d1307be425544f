//! Deriving a device again from its stored history.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Changes, claims_of, lives_of, state_of};
use crate::{
    session::{Derived, Life, OrderKey, Rules, Session, SessionEvent, Timeline},
    store::{StoreError, devices, events, identity, sessions, span::EARLIEST},
};

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

/// Whether the stored events of a device are all that its lives were made of: retention has dropped none.
pub async fn is_whole(connection: &mut PgConnection, device_id: &str) -> Result<bool, StoreError> {
    let Some(first_event) = events::oldest_of_device(connection, device_id).await? else {
        return Ok(false);
    };
    let lives = devices::lives(connection, device_id).await?;
    Ok(reaches_back_to(&lives, first_event))
}

fn reaches_back_to(lives: &[Life], first_event: DateTime<Utc>) -> bool {
    lives.first().is_none_or(|life| life.started_at >= first_event)
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
            sessions_from: EARLIEST,
            resumed: None,
            next_life_start: None,
            taken: HashSet::new(),
        };
        if reaches_back_to(lives, first_event) {
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
