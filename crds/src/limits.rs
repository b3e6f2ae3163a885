//! Bounds of the schema. The broker has its own; these keep the API server's rule evaluation cheap
//! and objects small.

/// Partitions of one topic: the broker's own bound (`TOPIC_PARTITIONS_MAX`).
pub(crate) const PARTITIONS_MAX: i32 = 10_000;
/// Settings in a `config` map; the broker has about forty.
pub(crate) const CONFIG_KEYS_MAX: usize = 64;
/// Namespaces named in `topicNamespaces`; whoever needs more writes `*`.
pub(crate) const TOPIC_NAMESPACES_MAX: usize = 256;
/// Peers in `clientsFrom`; one peer selects any number of pods.
pub(crate) const CLIENTS_FROM_MAX: usize = 32;
