use std::{fs, path::PathBuf};

use super::*;

const SALT: &str = "0123456789abcdef0123";

/// Sources with a salt, so that only what a test is about can be wrong.
fn sources(file: &str, environment: &[(&str, &str)]) -> (tempfile::TempDir, Sources) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    fs::write(&path, file).unwrap();
    let mut variables = vec![("JOURNEY_SECRETS__API_KEY_SALT".into(), SALT.into())];
    variables.extend(
        environment
            .iter()
            .map(|(name, text)| (name.to_string(), text.to_string())),
    );
    let sources = Sources {
        file: Some(path),
        environment: variables,
        credentials: None,
        secrets: true,
    };
    (folder, sources)
}

fn problems(file: &str, environment: &[(&str, &str)]) -> Vec<String> {
    let (_folder, sources) = sources(file, environment);
    let gathered = sources.gather().unwrap();
    gathered.problems.iter().map(Problem::to_string).collect()
}

#[test]
fn the_defaults_lack_nothing_but_a_salt() {
    let Err(ConfigError::Invalid(problems)) = Config::default().validate() else {
        panic!("a salt must be missing");
    };
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].key, "secrets.api_key_salt");
    assert!(problems[0].message.starts_with("is missing"));
}

#[test]
fn later_layers_win_and_are_named() {
    let file = "[session]\ntimeout_minutes = 10\n[server]\ncors_origins = [\"https://file.example\"]\nlisten = \"0.0.0.0:1\"";
    let environment = [
        ("SESSION_TIMEOUT_MINUTES", "20"),
        ("JOURNEY_SERVER__LISTEN", "0.0.0.0:2"),
        ("CORS_ORIGINS", "https://a.example, https://b.example"),
        ("EVENTS_RETENTION_DAYS", "50"),
        ("JOURNEY_RETENTION__EVENTS_DAYS", "60"),
        ("REDIS_URL", ""),
        ("PATH", "/bin"),
    ];
    let (_folder, sources) = sources(file, &environment);
    let gathered = sources.gather().unwrap();
    assert_eq!(gathered.problems, []);
    let config = &gathered.config;
    assert_eq!(config.session.timeout_minutes, 20);
    assert_eq!(config.server.listen, "0.0.0.0:2");
    assert_eq!(
        config.server.cors_origins,
        ["https://a.example", "https://b.example"]
    );
    assert_eq!(config.retention.events_days, 60);
    assert_eq!(config.redis.queue_url, "redis://127.0.0.1:6379");
    let origin = |path| {
        gathered
            .settings()
            .into_iter()
            .find(|(key, ..)| *key == path)
            .unwrap()
            .2
            .to_owned()
    };
    assert_eq!(
        origin("session.timeout_minutes"),
        "environment SESSION_TIMEOUT_MINUTES"
    );
    assert_eq!(
        origin("retention.events_days"),
        "environment JOURNEY_RETENTION__EVENTS_DAYS"
    );
    assert_eq!(origin("server.cors_origins"), "environment CORS_ORIGINS");
    assert_eq!(origin("writer.workers"), "default");
}

#[test]
fn the_bundles_way_of_writing_values_is_understood() {
    let environment = [
        ("DATABASE_URL", "postgresql+asyncpg://me:pw@db:5432/journey"),
        ("LOG_LEVEL", "WARNING"),
        ("CORS_ORIGINS", "[\"https://a.example\"]"),
    ];
    let (_folder, sources) = sources("", &environment);
    let config = sources.load().unwrap();
    assert_eq!(config.database.url, "postgresql://me:pw@db:5432/journey");
    assert_eq!(config.telemetry.log_filter, "warn");
    assert_eq!(config.server.cors_origins, ["https://a.example"]);
}

#[test]
fn every_name_of_the_bundle_sets_a_key_that_exists() {
    for bundle in BUNDLE_NAMES {
        assert!(find_key(bundle.path).is_some(), "{}", bundle.name);
    }
}

