//! What settings must hold, each alone and together.

mod alerts;

use std::{net::SocketAddr, str::FromStr};

use redis::IntoConnectionInfo;
use sqlx::postgres::PgConnectOptions;
use tracing_subscriber::EnvFilter;

use super::{
    Config, QueueMode,
    error::{ConfigError, Problem},
    suggest::nearest_name,
};

/// Characters of the shortest salt: 16 random ones hold more than 64 bits, too many to try.
pub const SALT_LENGTH_MIN: usize = 16;

/// A hundred years: beyond any use, and far below where dates end.
const DAYS_MAX: u32 = 36_500;

impl Config {
    /// Checks what types cannot say, secrets included.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with every problem, each with the key at fault and the remedy.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let problems = self.problems(true);
        if problems.is_empty() {
            Ok(())
        } else {
            Err(ConfigError::Invalid(problems))
        }
    }

    pub(super) fn problems(&self, secrets: bool) -> Vec<Problem> {
        let mut rules = Rules::default();
        self.check_server(&mut rules);
        self.check_database(&mut rules);
        self.check_redis(&mut rules);
        self.check_ingest(&mut rules);
        self.check_writer(&mut rules);
        self.check_index(&mut rules);
        self.check_session(&mut rules);
        self.check_retention(&mut rules);
        self.check_site(&mut rules);
        self.check_alerts(&mut rules);
        self.check_jobs(&mut rules);
        self.check_backup(&mut rules);
        self.check_telemetry(&mut rules);
        if secrets || !self.secrets.api_key_salt.is_empty() {
            self.check_salt(&mut rules);
        }
        rules.problems
    }

    fn check_server(&self, rules: &mut Rules) {
        let server = &self.server;
        rules.hold(
            server.listen.parse::<SocketAddr>().is_ok(),
            "server.listen",
            || {
                format!(
                    "must be an address and a port such as 127.0.0.1:8030 or [::1]:8030, but is {:?}",
                    server.listen
                )
            },
        );
        rules.hold(
            server.public_url.is_empty() || is_origin(&server.public_url),
            "server.public_url",
            || {
                format!(
                    "must be empty or scheme://host[:port] without a path, such as https://journey.example, but is {:?}",
                    server.public_url
                )
            },
        );
        for origin in &server.cors_origins {
            rules.hold(origin == "*" || is_origin(origin), "server.cors_origins", || {
                let remedy =
                    "each must be * or scheme://host[:port] without a path, such as https://shop.example";
                format!("holds {origin:?}; {remedy}")
            });
        }
        rules.positive("server.request_timeout_seconds", server.request_timeout_seconds);
        rules.positive("server.shutdown_timeout_seconds", server.shutdown_timeout_seconds);
    }

    fn check_database(&self, rules: &mut Rules) {
        let database = &self.database;
        rules.hold(is_postgres(&database.url), "database.url", || {
            "must be a PostgreSQL address such as postgres://user@host/customer_journey".into()
        });
        rules.hold(
            database.connections_max as usize > self.writer.workers,
            "database.connections_max",
            || {
                let workers = self.writer.workers;
                format!("must be more than writer.workers ({workers}), since each writer keeps one: raise it")
            },
        );
        rules.positive(
            "database.acquire_timeout_seconds",
            database.acquire_timeout_seconds,
        );
        let request = self.server.request_timeout_seconds;
        rules.hold(request == 0 || database.acquire_timeout_seconds < request, "database.acquire_timeout_seconds", || {
            format!("must be less than server.request_timeout_seconds ({request}), else no request outlives the wait")
        });
    }

    fn check_redis(&self, rules: &mut Rules) {
        let redis = &self.redis;
        let queue_needed = self.ingest.queue == QueueMode::Redis;
        rules.hold(
            is_redis(&redis.queue_url) || !queue_needed && redis.queue_url.is_empty(),
            "redis.queue_url",
            || {
                let address =
                    "must be an address such as redis://127.0.0.1:6379 or unix:///run/redis-queue/redis.sock";
                format!("{address}; without Redis set ingest.queue = \"direct\" and leave it empty")
            },
        );
        rules.hold(
            redis.cache_url.is_empty() || is_redis(&redis.cache_url),
            "redis.cache_url",
            || "must be empty or an address such as redis://127.0.0.1:6380".into(),
        );
        let plain = |character: char| character.is_ascii_alphanumeric() || "_-:.".contains(character);
        rules.hold(
            !redis.key_prefix.is_empty() && redis.key_prefix.chars().all(plain),
            "redis.key_prefix",
            || {
                format!(
                    "must be made of letters, digits and _ - : . only, but is {:?}",
                    redis.key_prefix
                )
            },
        );
        rules.positive("redis.timeout_ms", redis.timeout_ms);
        let request = self.server.request_timeout_seconds;
        rules.hold(
            request == 0 || redis.timeout_ms < request.saturating_mul(1000),
            "redis.timeout_ms",
            || {
                let remedy = "else no time is left for the direct way";
                format!("must be less than server.request_timeout_seconds ({request} s), {remedy}")
            },
        );
    }

    fn check_ingest(&self, rules: &mut Rules) {
        let ingest = &self.ingest;
        rules.positive("ingest.batch_events_max", ingest.batch_events_max as u64);
        rules.positive("ingest.body_bytes_max", ingest.body_bytes_max as u64);
        let body = ingest.body_bytes_max;
        rules.hold(ingest.decompressed_bytes_max >= body, "ingest.decompressed_bytes_max", || {
            format!("must be at least ingest.body_bytes_max ({body}), since a body may come uncompressed: raise it")
        });
        rules.positive("ingest.queue_entries_max", ingest.queue_entries_max);
        rules.positive("ingest.retry_after_seconds", ingest.retry_after_seconds);
    }

    fn check_writer(&self, rules: &mut Rules) {
        let writer = &self.writer;
        let batch = self.ingest.batch_events_max;
        rules.hold(writer.batch_events >= batch, "writer.batch_events", || {
            format!(
                "must be at least ingest.batch_events_max ({batch}), since a request is never split: raise it"
            )
        });
        let timeout = self.redis.timeout_ms;
        rules.hold(writer.claim_idle_ms > timeout, "writer.claim_idle_ms", || {
            format!("must be more than redis.timeout_ms ({timeout}), else a writer loses entries it still works on")
        });
        rules.positive("writer.deliveries_max", writer.deliveries_max);
    }

    fn check_index(&self, rules: &mut Rules) {
        let index = &self.index;
        rules.hold(index.memory_mb >= 16, "index.memory_mb", || {
            "must be at least 16: an index without room forgets everything at once".into()
        });
        rules.positive("index.poll_ms", index.poll_ms);
        rules.positive("index.snapshot_minutes", index.snapshot_minutes.into());
    }

    fn check_session(&self, rules: &mut Rules) {
        let session = &self.session;
        rules.positive("session.timeout_minutes", session.timeout_minutes.into());
        rules.positive("session.length_max_hours", session.length_max_hours.into());
        let (timeout, length) = (
            u64::from(session.timeout_minutes),
            u64::from(session.length_max_hours),
        );
        rules.hold(timeout <= length * 60, "session.timeout_minutes", || {
            format!("must not exceed session.length_max_hours ({length} h), else it never ends a session")
        });
    }

    fn check_retention(&self, rules: &mut Rules) {
        let retention = &self.retention;
        let events = retention.events_days;
        for (key, days) in [
            ("retention.events_days", events),
            ("retention.sessions_days", retention.sessions_days),
            (
                "retention.attribute_changes_days",
                retention.attribute_changes_days,
            ),
            ("retention.metrics_days", retention.metrics_days),
            ("retention.compress_after_days", retention.compress_after_days),
            ("retention.chunk_days", retention.chunk_days),
        ] {
            rules.hold(days <= DAYS_MAX, key, || {
                format!("must be at most {DAYS_MAX}; 0 keeps for ever")
            });
        }
        rules.positive("retention.chunk_days", retention.chunk_days.into());
        if events == 0 {
            return;
        }
        rules.hold(retention.compress_after_days < events, "retention.compress_after_days", || {
            format!("must be less than retention.events_days ({events}), else nothing is ever compressed; 0 turns it off")
        });
        rules.hold(retention.chunk_days <= events, "retention.chunk_days", || {
            format!("must not exceed retention.events_days ({events}), since only whole chunks are dropped")
        });
        let sessions = retention.sessions_days;
        rules.hold(sessions == 0 || sessions >= events, "retention.sessions_days", || {
            format!("must be 0 or at least retention.events_days ({events}): events without a session belong nowhere")
        });
        let metrics = retention.metrics_days;
        rules.hold(metrics == 0 || metrics >= events, "retention.metrics_days", || {
            format!("must be 0 or at least retention.events_days ({events}): a roll-up of events that are there would be made again")
        });
        let longest = self.session.length_max_hours.div_ceil(24);
        rules.hold(longest <= events, "retention.events_days", || {
            format!(
                "must be 0 or at least {longest}, the days that session.length_max_hours lets a session last"
            )
        });
    }

    fn check_site(&self, rules: &mut Rules) {
        let site = &self.site;
        rules.hold(
            site.timezone.parse::<chrono_tz::Tz>().is_ok(),
            "site.timezone",
            || {
                let known = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
                let near = nearest_name(&site.timezone, known).unwrap_or("Europe/Berlin");
                format!(
                    "must be an IANA time zone such as {near}, but is {:?}",
                    site.timezone
                )
            },
        );
        let lists = [
            ("site.own_hosts", &site.own_hosts),
            ("site.pass_through_hosts", &site.pass_through_hosts),
        ];
        for (key, hosts) in lists {
            for host in hosts {
                rules.hold(is_host(host), key, || {
                    format!("holds {host:?}; each must be a bare host name such as shop.example")
                });
            }
        }
    }

    fn check_jobs(&self, rules: &mut Rules) {
        let jobs = &self.jobs;
        for (key, schedule) in [
            ("jobs.rollup", &jobs.rollup),
            ("jobs.retention", &jobs.retention),
            ("jobs.ledger_check", &jobs.ledger_check),
            ("jobs.housekeeping", &jobs.housekeeping),
            ("jobs.alerts", &jobs.alerts),
        ] {
            rules.hold(fires(schedule), key, || {
                let form = "second minute hour day month weekday";
                format!("must be a cron expression ({form}) that fires, such as \"0 10 3 * * *\", but is {schedule:?}")
            });
        }
    }

    fn check_backup(&self, rules: &mut Rules) {
        let backup = &self.backup;
        rules.hold(backup.directory.starts_with('/'), "backup.directory", || {
            format!(
                "must be a path from the root such as /var/backup/customer-journey, but is {:?}",
                backup.directory
            )
        });
        rules.hold(backup.retention_days <= DAYS_MAX, "backup.retention_days", || {
            format!("must be at most {DAYS_MAX}; 0 keeps for ever")
        });
        for path in &backup.include {
            rules.hold(path.starts_with('/'), "backup.include", || {
                format!("holds {path:?}; each must be a path from the root")
            });
        }
    }

    fn check_telemetry(&self, rules: &mut Rules) {
        let filter = &self.telemetry.log_filter;
        if let Err(error) = EnvFilter::builder().parse(filter) {
            let remedy = "must be a level or targets with levels, such as customer_journey=debug,warn";
            rules.refuse(
                "telemetry.log_filter",
                format!("{remedy}, but is {filter:?}: {error}"),
            );
        }
    }

    fn check_salt(&self, rules: &mut Rules) {
        let length = self.secrets.api_key_salt.chars().count();
        let remedy = "give it by secrets.api_key_salt_file, the credential api-key-salt or API_KEY_SALT, \
                      for example from: openssl rand -base64 32";
        match length {
            0 => rules.refuse("secrets.api_key_salt", format!("is missing: {remedy}")),
            1..SALT_LENGTH_MIN => rules.refuse(
                "secrets.api_key_salt",
                format!("must have at least {SALT_LENGTH_MIN} characters, but has {length}: {remedy}"),
            ),
            _ => {}
        }
    }
}

