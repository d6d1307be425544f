//! A client as a good one behaves: it keeps its event ids, and sends again until it is told that they are kept.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use customer_journey::ops::Clock;
use serde_json::{Value, json};

use super::PATIENCE;

/// The event ids of requests that were answered with 202.
#[derive(Clone, Default)]
pub struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    fn note(&self, answer: &Value) {
        let ids = answer["event_ids"].as_array().expect("an answer lists its ids");
        let ids = ids
            .iter()
            .map(|id| id.as_str().expect("an id is a text").to_owned());
        self.0.lock().expect("nobody panics here").extend(ids);
    }

    /// Returns what was acknowledged so far.
    pub fn acknowledged(&self) -> Vec<String> {
        self.0.lock().expect("nobody panics here").clone()
    }

    pub fn len(&self) -> usize {
        self.0.lock().expect("nobody panics here").len()
    }
}

/// Sends to one of several services, and to the next when one does not take it.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    services: Vec<String>,
    next: Arc<AtomicUsize>,
    pub write_key: String,
    pub admin_key: String,
    pub journal: Journal,
}

impl Client {
    pub fn new(services: &[String], keys: &(String, String)) -> Self {
        let http = customer_journey::ops::web::client()
            .timeout(Duration::from_secs(15))
            .no_proxy()
            .build()
            .expect("a client can be made");
        Self {
            http,
            services: services.to_vec(),
            next: Arc::default(),
            write_key: keys.0.clone(),
            admin_key: keys.1.clone(),
            journal: Journal::default(),
        }
    }

    /// Begins a request to the first service.
    pub fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.services[0]))
    }

    /// Sends events once, with the write key.
    pub async fn post(&self, body: &Value) -> reqwest::Response {
        self.request(reqwest::Method::POST, "/api/v1/events")
            .header("x-api-key", &self.write_key)
            .json(body)
            .send()
            .await
            .expect("the service answers")
    }

    /// Sends events that must be taken, and returns the answer.
    pub async fn post_kept(&self, body: &Value) -> Value {
        let response = self.post(body).await;
        let status = response.status();
        let answer: Value = response.json().await.expect("an answer is JSON");
        assert_eq!(status, 202, "{answer}");
        self.journal.note(&answer);
        answer
    }

    /// Reads with the key that may do everything.
    pub async fn read(&self, path: &str) -> Value {
        let response = self
            .request(reqwest::Method::GET, path)
            .header("x-api-key", &self.admin_key)
            .send()
            .await
            .expect("the service answers");
        let status = response.status();
        let answer = response.json().await.expect("an answer is JSON");
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// Reads if somebody answers.
    pub async fn try_read(&self, path: &str) -> Option<Value> {
        for service in &self.services {
            let request = self
                .http
                .get(format!("{service}{path}"))
                .header("x-api-key", &self.admin_key);
            if let Ok(response) = request.send().await
                && response.status() == 200
                && let Ok(answer) = response.json().await
            {
                return Some(answer);
            }
        }
        None
    }

    /// Sends the same events again and again, each time with the clock of then, until they are taken.
    ///
    /// # Panics
    /// When they are refused for good, or nobody takes them within a minute.
    pub async fn send_until_kept(&self, events: &[Value]) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut place = self.next.fetch_add(1, Ordering::Relaxed);
        loop {
            let service = &self.services[place % self.services.len()];
            if self.try_once(service, events).await {
                return;
            }
            place += 1;
            assert!(
                tokio::time::Instant::now() < deadline,
                "nobody takes events any more"
            );
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    async fn try_once(&self, service: &str, events: &[Value]) -> bool {
        let sent = self
            .http
            .post(format!("{service}/api/v1/events/batch"))
            .header("x-api-key", &self.write_key)
            .json(&json!({ "events": events, "sent_at": Clock::system().now() }))
            .send()
            .await;
        let Ok(response) = sent else { return false };
        let status = response.status().as_u16();
        // The process may die between the status and the body.
        let Ok(answer) = response.json::<Value>().await else {
            return false;
        };
        match status {
            202 => {
                self.journal.note(&answer);
                true
            }
            503 => false,
            other => panic!("{other}: {answer}"),
        }
    }
}

/// An ordinary event with this id, of this device, now.
pub fn page_view(event_id: &str, device_id: &str) -> Value {
    json!({
        "event_id": event_id,
        "event_type": "page_view",
        "device_id": device_id,
        "timestamp": Clock::system().now(),
        "page_url": "https://shop.example/shoes?utm_source=news",
        "page_title": "Shoes",
        "custom_properties": { "color": "red" },
    })
}
