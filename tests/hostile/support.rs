//! A running service on a database of its own, and a client that sends whatever bytes it is told to.

use std::{
    io::Write,
    net::SocketAddr,
    sync::{Mutex, Once, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use customer_journey::{
    config::Config,
    demo::dataset::{DatasetOptions, visits},
    event::Hasher,
    ops::Clock,
    service::{Options, Service},
    store::keys::{KeyKind, NewKey, Scope, create_key},
};
use sqlx::{Connection, Executor, PgConnection, PgPool, postgres::PgConnectOptions};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};
use uuid::Uuid;

/// How long a client here waits for (more of) an answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long the service may take to stop. It cuts off what never ends after half of it; the rest is for a slow machine.
const SHUTDOWN_SECONDS: u64 = 20;

/// Ids of the keys here. Far from the small numbers that made-up requests use, which would revoke them.
const FIRST_KEY_ID: i32 = 1_000_003;

/// The service, in this process, with a database and a part of Redis for itself.
pub struct App {
    pub service: Service,
    pub address: SocketAddr,
    /// A secret key with every scope.
    pub secret_key: String,
    /// A key as a page has it.
    pub write_key: String,
    pub pool: PgPool,
    database: String,
}

impl App {
    /// Starts the service with the demo shop on an empty database.
    pub async fn start() -> Self {
        watch_log();
        let database = format!("hostile_{}", Uuid::new_v4().simple());
        administer(&format!("CREATE DATABASE {database}")).await;
        let options = server().database(&database);
        let pool = PgPool::connect_lazy_with(options.clone());

        let mut config = Config::default();
        config.server.listen = "127.0.0.1:0".into();
        config.server.shutdown_timeout_seconds = SHUTDOWN_SECONDS;
        config.database.url = sqlx::ConnectOptions::to_url_lossy(&options).to_string();
        config.redis.queue_url = std::env::var("REDIS_URL").expect("REDIS_URL names a Redis for tests");
        config.redis.key_prefix.clone_from(&database);
        config.secrets.api_key_salt = "sixteen bytes of salt".into();
        let hasher = Hasher::new(&config.secrets.api_key_salt);
        let options = Options {
            demo_key: Some("pk_shown_to_everybody".into()),
            ..Options::new(Clock::fixed(now()))
        };
        let service = Service::start(config, options).await.expect("the service starts");

        pool.execute(sqlx::AssertSqlSafe(format!(
            "ALTER TABLE api_keys ALTER COLUMN id RESTART WITH {FIRST_KEY_ID}"
        )))
        .await
        .expect("no key has an id yet");
        let scopes = [
            Scope::Ingest,
            Scope::Read,
            Scope::Export,
            Scope::Erase,
            Scope::Admin,
        ];
        Self {
            address: service.address,
            secret_key: issue(&pool, &hasher, KeyKind::Secret, &scopes).await,
            write_key: issue(&pool, &hasher, KeyKind::Write, &[]).await,
            service,
            pool,
            database,
        }
    }

    /// Stops the service, which must not take as long as its patience lasts, and removes the database.
    pub async fn stop(self) {
        let stopping = timeout(Duration::from_secs(SHUTDOWN_SECONDS - 2), self.service.stop());
        stopping
            .await
            .expect("nothing holds the stop up")
            .expect("the stop is in order");
        self.pool.close().await;
        administer(&format!("DROP DATABASE {} WITH (FORCE)", self.database)).await;
        assert_eq!(troubles(), Vec::<String>::new(), "the log shows trouble");
    }

    /// Sends the first `count` or so events of the demonstration's traffic, and waits until they are stored.
    pub async fn seed(&self, count: usize) {
        let mut options = DatasetOptions::demo(now(), "https://shop.example");
        options.people = 300;
        options.days = 20;
        let mut sent = 0;
        for visit in visits(&options) {
            let body = serde_json::json!({ "events": visit.events }).to_string();
            let answer = self.post(&self.write_key, body.as_bytes()).await;
            assert_eq!(answer.status(), 202, "{}", answer.text);
            sent += visit.events.len();
            if sent >= count {
                break;
            }
        }
        self.wait_for_stored(sent as i64).await;
    }

    /// Waits until so many events are in the table.
    pub async fn wait_for_stored(&self, count: i64) {
        let stored = async || -> i64 {
            let query = sqlx::query_scalar("SELECT count(*) FROM events");
            query
                .fetch_one(&self.pool)
                .await
                .expect("the table can be counted")
        };
        for _ in 0..1200 {
            if stored().await >= count {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(stored().await, count, "events are stored");
    }

    /// Sends events as a server would.
    pub async fn post(&self, key: &str, body: &[u8]) -> Answer {
        let head = format!(
            "POST /api/v1/events HTTP/1.1\r\nHost: test\r\nX-API-Key: {key}\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        self.send(&[head.as_bytes(), body].concat()).await
    }

    /// Asks for a path, which may be anything that fits between two blanks.
    pub async fn get(&self, path: &str) -> Answer {
        let head = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        self.send(head.as_bytes()).await
    }

    /// Sends these bytes over a connection of their own and returns all that comes back.
    pub async fn send(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect().await;
        // The service may have answered and closed before it has read everything.
        let _ = timeout(PATIENCE, stream.write_all(bytes)).await;
        read_answer(&mut stream).await
    }

    pub async fn connect(&self) -> TcpStream {
        let connecting = timeout(PATIENCE, TcpStream::connect(self.address));
        connecting
            .await
            .expect("the service accepts in time")
            .expect("the service accepts")
    }

    /// The service still answers.
    pub async fn assert_healthy(&self) {
        let answer = self.get("/health").await;
        assert_eq!(answer.statuses, [200], "{}", answer.text);
    }
}

/// Everything that came back over one connection.
#[derive(Debug)]
pub struct Answer {
    /// One for each answer: several where requests were pipelined, none where the connection was closed.
    pub statuses: Vec<u16>,
    pub text: String,
}

impl Answer {
    /// The status of the only answer.
    pub fn status(&self) -> u16 {
        let [status] = self.statuses[..] else {
            panic!("one answer, not {:?}: {}", self.statuses, self.text)
        };
        status
    }
}

/// Reads until the service closes the connection, or says nothing more for a while.
pub async fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let mut part = vec![0; 64 * 1024];
    while let Ok(Ok(length)) = timeout(PATIENCE, stream.read(&mut part)).await {
        if length == 0 {
            break;
        }
        bytes.extend_from_slice(&part[..length]);
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let statuses = text
        .match_indices("HTTP/1.")
        .filter_map(|(start, _)| text.get(start + 9..start + 12)?.parse().ok())
        .collect();
    Answer { statuses, text }
}

/// The time here: just after the dates that the OpenAPI document has as examples, so that they find events.
fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_774_994_400, 0).expect("2026-03-31T22:00:00Z is a time")
}

fn server() -> PgConnectOptions {
    let url = std::env::var("DATABASE_URL").expect("DATABASE_URL names a PostgreSQL for tests");
    url.parse().expect("DATABASE_URL is an address")
}

async fn administer(statement: &str) {
    let mut connection = PgConnection::connect_with(&server())
        .await
        .expect("PostgreSQL runs");
    let statement = sqlx::AssertSqlSafe(statement.to_owned());
    connection
        .execute(statement)
        .await
        .expect("databases can be made and removed");
}

async fn issue(pool: &PgPool, hasher: &Hasher, kind: KeyKind, scopes: &[Scope]) -> String {
    let never: Option<DateTime<Utc>> = None;
    let wish = NewKey::checked(kind, "test", &[], scopes, never).expect("the wish is in order");
    let mut connection = pool.acquire().await.expect("the database answers");
    create_key(&mut connection, hasher, &wish, now())
        .await
        .expect("the key is made")
        .key
}

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Keeps the log of this process, and what panics say.
fn watch_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(|| LogWriter)
            .init();
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // A test that fails here is no trouble of the service.
            if panic
                .location()
                .is_none_or(|place| !place.file().starts_with("tests/"))
            {
                let _ = writeln!(LogWriter, "ERROR {panic}");
            }
            print(panic);
        }));
    });
}

/// Returns the lines of the log that are for somebody to act on.
fn troubles() -> Vec<String> {
    let log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
    let lines = String::from_utf8_lossy(&log).into_owned();
    lines
        .lines()
        .filter(|line| line.contains("ERROR") || line.contains("was not drained"))
        .map(str::to_owned)
        .collect()
}
