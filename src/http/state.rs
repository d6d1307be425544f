//! What every handler can reach.

use std::{ops::Deref, sync::Arc};

use metrics_exporter_prometheus::PrometheusHandle;
use sqlx::PgPool;

use super::{
    auth::KeyCache,
    ingest::Reception,
    system::{ReadinessCheck, SystemInformation},
};
use crate::{
    alert::notify::Notifier, config::Config, event::Hasher, index::Index, ops::Clock, rights::Rights,
};

/// Handle on the service, cheap to clone; its fields are those of [`Parts`].
#[derive(Clone)]
pub struct AppState(Arc<Parts>);

/// The fields of [`AppState`]. Made by [`Parts::new`], completed by the wiring, then turned into the state.
pub struct Parts {
    pub pool: PgPool,
    pub config: Arc<Config>,
    pub clock: Clock,
    pub hasher: Hasher,
    pub keys: KeyCache,
    /// `None` when nothing is recorded, as in tests: `/metrics` then answers 404.
    pub metrics: Option<PrometheusHandle>,
    /// What `/ready` asks, in this order.
    pub readiness: Vec<Arc<dyn ReadinessCheck>>,
    /// What `/api/v1/system` tells besides version and installation.
    pub system: Vec<Arc<dyn SystemInformation>>,
    /// Takes events in; `None` on a node that does not.
    pub reception: Option<Arc<Reception>>,
    /// Answers for people's rights; `None` on a node that does not.
    pub rights: Option<Rights>,
    /// Sends messages about alerts; `None` on a node that does not.
    pub notifier: Option<Notifier>,
    /// The journey index; `None` on a node that keeps none.
    pub index: Option<Arc<Index>>,
    /// Write key of the demo shop; `None` means that `/demo/` does not exist.
    pub demo_key: Option<String>,
}

impl Parts {
    /// The parts without metrics, checks and demo.
    pub fn new(pool: PgPool, config: Arc<Config>, clock: Clock) -> Self {
        let hasher = Hasher::new(&config.secrets.api_key_salt);
        Self {
            pool,
            config,
            clock,
            hasher,
            keys: KeyCache::default(),
            metrics: None,
            readiness: Vec::new(),
            system: Vec::new(),
            reception: None,
            rights: None,
            notifier: None,
            index: None,
            demo_key: None,
        }
    }
}

impl From<Parts> for AppState {
    fn from(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for AppState {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
