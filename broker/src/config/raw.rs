//! The winning text of every key, and where it was written.

use std::collections::HashMap;
use std::fmt;

use super::error::ConfigError;
use super::file;
use super::keys::{KEYS, Key};

/// Variables that begin like ours and belong to the command-line client, or name the
/// configuration file itself.
const OTHER_VARIABLES: [&str; 6] = [
    "HEADWATER_CONFIG",
    "HEADWATER_CONTEXTS",
    "HEADWATER_ENDPOINT",
    "HEADWATER_CONTEXT",
    "HEADWATER_NAMESPACE",
    "HEADWATER_OUTPUT",
];

/// Where values come from, lowest first.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// The configuration file: its name and its text.
    pub file: Option<(String, String)>,
    /// Variables of the environment. Only names that begin with `HEADWATER_` are looked at, and
    /// an empty value counts as not set.
    pub variables: Vec<(String, String)>,
    /// Flags: the key they set, how they were written, and the value. Later ones win.
    pub flags: Vec<(String, String, String)>,
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere.
    Default,
    /// In the configuration file.
    File {
        /// The file as it was named.
        path: String,
        /// Line, counted from one, if it could be told.
        line: Option<usize>,
    },
    /// In this variable of the environment.
    Variable(String),
    /// By this flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File {
                path,
                line: Some(line),
            } => write!(f, "{path}:{line}"),
            Origin::File { path, line: None } => f.write_str(path),
            Origin::Variable(name) => write!(f, "variable {name}"),
            Origin::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// The winning text of every key.
#[derive(Clone, Debug)]
pub struct RawConfig {
    /// In the order of [`KEYS`], one for each.
    values: Vec<(String, Origin)>,
}

impl RawConfig {
    /// Lays the layers over the defaults.
    ///
    /// # Errors
    /// A file that is not YAML, a name that is no setting, or a key that is twice in the file.
    pub fn read(layers: &Layers) -> Result<RawConfig, ConfigError> {
        let defaults = KEYS
            .iter()
            .map(|key| (key.default.to_owned(), Origin::Default));
        let mut raw = RawConfig {
            values: defaults.collect(),
        };
        raw.lay_file(layers)?;
        raw.lay_variables(layers)?;
        for (name, flag, text) in &layers.flags {
            let origin = Origin::Flag(flag.clone());
            let index = index_of(name).ok_or_else(|| unknown_key(name, origin.clone()))?;
            raw.values[index] = (text.clone(), origin);
        }
        Ok(raw)
    }

    fn lay_file(&mut self, layers: &Layers) -> Result<(), ConfigError> {
        let Some((path, yaml)) = &layers.file else {
            return Ok(());
        };
        for entry in file::entries(path, yaml)? {
            let origin = Origin::File {
                path: path.clone(),
                line: entry.line,
            };
            let index =
                index_of(&entry.name).ok_or_else(|| unknown_key(&entry.name, origin.clone()))?;
            let (_, first) = &self.values[index];
            if *first != Origin::Default {
                let (key, first) = (KEYS[index].name, first.clone());
                return Err(ConfigError::Duplicate {
                    key,
                    first,
                    second: origin,
                });
            }
            self.values[index] = (entry.text, origin);
        }
        Ok(())
    }

    fn lay_variables(&mut self, layers: &Layers) -> Result<(), ConfigError> {
        let indices: HashMap<String, usize> = KEYS.iter().map(Key::variable).zip(0..).collect();
        for (name, text) in &layers.variables {
            if text.is_empty() || !name.starts_with("HEADWATER_") {
                continue;
            }
            match indices.get(name) {
                Some(&index) => {
                    self.values[index] = (text.clone(), Origin::Variable(name.clone()));
                }
                None if is_foreign(name) => {}
                None => return Err(unknown_variable(name)),
            }
        }
        Ok(())
    }

    /// The text and the origin of a key that is in [`KEYS`].
    pub(super) fn get(&self, name: &str) -> (&'static Key, &str, &Origin) {
        let index = index_of(name).expect("settings are read by the names in the table");
        let (text, origin) = &self.values[index];
        (&KEYS[index], text, origin)
    }

    /// Every key with its text and origin, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Key, &str, &Origin)> {
        KEYS.iter()
            .zip(&self.values)
            .map(|(key, (text, origin))| (key, text.as_str(), origin))
    }
}

fn index_of(name: &str) -> Option<usize> {
    KEYS.iter().position(|key| key.name == name)
}

/// Variables that others put there: the client's, and those that Kubernetes sets in every pod for a
/// Service whose name begins with `headwater` (`HEADWATER_PORT_7650_TCP_ADDR`,
/// `HEADWATER_BROKERS_SERVICE_HOST`).
fn is_foreign(name: &str) -> bool {
    OTHER_VARIABLES.contains(&name)
        || name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.split_once("_PORT_").is_some_and(|(_, rest)| {
            rest.starts_with(|c: char| c.is_ascii_digit())
                && ["_TCP", "_UDP", "_SCTP"]
                    .iter()
                    .any(|protocol| rest.contains(protocol))
        })
}

fn unknown_key(name: &str, origin: Origin) -> ConfigError {
    let nearest = nearest(name, KEYS.iter().map(|key| key.name.to_owned()));
    ConfigError::UnknownKey {
        name: name.to_owned(),
        origin,
        nearest,
    }
}

fn unknown_variable(name: &str) -> ConfigError {
    let nearest = nearest(name, KEYS.iter().map(Key::variable));
    let origin = Origin::Variable(name.to_owned());
    ConfigError::UnknownKey {
        name: name.to_owned(),
        origin,
        nearest,
    }
}

/// The most similar candidate: one with the same last part if there is one (the right key under a
/// wrong section), else by Jaro-Winkler, which prefers the same section.
fn nearest(name: &str, candidates: impl Iterator<Item = String>) -> String {
    let last_part = |name: &str| name.rsplit_once('.').map(|(_, key)| key.to_owned());
    let similarity = |candidate: &String| {
        let same_key = last_part(name).is_some() && last_part(candidate) == last_part(name);
        f64::from(u8::from(same_key)) + strsim::jaro_winkler(name, candidate)
    };
    candidates
        .max_by(|a, b| similarity(a).total_cmp(&similarity(b)))
        .expect("the table of settings is not empty")
}
