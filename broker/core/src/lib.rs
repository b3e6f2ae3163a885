//! Cluster logic: deterministic state machines that take time, randomness and storage as arguments.
//!
//! - [`metadata`]: what the cluster has agreed upon (brokers, topics, leaders), and the identity of
//!   this broker's data directory.
//! - [`replica`]: one partition on one broker.

#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

pub mod ids;
pub mod limits;
pub mod metadata;
pub mod names;
pub mod replica;
