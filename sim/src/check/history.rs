//! Every batch that was ever committed, byte for byte.

use std::collections::BTreeMap;

use bytes::Bytes;
use headwater_log::Log;
use headwater_record::{Batch, Offset, batches};

/// Committed batches by base offset; contiguous from 0.
#[derive(Default)]
pub(crate) struct History {
    batches: BTreeMap<Offset, Batch>,
    end: Offset,
}

impl History {
    /// Offset behind the last committed record.
    pub(crate) fn end(&self) -> Offset {
        self.end
    }

    /// Takes over what has become committed.
    pub(crate) fn follow(&mut self, log: &Log, committed: Offset) -> Result<(), String> {
        while self.end < committed {
            let slice = log.view().read(self.end, committed, 1 << 20);
            let slice =
                slice.map_err(|error| format!("a committed record cannot be read: {error}"))?;
            for batch in batches(slice.bytes) {
                let batch =
                    batch.map_err(|error| format!("a committed batch is damaged: {error}"))?;
                self.end = batch.header().end_offset();
                self.batches.insert(batch.header().base_offset, batch);
            }
        }
        Ok(())
    }

    /// Forgets what was never durable.
    pub(crate) fn cut(&mut self, end: Offset) {
        if end < self.end {
            self.batches.split_off(&end);
            self.end = end;
        }
    }

    /// The batch that begins at an offset.
    pub(crate) fn batch_at(&self, base: Offset) -> Option<&Batch> {
        self.batches.get(&base)
    }

    /// The first batch of which something lies at or behind an offset, and those behind it.
    pub(crate) fn from(&self, offset: Offset) -> impl Iterator<Item = &Batch> {
        let first = self
            .batches
            .range(..=offset)
            .next_back()
            .map(|(base, _)| *base);
        self.batches
            .range(first.unwrap_or(offset)..)
            .map(|(_, batch)| batch)
            .filter(move |batch| batch.header().end_offset() > offset)
    }

    /// Bytes of all whole batches behind an offset.
    pub(crate) fn bytes_from(&self, offset: Offset) -> u64 {
        let behind = self.batches.range(offset..);
        behind.map(|(_, batch)| batch.bytes().len() as u64).sum()
    }

    /// The bytes from one batch boundary to another; `None` if these are none.
    pub(crate) fn bytes_between(&self, base: Offset, end: Offset) -> Option<Bytes> {
        let mut bytes = Vec::new();
        let mut at = base;
        while at < end {
            let batch = self.batch_at(at)?;
            bytes.extend_from_slice(batch.bytes());
            at = batch.header().end_offset();
        }
        (at == end).then(|| bytes.into())
    }

    /// The first record of a range with a timestamp of at least `timestamp_ms`.
    pub(crate) fn find_time(
        &self,
        from: Offset,
        end: Offset,
        timestamp_ms: i64,
    ) -> Option<(Offset, i64)> {
        let batches = self
            .from(from)
            .take_while(|batch| batch.header().base_offset < end);
        let records = batches.flat_map(|batch| batch.records(1 << 20).unwrap_or_default());
        let mut records = records.map(|stored| (stored.offset, stored.record.timestamp_ms));
        records.find(|&(offset, ms)| offset >= from && offset < end && ms >= timestamp_ms)
    }

    /// The largest timestamp in a range.
    pub(crate) fn max_timestamp_ms(&self, from: Offset, end: Offset) -> Option<i64> {
        let between = self.batches.range(from..end.max(from));
        between
            .map(|(_, batch)| batch.header().max_timestamp_ms)
            .max()
    }
}
