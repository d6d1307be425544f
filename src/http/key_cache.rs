//! API keys seen lately, so that ingest asks PostgreSQL once in a while and not once per request.
//!
//! A change in this process takes effect at once ([`KeyCache::clear`]), one in another process within
//! [`TIME_TO_LIVE`]. While PostgreSQL is away, ingest goes on with keys confirmed in the last ten minutes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;

use super::auth::Staleness;
use crate::store::{
    StoreError,
    keys::{self, KeyRecord, WriteOrigins},
};

/// How long an answer of the store is taken for true: the longest a key revoked elsewhere still works.
const TIME_TO_LIVE: TimeDelta = TimeDelta::seconds(5);

/// How much longer ingest believes it while the store is away: longer than any restart of PostgreSQL.
const GRACE: TimeDelta = TimeDelta::minutes(10);

/// How long a lookup may take when there is an older answer to fall back on: a waiting ingest request is
/// worse than a key that is some seconds older.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(1);

/// Pause after a failed refresh, so that not every request waits for a store that is away.
const RETRY_PAUSE: TimeDelta = TimeDelta::seconds(2);

/// Keys and unknown keys together; about 300 bytes each. Wrong keys cannot push it further.
const ENTRIES_MAX: usize = 4096;

/// The cache of keys and of the origins of all write keys.
#[derive(Default)]
pub struct KeyCache {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<[u8; 32], Entry<Option<Arc<KeyRecord>>>>,
    origins: Option<Entry<Arc<WriteOrigins>>>,
    /// Counts the clears, so that an answer read before one is not kept after it.
    generation: u64,
}

#[derive(Clone)]
struct Entry<T> {
    value: T,
    confirmed_at: DateTime<Utc>,
    /// No refresh before this time, after one that failed.
    retry_at: DateTime<Utc>,
}

impl<T> Entry<T> {
    fn new(value: T, now: DateTime<Utc>) -> Self {
        Self {
            value,
            confirmed_at: now,
            retry_at: now,
        }
    }

    /// A clock set back makes an entry old, not eternal.
    fn is_younger_than(&self, age: TimeDelta, now: DateTime<Utc>) -> bool {
        self.confirmed_at <= now && now - self.confirmed_at < age
    }

    fn is_fresh(&self, now: DateTime<Utc>) -> bool {
        self.is_younger_than(TIME_TO_LIVE, now)
    }

    /// Whether the last refresh failed.
    fn has_failed(&self) -> bool {
        self.retry_at > self.confirmed_at
    }

    fn is_bearable(&self, now: DateTime<Utc>) -> bool {
        self.is_younger_than(TIME_TO_LIVE + GRACE, now)
    }
}

impl KeyCache {
    /// Returns the key of a hash, revoked and expired ones too; `None` when there is none.
    ///
    /// # Errors
    /// [`StoreError`] when the store had to be asked, failed, and nothing remembered may stand in.
    pub(super) async fn find(
        &self,
        pool: &PgPool,
        hash: &[u8; 32],
        now: DateTime<Utc>,
        staleness: Staleness,
    ) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        let (known, generation) = {
            let inner = self.lock();
            (inner.entries.get(hash).cloned(), inner.generation)
        };
        if let Some(entry) = known.as_ref().filter(|entry| entry.is_fresh(now)) {
            return Ok(entry.value.clone());
        }
        let stand_in = known
            .filter(|entry| staleness == Staleness::WhileStoreIsAway && entry.is_bearable(now))
            .filter(|entry| entry.value.is_some());
        let Some(stand_in) = stand_in else {
            let key = read_key(pool, hash).await?;
            self.remember(*hash, key.clone(), now, generation);
            return Ok(key);
        };
        if now < stand_in.retry_at {
            return Ok(stand_in.value);
        }
        if stand_in.has_failed() {
            // One request finds out whether the store is back; the others need not wait for it.
            self.postpone(hash, now);
        }
        match tokio::time::timeout(REFRESH_TIMEOUT, read_key(pool, hash)).await {
            Ok(Ok(key)) => {
                self.remember(*hash, key.clone(), now, generation);
                Ok(key)
            }
            Ok(Err(error)) if !error.is_unavailable() => Err(error),
            Ok(Err(_)) | Err(_) => {
                self.postpone(hash, now);
                Ok(stand_in.value)
            }
        }
    }

    /// Returns the origins of all usable write keys, at most [`TIME_TO_LIVE`] old, or the last known ones
    /// while the store is away; `None` when none were ever known.
    pub(super) async fn write_origins(&self, pool: &PgPool, now: DateTime<Utc>) -> Option<Arc<WriteOrigins>> {
        let (known, generation) = {
            let inner = self.lock();
            (inner.origins.clone(), inner.generation)
        };
        if let Some(entry) = known
            .as_ref()
            .filter(|entry| entry.is_fresh(now) || now < entry.retry_at)
        {
            return Some(entry.value.clone());
        }
        let answer = tokio::time::timeout(REFRESH_TIMEOUT, read_origins(pool, now)).await;
        let mut inner = self.lock();
        if let Ok(Ok(origins)) = answer {
            let origins = Arc::new(origins);
            if inner.generation == generation {
                inner.origins = Some(Entry::new(origins.clone(), now));
            }
            return Some(origins);
        }
        let entry = inner.origins.as_mut()?;
        entry.retry_at = now + RETRY_PAUSE;
        Some(entry.value.clone())
    }

    /// Forgets everything, after keys were changed.
    pub fn clear(&self) {
        let mut inner = self.lock();
        inner.entries.clear();
        inner.origins = None;
        inner.generation += 1;
    }

    fn postpone(&self, hash: &[u8; 32], now: DateTime<Utc>) {
        if let Some(entry) = self.lock().entries.get_mut(hash) {
            entry.retry_at = now + RETRY_PAUSE;
        }
    }

    fn remember(&self, hash: [u8; 32], key: Option<Arc<KeyRecord>>, now: DateTime<Utc>, generation: u64) {
        let mut inner = self.lock();
        if inner.generation != generation {
            return;
        }
        if inner.entries.len() >= ENTRIES_MAX && !inner.entries.contains_key(&hash) {
            make_room(&mut inner.entries);
        }
        inner.entries.insert(hash, Entry::new(key, now));
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner
            .lock()
            .expect("no code panics while it holds the key cache")
    }
}

