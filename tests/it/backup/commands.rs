//! The commands, as a timer and a person run them.

use std::fs;

use customer_journey::{
    ops::Clock,
    service::{Options, Service},
};
use serde_json::{Value, json};

use super::{Site, names, number};
use crate::support::{App, drained, eventually, page_view, run};

/// Writes the configuration as a file, and returns its path.
fn write_config(site: &Site) -> std::path::PathBuf {
    let path = site.folder.path().join("config.toml");
    let config = &site.config;
    let text = format!(
        "database.url = \"{}\"\nredis.queue_url = \"{}\"\nredis.key_prefix = \"{}\"\n\
         backup.directory = \"{}\"\nsecrets.api_key_salt = \"{}\"\ntelemetry.log_format = \"text\"\n",
        config.database.url,
        config.redis.queue_url,
        config.redis.key_prefix,
        config.backup.directory,
        config.secrets.api_key_salt
    );
    fs::write(&path, text).expect("it is ours");
    path
}

async fn printed(arguments: &[&str], config: &std::path::Path) -> String {
    let output = run(arguments, config).await;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("it is text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_made_listed_verified_and_restored_by_commands() {
    let site = Site::new().await;
    let config = write_config(&site);
    let app = App::start_with(site.config.clone(), Options::new(Clock::system())).await;
    app.client
        .post_kept(&json!({ "events": [page_view("a", "device")] }))
        .await;
    let mut connection = site.database.connect().await;
    drained(&mut connection, &site.config).await;

    let text = printed(&["backup"], &config).await;
    assert!(
        text.contains("holds 1 events, 1 sessions and 1 customers"),
        "{text}"
    );
    let listed: Value =
        serde_json::from_str(&printed(&["backups", "list", "--json"], &config).await).expect("it is JSON");
    assert_eq!(listed[0]["database"]["events"], 1);
    let name = listed[0]["name"].as_str().expect("it has a name").to_owned();
    let text = printed(&["backups", "verify", "--restore"], &config).await;
    assert!(text.contains("was restored into a database of its own"), "{text}");
    let succeeded = "SELECT count(*) FROM job_runs WHERE job LIKE 'backup%' AND outcome = 'succeeded' AND succeeded_at IS NOT NULL";
    assert_eq!(number(&mut connection, succeeded).await, 2);
    app.stop().await;
    drop(connection);

    let salt = site.folder.path().join("salt");
    let salt_file = salt.to_string_lossy();
    let text = printed(
        &["restore", &name, "--replace", "--salt-file", &salt_file],
        &config,
    )
    .await;
    assert!(
        text.contains("is restored: 1 events") && text.contains("holds the set's salt now"),
        "{text}"
    );
    assert_eq!(
        fs::read_to_string(&salt).expect("it is written").trim_end(),
        site.config.secrets.api_key_salt
    );
    site.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_fails_ends_with_1_and_the_last_success_stays_known() {
    let site = Site::new().await;
    let config = write_config(&site);
    let service = Service::start(site.config.clone(), Options::new(Clock::system()))
        .await
        .expect("the service starts");
    printed(&["backup"], &config).await;
    let mut connection = site.database.connect().await;
    let success = "SELECT extract(epoch FROM succeeded_at)::bigint FROM job_runs WHERE job = 'backup'";
    let at = number(&mut connection, success).await;

    let blocked = site.folder.path().join("file");
    fs::write(&blocked, "").expect("it is ours");
    let below = blocked.join("sets").to_string_lossy().into_owned();
    let output = run(&["backup", "--directory", &below], &config).await;
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        errors.contains("ERROR") && errors.contains("cannot be made"),
        "{errors}"
    );
    assert_eq!(
        number(
            &mut connection,
            "SELECT count(*) FROM job_runs WHERE job = 'backup' AND outcome = 'failed'"
        )
        .await,
        1
    );
    assert_eq!(number(&mut connection, success).await, at);
    // A damaged set is loud, too.
    let set = customer_journey::backup::find(&site.directory(), None).expect("there is one");
    fs::write(set.path.join("tombstones.ndjson"), "x").expect("it is ours");
    let output = run(&["backups", "verify"], &config).await;
    assert_eq!(output.status.code(), Some(1));
    service.stop().await.expect("the service stops");
    drop(connection);
    site.drop().await;
}

/// A limit on the size of files is what a test can have of a full disk: writing fails in the middle of one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_the_disk_has_no_room_for_leaves_the_old_sets() {
    let site = Site::new().await;
    let config = write_config(&site);
    printed(&["migrate"], &config).await;
    printed(&["backup"], &config).await;
    let before = names(&site.directory());
    let output = run_with_small_files(&["backup"], &config).await;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    let folder = site.directory().to_string_lossy().into_owned();
    assert!(
        errors.contains(&folder) && errors.contains("cannot be written: File too large"),
        "{errors}"
    );
    assert_eq!(names(&site.directory()), before);
    let text = printed(&["backups", "verify"], &config).await;
    assert!(text.contains("is whole"), "{text}");
    site.drop().await;
}

/// Runs the program where no file may grow beyond a block or two, and writing more is an error, no signal.
async fn run_with_small_files(arguments: &[&str], config: &std::path::Path) -> std::process::Output {
    let script = "trap '' XFSZ; ulimit -f 1; exec \"$@\"";
    tokio::process::Command::new("sh")
        .args(["-c", script, "sh", env!("CARGO_BIN_EXE_customer-journey")])
        .args(arguments)
        .arg("--config")
        .arg(config)
        .env_clear()
        .kill_on_drop(true)
        .output()
        .await
        .expect("a shell can be run")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_running_service_shows_when_a_backup_last_succeeded() {
    let site = Site::new().await;
    let config = write_config(&site);
    let settings = crate::support::Settings {
        port: crate::support::free_port(),
        database_url: site.config.database.url.clone(),
        redis_url: site.config.redis.queue_url.clone(),
        key_prefix: site.config.redis.key_prefix.clone(),
        queue: "redis",
        claim_idle_ms: 10_000,
        more: String::new(),
    };
    let service = crate::support::ServiceProcess::start(&settings).await;
    printed(&["backup"], &config).await;
    let page = format!("{}/metrics", service.address);
    eventually("the metric is there", async || {
        let client = customer_journey::ops::web::client().build().ok()?;
        let text = client.get(&page).send().await.ok()?.text().await.ok()?;
        let line = text.lines().find_map(|line| {
            line.strip_prefix("customer_journey_job_last_success_timestamp_seconds{job=\"backup\"} ")
        })?;
        assert!(line.parse::<f64>().is_ok_and(|at| at > 1.7e9), "{line}");
        let good = "customer_journey_job_last_failed{job=\"backup\"} 0";
        text.lines().any(|line| line == good).then_some(())
    })
    .await;
    drop(service);
    site.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_is_verified_where_its_database_cannot_be_reached() {
    let mut site = Site::new().await;
    printed(&["migrate"], &write_config(&site)).await;
    let made = site.back_up().await.expect("a backup can be made");
    site.config.database.url = format!("postgres://nobody@127.0.0.1:{}/none", crate::support::free_port());
    let config = write_config(&site);
    let text = printed(&["backups", "verify", &made.set.name()], &config).await;
    assert!(text.contains("is whole"), "{text}");
    let output = run(&["backups", "verify", "--restore"], &config).await;
    assert_eq!(output.status.code(), Some(1));
    site.drop().await;
}
