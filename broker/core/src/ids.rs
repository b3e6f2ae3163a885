//! Ids and numbers of the cluster. Different numbers are different types.
//!
//! Those that are persisted are frozen: their width and meaning never change.

use std::fmt;

use headwater_log::PartitionKey;
use uuid::Uuid;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Reads the 16 bytes of a persisted id; `None` for any other length and for the nil
            /// UUID, which is never an id.
            pub fn from_slice(bytes: &[u8]) -> Option<$name> {
                Uuid::from_slice(bytes).ok().filter(|id| !id.is_nil()).map($name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A broker, from 1. Allocated by the metadata, never reused.
    BrokerId, u32
}
number! {
    /// A broker's registration: the metadata revision of it, so that it rises with each.
    BrokerEpoch, u64
}
number! {
    /// A partition's number within its topic, from 0.
    PartitionIdx, u32
}
number! {
    /// How many commands have changed the metadata; also marks what a command has changed.
    Revision, u64
}
number! {
    /// A producer's id, from 1. Allocated by the metadata, never reused.
    ProducerId, i64
}
uuid_id! {
    /// The cluster. Drawn when it is formed.
    ClusterId
}
uuid_id! {
    /// A data directory. Drawn when it is first opened.
    StorageId
}
uuid_id! {
    /// A span of a broker's life. Drawn before each registration and once a minute.
    IncarnationId
}
uuid_id! {
    /// A topic. Never returns, not even for a topic of the same name.
    TopicId
}

impl TopicId {
    /// The log engine's key of one of the topic's partitions.
    pub fn partition(self, index: PartitionIdx) -> PartitionKey {
        PartitionKey {
            topic: self.0,
            index: index.0,
        }
    }
}
