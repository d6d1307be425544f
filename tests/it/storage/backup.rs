//! A set goes from any storage situation into any other.

use chrono::TimeDelta;
use customer_journey::{
    backup::{self, Set},
    store::{events::Load, situation, situation::Situation},
};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use super::{
    community::database_name,
    plain::apache_database,
    store::{Store, event, history},
};
use crate::{
    backup::Site,
    support::{Database, shared, unique, url_of},
};

/// The whole roll-up as text.
const ROLLUP: &str =
    "SELECT row(hour, event_type, device_type, country, currency, events, order_total, page_load_ms_sum,
    page_load_count)::text FROM events_hourly";

/// Sixty days of events, of which the older half was counted and then dropped.
async fn age(store: &Store) {
    let now = store.now();
    store.settle(history(now, 60)).await;
    match store.settler.situation {
        Situation::TimescaleCommunity => {
            store
                .run("CALL refresh_continuous_aggregate('events_hourly', NULL, now() - interval '1 hour')")
                .await;
            store
                .run("SELECT drop_chunks('events', interval '30 days')")
                .await;
        }
        situation => {
            let mut connection = store.connection().await;
            situation::roll_up(&mut connection, now, 10_000)
                .await
                .expect("it rolls up");
            situation::drop_events_before(&mut connection, situation, now - TimeDelta::days(30))
                .await
                .expect("old events can be dropped");
        }
    }
    let kept = store.number("SELECT count(*) FROM events").await;
    let counted = store
        .number("SELECT sum(events)::bigint FROM events_hourly")
        .await;
    assert!(kept < counted && counted == 60 * 36, "{kept} of {counted}");
}

async fn back_up(store: &Store, site: &Site) -> Set {
    let mut connection = store.connection().await;
    backup::create(
        &site.config,
        &site.directory(),
        &mut connection,
        None,
        store.now(),
    )
    .await
    .expect("a backup can be made")
    .set
}

