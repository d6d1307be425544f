//! `make demo`: the whole service on one machine, with servers and data of its own, until Ctrl-C.
//!
//! Everything it makes lies in the state folder (for root, PostgreSQL and Redis keep their files under `/var/lib`,
//! see [`home`]). Nothing of the machine's own PostgreSQL, Redis or configuration is touched or read.

mod banner;
pub mod dataset;
mod home;
mod keys;
mod load;
mod postgres;
mod redis;
mod servers;
mod state;
#[cfg(test)]
mod stories_tests;

use std::{io, net::TcpListener, path::PathBuf, pin::pin, sync::Arc};

use anyhow::{Context as _, Result, bail};
use metrics_exporter_prometheus::PrometheusHandle;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use self::{
    dataset::DatasetOptions,
    home::Home,
    keys::Keys,
    load::Loader,
    postgres::Programs,
    servers::Server,
    state::{DataSet, StateFolder},
};
use crate::{
    config::Config,
    ops::Clock,
    service::{self, Options, Service},
    store::{self, MIGRATOR, situation},
};

/// Room for the full data set, PostgreSQL's own files and its log of changes, in MiB; less than half of it is used.
const ROOM_MIB: u64 = 1_000;

/// What a start may choose.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    pub state_dir: PathBuf,
    /// 0 takes a free one.
    pub port: u16,
    /// These three are fixed by the first start; a later one that asks for something else is refused.
    pub people: Option<u32>,
    pub days: Option<u32>,
    pub seed: Option<u64>,
    /// Forget everything and start over.
    pub reset: bool,
    /// Store events of crawlers and driven browsers, too.
    pub allow_bots: bool,
}

/// Both servers of the demo.
struct Servers {
    postgres: Server,
    redis: Server,
}

/// Everything that is known before anything is started.
struct Plan {
    state: StateFolder,
    home: Home,
    postgres: Programs,
    redis: PathBuf,
    port: u16,
    allow_bots: bool,
    clock: Clock,
}

/// Runs the demo until `stop`, and leaves no process behind.
///
/// Must be awaited by the process's main thread: its servers stop when the thread that started them ends.
///
/// # Errors
/// A sentence with the remedy: port taken, programs or rights missing, disk full, state of another release.
pub async fn run(
    options: DemoOptions,
    clock: Clock,
    metrics: Option<PrometheusHandle>,
    stop: CancellationToken,
) -> Result<()> {
    let mut plan = Plan::make(options, clock).await?;
    let Some(servers) = stop.run_until_cancelled(plan.start_servers()).await else {
        return Ok(());
    };
    let mut servers = servers?;
    let outcome = plan.serve(&mut servers, metrics, stop).await;
    // The service first, then what it writes to.
    servers.redis.stop().await;
    servers.postgres.stop().await;
    outcome
}

impl Plan {
    /// Looks for everything that could be in the way, so that a start that cannot succeed changes nothing.
    async fn make(options: DemoOptions, clock: Clock) -> Result<Self> {
        let mut state = StateFolder::open(&options.state_dir, options.reset)?;
        let port = check_port(options.port)?;
        let redis = redis::find()?;
        if options.reset {
            if let Some(root) = Home::find(state.path()) {
                servers::end_left_over(&root).await?;
            }
            Home::remove(state.path())?;
        }
        let home = Home::open(state.path())?;
        let postgres = postgres::find(&home)?;
        if postgres::is_new(&home) {
            // Whatever was loaded before is gone.
            state.record.data_set = None;
        }
        choose_data_set(&mut state, &options, port, &clock)?;
        Ok(Self {
            state,
            home,
            postgres,
            redis,
            port,
            allow_bots: options.allow_bots,
            clock,
        })
    }

    async fn start_servers(&mut self) -> Result<Servers> {
        servers::end_left_over(self.home.root()).await?;
        if postgres::is_new(&self.home) {
            servers::check_room(self.home.root(), ROOM_MIB)?;
            eprintln!(
                "Making a PostgreSQL of the demo's own in {} ...",
                self.home.root().display()
            );
            postgres::initialise(&self.postgres, &self.home).await?;
        }
        let postgres = postgres::start(&self.postgres, &self.home).await?;
        match redis::start(&self.redis, &self.home).await {
            Ok(redis) => Ok(Servers { postgres, redis }),
            Err(error) => {
                postgres.stop().await;
                Err(error)
            }
        }
    }

    async fn serve(
        &mut self,
        servers: &mut Servers,
        metrics: Option<PrometheusHandle>,
        stop: CancellationToken,
    ) -> Result<()> {
        let config = self.config();
        let Some(prepared) = stop.run_until_cancelled(self.prepare(&config)).await else {
            eprintln!("Stopped; the next start goes on from here.");
            return Ok(());
        };
        let (keys, customer) = prepared?;
        let options = Options {
            metrics,
            demo_key: Some(keys.write.key.clone()),
            ..Options::new(self.clock.clone())
        };
        let Some(service) = stop.run_until_cancelled(Service::start(config, options)).await else {
            return Ok(());
        };
        let service = service?;
        let base = format!("http://{}", service.address);
        println!(
            "{}",
            banner::compose(&base, &keys, customer.as_deref(), self.clock.now())
        );

        let mut running = pin!(service.run_until(stop.clone()));
        let ended = tokio::select! {
            () = stop.cancelled() => {
                eprintln!("\nStopping ...");
                return running.await;
            }
            outcome = &mut running => return outcome,
            ended = servers.postgres.ended() => ended,
        };
        stop.cancel();
        // What failed with the database failed because of it.
        let _ = running.await;
        bail!("{ended}");
    }

