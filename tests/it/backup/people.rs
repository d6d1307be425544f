//! Who was erased stays erased.

use customer_journey::{
    ops::Clock,
    service::{self, Options},
};
use serde_json::json;

use super::{Site, number};
use crate::support::{App, drained, page_view};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_erased_after_the_backup_stays_erased_when_it_is_restored() {
    let site = Site::new().await;
    let app = App::start_with(site.config.clone(), Options::new(Clock::system())).await;
    app.client
        .post_kept(&json!({ "events": [page_view("a", "leaver"), page_view("b", "stayer")] }))
        .await;
    let mut connection = site.database.connect().await;
    drained(&mut connection, &site.config).await;
    let made = site.back_up().await.expect("a backup can be made");
    let rights = service::rights(&site.config, &app.service.settler, None);
    rights
        .erase("leaver", "test")
        .await
        .expect("the person can be erased");
    drop(rights);
    app.stop().await;
    drop(connection);

    let refused = site
        .restore(&made.set.path, false)
        .await
        .expect_err("there is data");
    assert!(refused.to_string().contains("--replace"), "{refused}");
    let restored = site
        .restore(&made.set.path, true)
        .await
        .expect("it can be restored");
    assert_eq!(restored.tombstones, 1);
    assert!(restored.erased_rows > 0);
    let mut connection = site.database.connect().await;
    for (device, expected) in [("leaver", 0), ("stayer", 1)] {
        for table in ["events", "sessions", "devices"] {
            let count = format!("SELECT count(*) FROM {table} WHERE device_id = '{device}'");
            assert_eq!(
                number(&mut connection, &count).await,
                expected,
                "{device} in {table}"
            );
        }
    }
    assert_eq!(
        number(&mut connection, "SELECT count(*) FROM erasure_tombstones").await,
        1
    );
    drop(connection);
    site.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_erased_before_the_backup_is_refused_when_the_queue_brings_them() {
    let (old, new) = (Site::new().await, Site::new().await);
    let app = App::start_with(old.config.clone(), Options::new(Clock::system())).await;
    app.client
        .post_kept(&json!({ "events": [page_view("a", "leaver")] }))
        .await;
    let mut connection = old.database.connect().await;
    drained(&mut connection, &old.config).await;
    app.stop().await;
    let mut config = old.config.clone();
    config.writer.workers = 0;
    let app = App::start_with(config, Options::new(Clock::system())).await;
    app.client
        .post_kept(&json!({ "events": [page_view("b", "leaver")] }))
        .await;
    let rights = service::rights(&old.config, &app.service.settler, None);
    rights
        .erase("leaver", "test")
        .await
        .expect("the person can be erased");
    let made = old.back_up().await.expect("a backup can be made");
    drop(rights);
    app.stop().await;
    drop(connection);

    new.restore(&made.set.path, false)
        .await
        .expect("it can be restored");
    let app = App::start_with(new.config.clone(), Options::new(Clock::system())).await;
    let mut connection = new.database.connect().await;
    let audit = drained(&mut connection, &new.config).await;
    assert_eq!(number(&mut connection, "SELECT count(*) FROM events").await, 0);
    assert_eq!((audit.total.received, audit.total.rejected), (2, 1));
    app.stop().await;
    drop(connection);
    old.drop().await;
    new.drop().await;
}
