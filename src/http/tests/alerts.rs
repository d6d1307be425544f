//! Alerts through the interface, against a real database.

use super::*;
use crate::{
    alert::notify::Notifier,
    store::alerts::{self, AlertRow, Figures},
};

/// Raises an alert, as an evaluation does.
async fn raise(state: &AppState, subject: &str, severity: &'static str) -> AlertRow {
    let now = state.clock.now();
    let figures = Figures {
        severity,
        expected: 0.1,
        observed: 0.04,
        effect: -0.6,
        p_value: 1e-9,
        trials: Some(1000),
        weeks: 8,
        window_kind: "hour",
        window_from: now - TimeDelta::hours(2),
        window_to: now - TimeDelta::hours(1),
        reasons: json!([]),
    };
    let mut connection = state.pool.acquire().await.unwrap();
    alerts::open(&mut connection, subject, &figures, now)
        .await
        .unwrap()
        .unwrap()
}

/// The state with these settings of alerts, a key that may read and one that may do all.
async fn world(pool: PgPool, change: impl FnOnce(&mut Config)) -> (AppState, String, String) {
    let mut parts = parts(pool.clone());
    let mut config = (*parts.config).clone();
    config.secrets.alert_webhook_secret = "a secret of sixteen".into();
    change(&mut config);
    parts.notifier = Some(Notifier::new(pool, parts.clock.clone(), &config).unwrap());
    parts.config = Arc::new(config);
    let state = AppState::from(parts);
    let reader = issue(&state, KeyKind::Secret, &[], &[Scope::Read], None).await;
    let admin = issue(&state, KeyKind::Secret, &[], &[Scope::Admin], None).await;
    (state, reader.key, admin.key)
}

async fn send(app: &Router, method: Method, uri: &str, key: &str) -> Response {
    ask(app, request(method, uri, &[("x-api-key", key)], "")).await
}

#[sqlx::test(migrations = "./migrations")]
async fn an_alert_is_listed_acknowledged_and_resolved_once_each(pool: PgPool) {
    let (state, reader, admin) = world(pool, |config| {
        config.alerts.webhook_url = "https://hook.example/".into()
    })
    .await;
    let alert = raise(&state, "conversion_rate", "high").await;
    let app = router(state);
    let listed = json_of(send(&app, Method::GET, "/api/v1/alerts?status=open", &reader).await).await;
    assert_eq!(listed["items"][0]["id"], alert.id.to_string());
    assert_eq!(listed["items"][0]["window"], "hour");
    let uri = format!("/api/v1/alerts/{}", alert.id);
    let change = async |what: &str| send(&app, Method::POST, &format!("{uri}/{what}"), &admin).await;

    let acknowledged = json_of(change("acknowledge").await).await;
    assert_eq!(acknowledged["status"], "acknowledged");
    assert!(acknowledged["acknowledged_by"].is_string());
    let again = change("acknowledge").await;
    assert_eq!(again.status(), StatusCode::CONFLICT);
    let problem = json_of(again).await;
    assert_eq!(problem["code"], "already_acknowledged");
    let sentence = problem["detail"].as_str().unwrap();
    assert!(sentence.ends_with("on 2026-03-01 at 12:00 UTC."), "{sentence}");

    let resolved = json_of(change("resolve").await).await;
    assert_eq!(
        (&resolved["status"], &resolved["resolved_reason"]),
        (&json!("resolved"), &json!("manual"))
    );
    assert_eq!(resolved["deliveries"][0]["event"], "resolved");
    assert_eq!(resolved["deliveries"][0]["state"], "pending");
    for what in ["resolve", "acknowledge"] {
        assert_eq!(problem_code(change(what).await, 409).await, "already_resolved");
    }
    let shown = json_of(send(&app, Method::GET, &uri, &reader).await).await;
    assert_eq!(shown, resolved);
}

#[sqlx::test(migrations = "./migrations")]
async fn alerts_are_filtered_and_read_page_by_page(pool: PgPool) {
    let (state, reader, _) = world(pool, |_| {}).await;
    for (subject, severity) in [("traffic", "low"), ("error_rate", "high"), ("no_data", "high")] {
        raise(&state, subject, severity).await;
        state.clock.advance(TimeDelta::hours(1));
    }
    let app = router(state);
    let subjects = async |query: &str| -> Vec<String> {
        let page = json_of(send(&app, Method::GET, &format!("/api/v1/alerts?{query}"), &reader).await).await;
        let items = page["items"].as_array().unwrap().iter();
        items
            .map(|item| item["subject"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(subjects("").await, ["no_data", "error_rate", "traffic"]);
    assert_eq!(subjects("severity=high").await, ["no_data", "error_rate"]);
    assert_eq!(subjects("subject=traffic").await, ["traffic"]);
    assert_eq!(subjects("status=resolved").await, Vec::<String>::new());
    let first = json_of(send(&app, Method::GET, "/api/v1/alerts?limit=2", &reader).await).await;
    let cursor = first["next_cursor"].as_str().unwrap();
    assert_eq!(subjects(&format!("limit=2&cursor={cursor}")).await, ["traffic"]);
    for (query, code) in [
        ("subject=weather", "invalid_query"),
        ("state=open", "unknown_parameter"),
        ("status=gone", "invalid_query"),
    ] {
        let answer = send(&app, Method::GET, &format!("/api/v1/alerts?{query}"), &reader).await;
        assert_eq!(problem_code(answer, 400).await, code, "{query}");
    }
}

#[sqlx::test(migrations = "./migrations")]
async fn only_an_administrator_changes_alerts_and_only_those_there_are(pool: PgPool) {
    let (state, reader, admin) = world(pool, |_| {}).await;
    let alert = raise(&state, "traffic", "low").await;
    let app = router(state);
    let uri = format!("/api/v1/alerts/{}/resolve", alert.id);
    let answer = send(&app, Method::POST, &uri, &reader).await;
    assert_eq!(problem_code(answer, 403).await, "insufficient_scope");
    let missing = format!("/api/v1/alerts/{}/acknowledge", uuid::Uuid::from_u128(9));
    assert_eq!(
        problem_code(send(&app, Method::POST, &missing, &admin).await, 404).await,
        "not_found"
    );
}

#[sqlx::test(migrations = "./migrations")]
async fn a_test_message_says_how_it_fared_and_that_there_is_no_channel(pool: PgPool) {
    let (state, _, admin) = world(pool.clone(), |_| {}).await;
    let answer = send(&router(state), Method::POST, "/api/v1/alerts/test", &admin).await;
    assert_eq!(problem_code(answer, 409).await, "no_channel");
    // Port 1 refuses at once.
    let (state, _, admin) = world(pool, |config| {
        config.alerts.slack_webhook_url = "http://127.0.0.1:1/hook".into()
    })
    .await;
    let told = json_of(send(&router(state), Method::POST, "/api/v1/alerts/test", &admin).await).await;
    assert_eq!(
        (&told["channels"][0]["channel"], &told["channels"][0]["delivered"]),
        (&json!("slack"), &json!(false))
    );
    assert!(!told.to_string().contains("hook"), "{told}");
}
