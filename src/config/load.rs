//! Puts the layers together.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use figment::{
    Figment, Profile, Provider,
    providers::{Format, Toml},
    value::{Dict, Value},
};

use super::{
    Config, SECTIONS,
    error::{ConfigError, Problem},
    find_key, keys,
    layers::{Layer, environment_layers, file_layer},
    secrets::{SECRET_SOURCES, SecretSource, mask, read_secret},
};

/// The environment variable that names the file when `--config` does not.
pub const FILE_VARIABLE: &str = "JOURNEY_CONFIG";

/// The file that is read when none is named; it may be absent.
pub const DEFAULT_FILE: &str = "/etc/customer-journey/config.toml";

/// Loads and checks the configuration of this process.
///
/// # Errors
/// [`ConfigError::Read`] and [`ConfigError::Syntax`] for the file, [`ConfigError::Invalid`] with all problems of
/// all layers.
pub fn load(file: Option<&Path>) -> Result<Config, ConfigError> {
    Sources::of_process(file).load()
}

/// Where settings are taken from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// A file that must exist.
    pub file: Option<PathBuf>,
    /// Environment variables; those that are none of ours are passed over.
    pub environment: Vec<(String, String)>,
    /// The systemd credentials directory.
    pub credentials: Option<PathBuf>,
    /// Whether secrets are read and required. Without it a file can be checked where its secrets are not, as in
    /// a Nix build.
    pub secrets: bool,
}

/// The outcome of reading all layers, usable or not.
pub struct Gathered {
    /// Accepted settings over the defaults.
    pub config: Config,
    /// What is wrong with the layers and with the settings together.
    pub problems: Vec<Problem>,
    origins: BTreeMap<&'static str, String>,
}

impl Sources {
    /// The layers of this process: a file, its environment, its credentials.
    pub fn of_process(file: Option<&Path>) -> Self {
        let file = file.map(Path::to_path_buf).or_else(|| {
            let named = std::env::var_os(FILE_VARIABLE).filter(|path| !path.is_empty());
            let usual = Path::new(DEFAULT_FILE);
            named
                .map(PathBuf::from)
                .or_else(|| usual.exists().then(|| usual.into()))
        });
        let environment = std::env::vars_os().map(|(name, text)| {
            (
                name.to_string_lossy().into_owned(),
                text.to_string_lossy().into_owned(),
            )
        });
        Self {
            file,
            environment: environment.collect(),
            credentials: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
            secrets: true,
        }
    }

    /// One file alone, without secrets.
    pub fn of_file(file: &Path) -> Self {
        Self {
            file: Some(file.into()),
            ..Self::default()
        }
    }

    /// Reads all layers and refuses what is wrong.
    ///
    /// # Errors
    /// As [`load`].
    pub fn load(&self) -> Result<Config, ConfigError> {
        let gathered = self.gather()?;
        if gathered.problems.is_empty() {
            Ok(gathered.config)
        } else {
            Err(ConfigError::Invalid(gathered.problems))
        }
    }

    /// Reads all layers and collects what is wrong.
    ///
    /// # Errors
    /// [`ConfigError::Read`] and [`ConfigError::Syntax`] for the file.
    pub fn gather(&self) -> Result<Gathered, ConfigError> {
        let mut problems = Vec::new();
        let mut figment = Figment::from(default_layer());
        if let Some(path) = &self.file {
            let origin = format!("file {}", path.display());
            figment = figment.merge(file_layer(origin, read_file(path)?, &mut problems));
        }
        for layer in environment_layers(&self.environment, &mut problems) {
            figment = figment.merge(layer);
        }
        if self.secrets {
            figment = self.merge_secrets(figment, &mut problems);
        }
        self.assemble(&figment, problems)
    }

    fn merge_secrets(&self, mut figment: Figment, problems: &mut Vec<Problem>) -> Figment {
        for source in SECRET_SOURCES {
            let named: String = figment.extract_inner(source.file_key).unwrap_or_default();
            let named = Some(PathBuf::from(named)).filter(|path| !path.as_os_str().is_empty());
            let credential = self
                .credentials
                .as_ref()
                .map(|folder| folder.join(source.credential));
            // A unit gets only the credentials it asks for: one that is absent was given in another way.
            let credential = credential.filter(|path| path.exists());
            let files = [(named, "file"), (credential, "credential")];
            for (path, origin) in files
                .into_iter()
                .filter_map(|(path, origin)| Some((path?, origin)))
            {
                match secret_layer(source, &path, origin) {
                    Ok(layer) => figment = figment.merge(layer),
                    Err(message) => problems.push(Problem::new(source.target, message)),
                }
            }
        }
        figment
    }

