//! People's rights over HTTP: who may, and what is answered.

use std::{pin::pin, time::Duration};

use super::*;
use crate::{
    ingest::testing::{self, event_of},
    rights::Rights,
};

/// A service in which Ann has two devices, one of them shared with Bob.
async fn with_people(pool: PgPool) -> (Router, AppState) {
    let settler = testing::settler(&pool).await;
    let events = vec![
        event_of("a1", 0, "identify", "ann"),
        event_of("tablet", 10, "identify", "ann"),
        event_of("tablet", 20, "identify", "bob"),
    ];
    testing::settle(&settler, events).await;
    let mut parts = parts(pool);
    parts.rights = Some(Rights {
        pool: settler.pool,
        situation: settler.situation,
        rules: settler.rules,
        hasher: settler.hasher,
        queue: None,
        clock: parts.clock.clone(),
        events_days: None,
    });
    let state: AppState = parts.into();
    (router(state.clone()), state)
}

async fn key(state: &AppState, scope: Scope) -> String {
    issue(state, KeyKind::Secret, &[], &[scope], None).await.key
}

async fn send(app: &Router, method: Method, uri: &str, key: &str, body: &str) -> Response {
    let headers = [("x-api-key", key), ("content-type", "application/json")];
    ask(app, request(method, uri, &headers, body)).await
}

#[sqlx::test(migrations = "./migrations")]
async fn each_right_needs_its_own_scope(pool: PgPool) {
    let (app, state) = with_people(pool).await;
    let unmerge = r#"{"device_id": "tablet", "reason": "shared"}"#;
    for (method, uri, scope) in [
        (Method::GET, "/api/v1/customers/ann/export", Scope::Export),
        (Method::DELETE, "/api/v1/customers/ann?preview=true", Scope::Erase),
        (Method::POST, "/api/v1/customers/ann/unmerge", Scope::Admin),
    ] {
        for other in [Scope::Read, Scope::Export, Scope::Erase, Scope::Admin] {
            let key = key(&state, other).await;
            let answer = send(&app, method.clone(), uri, &key, unmerge).await;
            if other == scope {
                assert_eq!(answer.status(), StatusCode::OK, "{uri}");
            } else {
                assert_eq!(problem_code(answer, 403).await, "insufficient_scope");
            }
        }
    }
}

#[sqlx::test(migrations = "./migrations")]
async fn a_person_is_exported_previewed_and_erased(pool: PgPool) {
    let (app, state) = with_people(pool).await;
    let (export, erase) = (key(&state, Scope::Export).await, key(&state, Scope::Erase).await);
    let answer = send(&app, Method::GET, "/api/v1/customers/ann/export", &export, "").await;
    assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
    let document = json_of(answer).await;
    assert_eq!(document["events"].as_array().unwrap().len(), 2);

    let uri = "/api/v1/customers/ann";
    let preview = json_of(send(&app, Method::DELETE, &format!("{uri}?preview=true"), &erase, "").await).await;
    assert_eq!(
        (&preview["preview"], &preview["rows"]["events"]),
        (&json!(true), &json!(2))
    );
    assert_eq!(preview.get("erasure_id"), None);
    let erased = json_of(send(&app, Method::DELETE, uri, &erase, "").await).await;
    assert_eq!(erased["rows"], preview["rows"]);
    let answer = send(&app, Method::DELETE, uri, &erase, "").await;
    assert_eq!(problem_code(answer, 404).await, "not_found");
    let (actor, details): (String, Value) = sqlx::query_as("SELECT actor, details FROM audit_log")
        .fetch_one(&state.pool)
        .await
        .unwrap();
    assert!(actor.starts_with("key:"));
    assert_eq!(details["erasure_id"], erased["erasure_id"]);
}

#[sqlx::test(migrations = "./migrations")]
async fn a_reference_that_names_nobody_or_several_is_said_so(pool: PgPool) {
    let (app, state) = with_people(pool).await;
    let (export, admin) = (key(&state, Scope::Export).await, key(&state, Scope::Admin).await);
    let answer = send(&app, Method::GET, "/api/v1/customers/nobody/export", &export, "").await;
    assert_eq!(problem_code(answer, 404).await, "not_found");
    let answer = send(&app, Method::GET, "/api/v1/customers/tablet/export", &export, "").await;
    assert_eq!(answer.status(), StatusCode::CONFLICT);
    assert_eq!(json_of(answer).await["customers"].as_array().unwrap().len(), 2);
    for (body, status, code) in [
        (r#"{"device_id": "a9", "reason": "x"}"#, 409, "not_linked"),
        (r#"{"device_id": "a1", "reason": " "}"#, 422, "invalid_reason"),
        (r#"{"device_id": "a1"}"#, 422, "invalid_body"),
    ] {
        let answer = send(&app, Method::POST, "/api/v1/customers/ann/unmerge", &admin, body).await;
        assert_eq!(problem_code(answer, status).await, code);
    }
}

#[sqlx::test(migrations = "./migrations")]
async fn an_erasure_outlives_its_request(pool: PgPool) {
    let (app, state) = with_people(pool).await;
    let erase = key(&state, Scope::Erase).await;
    // A writer at work, for which the erasure waits.
    let mut writer = state.pool.begin().await.unwrap();
    crate::store::erasure::lock_shared(&mut writer).await.unwrap();
    {
        let mut asked = pin!(send(&app, Method::DELETE, "/api/v1/customers/ann", &erase, ""));
        tokio::select! {
            _ = &mut asked => panic!("the erasure did not wait for the writer"),
            () = lock_awaited(&state) => {}
        }
    }
    drop(writer);

    let erased = async || {
        sqlx::query("SELECT 1 FROM audit_log WHERE action = 'erase'")
            .fetch_optional(&state.pool)
            .await
            .unwrap()
            .is_some()
    };
    until("the erasure ends without its request", erased).await;
    let answer = send(&app, Method::DELETE, "/api/v1/customers/ann", &erase, "").await;
    assert_eq!(problem_code(answer, 404).await, "not_found");
}

/// Ends when somebody waits for a lock that another one holds.
async fn lock_awaited(state: &AppState) {
    until("a lock is waited for", async || {
        let waiting = "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database
             WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()";
        sqlx::query_scalar::<_, i64>(waiting)
            .fetch_one(&state.pool)
            .await
            .unwrap()
            > 0
    })
    .await;
}

/// Waits for a condition, on a machine that may be busy with other things.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let patience = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), patience)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}
