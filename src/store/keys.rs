//! API keys: made here, kept as keyed hashes only.

use chrono::{DateTime, TimeDelta, Utc};
use rand::distr::{Alphanumeric, SampleString};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use thiserror::Error;
use url::Url;
use utoipa::ToSchema;

use super::StoreError;
use crate::event::Hasher;

/// Random characters of a key: 40 of 62 possible ones are 238 bits.
const SECRET_LENGTH: usize = 40;

/// Characters of a key that stay readable in the list, with its `pk_`.
const PREFIX_LENGTH: usize = 11;

/// Domain of the key hashes, see [`Hasher::digest`].
const HASH_DOMAIN: &str = "api-key";

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// `pk_…`: only sends events; safe in a page.
    Write,
    /// `sk_…`: does what its scopes say; stays on servers.
    Secret,
}

impl KeyKind {
    /// The first characters of every key of this kind.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Write => "pk_",
            Self::Secret => "sk_",
        }
    }

    /// The word the database keeps.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Secret => "secret",
        }
    }
}

/// What a secret key may do. No scope contains another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Send events.
    Ingest,
    /// Read sessions, customers, events and metrics.
    Read,
    /// Export everything about one person.
    Export,
    /// Erase a person.
    Erase,
    /// Manage keys, see the system's state, undo merges.
    Admin,
}

impl Scope {
    /// The word the database and the API use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Read => "read",
            Self::Export => "export",
            Self::Erase => "erase",
            Self::Admin => "admin",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Ingest, Self::Read, Self::Export, Self::Erase, Self::Admin]
            .into_iter()
            .find(|scope| scope.as_str() == text)
    }
}

/// A key as it is known after its creation: everything but the key itself.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyRecord {
    pub id: i32,
    pub kind: KeyKind,
    pub name: String,
    /// The first characters of the key.
    pub prefix: String,
    /// Origins a write key may be used from; empty means any.
    pub origins: Vec<String>,
    pub scopes: Vec<Scope>,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
    /// Id of the key this one replaces.
    pub rotated_from: Option<i32>,
}

impl KeyRecord {
    /// Whether the key's time was over at `now`.
    pub fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

/// A key to be made. [`NewKey::checked`] is the only way to one, so that none is made that can do nothing.
#[derive(Clone, Debug)]
pub struct NewKey {
    kind: KeyKind,
    name: String,
    origins: Vec<String>,
    scopes: Vec<Scope>,
    expires_at: Option<DateTime<Utc>>,
}

/// Why a key cannot be made as asked.
#[derive(Debug, Error, PartialEq)]
pub enum NewKeyError {
    #[error("the name needs 1 to 100 characters, none of them a control character")]
    Name,
    #[error("{0:?} is no origin: write it like https://shop.example or http://localhost:3000")]
    Origin(String),
    #[error("a write key has no scopes: it always and only sends events")]
    ScopesOfWriteKey,
    #[error("a secret key has no origins: it belongs on a server, never in a page")]
    OriginsOfSecretKey,
    #[error("a secret key needs at least one scope: ingest, read, export, erase or admin")]
    NoScope,
}

impl NewKey {
    /// Checks what was asked for and brings origins into the form browsers send.
    ///
    /// # Errors
    /// [`NewKeyError`] names what does not fit and what to write instead.
    pub fn checked(
        kind: KeyKind,
        name: &str,
        origins: &[String],
        scopes: &[Scope],
        expires_at: Option<DateTime<Utc>>,
    ) -> Result<Self, NewKeyError> {
        let name = name.trim();
        if name.is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
            return Err(NewKeyError::Name);
        }
        match kind {
            KeyKind::Write if !scopes.is_empty() => return Err(NewKeyError::ScopesOfWriteKey),
            KeyKind::Secret if !origins.is_empty() => return Err(NewKeyError::OriginsOfSecretKey),
            KeyKind::Secret if scopes.is_empty() => return Err(NewKeyError::NoScope),
            _ => {}
        }
        let mut origins = origins
            .iter()
            .map(|origin| normalise_origin(origin).ok_or_else(|| NewKeyError::Origin(origin.clone())))
            .collect::<Result<Vec<_>, _>>()?;
        origins.sort();
        origins.dedup();
        let mut scopes = scopes.to_vec();
        scopes.sort_by_key(|scope| scope.as_str());
        scopes.dedup();
        Ok(Self {
            kind,
            name: name.into(),
            origins,
            scopes,
            expires_at,
        })
    }
}

