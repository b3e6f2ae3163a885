//! A clean stop, and the `state` file that makes the next start read next to nothing.

use crate::LogError;
use crate::files::{self, Fields, STATE};
use crate::frame::{frame, unframe};
use crate::jobs::sync_dirs;
use crate::log::Log;
use headwater_record::Offset;
use std::ops::Range;

const MAGIC: [u8; 4] = *b"HWCS";

/// What a log was when it was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClosedState {
    pub(crate) log_start: Offset,
    pub(crate) end: Offset,
    /// Nothing was appended later; the smallest number if nothing ever was.
    pub(crate) latest_append_ms: i64,
    /// Whether there is a producer snapshot at the end.
    pub(crate) has_producers: bool,
    /// Base offset, end offset and size of each segment, in order.
    pub(crate) segments: Vec<(Offset, Offset, u64)>,
    pub(crate) damaged: Vec<Range<Offset>>,
}

impl ClosedState {
    fn encode(&self) -> Vec<u8> {
        let mut payload = Vec::new();
        let mut put = |number: u64| payload.extend_from_slice(&number.to_le_bytes());
        put(self.log_start.get());
        put(self.end.get());
        put(self.latest_append_ms as u64);
        put(u64::from(self.has_producers));
        put(self.segments.len() as u64);
        for (base, end, size_bytes) in &self.segments {
            put(base.get());
            put(end.get());
            put(*size_bytes);
        }
        for range in &self.damaged {
            put(range.start.get());
            put(range.end.get());
        }
        frame(MAGIC, &payload)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<ClosedState> {
        let mut fields = Fields(unframe(MAGIC, bytes).ok()?);
        let mut state = ClosedState {
            log_start: fields.offset()?,
            end: fields.offset()?,
            latest_append_ms: fields.i64()?,
            has_producers: fields.u64()? != 0,
            segments: Vec::new(),
            damaged: Vec::new(),
        };
        for _ in 0..fields.u64()? {
            let segment = (fields.offset()?, fields.offset()?, fields.u64()?);
            state.segments.push(segment);
        }
        while !fields.is_empty() {
            state.damaged.push(fields.offset()?..fields.offset()?);
        }
        Some(state)
    }
}

impl Log {
    /// Clean stop: index, producer snapshot, all synced, mark written (its file is synced by the caller, once for
    /// all partitions), and what the next start needs to know. Does
    /// nothing if nothing changed since a clean start.
    pub fn close(mut self) -> Result<(), LogError> {
        self.check_usable()?;
        if self.unchanged {
            return Ok(());
        }
        self.sync_all()?;
        self.active().seal_index(&self.env);
        if !self.producers.is_empty() {
            self.write_producers();
        }
        let segments = self.segments.iter();
        let state = ClosedState {
            log_start: self.log_start,
            end: self.end,
            latest_append_ms: self.append_times.latest().unwrap_or(i64::MIN),
            has_producers: !self.producers.is_empty(),
            segments: segments
                .map(|segment| {
                    (
                        segment.base_offset(),
                        segment.end_offset(),
                        segment.size_bytes(),
                    )
                })
                .collect(),
            damaged: self.shared.damaged(),
        };
        // Neither a rename nor a sync: a torn file does not verify, and the log is scanned instead.
        let path = files::named(self.key, STATE);
        let bytes = state.encode();
        let written = self.env.disk.open(&path, true).and_then(|file| {
            file.truncate(0)?;
            file.write_at(&[&bytes], 0)
        });
        if let Err(error) = written {
            tracing::warn!(%error, "state file not written; the log will be scanned when it is opened");
            // One of an earlier stop may be there.
            files::remove(&*self.env.disk, &path)?;
        }
        Ok(())
    }

    /// Syncs what is not, and writes the mark.
    fn sync_all(&mut self) -> Result<(), LogError> {
        if self.end == Offset::ZERO {
            // No bytes, and without its directory an empty log is as empty.
            return Ok(());
        }
        if let Some(job) = self.sync_job() {
            job.run()?;
            self.synced(job.end);
        }
        sync_dirs(&self.env, &self.unsynced_dirs())?;
        let marks = &self.env.marks;
        marks.write(marks.shard_of(self.key), &[(self.key, self.end)])
    }
}
