//! Telling the events apart that the database refuses from those it takes.
//!
//! One event that cannot be stored must not cost the ninety-nine beside it: they were acknowledged, too.

use uuid::Uuid;

use super::{
    entry::Rejected,
    settle::{Parcel, Settler},
};
use crate::{
    event::Event,
    store::{Remedy, StoreError},
};

/// The reason under which such events are counted as rejected.
pub const UNSTORABLE: &str = "unstorable";

/// An entry whose events were sorted.
pub struct Sorted {
    /// The entry with what can be stored; the rest is counted among its rejected events.
    pub storable: Parcel,
    /// What the database refuses whenever it is given.
    pub unstorable: Vec<Event>,
}

/// Sorts an entry's events by asking the database about ever smaller parts. Stores nothing.
///
/// # Errors
/// Those that trying again may mend.
pub async fn sort_out(settler: &Settler, epoch: Uuid, parcel: &Parcel) -> Result<Sorted, StoreError> {
    let mut storable = parcel.clone();
    let mut parts = vec![std::mem::take(&mut storable.entry.events)];
    let mut unstorable = Vec::new();
    while let Some(mut part) = parts.pop() {
        if part.is_empty() {
            continue;
        }
        let mut alone = storable.clone();
        alone.entry.events.clone_from(&part);
        match settler.try_out(epoch, &alone).await {
            Ok(()) => storable.entry.events.append(&mut part),
            Err(error) if error.remedy() == Remedy::Retry => return Err(error),
            Err(_) if part.len() == 1 => unstorable.append(&mut part),
            Err(_) => {
                let rest = part.split_off(part.len() / 2);
                parts.push(rest);
                parts.push(part);
            }
        }
    }
    if !unstorable.is_empty() {
        storable.entry.rejected.push(Rejected {
            reason: UNSTORABLE.into(),
            count: u32::try_from(unstorable.len()).unwrap_or(u32::MAX),
            field: None,
            detail: "The database cannot hold this event.".into(),
            sample: serde_json::Value::Null,
        });
    }
    Ok(Sorted { storable, unstorable })
}
