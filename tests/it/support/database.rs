//! A database of one's own for each test.

use customer_journey::{
    event::Hasher,
    ops::Clock,
    store::keys::{KeyKind, NewKey, Scope, create_key},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::{SALT, shared, unique};

/// An empty database on a PostgreSQL server.
pub struct Database {
    server: String,
    name: String,
    pub url: String,
}

impl Database {
    /// Makes one on the server all tests share.
    pub async fn create() -> Self {
        Self::create_on(&shared("DATABASE_URL")).await
    }

    /// Makes one on the server at `server`, the address of one of its databases.
    pub async fn create_on(server: &str) -> Self {
        let name = unique("it");
        let mut connection = PgConnection::connect(server).await.expect("PostgreSQL answers");
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .execute(&mut connection)
            .await
            .expect("a database can be made");
        Self {
            server: server.to_owned(),
            url: url_of(server, &name),
            name,
        }
    }

    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url)
            .await
            .expect("PostgreSQL answers")
    }

    /// Removes it, with whoever is still connected.
    pub async fn drop(self) {
        let mut connection = PgConnection::connect(&self.server)
            .await
            .expect("PostgreSQL answers");
        sqlx::query(AssertSqlSafe(format!("DROP DATABASE {} WITH (FORCE)", self.name)))
            .execute(&mut connection)
            .await
            .expect("the database can be dropped");
    }
}

/// Returns the address of another database on the same server.
pub fn url_of(server: &str, name: &str) -> String {
    let mut url = url::Url::parse(server).expect("the address of a database is a URL");
    url.set_path(name);
    url.into()
}

/// Makes the two keys every test needs: one that writes from anywhere, one that may do everything else.
pub async fn issue_keys(connection: &mut PgConnection) -> (String, String) {
    let write = issue_key(connection, KeyKind::Write, &[], &[]).await;
    let scopes = [
        Scope::Ingest,
        Scope::Read,
        Scope::Export,
        Scope::Erase,
        Scope::Admin,
    ];
    let admin = issue_key(connection, KeyKind::Secret, &[], &scopes).await;
    (write, admin)
}

/// Makes one key and returns its text.
pub async fn issue_key(
    connection: &mut PgConnection,
    kind: KeyKind,
    origins: &[&str],
    scopes: &[Scope],
) -> String {
    let origins: Vec<String> = origins.iter().map(ToString::to_string).collect();
    let new = NewKey::checked(kind, "test", &origins, scopes, None).expect("the key is sound");
    create_key(connection, &Hasher::new(SALT), &new, Clock::system().now())
        .await
        .expect("a key can be made")
        .key
}
