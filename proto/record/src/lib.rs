//! Record batches: Kafka's RecordBatch v2, byte for byte, on the wire, in memory and on disk.
//!
//! `docs/format/record-batch.md` draws the bytes. A producer fills a [`BatchBuilder`]; a broker
//! [verifies](Batch::verify) what arrives and [stamps](Batch::stamp) offset and leader epoch without
//! touching the rest; a consumer walks [`batches`] and reads their [records](Batch::records). Foreign
//! bytes never panic and never take more memory than [`limits`] says.

mod compress;
mod decode;
mod encode;
mod error;
mod header;
pub mod limits;
mod offset;
mod partitioner;
mod record;
mod snappy;
mod varint;

pub use compress::Compression;
pub use decode::{Batch, Records, batches, headers};
pub use encode::BatchBuilder;
pub use error::RecordError;
pub use header::{BatchHeader, ProducerIdentity};
pub use offset::{LeaderEpoch, Offset};
pub use partitioner::partition_for_key;
pub use record::{Header, Record, StoredRecord};

#[cfg(test)]
mod tests;
