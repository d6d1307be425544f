//! `customer-journey demo` as a person uses it: start, look around, Ctrl-C, start again.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use customer_journey::demo::dataset::{self, DatasetOptions};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

const PATIENCE: Duration = Duration::from_secs(120);

/// A state folder that leaves nothing behind, also not where root's demos keep their data.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn state(&self) -> PathBuf {
        self.0.path().join("demo")
    }

    fn data(&self) -> Option<PathBuf> {
        self.state().join("data").canonicalize().ok()
    }

    fn record(&self) -> Value {
        let text = fs::read_to_string(self.state().join("state.json")).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_customer-journey"));
        command
            .arg("demo")
            .arg("--state-dir")
            .arg(self.state())
            .args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    async fn connect(&self) -> PgConnection {
        let sockets = self.data().unwrap().join("run");
        let url = format!(
            "postgres://journey@localhost/customer_journey?host={}",
            sockets.display()
        );
        PgConnection::connect(&url).await.unwrap()
    }

    async fn count(&self, question: &'static str) -> i64 {
        sqlx::query_scalar(question)
            .fetch_one(&mut self.connect().await)
            .await
            .unwrap()
    }

    /// Servers that work in the data folder.
    fn processes(&self) -> Vec<String> {
        let Some(data) = self.data() else {
            return Vec::new();
        };
        let processes = fs::read_dir("/proc").unwrap().flatten();
        processes
            .filter(|process| {
                fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(&data))
            })
            .map(|process| fs::read_to_string(process.path().join("comm")).unwrap_or_default())
            .collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let since = Instant::now();
        while !self.processes().is_empty() && since.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(50));
        }
        if let Some(data) = self.data() {
            let _ = fs::remove_dir_all(data);
        }
    }
}

struct Demo {
    child: Child,
    address: String,
    /// Everything up to the ready line.
    banner: String,
}