#[test]
fn every_key_can_be_set_by_its_environment_variable() {
    for key in keys() {
        let text = match key.kind {
            Kind::Text | Kind::List => "marker",
            Kind::Whole(_) => "41",
            Kind::Switch => "true",
            Kind::Choice(choices) => choices[choices.len() - 1].0,
        };
        let sources = Sources {
            environment: vec![(key.environment_name(), text.into())],
            ..Sources::default()
        };
        let gathered = sources.gather().unwrap();
        let setting = gathered
            .settings()
            .into_iter()
            .find(|(path, ..)| *path == key.path)
            .unwrap();
        assert_eq!(setting.2, format!("environment {}", key.environment_name()));
        assert!(setting.1.contains(text) || setting.1.contains('*'), "{setting:?}");
    }
}

#[test]
fn every_choice_is_read_under_the_name_the_reference_gives() {
    for key in keys() {
        let Kind::Choice(choices) = key.kind else { continue };
        for (name, _) in choices {
            let (section, field) = key.path.split_once('.').unwrap();
            assert_eq!(
                problems(&format!("[{section}]\n{field} = \"{name}\""), &[]),
                Vec::<String>::new()
            );
        }
    }
}

#[test]
fn unknown_keys_are_refused_by_name_with_the_nearest_one() {
    let file = "colour = 1\n[server]\nlisen = \"x\"\ntimezone = \"UTC\"\n[writr]\nworkers = 1\n";
    let environment = [("JOURNEY_SERVER_LISTEN", "x"), ("JOURNEY_CONFIG", "/elsewhere")];
    let text = problems(file, &environment).join("\n");
    for expected in [
        "colour in file",
        "server.lisen in file",
        "did you mean server.listen?",
        "did you mean site.timezone?",
        "did you mean the section [writer]?",
        "JOURNEY_SERVER_LISTEN in the environment is not known; did you mean JOURNEY_SERVER__LISTEN?",
    ] {
        assert!(text.contains(expected), "{expected} is not in:\n{text}");
    }
    assert!(!text.contains("JOURNEY_CONFIG"), "{text}");
}

#[test]
fn wrong_types_name_key_layer_and_expected_type_all_at_once() {
    let file = "[server]\nlisten = 8030\ntrusted_proxy_hops = -1\ncors_origins = [1]\n[ingest]\nqueue = \"disk\"\nfilter_bots = \"yes\"\n[session]\ntimeout_minutes = 0.5\n[redis]\ntimeout_ms = true\n";
    let environment = [
        ("MAX_EVENT_BATCH_SIZE", "many"),
        ("JOURNEY_WRITER__WORKERS", "5000000000"),
    ];
    let found = problems(file, &environment);
    assert_eq!(found.len(), 9, "{found:#?}");
    let text = found.join("\n");
    for expected in [
        "config.toml must be text, but is the number 8030",
        "must be a whole number from 0 to 4294967295, but is the number -1",
        "must be a list of texts, but is a list",
        "must be `redis` or `direct`, but is the text \"disk\"",
        "must be true or false, but is the text \"yes\"",
        "but is a number with a fraction",
        "redis.timeout_ms in file",
        "ingest.batch_events_max in the environment (MAX_EVENT_BATCH_SIZE) must be a whole number",
        "writer.workers in the environment (JOURNEY_WRITER__WORKERS) must be",
    ] {
        assert!(text.contains(expected), "{expected} is not in:\n{text}");
    }
}

#[test]
fn a_file_that_is_not_toml_is_refused_with_the_place() {
    let (_folder, sources) = sources("[server]\nlisten = \n", &[]);
    let Err(ConfigError::Syntax { source, .. }) = sources.load() else {
        panic!("a value is missing");
    };
    assert!(source.to_string().contains("line 2"), "{source}");
}

