//! Records as applications see them.

use bytes::Bytes;

use crate::Offset;

/// A named value beside a record. Names may repeat and keep their order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// The name; may be empty.
    pub name: String,
    /// The value; a null value and an empty one are different.
    pub value: Option<Bytes>,
}

/// A record to be written.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Record {
    /// Chooses the partition; null and empty are different.
    pub key: Option<Bytes>,
    /// The payload; null and empty are different.
    pub value: Option<Bytes>,
    /// Named values in their order.
    pub headers: Vec<Header>,
    /// Milliseconds since the Unix epoch; -1 where the producer had no time.
    pub timestamp_ms: i64,
}

/// A record that was read: with its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredRecord {
    /// Its place in the partition.
    pub offset: Offset,
    /// What was written.
    pub record: Record,
}
