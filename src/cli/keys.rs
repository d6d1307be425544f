//! `customer-journey keys`: make, list, rotate and revoke API keys.

use std::io::Write;

use anyhow::{Context as _, Result, bail};
use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Subcommand};
use sqlx::{Connection, PgConnection};

use customer_journey::{
    config::Config,
    event::Hasher,
    http::keys::{IssuedKeyOut, KeyOut},
    ops::Clock,
    store::keys::{self, KeyKind, NewKey, Scope},
};

/// Keys read from the database at once.
const CHUNK: i64 = 1000;

/// API keys: create, list, rotate, revoke.
#[derive(Debug, Args)]
pub struct KeysArguments {
    #[command(subcommand)]
    command: KeysCommand,
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Create a key; it is shown once.
    Create {
        /// Write keys send events and may stand in a page; secret keys do what their scopes say.
        #[arg(long, value_enum)]
        kind: KeyKind,
        /// A name to recognise it by.
        #[arg(long)]
        name: String,
        /// Origin a write key may be used from, as https://shop.example; may be given several times, any
        /// origin when absent.
        #[arg(long = "origin", value_name = "ORIGIN")]
        origins: Vec<String>,
        /// What a secret key may do; may be given several times.
        #[arg(long = "scope", value_enum, value_name = "SCOPE")]
        scopes: Vec<Scope>,
        /// When it ends, from now: 90d, 12h, 30m or 45s; never when absent.
        #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
        expires_in: Option<TimeDelta>,
    },
    /// List all keys, revoked and expired ones too.
    List,
    /// Replace a key by a new one with the same rights.
    Rotate {
        /// Id of the key, as `keys list` shows it.
        id: i32,
        /// How long the old key goes on working: 90d, 12h, 30m or 45s.
        #[arg(long, value_parser = parse_duration, value_name = "DURATION", default_value = "24h")]
        grace: TimeDelta,
    },
    /// Revoke a key; running services refuse it within five seconds.
    Revoke {
        /// Id of the key, as `keys list` shows it.
        id: i32,
    },
}

/// Runs the command against the database of the configuration and prints to standard output.
///
/// # Errors
/// When the database cannot be reached, or the key is not what can be made, rotated or revoked.
pub async fn run(arguments: KeysArguments, config: &Config, clock: &Clock) -> Result<()> {
    let mut connection = PgConnection::connect(&config.database.url)
        .await
        .context("the database cannot be reached: is it running, and is database.url right?")?;
    let context = Context {
        hasher: Hasher::new(&config.secrets.api_key_salt),
        public_url: config.server.public_url.clone(),
        now: clock.now(),
    };
    let output = &mut std::io::stdout().lock();
    execute(arguments, &mut connection, &context, output).await
}

/// What a command needs besides the database.
struct Context {
    hasher: Hasher,
    /// Empty when the configuration has none.
    public_url: String,
    now: DateTime<Utc>,
}

async fn execute(
    arguments: KeysArguments,
    connection: &mut PgConnection,
    context: &Context,
    output: &mut impl Write,
) -> Result<()> {
    let json = arguments.json;
    let Context { hasher, now, .. } = context;
    let now = *now;
    match arguments.command {
        KeysCommand::Create {
            kind,
            name,
            origins,
            scopes,
            expires_in,
        } => {
            let expires_at = expires_in.map(|duration| now + duration);
            let new = NewKey::checked(kind, &name, &origins, &scopes, expires_at)?;
            let issued = keys::create_key(connection, hasher, &new, now).await?;
            print_issued(output, json, &IssuedKeyOut::new(issued, now), &context.public_url)
        }
        KeysCommand::List => {
            let listed = read_all(connection, now).await?;
            print_list(output, json, &listed)
        }
        KeysCommand::Rotate { id, grace } => {
            let mut transaction = connection.begin().await?;
            let issued = keys::rotate_key(&mut transaction, hasher, id, grace, now).await?;
            let Some(issued) = issued else {
                bail!("there is no usable key {id}: `customer-journey keys list` shows all of them");
            };
            transaction.commit().await?;
            print_issued(output, json, &IssuedKeyOut::new(issued, now), &context.public_url)
        }
        KeysCommand::Revoke { id } => {
            let Some(record) = keys::revoke_key(connection, id, now).await? else {
                bail!("there is no key {id}: `customer-journey keys list` shows all of them");
            };
            print_list(output, json, &[KeyOut::new(record, now)])
        }
    }
}

