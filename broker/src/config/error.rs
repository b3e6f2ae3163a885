//! Why the settings were refused.

use super::raw::Origin;

/// Why the settings were refused. Each message says what, where, and what to write instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The configuration file cannot be read.
    #[error("cannot read the configuration file {path}: {reason}")]
    Unreadable {
        /// The file as it was named.
        path: String,
        /// What the system says.
        reason: String,
    },
    /// The configuration file is not YAML, or not a mapping of settings.
    #[error("{path} is not a valid configuration file: {reason}")]
    Malformed {
        /// The file as it was named.
        path: String,
        /// What is wrong, with the place if it is known.
        reason: String,
    },
    /// A variable of ours whose value is not Unicode.
    #[error("variable {variable} is not Unicode; write the value in a configuration file")]
    NotUnicode {
        /// Its name.
        variable: String,
    },
    /// A name that is no setting.
    #[error(
        "{origin}{}is not a setting; did you mean {nearest}? \
         `headwater-broker --print-config` lists all of them",
        said(name, origin)
    )]
    UnknownKey {
        /// The name as it was written.
        name: String,
        /// Where it was written.
        origin: Origin,
        /// The known name that is most like it, in the same spelling (key or variable).
        nearest: String,
    },
    /// The same setting twice on one level.
    #[error("{key} is set twice: {first} and {second}")]
    Duplicate {
        /// The setting.
        key: &'static str,
        /// The first place.
        first: Origin,
        /// The second place.
        second: Origin,
    },
    /// A value that cannot be used.
    #[error("{key}: {text:?} ({origin}) {problem}")]
    Value {
        /// The setting.
        key: &'static str,
        /// The value as it was written.
        text: String,
        /// Where it was written.
        origin: Origin,
        /// What is wrong with it and what to write instead.
        problem: String,
    },
    /// Two values that cannot be used together.
    #[error("{key} ({origin}) {problem}")]
    Conflict {
        /// The setting to change first.
        key: &'static str,
        /// Where it was written.
        origin: Origin,
        /// Which other setting it clashes with, and what to write instead.
        problem: String,
    },
    /// The memory of this machine cannot be told.
    #[error("cannot tell this machine's memory: {0}; is /proc mounted?")]
    MachineMemory(std::io::Error),
    /// The memory limit is too small for the other settings.
    #[error(transparent)]
    Memory(#[from] crate::memory::TooSmall),
}

/// A variable is its own place; in a file or a flag the name is said besides.
fn said(name: &str, origin: &Origin) -> String {
    match origin {
        Origin::Variable(_) => " ".to_owned(),
        _ => format!(" sets {name}, which "),
    }
}
