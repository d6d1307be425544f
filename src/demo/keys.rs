//! The demo's two API keys: made at the first start, the same ones ever after.

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::state::StateFolder;
use crate::{
    event::Hasher,
    store::keys::{self, KeyKind, KeyRecord, NewKey, Scope},
};

/// A key that works now.
pub(super) struct DemoKey {
    /// Database id.
    pub(super) id: i32,
    pub(super) key: String,
}

/// The shop's key and the analyst's.
pub(super) struct Keys {
    pub(super) write: DemoKey,
    pub(super) secret: DemoKey,
}

/// Returns the keys of the state folder, or makes them.
///
/// One that no longer works is replaced: revoked through the API, or made for a shop on another port.
///
/// # Errors
/// When database or state folder cannot be written.
pub(super) async fn prepare(
    connection: &mut PgConnection,
    state: &mut StateFolder,
    port: u16,
    now: DateTime<Utc>,
) -> Result<Keys> {
    let hasher = Hasher::new(&state.record.salt);
    let origins = ["127.0.0.1", "localhost"].map(|host| format!("http://{host}:{port}"));
    let scopes = [Scope::Read, Scope::Export, Scope::Erase, Scope::Admin];
    let write = NewKey::checked(KeyKind::Write, "Demo shop", &origins, &[], None)?;
    let secret = NewKey::checked(KeyKind::Secret, "Demo", &[], &scopes, None)?;

    let fits = |key: &KeyRecord| origins.iter().all(|origin| key.origins.contains(origin));
    let write = ensure(
        connection,
        &hasher,
        state.record.write_key.clone(),
        &write,
        fits,
        now,
    )
    .await?;
    let secret = ensure(
        connection,
        &hasher,
        state.record.secret_key.clone(),
        &secret,
        |_| true,
        now,
    )
    .await?;
    state.record.write_key = Some(write.key.clone());
    state.record.secret_key = Some(secret.key.clone());
    state.save()?;
    Ok(Keys { write, secret })
}

async fn ensure(
    connection: &mut PgConnection,
    hasher: &Hasher,
    known: Option<String>,
    new: &NewKey,
    fits: impl Fn(&KeyRecord) -> bool,
    now: DateTime<Utc>,
) -> Result<DemoKey> {
    let step = "the demo's keys cannot be made";
    if let Some(key) = known
        && let Some(hash) = keys::hash_key(hasher, &key)
        && let Some(record) = keys::find_key_by_hash(connection, &hash).await.context(step)?
        && record.revoked_at.is_none()
        && !record.is_expired(now)
    {
        if fits(&record) {
            return Ok(DemoKey { id: record.id, key });
        }
        keys::revoke_key(connection, record.id, now).await.context(step)?;
    }
    let issued = keys::create_key(connection, hasher, new, now)
        .await
        .context(step)?;
    Ok(DemoKey {
        id: issued.record.id,
        key: issued.key,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[sqlx::test(migrations = "./migrations")]
    async fn keys_stay_the_same_until_one_no_longer_works(pool: sqlx::PgPool) {
        let connection = &mut *pool.acquire().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut state = StateFolder::open(folder.path(), false).unwrap();
        let now: DateTime<Utc> = "2026-03-01T12:00:00Z".parse().unwrap();
        let first = prepare(connection, &mut state, 8030, now).await.unwrap();
        let again = prepare(connection, &mut state, 8030, now).await.unwrap();
        assert_eq!(first.write.key, again.write.key);
        assert_eq!(first.secret.key, again.secret.key);

        let moved = prepare(connection, &mut state, 8031, now).await.unwrap();
        assert_ne!(moved.write.key, first.write.key);
        assert_eq!(moved.secret.key, first.secret.key);
        let usable = keys::write_origins(connection, now).await.unwrap();
        assert_eq!(usable.listed, ["http://127.0.0.1:8031", "http://localhost:8031"]);

        keys::revoke_key(connection, first.secret.id, now).await.unwrap();
        let replaced = prepare(connection, &mut state, 8031, now).await.unwrap();
        assert_ne!(replaced.secret.key, first.secret.key);
        assert_eq!(replaced.write.key, moved.write.key);
        assert_eq!(state.record.secret_key, Some(replaced.secret.key));
    }
}
