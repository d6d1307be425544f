//! What was answered with 202 is stored exactly once, whatever is killed meanwhile.
//!
//! Clients send all the time, as good ones do: they send again what was not acknowledged. At the end the
//! acknowledged ids are compared with the table, and the ledger must have balanced at every moment anyone
//! looked.

use std::time::Duration;

use customer_journey::config::{Config, QueueMode};
use rand::{RngExt as _, SeedableRng as _, rngs::ChaCha8Rng};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::{
    Client, Database, Gate, Monitor, Server, Servers, ServiceProcess, Settings, assert_each_stored_once,
    drained, eventually, free_port, issue_keys, page_view, unique,
};

/// Clients that send at the same time.
const CLIENTS: usize = 4;

/// Services under load, on servers of their own.
struct Stage {
    servers: Servers,
    database: Database,
    config: Config,
    services: Vec<ServiceProcess>,
    client: Client,
    load: JoinSet<()>,
    stop: CancellationToken,
    monitor: Monitor,
}

impl Stage {
    /// Starts servers, `count` services and the load.
    async fn start(queue: QueueMode, count: usize) -> Self {
        let servers = Servers::start().await;
        let database = Database::create_on(&servers.database_url).await;
        let mut config = Config::default();
        config.ingest.queue = queue;
        config.redis.queue_url = servers.redis_url.clone();
        config.redis.key_prefix = unique("it");
        let mut services = Vec::new();
        for _ in 0..count {
            services.push(ServiceProcess::start(&settings(&config, &database.url)).await);
        }
        let keys = issue_keys(&mut database.connect().await).await;
        let addresses: Vec<String> = services.iter().map(|service| service.address.clone()).collect();
        let client = Client::new(&addresses, &keys);
        let stop = CancellationToken::new();
        Self {
            servers,
            database,
            config,
            services,
            load: load(&client, &stop),
            monitor: Monitor::start(&client),
            client,
            stop,
        }
    }

    /// Waits until `more` further events are acknowledged: the load is at work.
    async fn carry_on(&self, more: usize) {
        let goal = self.client.journal.len() + more;
        eventually("further events are acknowledged", async || {
            (self.client.journal.len() >= goal).then_some(())
        })
        .await;
    }

    /// Kills a service in the middle of its work and starts it again.
    async fn kill_service(&mut self, index: usize) {
        self.services[index].kill();
        self.services[index].start_again().await;
    }

    /// Crashes a server, leaves it away for a moment, and starts it again.
    async fn crash(&self, server: Server, away: Duration) {
        self.servers.crash(server).await;
        tokio::time::sleep(away).await;
        self.servers.restart().await;
    }

    /// Ends the load, waits until everything has settled, and holds the promise.
    async fn hold_the_promise(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.load.join_next().await {
            ended.expect("every event is taken in the end");
        }
        let mut connection = self.database.connect().await;
        let audit = drained(&mut connection, &self.config).await;
        self.monitor.assert_always_balanced().await;
        let acknowledged = self.client.journal.acknowledged();
        assert_each_stored_once(&mut connection, &acknowledged, &audit).await;
        assert_eq!(audit.total.rejected, 0, "good events never become dead letters");
    }
}

fn settings(config: &Config, database_url: &str) -> Settings {
    Settings {
        port: free_port(),
        database_url: database_url.to_owned(),
        redis_url: config.redis.queue_url.clone(),
        key_prefix: config.redis.key_prefix.clone(),
        queue: match config.ingest.queue {
            QueueMode::Redis => "redis",
            QueueMode::Direct => "direct",
        },
        // Long enough that a busy machine does not make a writer look dead.
        claim_idle_ms: 2500,
        more: String::new(),
    }
}