async fn read_all(connection: &mut PgConnection, now: DateTime<Utc>) -> Result<Vec<KeyOut>> {
    let mut listed: Vec<KeyOut> = Vec::new();
    loop {
        let after_id = listed.last().map_or(0, |key| key.id);
        let rows = keys::list_keys(connection, after_id, CHUNK).await?;
        if rows.is_empty() {
            return Ok(listed);
        }
        listed.extend(rows.into_iter().map(|record| KeyOut::new(record, now)));
    }
}

fn print_issued(output: &mut impl Write, json: bool, issued: &IssuedKeyOut, public_url: &str) -> Result<()> {
    if json {
        return print_json(output, issued);
    }
    writeln!(output, "{}", issued.key)?;
    writeln!(
        output,
        "\nKey {} ({}, {}). It is shown this once: keep it now.",
        issued.record.id,
        kind_and_rights(&issued.record),
        issued.record.name
    )?;
    if issued.record.kind == KeyKind::Write {
        print_script_tag(output, &issued.key, public_url)?;
    }
    Ok(())
}

/// Stands in the tag for an address that the configuration does not have.
const PUBLIC_URL_PLACE: &str = "https://YOUR-JOURNEY-HOST";

fn print_script_tag(output: &mut impl Write, key: &str, public_url: &str) -> Result<()> {
    let known = !public_url.is_empty();
    let base = if known { public_url } else { PUBLIC_URL_PLACE };
    writeln!(output, "\nFor every page of the site, in its head:")?;
    if !known {
        writeln!(
            output,
            "(put the address of this service in place of {PUBLIC_URL_PLACE}, or set server.public_url)"
        )?;
    }
    writeln!(
        output,
        "\n<script src=\"{base}/sdk/customer-journey.min.js\" async data-api-url=\"{base}\" data-api-key=\"{key}\"></script>"
    )?;
    Ok(())
}

fn print_json(output: &mut impl Write, value: &impl serde::Serialize) -> Result<()> {
    serde_json::to_writer_pretty(&mut *output, value)?;
    writeln!(output)?;
    Ok(())
}

fn print_list(output: &mut impl Write, json: bool, listed: &[KeyOut]) -> Result<()> {
    if json {
        return print_json(output, &listed);
    }
    let head = ["ID", "KEY", "STATUS", "RIGHTS", "CREATED", "ENDS", "NAME"].map(String::from);
    let rows: Vec<[String; 7]> = std::iter::once(head)
        .chain(listed.iter().map(table_row))
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; 7] = std::array::from_fn(|column| width(column).unwrap_or(0));
    for row in &rows {
        let line: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        writeln!(output, "{}", line.join("  ").trim_end())?;
    }
    Ok(())
}

fn table_row(key: &KeyOut) -> [String; 7] {
    let day = |time: DateTime<Utc>| time.format("%Y-%m-%d %H:%M").to_string();
    [
        key.id.to_string(),
        format!("{}…", key.prefix),
        key.status.to_owned(),
        kind_and_rights(key),
        day(key.created_at),
        key.revoked_at
            .or(key.expires_at)
            .map_or_else(|| "never".to_owned(), day),
        key.name.clone(),
    ]
}

fn kind_and_rights(key: &KeyOut) -> String {
    let rights: Vec<&str> = match key.kind {
        KeyKind::Write if key.origins.is_empty() => vec!["any origin"],
        KeyKind::Write => key.origins.iter().map(String::as_str).collect(),
        KeyKind::Secret => key.scopes.iter().map(|scope| scope.as_str()).collect(),
    };
    format!("{}: {}", key.kind.as_str(), rights.join(" "))
}

