//! What the cluster has agreed upon, and who this broker is.
//!
//! A [`Command`] goes in, is judged against the [`Image`] alone, and is accepted as a whole (what
//! follows from it is an [`Applied`]) or [`Refused`] as a whole. Commands stand in one total order;
//! [`LocalBackend`] keeps them in a file for a broker that is alone. [`Identity`] is what a data
//! directory knows of itself. Formats: `docs/format/metadata.md`, `docs/format/identity.md`.

mod applied;
mod command;
mod error;
mod identity;
mod image;
mod local;
mod refused;
#[cfg(test)]
mod testing;
mod tier;
mod topic_config;
mod wire;

pub use applied::Applied;
pub use command::{
    Command, ConfirmIncarnation, CreateTopic, DeleteTopic, FEATURE_LEVEL, FormCluster,
    RegisterBroker, UpdateTopic,
};
pub use error::MetadataError;
pub use identity::{Identity, Opened};
pub use image::{Broker, Cluster, Image, NamedProducer, Partition, Tombstone, Topic};
pub use local::{LocalBackend, MetadataReport};
pub use refused::{Refused, RefusedKind};
pub use tier::{CommitTierHeads, RestoredFrom, TierHead, TierHeadCommit, TierHeadRefused};
pub use topic_config::{ConfigError, Durability, EffectiveConfig, Retention, TopicConfig};
pub use wire::WireError;
