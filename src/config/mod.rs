//! Every setting of the service, with its default, its meaning and its unit.
//!
//! Layers, later ones win:
//!
//! 1. defaults;
//! 2. the TOML file: `--config`, else `JOURNEY_CONFIG`, else `/etc/customer-journey/config.toml` if it exists;
//! 3. the original bundle's own names (`DATABASE_URL`, …), see [`BUNDLE_NAMES`];
//! 4. `JOURNEY_SECTION__KEY` environment variables: the name made for this service is the more deliberate one;
//! 5. secrets from the files that `secrets.*_file` name;
//! 6. secrets from the systemd credentials directory.
//!
//! Unknown keys are refused by name, wrong types by key and layer, and all problems are reported at once.

mod alerts;
mod analysis;
mod backup;
mod error;
mod ingest;
mod keys;
mod layers;
mod load;
mod operation;
mod people;
mod reference;
mod secrets;
mod server;
mod site;
mod storage;
mod suggest;
mod validate;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use alerts::{Alerts, BASELINE_WEEKS_MAX, SmtpSecurity};
pub use analysis::Index;
pub use backup::Backup;
pub use error::{ConfigError, Problem};
pub use ingest::{Ingest, QueueMode, Writer};
pub use keys::{Key, Kind, Section};
pub use layers::{BUNDLE_NAMES, BundleName};
pub use load::{DEFAULT_FILE, FILE_VARIABLE, Gathered, Sources, load};
pub use operation::{Jobs, LogFormat, Telemetry};
pub use people::{IpPolicy, Privacy, Retention, Session};
pub use reference::reference;
pub use secrets::Secrets;
pub use server::Server;
pub use site::Site;
pub use storage::{Database, Redis};
pub(crate) use suggest::nearest_name;
pub use validate::SALT_LENGTH_MIN;

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub server: Server,
    pub database: Database,
    pub redis: Redis,
    pub ingest: Ingest,
    pub writer: Writer,
    pub privacy: Privacy,
    pub session: Session,
    pub retention: Retention,
    pub site: Site,
    pub alerts: Alerts,
    pub index: Index,
    pub jobs: Jobs,
    pub backup: Backup,
    pub telemetry: Telemetry,
    pub secrets: Secrets,
}

/// Every section with every key, in the order of the reference.
pub const SECTIONS: &[Section] = &[
    Server::SECTION,
    Database::SECTION,
    Redis::SECTION,
    Ingest::SECTION,
    Writer::SECTION,
    Privacy::SECTION,
    Session::SECTION,
    Retention::SECTION,
    Site::SECTION,
    Alerts::SECTION,
    Index::SECTION,
    Jobs::SECTION,
    Backup::SECTION,
    Telemetry::SECTION,
    Secrets::SECTION,
];

/// Returns every key, in the order of the reference.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().flat_map(|section| section.keys)
}

/// Returns the key at `section.name`.
pub fn find_key(path: &str) -> Option<&'static Key> {
    keys().find(|key| key.path == path)
}
