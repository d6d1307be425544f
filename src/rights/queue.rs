//! What the queue and its dead letters hold of a person.

use std::collections::BTreeSet;

use sqlx::PgConnection;

use super::{Person, RightsError};
use crate::{
    event::{Event, Hasher},
    ingest::{
        entry::{Entry, VERSION},
        queue::{DeadLetter, Delivery, Queue},
        settle::{ERASED_DEVICE, ERASED_USER},
    },
    session::{OrderKey, SessionEvent},
    store::{StoreError, devices, erasure, ledger::EntryId},
};

/// Entries read from Redis at once.
const PIECE: usize = 200;

/// Says whose events the queue's are.
pub(super) struct Owner<'a> {
    pub person: &'a Person,
    /// Devices that only the queue knows, and that name the user there.
    pub new_devices: BTreeSet<String>,
}

impl<'a> Owner<'a> {
    /// Looks through the queue for devices that identify as the user and are not stored yet.
    pub async fn find(
        connection: &mut PgConnection,
        queue: Option<&Queue>,
        person: &'a Person,
    ) -> Result<Self, RightsError> {
        let mut named = BTreeSet::new();
        if let (Some(queue), Some(user)) = (queue, person.user_id.as_deref()) {
            for_each_waiting(queue, |entry| {
                let naming = entry
                    .events
                    .iter()
                    .filter(|event| event.user_id.as_deref() == Some(user));
                named.extend(naming.map(|event| event.device_id.clone()));
            })
            .await?;
        }
        let ids: Vec<&str> = named.iter().map(String::as_str).collect();
        for known in devices::existing(connection, &ids).await? {
            named.remove(&known);
        }
        Ok(Self {
            person,
            new_devices: named,
        })
    }

    pub fn owns(&self, event: &Event) -> bool {
        let key: OrderKey = SessionEvent::from(event).order_key();
        self.new_devices.contains(&event.device_id)
            || self.person.owns(&event.device_id, event.user_id.as_deref(), &key)
    }

    /// Returns the person's events among those that wait.
    pub async fn waiting(&self, queue: &Queue) -> Result<Vec<Event>, RightsError> {
        let mut found = Vec::new();
        for_each_waiting(queue, |entry| {
            found.extend(entry.events.into_iter().filter(|event| self.owns(event)));
        })
        .await?;
        Ok(found)
    }

    /// Returns the person's events among the dead letters, and how many letters nobody can read.
    pub async fn dead(&self, queue: &Queue) -> Result<(Vec<Event>, u64), RightsError> {
        let (mut found, mut unreadable) = (Vec::new(), 0);
        for letter in all_dead(queue).await? {
            match decode(&letter) {
                Some(entry) => found.extend(entry.events.into_iter().filter(|event| self.owns(event))),
                None => unreadable += 1,
            }
        }
        Ok((found, unreadable))
    }

    /// Takes the person's events out of the dead letters; a letter that held nothing else goes altogether.
    pub async fn erase_dead(&self, queue: &Queue) -> Result<(), RightsError> {
        for letter in all_dead(queue).await? {
            let Some(mut entry) = decode(&letter) else {
                continue;
            };
            match take_out(&mut entry, |event| self.owns(event)) {
                Rest::Everything => {}
                Rest::Nothing => queue.discard(&letter).await?,
                Rest::Some => {
                    queue
                        .rewrite_dead(&letter, entry.received, &entry.encode())
                        .await?;
                }
            }
        }
        Ok(())
    }
}

/// What is left of an entry.
enum Rest {
    Everything,
    Some,
    Nothing,
}

/// Takes events out of an entry, which then counts as received only what it still holds.
fn take_out(entry: &mut Entry, is_gone: impl Fn(&Event) -> bool) -> Rest {
    let before = entry.events.len();
    entry.events.retain(|event| !is_gone(event));
    let gone = (before - entry.events.len()) as u32;
    entry.received = entry.received.saturating_sub(gone);
    match gone {
        0 => Rest::Everything,
        _ if entry.events.is_empty() && entry.rejected.is_empty() => Rest::Nothing,
        _ => Rest::Some,
    }
}

/// Returns what of an entry may become a dead letter: all but the events that tombstones refuse; `None` when
/// nothing else is in it. What cannot be read stays as it is.
///
/// The caller holds the lock that keeps erasures out, until the letter is written: the next erasure finds it
/// there.
///
/// # Errors
/// [`StoreError`] when the tombstones cannot be read.
pub(crate) async fn without_erased(
    connection: &mut PgConnection,
    hasher: &Hasher,
    delivery: &Delivery,
) -> Result<Option<Delivery>, StoreError> {
    let Ok(mut entry) = Entry::decode(&delivery.version, &delivery.payload) else {
        return Ok(Some(delivery.clone()));
    };
    let hashes_of = |event: &Event| {
        let device = hasher.digest(ERASED_DEVICE, &event.device_id).to_vec();
        let user = event.user_id.as_deref();
        let user = user.map(|user| hasher.digest(ERASED_USER, user).to_vec());
        std::iter::once(device).chain(user)
    };
    let hashes: BTreeSet<Vec<u8>> = entry.events.iter().flat_map(hashes_of).collect();
    let stones = erasure::find_tombstones(connection, &hashes.into_iter().collect::<Vec<_>>()).await?;
    let is_erased = |event: &Event| {
        hashes_of(event).any(|hash| {
            let mut of_subject = stones.iter().filter(|stone| stone.subject_hash == hash);
            of_subject.any(|stone| stone.covers(event.timestamp))
        })
    };
    Ok(match take_out(&mut entry, is_erased) {
        Rest::Everything => Some(delivery.clone()),
        Rest::Nothing => None,
        Rest::Some => Some(Delivery {
            id: delivery.id,
            version: VERSION.into(),
            received: entry.received,
            payload: entry.encode(),
        }),
    })
}

fn decode(letter: &DeadLetter) -> Option<Entry> {
    Entry::decode(&letter.delivery.version, &letter.delivery.payload).ok()
}

async fn for_each_waiting(queue: &Queue, mut act: impl FnMut(Entry)) -> Result<(), RightsError> {
    let mut after = EntryId::default();
    loop {
        let piece = queue.peek(after, PIECE).await?;
        let Some(last) = piece.last() else { return Ok(()) };
        after = last.id;
        for delivery in &piece {
            // What cannot be read becomes a dead letter when its turn comes.
            if let Ok(entry) = Entry::decode(&delivery.version, &delivery.payload) {
                act(entry);
            }
        }
    }
}

/// Reads the dead letters as they are now: rewriting one adds to the end of their stream.
async fn all_dead(queue: &Queue) -> Result<Vec<DeadLetter>, RightsError> {
    let mut all: Vec<DeadLetter> = Vec::new();
    loop {
        let place = all.last().map_or("0-0", |letter| &letter.place);
        let piece = queue.dead_letters_after(place, PIECE).await?;
        if piece.is_empty() {
            return Ok(all);
        }
        all.extend(piece);
    }
}