    /// Brings the database up to date: tables, keys, data.
    async fn prepare(&mut self, config: &Config) -> Result<(Keys, Option<String>)> {
        let pool = store::connect(&config.database)?;
        let prepared = self.prepare_with(config, &pool).await;
        pool.close().await;
        prepared
    }

    async fn prepare_with(&mut self, config: &Config, pool: &PgPool) -> Result<(Keys, Option<String>)> {
        let mut connection = pool
            .acquire()
            .await
            .context("the demo's PostgreSQL cannot be used")?;
        MIGRATOR.run(&mut *connection).await.context(
            "the demo's data does not fit this release: run `make demo-reset` to begin with fresh data",
        )?;
        let situation = situation::prepare(&mut connection, &config.retention).await?;
        let keys = keys::prepare(&mut connection, &mut self.state, self.port, self.clock.now()).await?;
        let options = Options::new(self.clock.clone());
        let loader = Loader {
            settler: service::settler(config, pool.clone(), situation, &options),
            policy: Arc::new(service::policy(config)?),
            key_id: keys.write.id,
        };
        loader.run(&mut self.state).await?;
        let customer = banner::find_customer(&mut connection).await?;
        Ok((keys, customer))
    }

    /// Returns the service's settings. The defaults of production, except where a shop on one's own machine
    /// differs from one on the web.
    fn config(&self) -> Config {
        let mut config = Config::default();
        config.server.listen = format!("127.0.0.1:{}", self.port);
        config.database.url = postgres::url(&self.home);
        config.redis.queue_url = redis::url(&self.home);
        config.ingest.filter_bots = !self.allow_bots;
        config.privacy.url_parameters_allowed = ["sku", "category", "q"].map(String::from).into();
        config.site.own_hosts = ["127.0.0.1", "localhost"].map(String::from).into();
        // The data set's zone.
        config.site.timezone = "Europe/Berlin".into();
        // Whoever comes back after weeks finds what was there.
        config.retention.events_days = 0;
        config.secrets.api_key_salt = self.state.record.salt.clone();
        config
    }
}

/// Settles which data set this state folder has, if that is not settled already.
fn choose_data_set(state: &mut StateFolder, options: &DemoOptions, port: u16, clock: &Clock) -> Result<()> {
    let defaults = DatasetOptions::demo(clock.now(), format!("http://127.0.0.1:{port}"));
    let known = state.record.data_set.get_or_insert_with(|| DataSet {
        seed: options.seed.unwrap_or(defaults.seed),
        people: options.people.unwrap_or(defaults.people),
        days: options.days.unwrap_or(defaults.days),
        end: defaults.end,
        origin: defaults.origin,
        visits_stored: 0,
        complete: false,
    });
    let differs = [
        ("--people", options.people.map(u64::from), u64::from(known.people)),
        ("--days", options.days.map(u64::from), u64::from(known.days)),
        ("--seed", options.seed, known.seed),
    ]
    .into_iter()
    .find(|(_, asked, known)| asked.is_some_and(|asked| asked != *known));
    if let Some((option, _, known)) = differs {
        bail!(
            "this demo has data of {option} {known}: leave the option away to keep it, or add --reset to start over"
        );
    }
    state.save()
}

/// Returns the port to listen on, after a look whether it is free.
fn check_port(port: u16) -> Result<u16> {
    match TcpListener::bind(("127.0.0.1", port)) {
        Ok(listener) => Ok(listener.local_addr()?.port()),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => bail!(
            "port {port} is taken: stop the program that listens there, or choose another port with --port {}",
            port.checked_add(1).unwrap_or(8030)
        ),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            bail!("port {port} may not be used by this user: choose one above 1023 with --port")
        }
        Err(error) => Err(error).with_context(|| format!("port {port} cannot be listened on")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(state_dir: &std::path::Path) -> DemoOptions {
        DemoOptions {
            state_dir: state_dir.into(),
            port: 8030,
            people: Some(30),
            days: None,
            seed: None,
            reset: false,
            allow_bots: false,
        }
    }

    #[test]
    fn the_first_start_fixes_the_data_set() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = StateFolder::open(folder.path(), false).unwrap();
        let clock = Clock::fixed("2026-03-01T12:00:00Z".parse().unwrap());
        let first = options(folder.path());
        choose_data_set(&mut state, &first, 8030, &clock).unwrap();
        let chosen = state.record.data_set.clone().unwrap();
        assert_eq!((chosen.people, chosen.days), (30, 90));

        clock.advance(chrono::TimeDelta::days(3));
        let silent = DemoOptions {
            people: None,
            ..first.clone()
        };
        choose_data_set(&mut state, &silent, 9999, &clock).unwrap();
        assert_eq!(state.record.data_set, Some(chosen));

        let other = DemoOptions {
            days: Some(7),
            ..first
        };
        let error = choose_data_set(&mut state, &other, 8030, &clock)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("--days 90") && error.contains("--reset"),
            "{error}"
        );
    }

    #[test]
    fn a_taken_port_is_told_with_another_one() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = check_port(port).unwrap_err().to_string();
        assert!(
            error.contains(&format!("port {port} is taken")) && error.contains("--port"),
            "{error}"
        );
        assert_ne!(check_port(0).unwrap(), 0);
    }
}
