//! What can be wrong with a configuration.

use std::{fmt, path::PathBuf};

/// One thing to put right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key at fault as its layer writes it, for example `server.listen` or `JOURNEY_SERVER__LISTEN`.
    pub key: String,
    /// What is wrong and what to do, as the rest of a sentence that begins with the key.
    pub message: String,
}

impl Problem {
    pub(super) fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.key, self.message)
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("the configuration file {} cannot be read", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the configuration file {} is not TOML", path.display())]
    Syntax {
        path: PathBuf,
        #[source]
        source: Box<figment::Error>,
    },
    /// All problems of all layers.
    #[error("{}", list(.0))]
    Invalid(Vec<Problem>),
    /// The layers were each accepted, yet do not make a configuration: a defect of the checks.
    #[error("the checked settings do not make a configuration")]
    Assemble(#[source] Box<figment::Error>),
}

fn list(problems: &[Problem]) -> String {
    match problems {
        [problem] => format!("the configuration has a problem: {problem}"),
        problems => {
            let lines: String = problems
                .iter()
                .map(|problem| format!("\n  - {problem}"))
                .collect();
            format!("the configuration has {} problems:{lines}", problems.len())
        }
    }
}