    fn assemble(&self, figment: &Figment, mut problems: Vec<Problem>) -> Result<Gathered, ConfigError> {
        let config: Config = figment
            .extract()
            .map_err(|error| ConfigError::Assemble(Box::new(error)))?;
        // A key already refused holds its default now, about which there is nothing to say.
        let refused: Vec<String> = problems.iter().map(|problem| problem.key.clone()).collect();
        let rules = config.problems(self.secrets).into_iter();
        problems.extend(rules.filter(|problem| !refused.contains(&problem.key)));
        let origins = keys().map(|key| {
            let origin = figment
                .find_metadata(key.path)
                .map(|metadata| metadata.name.to_string());
            (key.path, origin.unwrap_or_default())
        });
        Ok(Gathered {
            config,
            problems,
            origins: origins.collect(),
        })
    }
}

impl Gathered {
    /// Returns each key with its value as TOML, secrets masked, and the layer it came from.
    pub fn settings(&self) -> Vec<(&'static str, String, &str)> {
        let values = Value::serialize(&self.config).expect("settings are plain values");
        let settings = self.origins.iter().filter_map(|(path, origin)| {
            let text = toml_text(values.find_ref(path)?);
            Some((*path, mask(path, &text).into_owned(), origin.as_str()))
        });
        settings.collect()
    }
}

fn default_layer() -> Layer {
    let mut layer = Layer::new("default");
    let defaults = Value::serialize(Config::default()).expect("defaults are plain values");
    for key in keys() {
        let value = defaults
            .find_ref(key.path)
            .expect("every declared key is a field");
        layer.set(key, value.clone());
    }
    layer
}

fn read_file(path: &Path) -> Result<Dict, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.into(),
        source,
    })?;
    let mut profiles = Toml::string(&text).data().map_err(|error| ConfigError::Syntax {
        path: path.into(),
        source: Box::new(error),
    })?;
    Ok(profiles.remove(&Profile::Default).unwrap_or_default())
}

fn secret_layer(source: &SecretSource, path: &Path, origin: &str) -> Result<Layer, String> {
    let named = match origin {
        "file" => format!("is to come from {}, but ", source.file_key),
        _ => format!("is to come from the credential {}, but ", source.credential),
    };
    let secret = read_secret(path).map_err(|message| named + &message)?;
    let mut layer = Layer::new(format!("{origin} {}", path.display()));
    let key = find_key(source.target).expect("a secret has a key");
    layer.set(key, Value::from(secret));
    Ok(layer)
}

impl Config {
    /// Returns every setting as a TOML file, without secrets: an address with a password is a comment.
    pub fn to_toml(&self) -> String {
        let values = Value::serialize(self).expect("settings are plain values");
        let mut text = String::from("# The settings in force, without secrets.\n");
        for section in SECTIONS {
            text += &format!("\n[{}]\n", section.name);
            for key in section.keys {
                let Some(value) = values.find_ref(key.path).map(toml_text) else {
                    continue;
                };
                let name = key.path.rsplit('.').next().unwrap_or(key.path);
                let shown = mask(key.path, &value);
                let comment = if shown == value { "" } else { "# " };
                text += &format!("{comment}{name} = {shown}\n");
            }
        }
        text
    }
}

/// Writes a value as TOML does. JSON's escapes of texts are TOML's too.
pub(super) fn toml_text(value: &Value) -> String {
    match value {
        Value::String(_, text) => serde_json::Value::from(text.as_str()).to_string(),
        Value::Array(_, items) => format!("[{}]", items.iter().map(toml_text).collect::<Vec<_>>().join(", ")),
        Value::Num(_, number) => number.to_u128_lossy().unwrap_or_default().to_string(),
        Value::Bool(_, switch) => switch.to_string(),
        other => format!("{other:?}"),
    }
}