async fn assert_comes_back_into_plain_postgresql(store: &Store) {
    let site = Site::new().await;
    let set = back_up(store, &site).await;
    assert_eq!(set.manifest.storage, store.settler.situation.as_str());
    site.restore(&set.path, false).await.expect("it can be restored");
    let plain = Store::open(&site.config.database.url, 4, Load::Copy).await;
    assert_eq!(plain.settler.situation, Situation::Plain);
    assert_eq!(plain.texts(ROLLUP).await, store.texts(ROLLUP).await);
    for table in ["events", "event_keys", "sessions", "customers", "device_lives"] {
        let rows = format!("SELECT to_jsonb(t)::text FROM {table} t");
        assert_eq!(plain.texts(&rows).await, store.texts(&rows).await, "{table}");
    }
    // And goes on: a new event is counted once, beside those that were dropped.
    let counted = plain
        .number("SELECT sum(events)::bigint FROM events_hourly")
        .await;
    plain.settle(vec![event("new", "device-1", plain.now())]).await;
    assert_eq!(
        plain
            .number("SELECT sum(events)::bigint FROM events_hourly")
            .await,
        counted + 1
    );
    plain.settler.pool.close().await;
    site.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_of_timescaledb_community_comes_back_into_plain_postgresql() {
    let url = url_of(&shared("TIMESCALEDB_URL"), &database_name());
    let store = Store::open(&url, 1, Load::Insert).await;
    assert_eq!(store.settler.situation, Situation::TimescaleCommunity);
    age(&store).await;
    store
        .number(
            "SELECT count(compress_chunk(c, if_not_compressed => true))
             FROM show_chunks('events', older_than => interval '14 days') c",
        )
        .await;
    assert_comes_back_into_plain_postgresql(&store).await;
    store.settler.pool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_of_timescaledb_apache_comes_back_into_plain_postgresql() {
    let Some(database) = apache_database().await else {
        return;
    };
    let store = Store::open(&database.url, 4, Load::Copy).await;
    age(&store).await;
    assert_comes_back_into_plain_postgresql(&store).await;
    store.settler.pool.close().await;
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_of_plain_postgresql_comes_back_into_timescaledb_apache_also_over_itself() {
    let Some(database) = apache_database().await else {
        return;
    };
    let (old, new) = (Database::create().await, Site::on(database));
    let store = Store::open(&old.url, 4, Load::Copy).await;
    age(&store).await;
    let set = back_up(&store, &new).await;
    for replace in [false, true] {
        let restored = new.restore(&set.path, replace).await.expect("it can be restored");
        assert_eq!(restored.situation, Situation::TimescaleApache);
        let apache = Store::open(&new.config.database.url, 4, Load::Copy).await;
        assert!(
            situation::is_hypertable(&mut *apache.connection().await)
                .await
                .expect("the catalogue can be read")
        );
        assert_eq!(apache.texts(ROLLUP).await, store.texts(ROLLUP).await);
        assert_eq!(
            apache.number("SELECT count(*) FROM events").await,
            store.number("SELECT count(*) FROM events").await
        );
        apache.settle(vec![event("new", "device-1", apache.now())]).await;
        apache.settler.pool.close().await;
    }
    backup::rehearse(&new.config, &set, store.now())
        .await
        .expect("it can be rehearsed there");
    store.settler.pool.close().await;
    old.drop().await;
    new.drop().await;
}

/// As a service has it: a role that owns its database and may make others, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ordinary_role_backs_up_restores_and_rehearses() {
    let servers = [
        std::env::var("TIMESCALEDB_APACHE_URL").ok(),
        Some(shared("DATABASE_URL")),
    ];
    for server in servers.into_iter().flatten() {
        let role = unique("role");
        let mut superuser = PgConnection::connect(&server).await.expect("PostgreSQL answers");
        let make = format!("CREATE ROLE {role} LOGIN CREATEDB");
        superuser
            .execute(AssertSqlSafe(make))
            .await
            .expect("a role can be made");
        let mut url = url::Url::parse(&server).expect("it is a URL");
        url.set_username(&role).expect("it has a host");
        let site = Site::on(Database::create_on(url.as_str()).await);
        let store = Store::open(&site.config.database.url, 4, Load::Copy).await;
        age(&store).await;
        let rollup = store.texts(ROLLUP).await;
        let set = back_up(&store, &site).await;
        store.settler.pool.close().await;
        site.restore(&set.path, true).await.expect("it can be restored");
        backup::rehearse(&site.config, &set, store.now())
            .await
            .expect("it can be rehearsed");
        let store = Store::open(&site.config.database.url, 4, Load::Copy).await;
        assert_eq!(store.settler.situation.as_str(), set.manifest.storage);
        assert_eq!(store.texts(ROLLUP).await, rollup);
        store.settler.pool.close().await;
        site.drop().await;
        let drop = format!("DROP ROLE {role}");
        superuser
            .execute(AssertSqlSafe(drop))
            .await
            .expect("the role can be dropped");
    }
}

/// What a restore into the community edition ends with, and what a plain database that gets it later goes through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollup_that_is_kept_as_rows_moves_into_the_continuous_aggregate() {
    let url = url_of(&shared("TIMESCALEDB_URL"), &database_name());
    let mut store = Store::open_unprepared(&url, 1, Load::Insert).await;
    let now = store.now();
    store.settle(history(now, 20)).await;
    situation::roll_up(&mut *store.connection().await, now, 10_000)
        .await
        .expect("it rolls up");
    // Events of old hours are gone, also half of the last of these hours; and a late event waits to be counted.
    store
        .settle(vec![event("late", "device-1", now - TimeDelta::days(2))])
        .await;
    store
        .run(
            "DELETE FROM events WHERE timestamp < now() - interval '10 days';
             DELETE FROM events WHERE event_id = (SELECT event_id FROM events ORDER BY timestamp LIMIT 1);
             INSERT INTO events_hourly_rows VALUES ('2020-01-01 10:00:00+00', 'page_view', 'mobile', NULL, NULL, 7, NULL, 900, 3)",
        )
        .await;
    let expected = 20 * 36 + 1 + 7;
    assert_eq!(store.prepare().await, Situation::TimescaleCommunity);
    let rollup = store.texts(ROLLUP).await;
    assert_eq!(
        store
            .number("SELECT sum(events)::bigint FROM events_hourly")
            .await,
        expected
    );
    assert!(
        rollup.iter().any(|row| row.contains("2020-01-01 10:00:00+00")),
        "{rollup:?}"
    );
    for table in ["events_hourly_rows", "rollup_dirty_hours"] {
        assert_eq!(
            store.number(&format!("SELECT count(*) FROM {table}")).await,
            0,
            "{table}"
        );
    }
    // Neither another start nor the policy takes it away again.
    store.prepare().await;
    let id = store
        .number(
            "SELECT job_id::bigint FROM timescaledb_information.jobs
             WHERE proc_name = 'policy_refresh_continuous_aggregate'",
        )
        .await;
    store.run(&format!("CALL run_job({id})")).await;
    assert_eq!(store.texts(ROLLUP).await, rollup);
    store.settler.pool.close().await;
}
