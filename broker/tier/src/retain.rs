//! Total retention, over both places: where the log start may move to.

use headwater_log::planted::{self, Bug};
use headwater_log::{Now, PartitionKey, SealedSegment};
use headwater_record::Offset;

use crate::error::TierError;
use crate::manifest::{Entry, Head};
use crate::tier::Tier;

/// How much of a partition is kept, wherever it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Records appended longer ago, in milliseconds, may go; `None` keeps for ever.
    pub ms: Option<u64>,
    /// The oldest may go while those that stay hold at least so many bytes; `None` keeps all.
    pub bytes: Option<u64>,
}

/// What retention is to look at.
#[derive(Clone, Debug)]
pub struct RetainJob {
    /// The partition.
    pub key: PartitionKey,
    /// Its head, if it has one.
    pub head: Option<Head>,
    /// First readable offset.
    pub log_start: Offset,
    /// First offset on the local disk.
    pub local_start: Offset,
    /// Sealed local segments, oldest first; those that are in the tier as well count there.
    pub sealed: Vec<SealedSegment>,
    /// Bytes of the segments behind them.
    pub active_bytes: u64,
    /// Nothing above is taken: high watermark.
    pub committed: Offset,
    /// The policy.
    pub retention: Retention,
    /// The time.
    pub now: Now,
}

/// A stretch of a partition that goes as a whole. Its bytes are at most those that it really has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    end: Offset,
    bytes: u64,
    latest_append_ms: Option<i64>,
}

impl RetainJob {
    /// Bytes of what is not sealed. None of it counts where the tier reaches into it: a segment that is in the tier is
    /// the active one again after a restart that found nothing behind it, and none is known to be committed under a new
    /// leader's first high watermark.
    fn active_bytes(&self, tier_end: Offset) -> u64 {
        let base = self
            .sealed
            .last()
            .map_or(self.local_start, |last| last.end_offset);
        match base < tier_end && !planted::is(Bug::RetainCountsOverlap) {
            true => 0,
            false => self.active_bytes,
        }
    }
}

impl Tier {
    /// The log start that retention sets now, if it moves. Reads the manifest, and at most the one page that goes in
    /// part.
    pub async fn retain(&self, job: &RetainJob) -> Result<Option<Offset>, TierError> {
        if job.retention == Retention::default() {
            return Ok(None);
        }
        let mut tiered: Vec<Piece> = Vec::new();
        let mut pages = Vec::new();
        if let Some(head) = job.head {
            let manifest = self.manifest(job.key, head.number).await?;
            for page in &manifest.pages {
                pages.push(*page);
                tiered.push(Piece {
                    end: page.end,
                    bytes: page.segment_bytes,
                    latest_append_ms: page.latest_append_ms,
                });
            }
            tiered.extend(manifest.entries.iter().map(|entry| Piece {
                end: entry.end,
                bytes: entry.counted_bytes(),
                latest_append_ms: entry.latest_append_ms,
            }));
        }
        let tier_end = job.head.map_or(Offset::ZERO, |head| head.end);
        let (twice, overlap) = (
            planted::is(Bug::RetainCountsTwice),
            planted::is(Bug::RetainCountsOverlap),
        );
        let local = job
            .sealed
            .iter()
            .filter(|segment| segment.end_offset > tier_end || twice);
        let local = local.map(|segment| Piece {
            end: segment.end_offset,
            // What the tier has of it counts there.
            bytes: match segment.base_offset < tier_end && !twice && !overlap {
                true => 0,
                false => segment.size_bytes,
            },
            latest_append_ms: segment.latest_append_ms,
        });
        let mut left: Vec<Piece> = tiered.into_iter().chain(local).collect();
        left.retain(|piece| piece.end > job.log_start);
        let total_bytes =
            left.iter().map(|piece| piece.bytes).sum::<u64>() + job.active_bytes(tier_end);
        let (mut start, left_bytes) = take(&left, total_bytes, job);
        // A page that may not go as a whole may go in part.
        let from = start.unwrap_or(job.log_start);
        let page = pages
            .iter()
            .find(|page| page.start <= from && from < page.end);
        if let Some(page) = page {
            let entries = self.page(job.key, page).await?;
            let pieces = entries
                .iter()
                .filter(|entry| entry.end > from)
                .map(|entry| Piece {
                    end: entry.end,
                    bytes: entry.counted_bytes(),
                    latest_append_ms: entry.latest_append_ms,
                });
            let pieces: Vec<Piece> = pieces.collect();
            // The page was counted whole; what of it is gone already does not stay.
            let gone = entries.iter().filter(|entry| entry.end <= from);
            let gone_bytes: u64 = gone.map(Entry::counted_bytes).sum();
            let left_bytes = match planted::is(Bug::RetainCountsGone) {
                false => left_bytes.saturating_sub(gone_bytes),
                true => left_bytes,
            };
            start = take(&pieces, left_bytes, job).0.or(start);
        }
        Ok(start)
    }
}

/// The end of what may go, and the bytes that stay.
fn take(pieces: &[Piece], total_bytes: u64, job: &RetainJob) -> (Option<Offset>, u64) {
    let mut left_bytes = total_bytes;
    let mut start = None;
    for piece in pieces {
        let surplus = job
            .retention
            .bytes
            .is_some_and(|kept| left_bytes.saturating_sub(piece.bytes) >= kept);
        let expired = job.now.is_past(piece.latest_append_ms, job.retention.ms);
        if !(surplus || expired) || piece.end > job.committed {
            break;
        }
        left_bytes -= piece.bytes;
        start = Some(piece.end);
    }
    (start, left_bytes)
}
