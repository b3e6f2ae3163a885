//! How a producer batches, waits and retries.

use std::time::Duration;

use headwater_record::Compression;

use crate::error::Error;
use crate::limits;

/// When a batch is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acks {
    /// At once, before anything is stored; there are no offsets then.
    None,
    /// When the leader has stored it as the topic's durability class demands.
    Leader,
    /// When every in-sync replica has stored it as the topic's durability class demands.
    #[default]
    All,
}

/// How a producer batches, waits and retries.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProducerConfig {
    /// When a batch is acknowledged. Default: all.
    pub acks: Acks,
    /// How batches are compressed, by this client. Default: none.
    pub compression: Compression,
    /// A batch is closed when its records reach this size, in bytes before compression.
    /// Default: 256 KiB; bounded by what the topic takes.
    pub batch_bytes_max: usize,
    /// How long an open batch waits for more records. 0 (the default) sends at once what has
    /// gathered while earlier batches were on their way.
    pub linger: Duration,
    /// Bytes of records that may be handed in and not yet acknowledged; `send` waits beyond that.
    /// Default: 32 MiB.
    pub buffer_bytes_max: usize,
    /// How long a record may take from `send` to its acknowledgement, retries included. Nothing
    /// older is ever sent again. Default: 2 minutes, which is also the bound.
    pub delivery_timeout: Duration,
    /// Retries never store a record twice and never reorder. Default: true. Without it a batch
    /// is not sent again once it may have been stored.
    pub idempotent: bool,
    /// `name` or `namespace/name` of this producer: whoever used the name before is fenced.
    /// Default: none, an identity of its own.
    pub name: Option<String>,
    /// Batches that may be on their way to one partition. Default: 16, which is also the bound
    /// (the leader remembers that many).
    pub batches_in_flight_max: usize,
}

impl Default for ProducerConfig {
    fn default() -> ProducerConfig {
        ProducerConfig {
            acks: Acks::All,
            compression: Compression::None,
            batch_bytes_max: limits::BATCH_BYTES_DEFAULT,
            linger: Duration::ZERO,
            buffer_bytes_max: limits::BUFFER_BYTES_DEFAULT,
            delivery_timeout: limits::DELIVERY_TIMEOUT_MAX,
            idempotent: true,
            name: None,
            batches_in_flight_max: limits::BATCHES_IN_FLIGHT_MAX,
        }
    }
}

impl ProducerConfig {
    /// The defaults.
    pub fn new() -> ProducerConfig {
        ProducerConfig::default()
    }

    /// The same with other acks.
    pub fn acks(mut self, acks: Acks) -> ProducerConfig {
        self.acks = acks;
        self
    }

    /// The same with another compression.
    pub fn compression(mut self, compression: Compression) -> ProducerConfig {
        self.compression = compression;
        self
    }

    /// The same with another size of batches, in bytes before compression.
    pub fn batch_bytes_max(mut self, bytes: usize) -> ProducerConfig {
        self.batch_bytes_max = bytes;
        self
    }

    /// The same with another linger.
    pub fn linger(mut self, linger: Duration) -> ProducerConfig {
        self.linger = linger;
        self
    }

    /// The same with another bound on buffered bytes.
    pub fn buffer_bytes_max(mut self, bytes: usize) -> ProducerConfig {
        self.buffer_bytes_max = bytes;
        self
    }

    /// The same with another delivery timeout.
    pub fn delivery_timeout(mut self, timeout: Duration) -> ProducerConfig {
        self.delivery_timeout = timeout;
        self
    }

    /// The same with or without idempotence.
    pub fn idempotent(mut self, idempotent: bool) -> ProducerConfig {
        self.idempotent = idempotent;
        self
    }

    /// The same with a name.
    pub fn name(mut self, name: impl Into<String>) -> ProducerConfig {
        self.name = Some(name.into());
        self
    }

    /// The same with another bound on batches in flight to one partition.
    pub fn batches_in_flight_max(mut self, batches: usize) -> ProducerConfig {
        self.batches_in_flight_max = batches;
        self
    }

    /// Refuses what cannot work.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let fault = if self.batch_bytes_max == 0 {
            "batch_bytes_max is 0"
        } else if self.buffer_bytes_max == 0 || self.buffer_bytes_max > limits::BUFFER_BYTES_MAX {
            "buffer_bytes_max must be between 1 byte and 2 GiB"
        } else if self.delivery_timeout.is_zero()
            || self.delivery_timeout > limits::DELIVERY_TIMEOUT_MAX
        {
            "delivery_timeout must be above 0 and at most 2 minutes"
        } else if self.batches_in_flight_max == 0
            || self.batches_in_flight_max > limits::BATCHES_IN_FLIGHT_MAX
        {
            "batches_in_flight_max must be between 1 and 16"
        } else if self.name.is_some() && !self.idempotent {
            "a named producer is idempotent; drop the name or turn idempotence on"
        } else {
            return Ok(());
        };
        Err(Error::invalid_config(fault))
    }
}
