//! Walking the batches of a segment file: each checked by CRC and by context, damage stepped over.
//!
//! Base offset, length and leader epoch lie outside a batch's CRC. They are held to the context: the base offset is the
//! end of the batch before, the epoch is the epochs file's at that offset, the length stays within bounds.

use crate::DiskFile;
use crate::LogError;
use crate::epochs::Epochs;
use crate::limits::{BATCH_BYTES_MAX, SCAN_CHUNK_BYTES};
use bytes::Bytes;
use headwater_record::{Batch, BatchHeader, Offset};
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// Where the bytes of a file come from.
#[derive(Clone, Copy)]
enum Source {
    Disk,
    /// The page cache alone.
    Memory,
    /// Past the page cache.
    Medium,
}

/// Reads pieces of a file, a large chunk at a time.
pub(crate) struct ChunkReader {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    /// Nothing at or behind this position is read.
    limit: u64,
    source: Source,
    chunk_bytes: usize,
    chunk_position: u64,
    chunk: Bytes,
}

impl ChunkReader {
    pub(crate) fn new(file: Arc<dyn DiskFile>, path: PathBuf, limit: u64) -> ChunkReader {
        ChunkReader {
            file,
            path,
            limit,
            source: Source::Disk,
            chunk_bytes: SCAN_CHUNK_BYTES,
            chunk_position: 0,
            chunk: Bytes::new(),
        }
    }

    /// Reads what the medium holds instead of the page cache.
    pub(crate) fn past_cache(mut self) -> ChunkReader {
        self.source = Source::Medium;
        self
    }

    /// Reads what memory holds, and fails rather than waits for the medium.
    pub(crate) fn memory_only(mut self) -> ChunkReader {
        self.source = Source::Memory;
        self
    }

    /// Reads so much at once.
    pub(crate) fn chunk_bytes(mut self, bytes: usize) -> ChunkReader {
        self.chunk_bytes = bytes;
        self
    }

    /// `len` bytes at `position`, or fewer at the limit or the end of the file.
    pub(crate) fn get(&mut self, position: u64, len: usize) -> Result<Bytes, LogError> {
        let len = (self.limit.saturating_sub(position)).min(len as u64) as usize;
        if let Some(held) = self.held(position, len) {
            return Ok(held);
        }
        let left = self.limit.saturating_sub(position);
        let wanted = (len.max(self.chunk_bytes) as u64).min(left) as usize;
        let into_zeros = |read: &dyn Fn(&mut [u8]) -> io::Result<usize>| {
            let mut bytes = vec![0; wanted];
            let got = read(&mut bytes)?;
            bytes.truncate(got);
            Ok(bytes)
        };
        let read = match self.source {
            Source::Disk => self.file.read_vec(wanted, position),
            Source::Memory => into_zeros(&|bytes| self.file.read_at_now(bytes, position)),
            Source::Medium => into_zeros(&|bytes| self.file.read_at_medium(bytes, position)),
        };
        self.chunk = read.map_err(LogError::io("read", &self.path))?.into();
        self.chunk_position = position;
        Ok(self.chunk.slice(..len.min(self.chunk.len())))
    }

    fn held(&self, position: u64, len: usize) -> Option<Bytes> {
        let start = usize::try_from(position.checked_sub(self.chunk_position)?).ok()?;
        let end = start.checked_add(len)?;
        (end <= self.chunk.len()).then(|| self.chunk.slice(start..end))
    }
}

/// What the batches of a stretch are held to.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    /// `None` while the epochs file itself is being rebuilt.
    pub(crate) epochs: Option<&'a Epochs>,
    /// No batch ends above.
    pub(crate) end_max: Offset,
}

impl Context<'_> {
    /// The header at the front of `bytes`, if it fits: at `expected` exactly, or at it or later.
    pub(crate) fn header(
        &self,
        bytes: &[u8],
        expected: Offset,
        exact: bool,
    ) -> Option<BatchHeader> {
        let header = BatchHeader::decode(bytes).ok()?;
        self.admits(&header, expected, exact).then_some(header)
    }

    /// The batch at the front of `bytes`, if it fits at `expected` and verifies. More may follow it.
    pub(crate) fn batch(&self, bytes: &Bytes, expected: Offset) -> Option<Batch> {
        let header = self.header(bytes, expected, true)?;
        let batch = bytes
            .get(..header.size_bytes)
            .map(|batch| bytes.slice_ref(batch))?;
        Batch::verify(batch, BATCH_BYTES_MAX).ok()
    }

    /// Whether a header that claims to follow `expected` fits; `exact`: directly.
    fn admits(&self, header: &BatchHeader, expected: Offset, exact: bool) -> bool {
        let base = header.base_offset;
        let placed = match exact {
            true => base == expected,
            false => base >= expected,
        };
        placed
            && header.size_bytes <= BATCH_BYTES_MAX
            && header.end_offset() <= self.end_max
            && self
                .epochs
                .is_none_or(|epochs| epochs.at(base) == Some(header.leader_epoch))
    }
}

