//! Partitions on this broker: who holds them, and the threads that drive them.

pub mod handle;
pub mod read;
pub mod registry;
pub mod shard;
pub mod syncer;
pub mod tail;