/// Starts clients that send batches of different sizes, of devices they share, until `stop`.
fn load(client: &Client, stop: &CancellationToken) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for task in 0..CLIENTS {
        let (client, stop) = (client.clone(), stop.clone());
        tasks.spawn(async move {
            let mut batch = 0;
            while !stop.is_cancelled() {
                let events: Vec<Value> = (0..3 + batch % 9)
                    .map(|n| {
                        page_view(
                            &format!("event-{task}-{batch}-{n}"),
                            &format!("device-{}", (batch + n) % 7),
                        )
                    })
                    .collect();
                client.send_until_kept(&events).await;
                batch += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
    }
    tasks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_service_is_killed_again_and_again() {
    let mut stage = Stage::start(QueueMode::Redis, 1).await;
    for _ in 0..4 {
        stage.carry_on(200).await;
        stage.kill_service(0).await;
    }
    stage.carry_on(100).await;
    stage.hold_the_promise().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_postgresql_crashes() {
    let stage = Stage::start(QueueMode::Redis, 1).await;
    for away in [0, 1500] {
        stage.carry_on(200).await;
        stage.crash(Server::Postgres, Duration::from_millis(away)).await;
    }
    stage.carry_on(200).await;
    stage.hold_the_promise().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_redis_crashes() {
    let stage = Stage::start(QueueMode::Redis, 1).await;
    for away in [0, 1500, 0, 0] {
        stage.carry_on(200).await;
        stage.crash(Server::Redis, Duration::from_millis(away)).await;
    }
    stage.carry_on(200).await;
    stage.hold_the_promise().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_everything_crashes_in_turn_at_random_moments() {
    let mut stage = Stage::start(QueueMode::Redis, 2).await;
    let mut dice = ChaCha8Rng::seed_from_u64(20_260_301);
    for round in 0..8 {
        stage.carry_on(dice.random_range(1..150)).await;
        let away = Duration::from_millis(dice.random_range(0..400));
        match round % 4 {
            0 => stage.kill_service(0).await,
            1 => stage.crash(Server::Redis, away).await,
            2 => stage.kill_service(1).await,
            _ => stage.crash(Server::Postgres, away).await,
        }
    }
    stage.carry_on(100).await;
    stage.hold_the_promise().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_on_the_direct_way_when_service_and_postgresql_are_killed() {
    let mut stage = Stage::start(QueueMode::Direct, 1).await;
    for away in [0, 700] {
        stage.carry_on(150).await;
        stage.kill_service(0).await;
        stage.carry_on(150).await;
        stage.crash(Server::Postgres, Duration::from_millis(away)).await;
    }
    stage.carry_on(100).await;
    stage.hold_the_promise().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_service_was_given_is_taken_over_by_another() {
    let mut stage = Stage::start(QueueMode::Redis, 2).await;
    for _ in 0..3 {
        stage.carry_on(200).await;
        stage.services[0].kill();
        stage.carry_on(100).await;
        stage.services[0].start_again().await;
    }
    // This one stays away: all it held must be claimed.
    stage.services[0].kill();
    stage.hold_the_promise().await;
}

/// An outage kills nobody: however often entries change hands meanwhile, none of them is poison.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_outage_of_postgresql_turns_no_entry_into_a_dead_letter() {
    let database = Database::create().await;
    let gate = Gate::open_to(&database.url).await;
    let through_gate = gate.instead_of(&database.url);
    let app = crate::support::App::start(&database, |config| {
        config.database.url = through_gate;
        config.database.acquire_timeout_seconds = 1;
        config.writer.workers = 3;
        config.redis.timeout_ms = 900;
        config.writer.claim_idle_ms = 1000;
        config.writer.deliveries_max = 3;
    })
    .await;
    let other = app.start_beside(|_| {}).await;
    app.client.post_kept(&page_view("before", "device")).await;
    gate.close().await;
    for n in 0..20 {
        app.client
            .post_kept(&page_view(&format!("during-{n}"), "device"))
            .await;
    }
    // Long enough for each entry to be claimed many times if silence were the measure.
    tokio::time::sleep(Duration::from_secs(6)).await;
    gate.open().await;
    let mut connection = database.connect().await;
    let audit = drained(&mut connection, &app.config).await;
    assert_eq!((audit.total.stored, audit.total.rejected), (21, 0));
    assert_each_stored_once(&mut connection, &app.client.journal.acknowledged(), &audit).await;
    app.stop().await;
    other.stop().await;
    database.drop().await;
}