#[derive(Default)]
struct Rules {
    problems: Vec<Problem>,
}

impl Rules {
    fn refuse(&mut self, key: &str, message: String) {
        self.problems.push(Problem::new(key, message));
    }

    fn hold(&mut self, holds: bool, key: &str, message: impl FnOnce() -> String) {
        if !holds {
            self.refuse(key, message());
        }
    }

    fn positive(&mut self, key: &str, number: u64) {
        self.hold(number > 0, key, || "must be at least 1".into());
    }
}

/// An origin is what a browser sends: `https://shop.example`, lower case, no path, no default port.
fn is_origin(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|address| {
        matches!(address.scheme(), "http" | "https") && address.origin().ascii_serialization() == text
    })
}

fn is_postgres(text: &str) -> bool {
    let scheme = text.starts_with("postgres://") || text.starts_with("postgresql://");
    scheme && PgConnectOptions::from_str(text).is_ok()
}

fn is_redis(text: &str) -> bool {
    text.into_connection_info().is_ok()
}

fn is_host(text: &str) -> bool {
    !text.contains(['/', ':', '@', '?', '#'])
        && url::Host::parse(text).is_ok_and(|host| matches!(host, url::Host::Domain(_) | url::Host::Ipv4(_)))
}

/// Asks the scheduler itself, whose dialect of cron is the one that counts. A day that never comes, such as 31
/// February, it would drop without a word.
pub(crate) fn fires(schedule: &str) -> bool {
    tokio_cron_scheduler::Job::new(schedule, |_, _| {})
        .and_then(|mut job| job.job_data())
        .is_ok_and(|job| job.next_tick_utc().is_some())
}