/// Returns the origin as browsers write it in `Origin` (lower case, no default port, no trailing slash);
/// `None` for anything that is not just scheme, host and port of http or https.
pub fn normalise_origin(text: &str) -> Option<String> {
    let url = Url::parse(text.trim()).ok()?;
    let bare = matches!(url.scheme(), "http" | "https")
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    bare.then(|| url.origin().ascii_serialization())
}

/// A key just made: the only moment its text is known.
#[derive(Clone, Debug)]
pub struct IssuedKey {
    pub record: KeyRecord,
    /// The key itself; never stored, shown once.
    pub key: String,
}

/// Returns the hash a key is found by, or `None` for a text that was never issued by us: wrong beginning,
/// length or alphabet. Such texts cost no query.
pub fn hash_key(hasher: &Hasher, key: &str) -> Option<[u8; 32]> {
    let secret = key.strip_prefix("pk_").or_else(|| key.strip_prefix("sk_"))?;
    let possible = secret.len() == SECRET_LENGTH && secret.bytes().all(|byte| byte.is_ascii_alphanumeric());
    possible.then(|| hasher.digest(HASH_DOMAIN, key))
}

#[derive(sqlx::FromRow)]
struct KeyRow {
    id: i32,
    kind: String,
    name: String,
    prefix: String,
    origins: Vec<String>,
    scopes: Vec<String>,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    rotated_from: Option<i32>,
}

impl From<KeyRow> for KeyRecord {
    fn from(row: KeyRow) -> Self {
        Self {
            id: row.id,
            // The table's check allows these two words only.
            kind: if row.kind == KeyKind::Write.as_str() {
                KeyKind::Write
            } else {
                KeyKind::Secret
            },
            name: row.name,
            prefix: row.prefix,
            origins: row.origins,
            // A scope that a later release knows grants nothing here.
            scopes: row
                .scopes
                .iter()
                .filter_map(|scope| Scope::parse(scope))
                .collect(),
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            rotated_from: row.rotated_from,
        }
    }
}

/// Makes a key and keeps its hash.
pub async fn create_key(
    connection: &mut PgConnection,
    hasher: &Hasher,
    new: &NewKey,
    now: DateTime<Utc>,
) -> Result<IssuedKey, StoreError> {
    insert_key(connection, hasher, new, None, now).await
}

async fn insert_key(
    connection: &mut PgConnection,
    hasher: &Hasher,
    new: &NewKey,
    rotated_from: Option<i32>,
    now: DateTime<Utc>,
) -> Result<IssuedKey, StoreError> {
    let secret = Alphanumeric.sample_string(&mut rand::rng(), SECRET_LENGTH);
    let key = format!("{}{secret}", new.kind.prefix());
    let scopes: Vec<&str> = new.scopes.iter().map(|scope| scope.as_str()).collect();
    let row: KeyRow = sqlx::query_as(
        "INSERT INTO api_keys (kind, name, prefix, key_hash, origins, scopes, created_at, expires_at, rotated_from)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         RETURNING id, kind, name, prefix, origins, scopes, created_at, expires_at, revoked_at, rotated_from",
    )
    .bind(new.kind.as_str())
    .bind(&new.name)
    .bind(&key[..PREFIX_LENGTH])
    .bind(hasher.digest(HASH_DOMAIN, &key).as_slice())
    .bind(&new.origins)
    .bind(scopes)
    .bind(now)
    .bind(new.expires_at)
    .bind(rotated_from)
    .fetch_one(connection)
    .await
    .map_err(StoreError::during("creating an API key"))?;
    Ok(IssuedKey {
        record: row.into(),
        key,
    })
}

/// Finds the key of a hash, also when it is revoked or expired.
pub async fn find_key_by_hash(
    connection: &mut PgConnection,
    key_hash: &[u8; 32],
) -> Result<Option<KeyRecord>, StoreError> {
    let row: Option<KeyRow> = sqlx::query_as(
        "SELECT id, kind, name, prefix, origins, scopes, created_at, expires_at, revoked_at, rotated_from
         FROM api_keys WHERE key_hash = $1",
    )
    .bind(key_hash.as_slice())
    .fetch_optional(connection)
    .await
    .map_err(StoreError::during("reading an API key"))?;
    Ok(row.map(KeyRecord::from))
}

/// Lists keys by ascending id, those after `after_id`, revoked and expired ones too.
pub async fn list_keys(
    connection: &mut PgConnection,
    after_id: i32,
    limit: i64,
) -> Result<Vec<KeyRecord>, StoreError> {
    let rows: Vec<KeyRow> = sqlx::query_as(
        "SELECT id, kind, name, prefix, origins, scopes, created_at, expires_at, revoked_at, rotated_from
         FROM api_keys WHERE id > $1 ORDER BY id LIMIT $2",
    )
    .bind(after_id)
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(StoreError::during("listing API keys"))?;
    Ok(rows.into_iter().map(KeyRecord::from).collect())
}

