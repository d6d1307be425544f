//! One layer of settings: reads its values by the type of each key and says what is wrong with them.

use figment::{
    Metadata, Profile, Provider,
    value::{Dict, Map, Value},
};

use super::{
    error::Problem,
    find_key, keys as all_keys,
    keys::{ENVIRONMENT_PREFIX, Key, Kind, Section},
    load::FILE_VARIABLE,
    suggest::{nearest_key, nearest_name, nearest_variable},
};

/// Values that share an origin.
#[derive(Clone)]
pub(super) struct Layer {
    /// Where the values came from, as people are told.
    pub origin: String,
    /// Accepted values by section and name.
    pub values: Dict,
}

impl Layer {
    pub fn new(origin: impl Into<String>) -> Self {
        Self {
            origin: origin.into(),
            values: Dict::new(),
        }
    }

    pub fn set(&mut self, key: &Key, value: Value) {
        let (section, name) = key.path.split_once('.').expect("a key has a section");
        let entry = self
            .values
            .entry(section.into())
            .or_insert_with(|| Dict::new().into());
        if let Value::Dict(_, keys) = entry {
            keys.insert(name.into(), value);
        }
    }

    fn with(origin: String, key: &Key, value: Value) -> Self {
        let mut layer = Self::new(origin);
        layer.set(key, value);
        layer
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// A name of the original bundle's `.env` that still works.
pub struct BundleName {
    pub name: &'static str,
    /// The key it sets.
    pub path: &'static str,
    /// Brings the bundle's way of writing the value into ours.
    convert: fn(&str) -> String,
}

/// The original bundle's names, as far as a key exists for them. `JOURNEY_*` names win over them.
pub const BUNDLE_NAMES: &[BundleName] = &[
    BundleName::new("DATABASE_URL", "database.url", without_driver),
    BundleName::new("REDIS_URL", "redis.queue_url", str::to_owned),
    BundleName::new("API_KEY_SALT", "secrets.api_key_salt", str::to_owned),
    BundleName::new("CORS_ORIGINS", "server.cors_origins", str::to_owned),
    BundleName::new(
        "SESSION_TIMEOUT_MINUTES",
        "session.timeout_minutes",
        str::to_owned,
    ),
    BundleName::new("MAX_EVENT_BATCH_SIZE", "ingest.batch_events_max", str::to_owned),
    BundleName::new("EVENTS_RETENTION_DAYS", "retention.events_days", str::to_owned),
    BundleName::new("BACKUP_RETENTION_DAYS", "backup.retention_days", str::to_owned),
    BundleName::new("LOG_LEVEL", "telemetry.log_filter", log_level),
];

impl BundleName {
    const fn new(name: &'static str, path: &'static str, convert: fn(&str) -> String) -> Self {
        Self { name, path, convert }
    }
}

/// Removes the driver that Python's SQLAlchemy expects in the scheme, as in `postgresql+asyncpg://`.
fn without_driver(address: &str) -> String {
    match address.split_once("://") {
        Some((scheme, rest)) => format!("{}://{rest}", scheme.split('+').next().unwrap_or(scheme)),
        None => address.into(),
    }
}

/// Translates Python's names of log levels.
fn log_level(level: &str) -> String {
    match level.to_ascii_lowercase().as_str() {
        "warning" => "warn".into(),
        "critical" | "fatal" => "error".into(),
        "notset" => "trace".into(),
        other => other.into(),
    }
}

/// Reads what a TOML file says.
pub(super) fn file_layer(origin: String, content: Dict, problems: &mut Vec<Problem>) -> Layer {
    let mut layer = Layer::new(origin);
    for (section, value) in content {
        match value {
            Value::Dict(_, values) if is_section(&section) => {
                for (name, value) in values {
                    accept(&mut layer, &format!("{section}.{name}"), value, problems);
                }
            }
            _ => problems.push(not_a_section(&section, &layer.origin)),
        }
    }
    layer
}

fn is_section(name: &str) -> bool {
    super::SECTIONS.iter().any(|section| section.name == name)
}

fn not_a_section(name: &str, origin: &str) -> Problem {
    if is_section(name) {
        return Problem::new(
            name,
            format!("in {origin} must be a section: write [{name}] and its keys below it"),
        );
    }
    let section = nearest_name(name, super::SECTIONS.iter().map(|section: &Section| section.name));
    let remedy = match (section, nearest_key(name)) {
        (Some(section), _) => format!("; did you mean the section [{section}]?"),
        (None, Some(key)) => format!("; did you mean {key}?"),
        (None, None) => String::new(),
    };
    Problem::new(name, format!("in {origin} is not known{remedy}"))
}

fn accept(layer: &mut Layer, path: &str, value: Value, problems: &mut Vec<Problem>) {
    match find_key(path) {
        None => {
            let remedy = nearest_key(path).map_or(String::new(), |near| format!("; did you mean {near}?"));
            problems.push(Problem::new(
                path,
                format!("in {} is not known{remedy}", layer.origin),
            ));
        }
        Some(key) => match check(key, value) {
            Ok(value) => layer.set(key, value),
            Err(message) => problems.push(Problem::new(path, format!("in {} {message}", layer.origin))),
        },
    }
}

/// Reads the bundle's names, then the `JOURNEY_*` ones, a layer each.
pub(super) fn environment_layers(
    environment: &[(String, String)],
    problems: &mut Vec<Problem>,
) -> Vec<Layer> {
    let mut layers = bundle_layers(environment, problems);
    for (name, text) in environment {
        if !name.starts_with(ENVIRONMENT_PREFIX) || name == FILE_VARIABLE {
            continue;
        }
        match all_keys().find(|key| key.environment_name() == *name) {
            Some(key) => push_text(&mut layers, name, key, text, problems),
            None => {
                let remedy =
                    nearest_variable(name).map_or(String::new(), |near| format!("; did you mean {near}?"));
                problems.push(Problem::new(
                    name,
                    format!("in the environment is not known{remedy}"),
                ));
            }
        }
    }
    layers
}

/// An empty value counts as absent here: Docker Compose passes unset variables on as empty ones.
fn bundle_layers(environment: &[(String, String)], problems: &mut Vec<Problem>) -> Vec<Layer> {
    let mut layers = Vec::new();
    for bundle in BUNDLE_NAMES {
        let text = environment
            .iter()
            .find(|(name, text)| name == bundle.name && !text.is_empty());
        if let (Some((name, text)), Some(key)) = (text, find_key(bundle.path)) {
            push_text(&mut layers, name, key, &(bundle.convert)(text), problems);
        }
    }
    layers
}

fn push_text(layers: &mut Vec<Layer>, name: &str, key: &Key, text: &str, problems: &mut Vec<Problem>) {
    match parse(key, text) {
        Ok(value) => layers.push(Layer::with(format!("environment {name}"), key, value)),
        Err(message) => {
            problems.push(Problem::new(
                key.path,
                format!("in the environment ({name}) {message}"),
            ));
        }
    }
}

/// Reads text by the type of its key, so that a salt of digits stays text.
pub(super) fn parse(key: &Key, text: &str) -> Result<Value, String> {
    let value = match key.kind {
        Kind::Text | Kind::Choice(_) => Value::from(text),
        Kind::Whole(_) => match text.trim().parse::<u64>() {
            Ok(number) => Value::from(number),
            Err(_) => Value::from(text),
        },
        Kind::Switch => match text.trim() {
            "true" | "1" => Value::from(true),
            "false" | "0" => Value::from(false),
            _ => Value::from(text),
        },
        Kind::List => parse_list(text),
    };
    check(key, value)
}

/// `a, b` or, as some deployments of the bundle wrote it, `["a", "b"]`.
fn parse_list(text: &str) -> Value {
    let items = serde_json::from_str::<Vec<String>>(text).unwrap_or_else(|_| {
        let parts = text.split(',').map(str::trim);
        parts.filter(|part| !part.is_empty()).map(String::from).collect()
    });
    Value::from(items)
}

fn check(key: &Key, value: Value) -> Result<Value, String> {
    let fits = match (key.kind, &value) {
        (Kind::Text, Value::String(..)) | (Kind::Switch, Value::Bool(..)) => true,
        (Kind::Whole(most), Value::Num(_, number)) => number
            .to_u128_lossy()
            .is_some_and(|number| number <= u128::from(most)),
        (Kind::List, Value::Array(_, items)) => items.iter().all(|item| matches!(item, Value::String(..))),
        (Kind::Choice(choices), Value::String(_, text)) => choices.iter().any(|(name, _)| name == text),
        _ => false,
    };
    if fits {
        Ok(value)
    } else {
        Err(mismatch(key, &value))
    }
}

fn mismatch(key: &Key, value: &Value) -> String {
    let expected = match key.kind {
        Kind::Text => "text".into(),
        Kind::Whole(most) if most > u64::from(u32::MAX) => "a whole number, 0 or more".into(),
        Kind::Whole(most) => format!("a whole number from 0 to {most}"),
        Kind::Switch => "true or false".into(),
        Kind::List => "a list of texts".into(),
        Kind::Choice(_) => key.kind.to_string(),
    };
    format!("must be {expected}, but is {}", describe(value))
}

/// Text is quoted, since only keys that hold no secret expect anything else than text.
fn describe(value: &Value) -> String {
    match value {
        Value::String(_, text) => format!("the text {text:?}"),
        Value::Num(_, number) => match (number.to_u128(), number.to_i128()) {
            (Some(number), _) => format!("the number {number}"),
            (_, Some(number)) => format!("the number {number}"),
            (None, None) => "a number with a fraction".into(),
        },
        Value::Bool(_, switch) => format!("{switch}"),
        Value::Array(..) => "a list".into(),
        Value::Dict(..) => "a section".into(),
        Value::Char(..) | Value::Empty(..) => "something else".into(),
    }
}
