//! Messages against servers on this machine.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;
use sqlx::PgPool;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
};
use uuid::Uuid;

use super::Notifier;
use crate::{
    alert::{
        evaluate::{Settings, tell},
        message::Event,
    },
    config::{Config, SmtpSecurity},
    ops::Clock,
    store::{
        alerts::{self, AlertRow, Figures},
        deliveries::{self, DeliveryRow},
    },
};

const SECRET: &str = "a secret of sixteen";

fn now() -> DateTime<Utc> {
    "2026-06-16T11:05:00Z".parse().unwrap()
}

/// Headers and body of a request.
type Got = (HashMap<String, String>, String);

/// A receiver that answers as told, and remembers what it got.
#[derive(Clone, Default)]
struct Receiver {
    got: Arc<Mutex<Vec<Got>>>,
    /// Answers in order; 200 once they are used up.
    answers: Arc<Mutex<Vec<u16>>>,
}

impl Receiver {
    async fn start(answers: &[u16]) -> (Self, String) {
        let receiver = Self::default();
        *receiver.answers.lock().unwrap() = answers.to_vec();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/hook/secret-part", listener.local_addr().unwrap());
        let app = Router::new()
            .route("/hook/secret-part", post(take))
            .route("/elsewhere", post(take))
            .with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (receiver, address)
    }

    fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }
}

async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: String) -> Response {
    let headers = headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    receiver.got.lock().unwrap().push((headers.collect(), body));
    let mut answers = receiver.answers.lock().unwrap();
    let status = if answers.is_empty() {
        200
    } else {
        answers.remove(0)
    };
    let status = StatusCode::from_u16(status).unwrap();
    if status.is_redirection() {
        return (status, [(header::LOCATION, "/elsewhere")]).into_response();
    }
    (status, "no").into_response()
}

fn config() -> Config {
    let mut config = Config::default();
    config.secrets.alert_webhook_secret = SECRET.into();
    config.alerts.delivery_attempts_max = 3;
    config.alerts.delivery_timeout_seconds = 2;
    config
}

struct World {
    pool: PgPool,
    clock: Clock,
    notifier: Notifier,
    settings: Settings,
}

impl World {
    fn new(pool: PgPool, config: &Config) -> Self {
        let clock = Clock::fixed(now());
        Self {
            notifier: Notifier::new(pool.clone(), clock.clone(), config).unwrap(),
            settings: Settings::new(config),
            pool,
            clock,
        }
    }

    /// Raises an alert as an evaluation does.
    async fn raise(&self, subject: &str) -> AlertRow {
        let figures = Figures {
            severity: "high",
            expected: 0.1,
            observed: 0.04,
            effect: -0.6,
            p_value: 1e-9,
            trials: Some(1000),
            weeks: 8,
            window_kind: "hour",
            window_from: now() - TimeDelta::hours(2),
            window_to: now() - TimeDelta::hours(1),
            reasons: Value::Array(Vec::new()),
        };
        let mut transaction = self.pool.begin().await.unwrap();
        let alert = alerts::open(&mut transaction, subject, &figures, now())
            .await
            .unwrap()
            .unwrap();
        tell(&mut transaction, &self.settings, Event::Opened, &alert, now())
            .await
            .unwrap();
        transaction.commit().await.unwrap();
        alert
    }

    async fn deliveries(&self, alert: &AlertRow) -> Vec<DeliveryRow> {
        let mut connection = self.pool.acquire().await.unwrap();
        deliveries::of_alert(&mut connection, alert.id).await.unwrap()
    }