/// Reads a number with its unit: `d`, `h`, `m` or `s`.
fn parse_duration(text: &str) -> Result<TimeDelta, String> {
    let wrong = || format!("{text:?} is no duration: write 90d, 12h, 30m or 45s");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        'd' => 86_400,
        'h' => 3_600,
        'm' => 60,
        's' => 1,
        _ => return Err(wrong()),
    };
    let count: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    // A hundred years: past that, times leave what the database can hold.
    let total = i64::from(count) * seconds;
    if total > 36_500 * 86_400 {
        return Err(format!("{text:?} is longer than a hundred years"));
    }
    Ok(TimeDelta::seconds(total))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        keys: KeysArguments,
    }

    async fn keys(connection: &mut PgConnection, line: &str) -> Result<String> {
        keys_of("", connection, line).await
    }

    async fn keys_of(public_url: &str, connection: &mut PgConnection, line: &str) -> Result<String> {
        let words = std::iter::once("keys").chain(line.split(' '));
        let arguments = Program::try_parse_from(words)?.keys;
        let context = Context {
            hasher: Hasher::new("a salt of sixteen"),
            public_url: public_url.to_owned(),
            now: "2026-03-01T12:00:00Z".parse()?,
        };
        let mut output = Vec::new();
        execute(arguments, connection, &context, &mut output).await?;
        Ok(String::from_utf8(output)?)
    }

    #[sqlx::test(migrations = "./migrations")]
    async fn keys_are_made_listed_rotated_and_revoked(pool: sqlx::PgPool) {
        let connection = &mut *pool.acquire().await.unwrap();
        let created = keys(
            connection,
            "create --kind write --name Shop --origin https://shop.example --expires-in 90d",
        )
        .await
        .unwrap();
        let key = created.lines().next().unwrap();
        assert!(key.starts_with("pk_") && key.len() == 43);
        let line = "create --kind secret --name Reports --scope read --scope export --json";
        let created = keys(connection, line).await.unwrap();
        let created: serde_json::Value = serde_json::from_str(&created).unwrap();
        assert_eq!(created["scopes"], serde_json::json!(["export", "read"]));

        let rotated = keys(connection, "rotate 2 --grace 1h").await.unwrap();
        assert!(rotated.starts_with("sk_"));
        keys(connection, "revoke 1").await.unwrap();

        let table = keys(connection, "list").await.unwrap();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 4);
        let ends = lines[0].find("ENDS").unwrap();
        assert!(lines[1].contains("revoked") && lines[1].contains("write: https://shop.example"));
        assert!(lines[2].contains("secret: export read") && lines[2].contains("2026-03-01 13:00"));
        let from_ends: String = lines[3].chars().skip(ends).collect();
        assert_eq!(
            from_ends.split_whitespace().collect::<Vec<_>>(),
            ["never", "Reports"]
        );
        assert!(!table.contains(key));
        let listed: serde_json::Value =
            serde_json::from_str(&keys(connection, "list --json").await.unwrap()).unwrap();
        assert_eq!(listed[2]["rotated_from"], 2);
    }

    #[sqlx::test(migrations = "./migrations")]
    async fn a_write_key_comes_with_its_script_tag(pool: sqlx::PgPool) {
        let connection = &mut *pool.acquire().await.unwrap();
        let line = "create --kind write --name Shop";
        let created = keys_of("https://journey.example", connection, line)
            .await
            .unwrap();
        let key = created.lines().next().unwrap();
        let tag = format!(
            "<script src=\"https://journey.example/sdk/customer-journey.min.js\" async \
             data-api-url=\"https://journey.example\" data-api-key=\"{key}\"></script>"
        );
        assert_eq!(created.lines().last(), Some(tag.as_str()));
        assert!(!created.contains("server.public_url"));

        let rotated = keys(connection, "rotate 1").await.unwrap();
        assert!(rotated.contains("server.public_url"), "{rotated}");
        let tag = rotated.lines().last().unwrap();
        assert!(
            tag.starts_with("<script src=\"https://YOUR-JOURNEY-HOST/sdk/"),
            "{tag}"
        );

        let secret = keys(connection, "create --kind secret --name Me --scope read").await;
        assert!(!secret.unwrap().contains("<script"));
        let machine = keys(connection, "create --kind write --name Other --json").await;
        serde_json::from_str::<serde_json::Value>(&machine.unwrap()).unwrap();
    }

    #[sqlx::test(migrations = "./migrations")]
    async fn what_cannot_be_done_is_said(pool: sqlx::PgPool) {
        let connection = &mut *pool.acquire().await.unwrap();
        for (line, says) in [
            ("revoke 7", "there is no key 7"),
            ("rotate 7", "there is no usable key 7"),
            ("create --kind secret --name x", "at least one scope"),
            (
                "create --kind write --name x --origin shop.example",
                "is no origin",
            ),
            ("create --kind write --name x --expires-in soon", "is no duration"),
        ] {
            let error = keys(connection, line).await.unwrap_err();
            assert!(error.to_string().contains(says), "{line}: {error}");
        }
    }

    #[test]
    fn durations_have_a_unit_and_an_end() {
        assert_eq!(parse_duration("90d"), Ok(TimeDelta::days(90)));
        assert_eq!(parse_duration("45s"), Ok(TimeDelta::seconds(45)));
        for bad in ["", "d", "5", "-5d", "1w", "1é", "99999999d", "99999999999h"] {
            assert!(parse_duration(bad).is_err(), "{bad:?}");
        }
    }
}