#[test]
fn secrets_come_from_files_and_credentials_win_over_them() {
    let (folder, mut sources) = sources("", &[]);
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let file = format!(
        "[secrets]\napi_key_salt_file = {:?}\ndatabase_url_file = {:?}\n",
        write("salt", "the-salt-from-a-file\n"),
        write("url", "postgres://file@db/journey\n")
    );
    write("config.toml", &file);
    fs::create_dir(folder.path().join("credentials")).unwrap();
    write("credentials/database-url", "postgres://credential@db/journey");
    sources.credentials = Some(folder.path().join("credentials"));
    let config = sources.load().unwrap();
    assert_eq!(config.secrets.api_key_salt, "the-salt-from-a-file");
    assert_eq!(config.database.url, "postgres://credential@db/journey");
}

#[test]
fn an_unreadable_secret_is_one_problem_that_names_key_and_file() {
    let found = problems("[secrets]\ndatabase_url_file = \"/nowhere/url\"\n", &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("database.url is to come from secrets.database_url_file, but /nowhere/url"));
}

#[test]
fn a_file_can_be_checked_where_its_secrets_are_not() {
    let (folder, _) = sources("[secrets]\napi_key_salt_file = \"/run/secrets/salt\"\n", &[]);
    Sources::of_file(&folder.path().join("config.toml"))
        .load()
        .unwrap();
    let missing = Sources::of_file(&PathBuf::from("/nowhere/config.toml")).load();
    assert!(matches!(missing, Err(ConfigError::Read { .. })));
}

#[test]
fn settings_are_shown_without_secrets() {
    let (_folder, sources) = sources("", &[("DATABASE_URL", "postgres://me:hunter2@db/journey")]);
    let settings = sources
        .gather()
        .unwrap()
        .settings()
        .iter()
        .map(|setting| format!("{setting:?}"))
        .collect::<String>();
    assert!(
        !settings.contains("hunter2") && !settings.contains(SALT),
        "{settings}"
    );
}

/// Each line of the file is wrong in one way only, and the key it is reported under is given beside it.
#[test]
fn each_rule_refuses_what_breaks_it_under_the_key_at_fault() {
    let cases = [
        ("server.listen", "\"localhost\""),
        ("server.cors_origins", "[\"https://shop.example/path\"]"),
        ("server.cors_origins", "[\"shop.example\"]"),
        ("server.public_url", "\"journey.example\""),
        ("server.public_url", "\"ftp://journey.example\""),
        ("server.public_url", "\"https://journey.example/\""),
        ("server.request_timeout_seconds", "0"),
        ("server.shutdown_timeout_seconds", "0"),
        ("database.url", "\"mysql://db/journey\""),
        ("database.connections_max", "1"),
        ("database.acquire_timeout_seconds", "30"),
        ("database.acquire_timeout_seconds", "0"),
        ("redis.queue_url", "\"\""),
        ("redis.cache_url", "\"http://cache\""),
        ("redis.key_prefix", "\"a b\""),
        ("redis.timeout_ms", "0"),
        ("ingest.decompressed_bytes_max", "524287"),
        ("ingest.queue_entries_max", "0"),
        ("ingest.retry_after_seconds", "0"),
        ("writer.batch_events", "99"),
        ("writer.claim_idle_ms", "1000"),
        ("writer.deliveries_max", "0"),
        ("session.timeout_minutes", "1441"),
        ("retention.compress_after_days", "90"),
        ("retention.chunk_days", "91"),
        ("retention.chunk_days", "0"),
        ("retention.metrics_days", "40000"),
        ("site.timezone", "\"Europe/Berln\""),
        ("site.own_hosts", "[\"https://shop.example\"]"),
        ("jobs.rollup", "\"every minute\""),
        ("jobs.retention", "\"10 3 * * *\""),
        ("jobs.housekeeping", "\"0 0 0 31 2 *\""),
        ("jobs.alerts", "\"hourly\""),
        ("alerts.weeks_min", "1"),
        ("alerts.weeks_min", "9"),
        ("alerts.rate_fall_percent_min", "101"),
        ("alerts.traffic_fall_percent_min", "0"),
        ("alerts.error_rise_percent_min", "0"),
        ("alerts.sessions_min", "0"),
        ("alerts.false_alarm_days", "0"),
        ("alerts.delivery_attempts_max", "0"),
        ("alerts.delivery_timeout_seconds", "0"),
        ("alerts.slack_webhook_url", "\"hooks.slack.com/services/T0\""),
        ("alerts.webhook_url", "\"ftp://hook.example/\""),
        ("telemetry.log_filter", "\"customer_journey=loud\""),
        ("secrets.api_key_salt", "\"fifteen-letters\""),
    ];
    for (key, value) in cases {
        let (section, field) = key.split_once('.').unwrap();
        let (folder, mut sources) = sources(&format!("[{section}]\n{field} = {value}\n"), &[]);
        if key == "secrets.api_key_salt" {
            sources.environment.clear();
        }
        let problems = sources.gather().unwrap().problems;
        assert!(
            problems.iter().all(|problem| problem.key == key),
            "{key} = {value}: {problems:?}"
        );
        assert_eq!(problems.len(), 1, "{key} = {value}: {problems:?}");
        drop(folder);
    }
}