/// One step of a walk.
pub(crate) enum Step {
    /// A sound batch at this position.
    Batch(u64, Batch),
    /// What stands here is not the batch that should: the walk does not move.
    Invalid,
    /// The end of the stretch, exactly.
    End,
}

/// A walk over the batches of one segment file.
pub(crate) struct Walk<'a> {
    reader: ChunkReader,
    context: Context<'a>,
    /// Where the next batch should stand.
    pub(crate) position: u64,
    /// Where it should begin.
    pub(crate) offset: Offset,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(
        reader: ChunkReader,
        context: Context<'a>,
        position: u64,
        offset: Offset,
    ) -> Walk<'a> {
        Walk {
            reader,
            context,
            position,
            offset,
        }
    }

    /// Checks the batch here and steps over it.
    pub(crate) fn step(&mut self) -> Result<Step, LogError> {
        if self.position >= self.reader.limit {
            return Ok(Step::End);
        }
        let Some(batch) = self.batch_at(self.position, self.offset, true)? else {
            return Ok(Step::Invalid);
        };
        let position = self.position;
        self.position += batch.header().size_bytes as u64;
        self.offset = batch.header().end_offset();
        Ok(Step::Batch(position, batch))
    }

    fn header_at(
        &mut self,
        position: u64,
        expected: Offset,
        exact: bool,
    ) -> Result<Option<BatchHeader>, LogError> {
        let bytes = self.reader.get(position, BatchHeader::SIZE_BYTES)?;
        Ok(self.context.header(&bytes, expected, exact))
    }

    fn batch_at(
        &mut self,
        position: u64,
        expected: Offset,
        exact: bool,
    ) -> Result<Option<Batch>, LogError> {
        let Some(header) = self.header_at(position, expected, exact)? else {
            return Ok(None);
        };
        let bytes = self.reader.get(position, header.size_bytes)?;
        Ok(Batch::verify(bytes, BATCH_BYTES_MAX).ok())
    }

    /// Steps over damage: to the next place where a batch verifies that begins at the expected offset or later. Returns
    /// the offsets in between, or `None` (and stays) if there is no such place.
    pub(crate) fn resync(&mut self) -> Result<Option<Range<Offset>>, LogError> {
        let offset = self.offset;
        let Some((next, base)) = self.next_sound()? else {
            return Ok(None);
        };
        self.position = next;
        self.offset = base;
        Ok(Some(offset..base))
    }

    fn next_sound(&mut self) -> Result<Option<(u64, Offset)>, LogError> {
        // The length of the damaged batch is sound more often than not.
        let head = self.reader.get(self.position, BatchHeader::SIZE_BYTES)?;
        if let Ok(header) = BatchHeader::decode(&head)
            && header.size_bytes <= BATCH_BYTES_MAX
        {
            let next = self.position + header.size_bytes as u64;
            if let Some(batch) = self.batch_at(next, self.offset, false)? {
                return Ok(Some((next, batch.header().base_offset)));
            }
        }
        let mut next = self.position + 1;
        while next + BatchHeader::SIZE_BYTES as u64 <= self.reader.limit {
            let window = self.reader.get(next, SCAN_CHUNK_BYTES)?;
            if window.len() < BatchHeader::SIZE_BYTES {
                break;
            }
            let places = window.len() - BatchHeader::SIZE_BYTES + 1;
            for (at, bytes) in window.windows(BatchHeader::SIZE_BYTES).enumerate() {
                // Nearly every place falls out by its magic byte.
                if bytes.get(BatchHeader::PREFIX_BYTES - 1) != Some(&2) {
                    continue;
                }
                if self.context.header(bytes, self.offset, false).is_some()
                    && let Some(base) = self.confirmed(next + at as u64)?
                {
                    return Ok(Some((next + at as u64, base)));
                }
            }
            next += places as u64;
        }
        Ok(None)
    }

    /// Whether a batch verifies here and what follows it goes on from its end. A record's value may well hold a whole
    /// batch, and must never be taken for one of ours.
    fn confirmed(&mut self, position: u64) -> Result<Option<Offset>, LogError> {
        let Some(batch) = self.batch_at(position, self.offset, false)? else {
            return Ok(None);
        };
        let end = batch.header().end_offset();
        let next = position + batch.header().size_bytes as u64;
        let goes_on = end == self.context.end_max
            || next >= self.reader.limit
            || self.header_at(next, end, true)?.is_some();
        Ok(goes_on.then_some(batch.header().base_offset))
    }
}
