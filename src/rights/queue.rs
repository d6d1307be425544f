//! What the queue and its dead letters hold of a person.

use std::collections::BTreeSet;

use sqlx::PgConnection;

use super::{Person, RightsError};
use crate::{
    event::Event,
    ingest::{
        entry::Entry,
        erased::{Rest, take_out},
        queue::{DeadLetter, Delivery, Queue},
    },
    session::{OrderKey, SessionEvent},
    store::devices,
};

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
        for letter in queue.all_dead_letters().await? {
            match decode(&letter) {
                Some(entry) => found.extend(entry.events.into_iter().filter(|event| self.owns(event))),
                None => unreadable += 1,
            }
        }
        Ok((found, unreadable))
    }

    /// Takes the person's events out of the dead letters; a letter that held nothing else goes altogether.
    pub async fn erase_dead(&self, queue: &Queue) -> Result<(), RightsError> {
        for letter in queue.all_dead_letters().await? {
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

fn decode(letter: &DeadLetter) -> Option<Entry> {
    Entry::decode(&letter.delivery.version, &letter.delivery.payload).ok()
}

async fn for_each_waiting(queue: &Queue, mut act: impl FnMut(Entry)) -> Result<(), RightsError> {
    let read = |delivery: Delivery| {
        // What cannot be read becomes a dead letter when its turn comes.
        if let Ok(entry) = Entry::decode(&delivery.version, &delivery.payload) {
            act(entry);
        }
        Ok(())
    };
    queue.for_each_waiting(None, read).await
}
