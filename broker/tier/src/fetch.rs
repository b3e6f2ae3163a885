//! Reading: batches out of the tier, as the log would give them.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use headwater_log::limits::BATCH_BYTES_MAX;
use headwater_log::planted::{self, Bug};
use headwater_log::{Epochs, PartitionKey, ReadSlice};
use headwater_record::{Batch, BatchHeader, Offset, StoredRecord};

use crate::error::TierError;
use crate::limits::{CHUNK_BYTES, CHUNKS_AT_ONCE};
use crate::manifest::{Entry, Manifest, Place, locate};
use crate::object::{Footer, IndexPlace};
use crate::store::{StoreError, StoreErrorKind};
use crate::tier::Tier;

impl Tier {
    /// Whole batches from the one that holds `from`, below `limit`, at most `bytes_max` but at least one; nothing at
    /// `limit`. Every batch is verified, by CRC and by context. Goes on over the ends of objects.
    ///
    /// # Errors
    /// [`TierError::DataLoss`] if the object that holds `from` is missing, truncated or altered there;
    /// [`TierError::NotInTier`] outside of what the manifest names.
    pub async fn read(
        &self,
        key: PartitionKey,
        number: u64,
        from: Offset,
        limit: Offset,
        bytes_max: usize,
    ) -> Result<ReadSlice, TierError> {
        let manifest = self.manifest(key, number).await?;
        let mut pieces: Vec<Bytes> = Vec::new();
        let (mut at, mut bytes) = (from, 0);
        if from < limit && from >= manifest.end {
            // Not an empty answer: that would look like the end of the log.
            return Err(TierError::NotInTier {
                asked: from,
                start: manifest.start,
                end: manifest.end,
            });
        }
        while at < limit.min(manifest.end) && (bytes < bytes_max || pieces.is_empty()) {
            let read = async {
                let entry = self.entry_at(&manifest, at).await?;
                let object = self.object(&manifest, entry).await;
                let left = bytes_max.saturating_sub(bytes);
                object
                    .read(at, limit.min(entry.end), left, pieces.is_empty())
                    .await
            };
            match read.await {
                Ok(slice) if slice.next_offset == at => break,
                Ok(slice) => {
                    at = slice.next_offset;
                    bytes += slice.bytes.len();
                    pieces.push(slice.bytes);
                }
                // What was read stands; the trouble shows to whoever reads on.
                Err(_) if !pieces.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        let bytes = match <[Bytes; 1]>::try_from(pieces) {
            // A part of a chunk keeps the whole of it in memory, also when the cache has let go of it.
            Ok([one]) if one.len() < CHUNK_BYTES as usize / 2 => Bytes::copy_from_slice(&one),
            Ok([one]) => one,
            Err(pieces) => pieces.concat().into(),
        };
        Ok(ReadSlice {
            bytes,
            next_offset: at,
        })
    }

    /// Brings what a reader of `from` asks for next into the cache: the chunks of `bytes`, as far as its object goes,
    /// and the footer of the object behind it. Best effort.
    pub async fn read_ahead(&self, key: PartitionKey, number: u64, from: Offset, bytes: u64) {
        let ahead = async {
            let manifest = self.manifest(key, number).await?;
            let entry = self.entry_at(&manifest, from).await?;
            let object = self.object(&manifest, entry).await;
            let position = u64::from(object.locate(from).0.position);
            object.chunks(position, bytes as usize).await?;
            if position + bytes >= entry.segment_bytes && entry.end < manifest.end {
                let next = self.entry_at(&manifest, entry.end).await?;
                let object = self.object(&manifest, next).await;
                object.chunks(0, CHUNK_BYTES as usize).await?;
            }
            Ok::<(), TierError>(())
        };
        if let Err(error) = ahead.await {
            tracing::debug!(%error, "nothing was read ahead");
        }
    }

    /// First record at or behind `from` with a timestamp of at least `timestamp_ms`: its offset and its timestamp.
    /// Opens only objects and batches that may hold it, each batch within `decoded_bytes_max`, and one at a time over all
    /// searches; what is damaged is passed over.
    pub async fn find_time(
        &self,
        key: PartitionKey,
        number: u64,
        from: Offset,
        timestamp_ms: i64,
        decoded_bytes_max: usize,
    ) -> Result<Option<(Offset, i64)>, TierError> {
        let manifest = self.manifest(key, number).await?;
        let from = from.max(manifest.start);
        for page in &manifest.pages {
            if page.end <= from || page.max_timestamp_ms < timestamp_ms {
                continue;
            }
            let entries = self.page(key, page).await?;
            for entry in entries.iter() {
                let found = self.find_in(&manifest, *entry, from, timestamp_ms, decoded_bytes_max);
                if let Some(found) = found.await? {
                    return Ok(Some(found));
                }
            }
        }
        for entry in &manifest.entries {
            let found = self.find_in(&manifest, *entry, from, timestamp_ms, decoded_bytes_max);
            if let Some(found) = found.await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    async fn find_in(
        &self,
        manifest: &Manifest,
        entry: Entry,
        from: Offset,
        timestamp_ms: i64,
        decoded_bytes_max: usize,
    ) -> Result<Option<(Offset, i64)>, TierError> {
        if entry.end <= from || entry.max_timestamp_ms < timestamp_ms {
            return Ok(None);
        }
        let object = self.object(manifest, entry).await;
        let found = object
            .find_time(from, timestamp_ms, decoded_bytes_max)
            .await;
        match found {
            Err(TierError::DataLoss { range, object, .. }) => {
                tracing::warn!(?range, object, "a search by time passed over what is lost");
                Ok(None)
            }
            found => found,
        }
    }

    async fn entry_at(&self, manifest: &Manifest, offset: Offset) -> Result<Entry, TierError> {
        let not_in_tier = || TierError::NotInTier {
            asked: offset,
            start: manifest.start,
            end: manifest.end,
        };
        match manifest.locate(offset).ok_or_else(not_in_tier)? {
            Place::Entry(entry) => Ok(*entry),
            Place::Page(page) => {
                let entries = self.page(manifest.key, page).await?;
                locate(&entries, offset).copied().ok_or_else(not_in_tier)
            }
        }
    }

    /// An index is derived: an object whose footer cannot be used is read from its first batch.
    async fn object<'a>(&'a self, manifest: &'a Manifest, entry: Entry) -> Object<'a> {
        let footer = self.footer(manifest.key, &entry).await;
        let footer = footer.inspect_err(|error| {
            tracing::warn!(%error, "a footer cannot be used; the object is read from its beginning");
        });
        Object {
            tier: self,
            key: manifest.key,
            entry,
            epochs: &manifest.epochs,
            footer: footer.ok(),
        }
    }
}

/// One object that is read.
struct Object<'a> {
    tier: &'a Tier,
    key: PartitionKey,
    entry: Entry,
    epochs: &'a Epochs,
    footer: Option<Arc<Footer>>,
}

impl Object<'_> {
    fn locate(&self, offset: Offset) -> (IndexPlace, Option<u32>) {
        match &self.footer {
            Some(footer) => footer.locate(offset),
            None => (IndexPlace::FIRST, None),
        }
    }

    /// Where the index knows a batch again behind `offset`: what is lost with a header that cannot be read ends there.
    fn next_place(&self, offset: Offset) -> Offset {
        let places = self.footer.iter().flat_map(|footer| &footer.index);
        let base = self.entry.base_offset;
        let mut offsets = places.map(|place| base.plus(u64::from(place.relative_offset)));
        offsets
            .find(|place| *place > offset)
            .unwrap_or(self.entry.end)
    }

    async fn read(
        &self,
        from: Offset,
        limit: Offset,
        bytes_max: usize,
        at_least_one: bool,
    ) -> Result<ReadSlice, TierError> {
        let (place, next) = self.locate(from);
        let read = self.read_at(place, next, from, limit, bytes_max, at_least_one);
        match read.await {
            // A chunk may have come over the network damaged: once more, from the store.
            Err(TierError::DataLoss { range, .. }) => {
                tracing::warn!(
                    ?range,
                    object = self.entry.object_key(self.key),
                    "read once more"
                );
                self.forget(place, bytes_max);
                self.read_at(place, next, from, limit, bytes_max, at_least_one)
                    .await
            }
            read => read,
        }
    }

    async fn read_at(
        &self,
        place: IndexPlace,
        next: Option<u32>,
        from: Offset,
        limit: Offset,
        bytes_max: usize,
        at_least_one: bool,
    ) -> Result<ReadSlice, TierError> {
        let mut offset = self
            .entry
            .base_offset
            .plus(u64::from(place.relative_offset));
        let mut position = u64::from(place.position);
        // How far the batch that holds `from` may be from the place: nothing if it begins there.
        let ahead = match next {
            _ if offset == from => 0,
            Some(next) => u64::from(next).saturating_sub(position),
            None => CHUNK_BYTES,
        };
        let mut window = self.bytes(position, ahead as usize + bytes_max).await?;
        // The way to the batch that holds `from`, by headers alone.
        let header = loop {
            if window.len() < BatchHeader::SIZE_BYTES {
                window = self.bytes(position, CHUNK_BYTES as usize).await?;
            }
            let header = self
                .header(&window, offset)
                .ok_or_else(|| self.loss(offset..self.next_place(offset), "is not what it was"))?;
            if header.end_offset() > from {
                break header;
            }
            position += header.size_bytes as u64;
            offset = header.end_offset();
            window = match header.size_bytes <= window.len() {
                true => window.slice(header.size_bytes..),
                false => self.bytes(position, CHUNK_BYTES as usize).await?,
            };
        };
        if header.size_bytes > bytes_max && !at_least_one {
            return Ok(ReadSlice {
                bytes: Bytes::new(),
                next_offset: from,
            });
        }
        let wanted = header.size_bytes.max(bytes_max);
        let left = (self.entry.segment_bytes - position) as usize;
        if window.len() < wanted.min(left) {
            window = self.bytes(position, wanted).await?;
        }
        let begin = offset;
        let mut taken = 0;
        while offset < limit && (taken == 0 || taken < bytes_max) {
            let rest = window.slice(taken..);
            let Some(header) = self.verified(&rest, offset) else {
                break;
            };
            let size = header.size_bytes;
            if taken > 0 && taken + size > bytes_max {
                break;
            }
            taken += size;
            offset = header.end_offset();
        }
        if taken == 0 {
            let range = begin.max(self.entry.start)..header.end_offset().min(self.entry.end);
            return Err(self.loss(range, "does not verify"));
        }
        Ok(ReadSlice {
            bytes: window.slice(..taken),
            next_offset: offset,
        })
    }

    async fn find_time(
        &self,
        from: Offset,
        timestamp_ms: i64,
        decoded_bytes_max: usize,
    ) -> Result<Option<(Offset, i64)>, TierError> {
        let by_time = self
            .footer
            .as_ref()
            .map(|footer| footer.locate_time(timestamp_ms));
        let by_offset = self.locate(from).0;
        let mut place = by_time.unwrap_or(IndexPlace::FIRST);
        if by_offset.position > place.position {
            place = by_offset;
        }
        let mut at = self
            .entry
            .base_offset
            .plus(u64::from(place.relative_offset));
        while at < self.entry.end {
            let limit = self.entry.end;
            let slice = self.read(at, limit, CHUNK_BYTES as usize, true).await?;
            let mut rest = slice.bytes;
            while let Some(batch) = self.batch(&rest, at) {
                let header = batch.header();
                let may_hold = header.max_timestamp_ms >= timestamp_ms
                    && header.end_offset() > from
                    && !header.is_control();
                if may_hold {
                    let _turn = self.tier.opening().lock().await;
                    let found = find_in_batch(&batch, from, timestamp_ms, decoded_bytes_max);
                    if found.is_some() {
                        return Ok(found);
                    }
                }
                at = header.end_offset();
                rest = rest.slice(header.size_bytes..);
            }
            if at != slice.next_offset {
                return Err(self.loss(at..limit, "does not verify"));
            }
        }
        Ok(None)
    }

    /// The header at the beginning of `bytes`, if it is that of the batch at `offset`.
    fn header(&self, bytes: &[u8], offset: Offset) -> Option<BatchHeader> {
        let header = BatchHeader::decode(bytes).ok()?;
        let epochs = match &self.footer {
            Some(footer) => &footer.epochs,
            None => self.epochs,
        };
        let epoch_fits = epochs
            .at(offset)
            .is_none_or(|epoch| epoch == header.leader_epoch);
        let end_max = self
            .footer
            .as_ref()
            .map_or(Offset::MAX, |footer| footer.end_offset);
        let sound = header.base_offset == offset
            && epoch_fits
            && header.size_bytes <= BATCH_BYTES_MAX
            && header.end_offset() <= end_max;
        sound.then_some(header)
    }

    /// The header of the batch at the beginning of `bytes`, if all of it verifies.
    fn verified(&self, bytes: &Bytes, offset: Offset) -> Option<BatchHeader> {
        if planted::is(Bug::ReadSkipsCrc) {
            let header = self.header(bytes, offset)?;
            return (header.size_bytes <= bytes.len()).then_some(header);
        }
        self.batch(bytes, offset).map(|batch| *batch.header())
    }

    fn batch(&self, bytes: &Bytes, offset: Offset) -> Option<Batch> {
        let header = self.header(bytes, offset)?;
        if bytes.len() < header.size_bytes {
            return None;
        }
        Batch::verify(bytes.slice(..header.size_bytes), BATCH_BYTES_MAX).ok()
    }

    /// Bytes of the segment; fewer only at the segment's end. Those of one chunk are not copied.
    async fn bytes(&self, position: u64, len: usize) -> Result<Bytes, TierError> {
        let chunks = self.chunks(position, len).await?;
        match <[Bytes; 1]>::try_from(chunks) {
            Ok([one]) => Ok(one),
            Err(chunks) => Ok(chunks.concat().into()),
        }
    }

    /// The same as the parts of the chunks that hold them, of which several are asked for at once.
    async fn chunks(&self, position: u64, len: usize) -> Result<Vec<Bytes>, TierError> {
        let end = (position + len as u64).min(self.entry.segment_bytes);
        if position >= end {
            return Ok(Vec::new());
        }
        let (first, last) = (position / CHUNK_BYTES, (end - 1) / CHUNK_BYTES);
        let part = async |number: u64| {
            let begin = number * CHUNK_BYTES;
            let chunk = self.chunk(number).await?;
            let from = position.saturating_sub(begin).min(chunk.len() as u64) as usize;
            let to = (end - begin).min(chunk.len() as u64) as usize;
            Ok::<Bytes, TierError>(chunk.slice(from..to.max(from)))
        };
        let parts = stream::iter(first..=last).map(part);
        parts.buffered(CHUNKS_AT_ONCE).try_collect().await
    }

    async fn chunk(&self, number: u64) -> Result<Bytes, TierError> {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        let chunk = self.tier.chunk(self.key, &self.entry, number).await;
        chunk.map_err(|error| self.store_error(error))
    }

    fn store_error(&self, error: StoreError) -> TierError {
        match error.kind {
            StoreErrorKind::NotFound => self.loss(self.entry.start..self.entry.end, "is missing"),
            _ => error.into(),
        }
    }

    /// Drops from memory what a read from `place` on looked at.
    fn forget(&self, place: IndexPlace, bytes_max: usize) {
        let first = u64::from(place.position) / CHUNK_BYTES;
        let last = self.entry.segment_bytes / CHUNK_BYTES;
        let looked_at = bytes_max as u64 / CHUNK_BYTES + BATCH_BYTES_MAX as u64 / CHUNK_BYTES;
        for number in first..=last.min(first + looked_at) {
            self.tier.forget_chunk(&self.entry, number as u32);
        }
    }

    fn loss(&self, range: std::ops::Range<Offset>, detail: &str) -> TierError {
        TierError::DataLoss {
            range: range.start.max(self.entry.start)..range.end.min(self.entry.end),
            object: self.entry.object_key(self.key),
            detail: detail.to_owned(),
        }
    }
}

/// The first record of a batch at or behind `from` with a timestamp of at least `timestamp_ms`. Nothing is found in a
/// batch that cannot be opened.
fn find_in_batch(
    batch: &Batch,
    from: Offset,
    timestamp_ms: i64,
    decoded_bytes_max: usize,
) -> Option<(Offset, i64)> {
    let records = batch.iter_records(decoded_bytes_max).ok()?;
    // What cannot be read, and what comes behind it, is passed over.
    let mut readable = records.map_while(Result::ok);
    let fits =
        |stored: &StoredRecord| stored.record.timestamp_ms >= timestamp_ms && stored.offset >= from;
    let found = readable.find(fits)?;
    Some((found.offset, found.record.timestamp_ms))
}
