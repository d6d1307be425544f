//! After the restore of an older backup: the tombstones erase again.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use serde_json::json;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::{
    Removed, Rights, RightsError, erase::remove_person, patiently, person::find_user, remove::Removal,
};
use crate::{
    ingest::settle::{ERASED_DEVICE, ERASED_USER},
    store::{
        StoreError, devices,
        erasure::{self, Tombstone},
        situation,
        span::{self, Span},
    },
};

/// Devices and users looked at together.
const PIECE: i64 = 1000;

/// What a replay erased again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Replay {
    /// Tombstones there are.
    pub tombstones: u64,
    /// Users and devices that one of them stood for and that had data.
    pub subjects: u64,
    pub rows: Removed,
}

type Stones = HashMap<Vec<u8>, Vec<Tombstone>>;

impl Rights {
    /// Returns all tombstones: keep them beside a backup, since a restore brings back older ones.
    ///
    /// # Errors
    /// [`RightsError::Store`].
    pub async fn tombstones_kept(&self) -> Result<Vec<Tombstone>, RightsError> {
        let step = "store.erasure.all_tombstones";
        let mut connection = self.pool.acquire().await.map_err(StoreError::during(step))?;
        Ok(erasure::all_tombstones(&mut connection).await?)
    }

    /// Erases again whatever the tombstones, and `more` of them, stand for.
    ///
    /// Only what lies in their times goes: people who came back after their erasure keep what is new.
    ///
    /// # Errors
    /// [`RightsError::Store`]; nothing has changed then.
    pub async fn replay_tombstones(&self, more: &[Tombstone], actor: &str) -> Result<Replay, RightsError> {
        patiently(|| self.replay(more, actor)).await
    }

    async fn replay(&self, more: &[Tombstone], actor: &str) -> Result<Replay, RightsError> {
        let step = "store.replay_tombstones";
        let mut connection = self.pool.acquire().await.map_err(StoreError::during(step))?;
        let mut transaction = connection.begin().await.map_err(StoreError::during(step))?;
        erasure::lock_exclusive(&mut transaction).await?;
        situation::allow_large_deletes(&mut transaction, self.situation).await?;
        erasure::save_tombstones(&mut transaction, more).await?;
        let mut stones = Stones::new();
        for stone in erasure::all_tombstones(&mut transaction).await? {
            stones.entry(stone.subject_hash.clone()).or_default().push(stone);
        }
        let now = self.clock.now();
        let mut replay = Replay {
            tombstones: stones.values().map(|stones| stones.len() as u64).sum(),
            ..Replay::default()
        };
        let mut hours = std::collections::BTreeSet::new();
        let mut removal = Removal::new(&self.rules, now, None);
        for (device, spans) in self.erased_devices(&mut transaction, &stones).await? {
            let before = removal.removed.total();
            removal
                .remove_from(&mut transaction, &device, &spans.iter().collect::<Vec<_>>())
                .await?;
            replay.subjects += u64::from(removal.removed.total() > before);
        }
        removal.finish(&mut transaction).await?;
        hours.append(&mut removal.hours);
        replay.rows = removal.removed;
        for (user, stone) in self.erased_users(&mut transaction, &stones).await? {
            let Some(person) = find_user(&mut transaction, &user).await? else {
                continue;
            };
            let mut removal = Removal::new(&self.rules, now, Some((&user, stone.until)));
            remove_person(&mut transaction, &person, &mut removal).await?;
            replay.subjects += u64::from(removal.removed.total() > 0);
            hours.append(&mut removal.hours);
            replay.rows = replay.rows.plus(removal.removed);
        }

        let hours = self.whole_hours(&hours, now);
        situation::mark_dirty(&mut transaction, self.situation, &hours).await?;
        let details = json!({ "erasure_id": Uuid::now_v7(), "replay": replay });
        erasure::append_audit(&mut transaction, now, actor, "replay_tombstones", &details).await?;
        transaction.commit().await.map_err(StoreError::during(step))?;
        self.refresh(&mut connection, &hours).await;
        Ok(replay)
    }

    /// Walks all devices, since a tombstone can be recognised but not read.
    async fn erased_devices(
        &self,
        connection: &mut PgConnection,
        stones: &Stones,
    ) -> Result<BTreeMap<String, Vec<Span>>, StoreError> {
        let mut erased = BTreeMap::new();
        let mut after = String::new();
        loop {
            let piece = devices::ids_after(connection, &after, PIECE).await?;
            let Some(last) = piece.last() else {
                return Ok(erased);
            };
            after.clone_from(last);
            for device in piece {
                let hash = self.hasher.digest(ERASED_DEVICE, &device);
                if let Some(stones) = stones.get(&hash[..]) {
                    let span = |stone: &Tombstone| Span::of_times(&device, stone.since, stone.until);
                    let spans = stones.iter().map(span).collect();
                    erased.insert(device, spans);
                }
            }
        }
    }

    async fn erased_users(
        &self,
        connection: &mut PgConnection,
        stones: &Stones,
    ) -> Result<Vec<(String, Tombstone)>, StoreError> {
        let mut erased = Vec::new();
        let mut after = String::new();
        loop {
            let piece = span::users_after(connection, &after, PIECE).await?;
            let Some(last) = piece.last() else {
                return Ok(erased);
            };
            after.clone_from(last);
            for user in piece {
                let hash = self.hasher.digest(ERASED_USER, &user);
                let newest = stones.get(&hash[..]).and_then(|stones| stones.last());
                erased.extend(newest.map(|stone| (user, stone.clone())));
            }
        }
    }
}