#[test]
fn good_values_of_every_ruled_key_pass() {
    let file = "[server]\nlisten = \"[::1]:0\"\ncors_origins = [\"*\", \"http://localhost:5173\"]\npublic_url = \"https://journey.example:8443\"\n\
        [redis]\nqueue_url = \"\"\ncache_url = \"unix:///run/redis-cache/redis.sock\"\n[ingest]\nqueue = \"direct\"\n\
        [retention]\nevents_days = 0\ncompress_after_days = 100\n[site]\ntimezone = \"America/Argentina/Buenos_Aires\"\n\
        own_hosts = [\"shop.example\", \"127.0.0.1\"]\n[telemetry]\nlog_filter = \"customer_journey=debug,warn\"\n";
    assert_eq!(problems(file, &[]), Vec::<String>::new());
}

#[test]
fn mail_needs_a_sender_receivers_and_protection_on_the_way() {
    let mail = |more: &str| problems(&format!("[alerts]\nsmtp_host = \"mail.example\"\n{more}"), &[]);
    let found = mail("");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("alerts.mail_from must be an e-mail address"));
    assert!(found[1].starts_with("alerts.mail_to must name at least one receiver"));
    let people = "mail_from = \"Journey <journey@shop.example>\"\nmail_to = [\"me@shop.example\"]\n";
    assert_eq!(mail(people), Vec::<String>::new());
    let open = mail(&format!("{people}smtp_security = \"none\"\n"));
    assert_eq!(open.len(), 1, "{open:?}");
    assert!(open[0].starts_with("alerts.smtp_security must be starttls or tls"));
    let here = format!("[alerts]\nsmtp_host = \"localhost\"\n{people}smtp_security = \"none\"\n");
    assert_eq!(problems(&here, &[]), Vec::<String>::new());
    let nobody = mail(&people.replace("me@", "me at "));
    assert!(nobody[0].contains("each must be an e-mail address"), "{nobody:?}");
}

#[test]
fn addresses_and_secrets_of_alerts_are_shown_nowhere() {
    let file = "[alerts]\nslack_webhook_url = \"https://hooks.example/T0/hunter2\"\nwebhook_url = \"https://x.example/?key=hunter2\"\n\
        [secrets]\nalert_webhook_secret = \"hunter2hunter2hunter2\"\nsmtp_password = \"hunter2\"\n";
    let (_folder, sources) = sources(file, &[]);
    let gathered = sources.gather().unwrap();
    let shown = format!(
        "{:?} {:?} {}",
        gathered.settings(),
        gathered.config,
        gathered.config.to_toml()
    );
    assert!(!shown.contains("hunter2"), "{shown}");
}
