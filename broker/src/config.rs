//! Settings: one YAML file, `HEADWATER_*` variables and flags, in rising order, parsed once.
//!
//! [`Layers`] name where values come from, [`RawConfig`] holds the winning text of every key with
//! its [`Origin`], and [`Settings`] is what the rest of the broker sees. Nothing behind this module
//! checks a setting again.

#[cfg(test)]
mod documentation;
mod error;
mod file;
mod keys;
mod parse;
mod print;
mod raw;
mod settings;
mod value;

pub use error::ConfigError;
pub use keys::{Form, KEYS, Key};
pub use parse::Machine;
pub use print::print;
pub use raw::{Layers, Origin, RawConfig};
pub use settings::{
    DiskGuard, Durability, Limits, Listen, LogFormat, Logging, Settings, Storage, Tier,
    TopicDefaults,
};

#[cfg(test)]
mod tests;
