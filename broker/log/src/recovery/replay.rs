//! Producer state from the newest sound snapshot and the batches behind it.

use crate::LogError;
use crate::append_times::AppendTimes;
use crate::config::{LogEnv, PartitionKey};
use crate::epochs::Epochs;
use crate::files::{self, PRODUCERS};
use crate::producers::Producers;
use crate::scan::{ChunkReader, Context, Step, Walk};
use crate::segment::Segment;
use headwater_record::Offset;
use std::sync::Arc;

/// What a replay reads.
pub(crate) struct Replay<'a> {
    pub(crate) env: &'a LogEnv,
    pub(crate) key: PartitionKey,
    pub(crate) producers_max: usize,
    pub(crate) segments: &'a [Arc<Segment>],
    pub(crate) epochs: Option<&'a Epochs>,
    pub(crate) append_times: &'a AppendTimes,
}

impl Replay<'_> {
    /// The state at `end`, and the offset of the snapshot that it was built upon (0 if there was none).
    pub(crate) fn producers(
        &self,
        snapshots: &[Offset],
        end: Offset,
    ) -> Result<(Producers, Offset), LogError> {
        let (mut producers, from) = self.newest_snapshot(snapshots, end)?;
        for segment in self.segments {
            if segment.end_offset() > from && segment.base_offset() < end {
                self.apply(segment, from, end, &mut producers)?;
            }
        }
        Ok((producers, from))
    }

    fn newest_snapshot(
        &self,
        snapshots: &[Offset],
        end: Offset,
    ) -> Result<(Producers, Offset), LogError> {
        for &offset in snapshots.iter().rev().filter(|&&offset| offset <= end) {
            let path = files::at_offset(self.key, offset, PRODUCERS);
            let bytes = files::read_small(&*self.env.disk, &path)?;
            if let Some(producers) = bytes.and_then(|bytes| Producers::decode(&bytes)) {
                return Ok((producers, offset));
            }
        }
        Ok((Producers::default(), Offset::ZERO))
    }

    fn apply(
        &self,
        segment: &Segment,
        from: Offset,
        end: Offset,
        producers: &mut Producers,
    ) -> Result<(), LogError> {
        let file = segment.open(self.env)?;
        let reader = ChunkReader::new(file, segment.log_path(), segment.size_bytes());
        let context = Context {
            epochs: self.epochs,
            end_max: segment.end_offset(),
        };
        let mut walk = Walk::new(reader, context, 0, segment.base_offset());
        loop {
            match walk.step()? {
                Step::Batch(_, batch) => {
                    let header = batch.header();
                    if (from..end).contains(&header.base_offset) {
                        let append_time_ms = self.append_times.floor_ms(header.base_offset);
                        producers.apply(header, self.producers_max, append_time_ms);
                    }
                }
                Step::Invalid if walk.resync()?.is_some() => {}
                Step::Invalid | Step::End => return Ok(()),
            }
        }
    }
}
