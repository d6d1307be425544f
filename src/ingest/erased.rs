//! Entries without what was erased while they waited.

use std::collections::BTreeSet;

use sqlx::PgConnection;

use super::{
    entry::{Entry, VERSION},
    queue::Delivery,
    settle::subjects_of,
};
use crate::{
    event::{Event, Hasher},
    store::{StoreError, erasure},
};

/// What is left of an entry.
pub(crate) enum Rest {
    Everything,
    Some,
    Nothing,
}

/// Takes events out of an entry, which then counts as received only what it still holds.
pub(crate) fn take_out(entry: &mut Entry, is_gone: impl Fn(&Event) -> bool) -> Rest {
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
        subjects_of(event)
            .map(|(domain, id)| hasher.digest(domain, id).to_vec())
            .collect::<Vec<_>>()
    };
    let hashes: BTreeSet<Vec<u8>> = entry.events.iter().flat_map(hashes_of).collect();
    let stones = erasure::find_tombstones(connection, &hashes.into_iter().collect::<Vec<_>>()).await?;
    let is_erased = |event: &Event| {
        hashes_of(event).into_iter().any(|hash| {
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