/// Replaces a key by a new one with the same rights; the old one ends after `grace`, or earlier when it
/// was to expire earlier. The new one has no end of its own. `None` when there is no such usable key.
///
/// Wants a transaction around it: a crash between its two statements must not leave both keys valid.
pub async fn rotate_key(
    connection: &mut PgConnection,
    hasher: &Hasher,
    id: i32,
    grace: TimeDelta,
    now: DateTime<Utc>,
) -> Result<Option<IssuedKey>, StoreError> {
    let old: Option<KeyRow> = sqlx::query_as(
        "UPDATE api_keys SET expires_at = least(expires_at, $2)
         WHERE id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $3)
         RETURNING id, kind, name, prefix, origins, scopes, created_at, expires_at, revoked_at, rotated_from",
    )
    .bind(id)
    .bind(now + grace)
    .bind(now)
    .fetch_optional(&mut *connection)
    .await
    .map_err(StoreError::during("ending a rotated API key"))?;
    let Some(old) = old.map(KeyRecord::from) else {
        return Ok(None);
    };
    let new = NewKey {
        kind: old.kind,
        name: old.name,
        origins: old.origins,
        scopes: old.scopes,
        expires_at: None,
    };
    insert_key(connection, hasher, &new, Some(id), now)
        .await
        .map(Some)
}

/// Revokes a key at once; revoking it again changes nothing. `None` when there is no such key.
pub async fn revoke_key(
    connection: &mut PgConnection,
    id: i32,
    now: DateTime<Utc>,
) -> Result<Option<KeyRecord>, StoreError> {
    let row: Option<KeyRow> = sqlx::query_as(
        "UPDATE api_keys SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1
         RETURNING id, kind, name, prefix, origins, scopes, created_at, expires_at, revoked_at, rotated_from",
    )
    .bind(id)
    .bind(now)
    .fetch_optional(connection)
    .await
    .map_err(StoreError::during("revoking an API key"))?;
    Ok(row.map(KeyRecord::from))
}

/// From where browsers may send events, over all usable write keys.
#[derive(Clone, Debug, Default, PartialEq, sqlx::FromRow)]
pub struct WriteOrigins {
    /// Whether some usable write key has no restriction.
    pub any: bool,
    pub listed: Vec<String>,
}

/// Collects the origins of all write keys that are neither revoked nor expired.
pub async fn write_origins(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
) -> Result<WriteOrigins, StoreError> {
    sqlx::query_as(
        "WITH usable AS (
             SELECT origins FROM api_keys
             WHERE kind = 'write' AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $1)
         )
         SELECT EXISTS (SELECT FROM usable WHERE cardinality(origins) = 0) AS any,
                ARRAY (SELECT DISTINCT unnest(origins) FROM usable ORDER BY 1) AS listed",
    )
    .bind(now)
    .fetch_one(connection)
    .await
    .map_err(StoreError::during("reading the origins of write keys"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_take_the_form_browsers_send() {
        for (given, expected) in [
            ("https://Shop.Example", Some("https://shop.example")),
            (" http://localhost:3000/ ", Some("http://localhost:3000")),
            ("https://shop.example:443", Some("https://shop.example")),
            ("https://bücher.example", Some("https://xn--bcher-kva.example")),
            ("https://shop.example/cart", None),
            ("https://shop.example?x", None),
            ("https://user@shop.example", None),
            ("shop.example", None),
            ("file:///tmp", None),
            ("null", None),
            ("*", None),
            ("", None),
        ] {
            assert_eq!(normalise_origin(given).as_deref(), expected, "{given:?}");
        }
    }

    #[test]
    fn only_what_could_be_a_key_is_hashed() {
        let hasher = Hasher::new("a salt of sixteen");
        let secret = "a".repeat(SECRET_LENGTH);
        let publishable = hash_key(&hasher, &format!("pk_{secret}"));
        assert!(publishable.is_some());
        assert_ne!(publishable, hash_key(&hasher, &format!("sk_{secret}")));
        for bad in [
            format!("pk_{secret}a"),
            format!("xk_{secret}"),
            format!("pk_{}é", &secret[2..]),
        ] {
            assert_eq!(hash_key(&hasher, &bad), None, "{bad}");
        }
    }
}