/// Drops what is remembered of unknown keys; were all keys real, the one confirmed longest ago goes.
fn make_room(entries: &mut HashMap<[u8; 32], Entry<Option<Arc<KeyRecord>>>>) {
    entries.retain(|_, entry| entry.value.is_some());
    if entries.len() >= ENTRIES_MAX {
        let oldest = entries
            .iter()
            .min_by_key(|(_, entry)| entry.confirmed_at)
            .map(|(hash, _)| *hash);
        if let Some(hash) = oldest {
            entries.remove(&hash);
        }
    }
}

async fn read_key(pool: &PgPool, hash: &[u8; 32]) -> Result<Option<Arc<KeyRecord>>, StoreError> {
    let mut connection = acquire(pool).await?;
    Ok(keys::find_key_by_hash(&mut connection, hash).await?.map(Arc::new))
}

async fn read_origins(pool: &PgPool, now: DateTime<Utc>) -> Result<WriteOrigins, StoreError> {
    let mut connection = acquire(pool).await?;
    keys::write_origins(&mut connection, now).await
}

async fn acquire(pool: &PgPool) -> Result<sqlx::pool::PoolConnection<sqlx::Postgres>, StoreError> {
    pool.acquire()
        .await
        .map_err(StoreError::during("connecting to PostgreSQL"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    fn hash(number: usize) -> [u8; 32] {
        std::array::from_fn(|index| number.to_le_bytes().get(index).copied().unwrap_or(0))
    }

    fn key() -> Option<Arc<KeyRecord>> {
        Some(Arc::new(KeyRecord {
            id: 1,
            kind: keys::KeyKind::Write,
            name: "test".into(),
            prefix: "pk_test".into(),
            origins: Vec::new(),
            scopes: Vec::new(),
            created_at: now(),
            expires_at: None,
            revoked_at: None,
            rotated_from: None,
        }))
    }

    #[test]
    fn wrong_keys_push_out_each_other_and_no_real_one() {
        let cache = KeyCache::default();
        cache.remember(hash(0), key(), now(), 0);
        for number in 1..=ENTRIES_MAX * 2 {
            cache.remember(hash(number), None, now(), 0);
            assert!(cache.lock().entries.len() <= ENTRIES_MAX);
        }
        assert!(cache.lock().entries.contains_key(&hash(0)));
    }

    #[test]
    fn among_real_keys_the_one_confirmed_longest_ago_goes() {
        let cache = KeyCache::default();
        for number in 0..=ENTRIES_MAX {
            let later = TimeDelta::milliseconds(i64::try_from(number).unwrap());
            cache.remember(hash(number), key(), now() + later, 0);
        }
        let inner = cache.lock();
        assert_eq!(inner.entries.len(), ENTRIES_MAX);
        assert!(!inner.entries.contains_key(&hash(0)));
        assert!(inner.entries.contains_key(&hash(ENTRIES_MAX)));
    }

    #[test]
    fn an_answer_read_before_a_change_is_not_kept_after_it() {
        let cache = KeyCache::default();
        let before = cache.lock().generation;
        cache.clear();
        cache.remember(hash(0), key(), now(), before);
        assert!(cache.lock().entries.is_empty());
    }

    #[test]
    fn a_clock_set_back_makes_an_entry_old() {
        let entry = Entry::new((), now());
        assert!(entry.is_fresh(now()));
        assert!(!entry.is_fresh(now() - TimeDelta::seconds(1)));
    }
}