    /// Lets an hour pass and sends what is due then.
    async fn send_after_an_hour(&self) -> usize {
        self.clock.advance(TimeDelta::hours(1));
        self.notifier.send_due().await.unwrap()
    }
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn a_signed_message_arrives_once_and_its_signature_holds(pool: PgPool) {
    let (receiver, address) = Receiver::start(&[]).await;
    let mut config = config();
    config.alerts.webhook_url = address;
    let world = World::new(pool, &config);
    let alert = world.raise("conversion_rate").await;
    assert_eq!(world.notifier.send_due().await.unwrap(), 1);
    assert_eq!(world.send_after_an_hour().await, 0);
    let got = receiver.got();
    assert_eq!(got.len(), 1);
    let (headers, body) = &got[0];
    let signature = &headers["x-journey-signature"];
    let (time, code) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    assert_eq!(time.parse::<i64>().unwrap(), now().timestamp());
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(body.as_bytes());
    mac.verify_slice(&hex::decode(code).unwrap()).unwrap();
    let message: Value = serde_json::from_str(body).unwrap();
    assert_eq!(message["event"], "alert.opened");
    assert_eq!(message["alert"]["id"], alert.id.to_string());
    assert_eq!(message["alert"]["subject"], "conversion_rate");
    let delivery = &world.deliveries(&alert).await[0];
    assert_eq!((delivery.state.as_str(), delivery.attempts), ("delivered", 1));
    assert_eq!(headers["idempotency-key"], delivery.id.to_string());
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn a_message_that_fails_once_comes_again_under_the_same_id(pool: PgPool) {
    let (receiver, address) = Receiver::start(&[500]).await;
    let mut config = config();
    config.alerts.slack_webhook_url = address;
    let world = World::new(pool, &config);
    let alert = world.raise("traffic").await;
    world.notifier.send_due().await.unwrap();
    let waiting = world.deliveries(&alert).await.remove(0);
    assert_eq!((waiting.state.as_str(), waiting.attempts), ("pending", 1));
    assert!(waiting.next_attempt_at >= now() + TimeDelta::seconds(15));
    assert_eq!(
        waiting.last_error.as_deref(),
        Some("the answer was 500 Internal Server Error: no")
    );
    assert_eq!(world.notifier.send_due().await.unwrap(), 0, "it is not due yet");
    assert_eq!(world.send_after_an_hour().await, 1);
    let delivered = world.deliveries(&alert).await.remove(0);
    assert_eq!((delivered.state.as_str(), delivered.attempts), ("delivered", 2));
    let got = receiver.got();
    assert_eq!(got.len(), 2);
    assert_eq!(got[0].0["idempotency-key"], got[1].0["idempotency-key"]);
    let slack: Value = serde_json::from_str(&got[1].1).unwrap();
    assert_eq!(slack["blocks"][0]["text"]["text"], "High: traffic down 60 %");
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn a_message_that_never_arrives_is_given_up_and_stays_visible_without_its_address(pool: PgPool) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut config = config();
    config.alerts.webhook_url = format!("http://{address}/hook/secret-part");
    let world = World::new(pool, &config);
    let alert = world.raise("traffic").await;
    world.notifier.send_due().await.unwrap();
    for _ in 0..5 {
        world.send_after_an_hour().await;
    }
    let failed = world.deliveries(&alert).await.remove(0);
    assert_eq!((failed.state.as_str(), failed.attempts), ("failed", 3));
    let error = failed.last_error.unwrap();
    assert!(!error.contains("secret-part"), "{error}");
    let mut connection = world.pool.acquire().await.unwrap();
    let dead_ends = deliveries::dead_ends(&mut connection, now()).await.unwrap();
    assert_eq!(
        (dead_ends[0].channel.as_str(), dead_ends[0].messages),
        ("webhook", 1)
    );
    assert_eq!(dead_ends[0].last_error.as_deref(), Some(error.as_str()));
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn a_redirect_is_not_followed_and_a_webhook_that_is_gone_is_given_up_at_once(pool: PgPool) {
    let (receiver, address) = Receiver::start(&[307, 410]).await;
    let mut config = config();
    config.alerts.webhook_url = address;
    let world = World::new(pool, &config);
    let alert = world.raise("traffic").await;
    world.notifier.send_due().await.unwrap();
    assert_eq!(receiver.got().len(), 1);
    assert_eq!(world.deliveries(&alert).await[0].state, "pending");
    world.send_after_an_hour().await;
    let gone = world.deliveries(&alert).await.remove(0);
    assert_eq!((gone.state.as_str(), gone.attempts), ("failed", 2));
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn a_message_whose_sender_died_is_sent_by_another_after_its_lease(pool: PgPool) {
    let (receiver, address) = Receiver::start(&[]).await;
    let mut config = config();
    config.alerts.webhook_url = address;
    let world = World::new(pool, &config);
    let alert = world.raise("traffic").await;
    let mut connection = world.pool.acquire().await.unwrap();
    let lease_until = now() + TimeDelta::minutes(2);
    let taken = deliveries::claim_due(&mut connection, now(), lease_until, &["webhook"], 10)
        .await
        .unwrap();
    assert_eq!(taken.len(), 1);
    assert_eq!(world.notifier.send_due().await.unwrap(), 0);
    assert_eq!(world.send_after_an_hour().await, 1);
    assert_eq!(receiver.got().len(), 1);
    assert_eq!(world.deliveries(&alert).await[0].state, "delivered");
}

/// A mail server that takes one message and remembers what was said to it.
async fn mail_server(refuse: bool) -> (u16, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let said = Arc::new(Mutex::new(String::new()));
    let heard = said.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (read, mut write) = stream.into_split();
            let mut lines = BufReader::new(read).lines();
            write.write_all(b"220 sink\r\n").await.unwrap();
            let mut in_message = false;
            while let Ok(Some(line)) = lines.next_line().await {
                heard.lock().unwrap().push_str(&format!("{line}\n"));
                let answer = match line.split(' ').next().unwrap() {
                    "." => {
                        in_message = false;
                        "250 taken"
                    }
                    _ if in_message => continue,
                    "DATA" => {
                        in_message = true;
                        "354 go on"
                    }
                    "RCPT" if refuse => "550 nobody of this name",
                    "QUIT" => "221 bye",
                    _ => "250 yes",
                };
                write.write_all(format!("{answer}\r\n").as_bytes()).await.unwrap();
            }
        }
    });
    (port, said)
}

fn with_mail(port: u16) -> Config {
    let mut config = config();
    config.alerts.smtp_host = "127.0.0.1".into();
    config.alerts.smtp_port = port.into();
    config.alerts.smtp_security = SmtpSecurity::None;
    config.alerts.mail_from = "Customer Journey <journey@shop.example>".into();
    config.alerts.mail_to = vec!["me@shop.example".into(), "you@shop.example".into()];
    config
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn a_mail_reaches_each_receiver_with_an_id_of_its_own(pool: PgPool) {
    let (port, said) = mail_server(false).await;
    let world = World::new(pool, &with_mail(port));
    let alert = world.raise("error_rate").await;
    world.notifier.send_due().await.unwrap();
    let delivery = world.deliveries(&alert).await.remove(0);
    assert_eq!(
        (delivery.state.as_str(), delivery.last_error),
        ("delivered", None)
    );
    let said = said.lock().unwrap().clone();
    for part in [
        "RCPT TO:<me@shop.example>",
        "RCPT TO:<you@shop.example>",
        "Subject: High: sessions with JavaScript errors down 60 %",
        &format!("Message-ID: <{}@shop.example>", delivery.id),
        "Date: Tue, 16 Jun 2026 11:05:00 +0000",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn a_mail_that_the_server_refuses_for_good_is_not_tried_again(pool: PgPool) {
    let (port, _) = mail_server(true).await;
    let world = World::new(pool, &with_mail(port));
    let alert = world.raise("traffic").await;
    world.notifier.send_due().await.unwrap();
    let failed = world.deliveries(&alert).await.remove(0);
    assert_eq!((failed.state.as_str(), failed.attempts), ("failed", 1));
    assert!(failed.last_error.unwrap().contains("nobody of this name"));
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn a_test_tells_of_each_channel_how_it_went(pool: PgPool) {
    let (_, address) = Receiver::start(&[403]).await;
    let (port, _) = mail_server(false).await;
    let mut config = with_mail(port);
    config.alerts.slack_webhook_url = address;
    let world = World::new(pool, &config);
    let results = world.notifier.test().await;
    let fared: Vec<_> = results
        .iter()
        .map(|result| (result.channel, result.delivered))
        .collect();
    assert_eq!(fared, [("slack", false), ("email", true)]);
    assert_eq!(
        results[0].error.as_deref(),
        Some("the answer was 403 Forbidden: no")
    );
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn a_receiver_that_never_answers_is_left_after_the_timeout(pool: PgPool) {
    // It accepts connections and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config();
    config.alerts.delivery_timeout_seconds = 1;
    config.alerts.webhook_url = format!("http://{}/", listener.local_addr().unwrap());
    let world = World::new(pool, &config);
    let alert = world.raise("traffic").await;
    let sending = tokio::time::timeout(Duration::from_secs(20), world.notifier.send_due());
    assert_eq!(sending.await.unwrap().unwrap(), 1);
    let waiting = world.deliveries(&alert).await.remove(0);
    assert_eq!(waiting.state, "pending");
    assert!(waiting.last_error.is_some());
    assert_ne!(waiting.id, Uuid::nil());
}
