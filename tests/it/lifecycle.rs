//! A start that cannot succeed says why in a sentence and ends with code 1.

use std::process::Output;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::TempDir;

use crate::support::{Servers, Settings, free_port, run, shared, unique, url_of};

fn settings() -> Settings {
    Settings {
        port: free_port(),
        database_url: shared("DATABASE_URL"),
        redis_url: shared("REDIS_URL"),
        key_prefix: unique("it"),
        queue: "redis",
        claim_idle_ms: 30_000,
        more: String::new(),
    }
}

/// Runs `serve` with these settings to its end and returns the last line it wrote.
async fn last_words(settings: &Settings) -> String {
    let folder = TempDir::new().expect("a folder can be made");
    let file = folder.path().join("config.toml");
    std::fs::write(&file, settings.to_toml()).expect("it is ours");
    let Output { status, stderr, .. } = run(&["serve"], &file).await;
    let stderr = String::from_utf8(stderr).expect("it writes text");
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    stderr.lines().last().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let database = crate::support::Database::create().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = taken.local_addr().expect("it is bound").port();
    let words = last_words(&Settings {
        port,
        database_url: database.url.clone(),
        ..settings()
    })
    .await;
    let expected =
        format!("error: 127.0.0.1:{port} cannot be listened on: is it in use? Set server.listen to another");
    assert!(words.starts_with(&expected), "{words}");
    database.drop().await;
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_named() {
    let database_url = url_of(&shared("DATABASE_URL"), "no_such_database");
    let words = last_words(&Settings {
        database_url,
        ..settings()
    })
    .await;
    assert!(words.contains("check database.url"), "{words}");
    assert!(words.contains("\"no_such_database\" does not exist"), "{words}");
}

#[tokio::test]
async fn a_wrong_password_is_said_to_be_wrong_and_not_shown() {
    let servers = Servers::start().await;
    let rules = servers.postgres_data.join("pg_hba.conf");
    let rest = std::fs::read_to_string(&rules).expect("the rules can be read");
    std::fs::write(
        &rules,
        format!("host all guarded 127.0.0.1/32 scram-sha-256\n{rest}"),
    )
    .expect("they are ours");
    let mut connection = PgConnection::connect(&servers.database_url)
        .await
        .expect("PostgreSQL answers");
    for sql in [
        "CREATE ROLE guarded LOGIN PASSWORD 'right'",
        "SELECT pg_reload_conf()",
    ] {
        sqlx::query(AssertSqlSafe(sql))
            .execute(&mut connection)
            .await
            .expect("PostgreSQL obeys");
    }
    let with_password = |password: &str| {
        servers
            .database_url
            .replace("postgres@", &format!("guarded:{password}@"))
    };
    crate::support::eventually("the rule is in force", async || {
        PgConnection::connect(&with_password("wrong"))
            .await
            .is_err()
            .then_some(())
    })
    .await;
    let words = last_words(&Settings {
        database_url: with_password("hunter2"),
        ..settings()
    })
    .await;
    assert!(
        words.contains("password authentication failed for user \"guarded\""),
        "{words}"
    );
    assert!(words.contains("check database.url"), "{words}");
    assert!(!words.contains("hunter2"), "{words}");
}

#[tokio::test]
async fn an_unknown_key_is_named_with_the_one_that_was_meant() {
    let words = last_words(&Settings {
        more: "writer.worker = 2".into(),
        ..settings()
    })
    .await;
    assert!(
        words.contains("writer.worker") && words.contains("writer.workers"),
        "{words}"
    );
}

#[tokio::test]
async fn a_missing_secret_is_named_with_where_to_put_it() {
    let mut settings = settings();
    settings.more = "telemetry.log_filter = \"info\"".into();
    let toml: String = settings
        .to_toml()
        .lines()
        .filter(|line| !line.starts_with("secrets."))
        .map(|line| format!("{line}\n"))
        .collect();
    let folder = TempDir::new().expect("a folder can be made");
    let file = folder.path().join("config.toml");
    std::fs::write(&file, toml).expect("it is ours");
    let output = run(&["serve"], &file).await;
    let words = String::from_utf8(output.stderr).expect("it writes text");
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains("secrets.api_key_salt"), "{words}");
}
