//! A set is whole or refused, and a failure costs nothing that was there.

use std::{
    fs,
    path::{Path, PathBuf},
};

use customer_journey::{backup, ops::Clock, service::Options, store::MIGRATOR};
use serde_json::Value;

use super::{Site, names, number, picture, run};
use crate::support::App;

/// A migrated database with a few rows, without a service.
async fn small() -> Site {
    let site = Site::new().await;
    let mut connection = site.database.connect().await;
    MIGRATOR
        .run_direct(None, &mut connection, false)
        .await
        .expect("the database can be migrated");
    run(
        &mut connection,
        "INSERT INTO audit_log (at, actor, action, details)
         SELECT now(), 'somebody', 'something', '{}' FROM generate_series(1, 1000)",
    )
    .await;
    site
}

fn edit_manifest(set: &Path, edit: impl FnOnce(&mut Value)) {
    let path = set.join("manifest.json");
    let mut manifest =
        serde_json::from_str(&fs::read_to_string(&path).expect("it is there")).expect("it is JSON");
    edit(&mut manifest);
    fs::write(&path, manifest.to_string()).expect("it is ours");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_set_is_refused_and_nothing_changes() {
    let site = small().await;
    let set = site.back_up().await.expect("a backup can be made").set.path;
    let mut connection = site.database.connect().await;
    let before = picture(&mut connection).await;
    let file = set.join("database/audit_log.zst");
    let whole = fs::read(&file).expect("it is there");

    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let damages: [(&str, &dyn Fn()); 3] = [
        ("its content is not what was written", &|| {
            fs::write(&file, &flipped).expect("it is ours")
        }),
        ("it cannot be read", &|| {
            fs::remove_file(&file).expect("it is ours")
        }),
        ("database/more.zst does not belong to it", &|| {
            fs::write(set.join("database/more.zst"), "more").expect("it is ours");
        }),
    ];
    for (expected, damage) in damages {
        damage();
        let error = site.restore(&set, true).await.expect_err("it is damaged");
        assert!(
            error.to_string().contains("damaged") && error.to_string().contains(expected),
            "{error}"
        );
        assert_eq!(picture(&mut connection).await, before);
        fs::write(&file, &whole).expect("it is ours");
        let _ = fs::remove_file(set.join("database/more.zst"));
    }
    site.restore(&set, true).await.expect("it is whole again");
    drop(connection);
    site.drop().await;
}

/// What reads well may still not load: then the database stays as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_that_cannot_be_loaded_leaves_the_database_as_it_was() {
    let site = small().await;
    let set = site.back_up().await.expect("a backup can be made").set.path;
    edit_manifest(&set, |manifest| {
        let files = manifest["files"].as_array_mut().expect("there are files");
        let last = files
            .iter_mut()
            .rfind(|file| file.get("table").is_some())
            .expect("there are tables");
        last["table"]["columns"][0] = "no_such_column".into();
    });
    let mut connection = site.database.connect().await;
    let before = picture(&mut connection).await;
    let error = site.restore(&set, true).await.expect_err("the column is unknown");
    assert!(
        error.to_string().contains("the database is as it was"),
        "{error:#}"
    );
    assert_eq!(picture(&mut connection).await, before);
    drop(connection);
    site.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_of_a_newer_release_is_refused() {
    let site = small().await;
    let set = site.back_up().await.expect("a backup can be made").set.path;
    edit_manifest(&set, |manifest| {
        manifest["migration"] = 9999.into();
        manifest["release"] = "7.0.0".into();
    });
    let error = site.restore(&set, true).await.expect_err("it is newer");
    assert!(
        error.to_string().ends_with("use release 7.0.0 or newer"),
        "{error}"
    );
    edit_manifest(&set, |manifest| manifest["format"] = 2.into());
    let error = site.restore(&set, true).await.expect_err("it is newer");
    assert!(format!("{error:#}").ends_with("use 7.0.0 or newer"), "{error:#}");
    site.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_in_use_or_of_somebody_else_is_refused() {
    let (site, other) = (small().await, Site::new().await);
    let set = site.back_up().await.expect("a backup can be made").set.path;
    let app = App::start_with(site.config.clone(), Options::new(Clock::system())).await;
    let error = site.restore(&set, true).await.expect_err("the service runs");
    assert!(error.to_string().contains("stop it"), "{error}");
    app.stop().await;
    site.restore(&set, true).await.expect("nobody is there any more");

    let mut connection = other.database.connect().await;
    run(&mut connection, "CREATE TABLE theirs AS SELECT 1 AS one").await;
    let error = other.restore(&set, true).await.expect_err("it is not ours");
    assert!(error.to_string().contains("not of Customer Journey"), "{error}");
    assert_eq!(number(&mut connection, "SELECT count(*) FROM theirs").await, 1);
    drop(connection);
    site.drop().await;
    other.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_run_leaves_old_sets_and_no_new_one() {
    let mut site = small().await;
    site.back_up().await.expect("a backup can be made");
    // So old that a success would remove it.
    let old = site.directory().join("20200101T000000Z");
    let newest = backup::find(&site.directory(), None).expect("there is one").path;
    fs::rename(&newest, &old).expect("it is ours");
    site.config.backup.include = vec!["/no/such/folder".into()];
    let error = site.back_up().await.expect_err("a part cannot be read");
    assert!(
        error.to_string().contains("backup.include: /no/such/folder"),
        "{error:#}"
    );
    assert_eq!(names(&site.directory()), ["20200101T000000Z"]);

    site.config.backup.include.clear();
    let made = site.back_up().await.expect("a backup can be made");
    assert_eq!(made.removed, ["20200101T000000Z"]);
    assert_eq!(names(&site.directory()), [made.set.name()]);
    site.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn named_files_and_folders_are_in_the_set() {
    let mut site = small().await;
    let folder: PathBuf = site.folder.path().join("certificates");
    fs::create_dir_all(folder.join("a/b")).expect("it is ours");
    fs::write(folder.join("a/b/key"), "secret").expect("it is ours");
    std::os::unix::fs::symlink("a/b/key", folder.join("current")).expect("it is ours");
    let named = folder.to_string_lossy().into_owned();
    site.config.backup.include = vec![named.clone(), named];
    let made = site.back_up().await.expect("a backup can be made");
    let archives: Vec<_> = made
        .set
        .manifest
        .files
        .iter()
        .filter(|file| file.path.starts_with("include/"))
        .collect();
    assert_eq!(archives.len(), 2);
    assert_ne!(archives[0].path, archives[1].path);
    let unpacked = site.folder.path().join("unpacked");
    fs::create_dir(&unpacked).expect("it is ours");
    let status = std::process::Command::new("tar")
        .args(["--extract", "--file", "-", "--directory"])
        .arg(&unpacked)
        .stdin(unzstd(&made.set.path.join(&archives[0].path)))
        .status()
        .expect("tar can be run");
    assert!(status.success());
    let inside = unpacked.join(folder.strip_prefix("/").expect("it is absolute"));
    assert_eq!(
        fs::read_to_string(inside.join("current")).expect("the link leads there"),
        "secret"
    );
    site.drop().await;
}

/// Hands the unpacked bytes on, since not every machine has the `zstd` program.
fn unzstd(path: &Path) -> std::process::Stdio {
    let bytes = zstd::decode_all(fs::File::open(path).expect("it is there")).expect("it can be unpacked");
    let mut file = tempfile::tempfile().expect("a file can be made");
    std::io::Write::write_all(&mut file, &bytes).expect("it is ours");
    std::io::Seek::rewind(&mut file).expect("it is a file");
    file.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_tells_its_settings_and_salt_but_no_password() {
    let mut site = small().await;
    site.config.redis.cache_url = "redis://:hunter2@127.0.0.1:1".into();
    let set = site.back_up().await.expect("a backup can be made").set.path;
    let settings = fs::read_to_string(set.join("settings.toml")).expect("it is there");
    assert!(
        !settings.contains("hunter2") && !settings.contains(crate::support::SALT),
        "{settings}"
    );
    let file = set.join("settings.toml");
    let read = customer_journey::config::Sources::of_file(&file)
        .load()
        .expect("it is a configuration");
    assert_eq!(read.backup.directory, site.config.backup.directory);
    assert_eq!(read.redis.cache_url, "");
    assert_eq!(
        fs::read_to_string(set.join("secrets/api-key-salt"))
            .expect("it is there")
            .trim_end(),
        crate::support::SALT
    );
    let wrong = backup::check(&backup::Set::open(&set).expect("it is a set")).expect("it can be read");
    assert!(wrong.is_empty(), "{wrong:?}");
    site.drop().await;
}
