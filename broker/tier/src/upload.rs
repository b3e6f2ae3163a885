//! Steps 1 and 2: a local segment becomes an object, and the object is read back.

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use headwater_log::planted::{self, Bug};
use headwater_log::{Epochs, LogError, PartitionKey, ReadSlice, SegmentContext};
use headwater_record::{LeaderEpoch, Offset};
use uuid::Uuid;

use crate::error::TierError;
use crate::keys;
use crate::limits::{FOOTER_BYTES_MAX, VERIFY_PIECE_BYTES};
use crate::manifest::Entry;
use crate::object::{Footer, Indexer, Trailer};
use crate::store::{ObjectWriter, StoreError};
use crate::tier::Tier;

/// Pieces that are read back at once.
const VERIFY_AT_ONCE: usize = 4;

/// A segment to be uploaded.
#[derive(Clone, Debug)]
pub struct UploadJob {
    /// The partition.
    pub key: PartitionKey,
    /// The leadership that uploads.
    pub leader_epoch: LeaderEpoch,
    /// Offset of the segment's first record.
    pub base_offset: Offset,
    /// Offset behind its last.
    pub end_offset: Offset,
    /// First offset that it will count for.
    pub start: Offset,
    /// Never used before.
    pub upload: Uuid,
}

/// The local segment.
#[async_trait]
pub trait SegmentSource: Send {
    /// What the log knows of the segment beside its batches.
    async fn context(&mut self) -> Result<SegmentContext, LogError>;

    /// Whole, verified batches from the one that begins at `from`, below the segment's end. The segment's front may lie
    /// below the log start: `LogView::read_sealed`, not `LogView::read`.
    async fn read(&mut self, from: Offset) -> Result<ReadSlice, LogError>;
}

/// An object that is in the store, verified, and named by no manifest yet.
#[derive(Clone, Debug)]
pub struct Uploaded {
    /// What a manifest will say of it.
    pub entry: Entry,
    /// Epochs of its batches.
    pub epochs: Epochs,
}

impl Tier {
    /// Uploads a segment and verifies the object. Nothing names it when this returns; after an error neither, and the
    /// next attempt takes another UUID.
    pub async fn upload(
        &self,
        job: &UploadJob,
        source: &mut dyn SegmentSource,
    ) -> Result<Uploaded, TierError> {
        let cluster = self.cluster();
        let object = keys::segment(
            cluster,
            job.key,
            job.base_offset,
            job.leader_epoch,
            job.upload,
        );
        let context = source.context().await?;
        let epochs = Epochs::checked(&context.epochs).unwrap_or_default();
        let mut writer = self.store().create(&object).await?;
        let mut crc = 0;
        let mut segment_bytes = 0;
        let mut indexer = Indexer::new(job.base_offset);
        let mut at = job.base_offset;
        while at < job.end_offset {
            let slice = match source.read(at).await {
                Ok(slice) if slice.next_offset > at => slice,
                Ok(_) => {
                    writer.abort().await;
                    let range = at..job.end_offset;
                    return Err(LogError::DataLoss { range }.into());
                }
                Err(error) => {
                    writer.abort().await;
                    return Err(error.into());
                }
            };
            headwater_record::headers(&slice.bytes).for_each(|header| indexer.note(&header));
            crc = crc32c::crc32c_append(crc, &slice.bytes);
            segment_bytes += slice.bytes.len() as u64;
            at = slice.next_offset;
            writer = write(writer, slice.bytes).await?;
        }
        let (index, max_timestamp_ms) = indexer.finish();
        let mut footer = Footer {
            cluster,
            key: job.key,
            base_offset: job.base_offset,
            end_offset: job.end_offset,
            leader_epoch: job.leader_epoch,
            epochs: epochs.clone(),
            index,
            max_timestamp_ms,
            append_marks: context.append_marks,
            latest_append_ms: context.latest_append_ms,
            producers: context.producers,
        };
        let mut frame = footer.encode();
        if frame.len() as u64 > FOOTER_BYTES_MAX {
            // Derived: whoever restores reads the batches instead.
            footer.producers = None;
            frame = footer.encode();
        }
        crc = crc32c::crc32c_append(crc, &frame);
        let trailer = Trailer {
            segment_bytes,
            footer_bytes: u32::try_from(frame.len()).unwrap_or(u32::MAX),
            crc,
        };
        writer = write(writer, frame).await?;
        writer = write(writer, trailer.encode()).await?;
        writer.close().await?;
        let entry = Entry {
            base_offset: job.base_offset,
            leader_epoch: job.leader_epoch,
            upload: job.upload,
            origin: cluster,
            start: job.start,
            end: job.end_offset,
            segment_bytes,
            footer_bytes: trailer.footer_bytes,
            crc,
            max_timestamp_ms,
            latest_append_ms: footer.latest_append_ms,
        };
        if !planted::is(Bug::SkipVerify) {
            self.verify_object(job.key, &entry).await?;
        }
        Ok(Uploaded { entry, epochs })
    }

    /// Whether an object is what its entry says: length and, by reading all of it, checksum.
    pub async fn verify_object(&self, key: PartitionKey, entry: &Entry) -> Result<(), TierError> {
        let object = entry.object_key(key);
        let unverified = |detail: String| TierError::Unverified {
            object: object.clone(),
            detail,
        };
        let got = self.store().stat(&object).await?.size_bytes;
        let expected = entry.object_bytes();
        if got != expected {
            return Err(unverified(format!("has {got} bytes, not {expected}")));
        }
        let covered = entry.segment_bytes + u64::from(entry.footer_bytes);
        let pieces = (0..covered).step_by(VERIFY_PIECE_BYTES as usize);
        let read = |start: u64| {
            let end = (start + VERIFY_PIECE_BYTES).min(covered);
            self.store().read(&object, start..end)
        };
        let crc = stream::iter(pieces)
            .map(read)
            .buffered(VERIFY_AT_ONCE)
            .try_fold(0, |crc, piece: Bytes| {
                futures::future::ready(Ok(crc32c::crc32c_append(crc, &piece)))
            });
        let crc = crc.await?;
        if crc != entry.crc {
            return Err(unverified("has another checksum".to_owned()));
        }
        let trailer = self.store().read(&object, covered..expected).await?;
        let told = Trailer {
            segment_bytes: entry.segment_bytes,
            footer_bytes: entry.footer_bytes,
            crc: entry.crc,
        };
        match trailer == told.encode() {
            true => Ok(()),
            false => Err(unverified("has another trailer".to_owned())),
        }
    }
}

/// Writes; or gives the object up, so that no part of it is kept and paid for.
async fn write(
    mut writer: Box<dyn ObjectWriter>,
    bytes: Bytes,
) -> Result<Box<dyn ObjectWriter>, StoreError> {
    match writer.write(bytes).await {
        Ok(()) => Ok(writer),
        Err(error) => {
            writer.abort().await;
            Err(error)
        }
    }
}