impl Demo {
    fn start(folder: &Folder, arguments: &[&str]) -> Self {
        let mut child = folder
            .command(arguments)
            .args(["--port", "0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut banner = String::new();
        while !banner.contains("Ctrl-C") {
            let line = lines.next().expect("the demo ended before it was ready").unwrap();
            banner += &line;
            banner.push('\n');
        }
        let start = banner.find("http://").unwrap() + "http://".len();
        let address = banner[start..].split('/').next().unwrap().to_owned();
        Self {
            child,
            address,
            banner,
        }
    }

    fn secret_key(&self) -> &str {
        let start = self.banner.find("sk_").unwrap();
        self.banner[start..].split_whitespace().next().unwrap()
    }

    fn signal(&self, name: &str) {
        let process = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &process])
                .status()
                .unwrap()
                .success()
        );
    }

    fn interrupt(mut self) -> Option<i32> {
        self.signal("-INT");
        self.child.wait().unwrap().code()
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a request and returns status and body.
    fn request(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}",
            self.address
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
        (status, body)
    }

    fn get(&self, path: &str) -> String {
        let (status, body) = self.request("GET", path, "", "");
        assert_eq!(status, 200, "{path}: {body}");
        body
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs what the banner says to try; a status of 400 or more is a failure.
fn try_examples(banner: &str) -> Output {
    let start = banner.find("export JOURNEY_SECRET_KEY").unwrap();
    let lines = banner[start..]
        .lines()
        .take_while(|line| !line.contains("Ctrl-C"));
    let script: Vec<&str> = lines.collect();
    let script = script.join("\n");
    assert_eq!(script.matches("curl -s").count(), 3, "{script}");
    let script = script.replace("curl -s", "curl --fail --show-error -s");
    Command::new("sh").args(["-ec", &script]).output().unwrap()
}

/// Waits until the question has this answer.
async fn wait_for_count(folder: &Folder, question: &'static str, expected: i64) {
    let since = Instant::now();
    while folder.count(question).await != expected {
        assert!(since.elapsed() < PATIENCE, "{question}: never {expected}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn expected_events(folder: &Folder) -> i64 {
    let data_set = &folder.record()["data_set"];
    let options = DatasetOptions {
        seed: data_set["seed"].as_u64().unwrap(),
        end: data_set["end"].as_str().unwrap().parse().unwrap(),
        days: u32::try_from(data_set["days"].as_u64().unwrap()).unwrap(),
        people: u32::try_from(data_set["people"].as_u64().unwrap()).unwrap(),
        origin: data_set["origin"].as_str().unwrap().to_owned(),
    };
    let events: usize = dataset::visits(&options).map(|visit| visit.events.len()).sum();
    i64::try_from(events).unwrap()
}

const ALL_EVENTS: &str = "SELECT count(*) FROM events";
const OWN_EVENTS: &str = "SELECT count(*) FROM events WHERE user_id = 'me'";
const SHOP_EVENTS: &str = "SELECT count(*) FROM events WHERE device_id = 'a-browser'";

#[tokio::test]
async fn a_visit_to_the_shop_can_be_read_back_and_outlives_the_demo() {
    let folder = Folder::new();
    let demo = Demo::start(&folder, &["--people", "30", "--days", "3"]);
    assert!(demo.get("/health").contains("healthy"));
    assert!(demo.get("/demo/").contains("<!doctype html>"));
    let loaded = expected_events(&folder);
    assert_eq!(folder.count(ALL_EVENTS).await, loaded);

    let event = json!({
        "event_id": "shop-1", "event_type": "page_view", "device_id": "a-browser",
        "page_url": format!("http://{}/demo/product.html?sku=FF-101&secret=x", demo.address),
    });
    let headers = format!(
        "Origin: http://{}\r\nX-API-Key: {}\r\nContent-Type: application/json\r\n",
        demo.address,
        folder.record()["write_key"].as_str().unwrap()
    );
    let body = json!({ "events": [event] }).to_string();
    let (status, answer) = demo.request("POST", "/api/v1/events/batch", &headers, &body);
    assert_eq!(status, 202, "{answer}");
    wait_for_count(&folder, SHOP_EVENTS, 1).await;
    let page: String = sqlx::query_scalar("SELECT page_url FROM events WHERE device_id = 'a-browser'")
        .fetch_one(&mut folder.connect().await)
        .await
        .unwrap();
    assert!(page.ends_with("?sku=FF-101"), "{page}");
    let key = format!("X-API-Key: {}\r\n", demo.secret_key());
    assert_eq!(demo.request("GET", "/api/v1/system", &key, "").0, 200);

    let tried = try_examples(&demo.banner);
    assert!(
        tried.status.success(),
        "{}",
        String::from_utf8_lossy(&tried.stderr)
    );
    wait_for_count(&folder, OWN_EVENTS, 1).await;

    let secret_key = demo.secret_key().to_owned();
    assert_eq!(demo.interrupt(), Some(0));
    assert_eq!(folder.processes(), Vec::<String>::new());

    let demo = Demo::start(&folder, &[]);
    assert_eq!(demo.secret_key(), secret_key);
    assert_eq!(folder.count(ALL_EVENTS).await, loaded + 2);
    demo.kill();

    let demo = Demo::start(&folder, &[]);
    assert_eq!(folder.count(ALL_EVENTS).await, loaded + 2);
    assert_eq!(demo.request("GET", "/api/v1/system", &key, "").0, 200);
    assert_eq!(demo.interrupt(), Some(0));

    let demo = Demo::start(&folder, &["--reset", "--people", "20", "--days", "2"]);
    assert_ne!(demo.secret_key(), secret_key);
    assert_eq!(folder.count(ALL_EVENTS).await, expected_events(&folder));
    assert_eq!(demo.interrupt(), Some(0));
    assert_eq!(folder.processes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_demo_killed_while_it_loads_goes_on_where_it_was() {
    let folder = Folder::new();
    let size = ["--people", "500", "--days", "30", "--port", "0"];
    let mut child = folder.command(&size).stdout(Stdio::null()).spawn().unwrap();
    let since = Instant::now();
    while folder.record()["data_set"]["visits_stored"].as_u64().unwrap_or(0) == 0 {
        assert!(since.elapsed() < PATIENCE, "nothing was ever loaded");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();

    let demo = Demo::start(&folder, &[]);
    assert_eq!(folder.record()["data_set"]["complete"], true);
    assert_eq!(folder.count(ALL_EVENTS).await, expected_events(&folder));
    let rolled_up = "SELECT coalesce(sum(events), 0)::bigint FROM events_hourly";
    assert_eq!(folder.count(rolled_up).await, expected_events(&folder));
    assert_eq!(demo.interrupt(), Some(0));
}

#[test]
fn ctrl_c_while_it_loads_leaves_nothing_running() {
    let folder = Folder::new();
    let size = ["--people", "2000", "--days", "60", "--port", "0"];
    let mut child = folder.command(&size).stdout(Stdio::null()).spawn().unwrap();
    let since = Instant::now();
    while folder.record()["data_set"]["visits_stored"].as_u64().unwrap_or(0) == 0 {
        assert!(since.elapsed() < PATIENCE, "nothing was ever loaded");
        std::thread::sleep(Duration::from_millis(5));
    }
    let process = child.id().to_string();
    Command::new("kill").args(["-INT", &process]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(folder.processes(), Vec::<String>::new());
    assert_eq!(folder.record()["data_set"]["complete"], false);
}

#[test]
fn what_is_in_the_way_is_one_sentence_with_a_remedy() {
    let folder = Folder::new();
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let refused = |arguments: &[&str], says: &str| {
        let output = folder.run(arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(says) && text.lines().count() == 1, "{text}");
    };
    refused(&["--port", &port], &format!("port {port} is taken"));
    assert!(!folder.state().join("data").exists());

    let demo = Demo::start(&folder, &["--people", "10", "--days", "1"]);
    refused(&["--port", "0"], "a demo already runs on");
    assert_eq!(demo.interrupt(), Some(0));
    refused(&["--port", "0", "--people", "11"], "data of --people 10");
    fs::write(folder.state().join("state.json"), r#"{"version": 99}"#).unwrap();
    refused(&["--port", "0"], "run `make demo-reset`");

    let file = folder.0.path().join("file");
    fs::write(&file, "").unwrap();
    let state = file.join("demo");
    let mut command = Command::new(env!("CARGO_BIN_EXE_customer-journey"));
    let output = command
        .arg("demo")
        .arg("--state-dir")
        .arg(&state)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("cannot be made: choose another"), "{text}");
    assert!(!Path::new(&state).exists());
}
