//! The service inside the test's own process.

use customer_journey::{
    config::Config,
    ops::Clock,
    service::{Options, Service},
};

use super::{Client, Database, SALT, database, shared, unique};

/// A configuration for a database, with a queue of its own on the Redis that the run shares, and no jobs.
pub fn config_on(database_url: &str) -> Config {
    let mut config = Config::default();
    config.server.listen = "127.0.0.1:0".into();
    config.database.url = database_url.to_owned();
    config.database.connections_max = 8;
    config.redis.queue_url = shared("REDIS_URL");
    config.redis.key_prefix = unique("it");
    config.redis.timeout_ms = 3000;
    config.secrets.api_key_salt = SALT.into();
    config.jobs.enabled = false;
    config
}

/// A running service with a database and a queue of its own, and a client that knows its keys.
pub struct App {
    pub service: Service,
    pub client: Client,
    pub config: Config,
}

impl App {
    /// Starts one on `database` with a queue of its own; `adjust` changes the configuration first.
    pub async fn start(database: &Database, adjust: impl FnOnce(&mut Config)) -> Self {
        let mut config = config_on(&database.url);
        adjust(&mut config);
        Self::start_with(config, Options::new(Clock::system())).await
    }

    /// Starts one with exactly this configuration, and makes keys.
    pub async fn start_with(config: Config, options: Options) -> Self {
        let service = Service::start(config.clone(), options)
            .await
            .expect("the service starts");
        let mut connection = service.settler.pool.acquire().await.expect("PostgreSQL answers");
        let keys = database::issue_keys(&mut connection).await;
        drop(connection);
        let client = Client::new(&[format!("http://{}", service.address)], &keys);
        Self {
            service,
            client,
            config,
        }
    }

    /// Starts another process' worth of service on the same database and queue.
    pub async fn start_beside(&self, adjust: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.config.clone();
        adjust(&mut config);
        Self::start_with(config, Options::new(Clock::system())).await
    }

    /// Stops it as SIGTERM does.
    pub async fn stop(self) {
        self.service.stop().await.expect("the service stops cleanly");
    }
}
