//! The mark: how much of which metadata log is on the medium, in two slots.

use std::path::Path;
use std::sync::Arc;

use headwater_log::{Disk, DiskFile};

use crate::metadata::error::MetadataError;

/// Distance of the slots, in bytes: no sector or page holds both.
const SLOT_SPACING_BYTES: u64 = 4096;
/// Magic, format version (u32), sequence (u64), generation (u64), end (u64), CRC-32C (u32).
/// Little-endian.
const SLOT_BYTES: usize = 40;
const FORMAT_VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"HWMETAMK";

/// Everything of a log below `end` is on the medium.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mark {
    /// Rises with every write; its last bit says which slot.
    sequence: u64,
    /// Which log.
    pub(super) generation: u64,
    /// In bytes.
    pub(super) end: u64,
}

/// What a mark file says.
pub(super) enum MarkState {
    /// There is no file, or neither slot can be read.
    None,
    /// The newest slot that can be read.
    Some {
        /// The mark.
        mark: Mark,
        /// The other slot cannot be read.
        slot_lost: bool,
    },
}

/// The mark file, open.
pub(super) struct MarkFile {
    file: Arc<dyn DiskFile>,
    path: &'static Path,
    mark: Mark,
}

impl MarkFile {
    /// Opens the file, making it if it is not there, and reads it.
    pub(super) fn open(
        disk: &dyn Disk,
        path: &'static Path,
    ) -> Result<(MarkFile, MarkState), MetadataError> {
        let file = disk
            .open(path, true)
            .map_err(MetadataError::io("open", path))?;
        // What an earlier process wrote and did not sync counts once it is on the medium.
        file.sync().map_err(MetadataError::io("sync", path))?;
        let mut slots = [None, None];
        for (slot, position) in slots.iter_mut().zip([0, SLOT_SPACING_BYTES]) {
            let mut bytes = [0; SLOT_BYTES];
            let read = file.read_at_medium(&mut bytes, position);
            let read = read.map_err(MetadataError::io("read", path))?;
            *slot = bytes.get(..read).and_then(read_slot);
        }
        let newest = slots.iter().flatten().max_by_key(|(_, mark)| mark.sequence);
        let Some(&(version, mark)) = newest else {
            let mark = Mark {
                sequence: 0,
                generation: 0,
                end: 0,
            };
            return Ok((MarkFile { file, path, mark }, MarkState::None));
        };
        if version > FORMAT_VERSION {
            return Err(MetadataError::Newer {
                path: path.to_owned(),
                what: "format",
                found: version.into(),
                known: FORMAT_VERSION.into(),
            });
        }
        let slot_lost = slots.iter().any(Option::is_none);
        Ok((
            MarkFile { file, path, mark },
            MarkState::Some { mark, slot_lost },
        ))
    }

    /// What the file says.
    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    /// Moves the mark, durably, in the slot that does not hold the present one.
    pub(super) fn write(&mut self, generation: u64, end: u64) -> Result<(), MetadataError> {
        let mark = Mark {
            sequence: self.mark.sequence + 1,
            generation,
            end,
        };
        let position = (mark.sequence % 2) * SLOT_SPACING_BYTES;
        let written = self.file.write_at(&[&slot(mark)], position);
        written.map_err(MetadataError::io("write", self.path))?;
        self.file
            .sync()
            .map_err(MetadataError::io("sync", self.path))?;
        self.mark = mark;
        Ok(())
    }

    /// The same in both slots, so that either alone says so.
    pub(super) fn write_both(&mut self, generation: u64, end: u64) -> Result<(), MetadataError> {
        self.write(generation, end)?;
        self.write(generation, end)
    }
}

fn slot(mark: Mark) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SLOT_BYTES);
    bytes.extend(MAGIC);
    bytes.extend(FORMAT_VERSION.to_le_bytes());
    bytes.extend(mark.sequence.to_le_bytes());
    bytes.extend(mark.generation.to_le_bytes());
    bytes.extend(mark.end.to_le_bytes());
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

/// A slot whose checksum is right: its format version and what it says.
fn read_slot(bytes: &[u8]) -> Option<(u32, Mark)> {
    let (covered, crc) = bytes.split_last_chunk::<4>()?;
    let (magic, rest) = covered.split_first_chunk::<8>()?;
    let (version, rest) = rest.split_first_chunk::<4>()?;
    let (sequence, rest) = rest.split_first_chunk::<8>()?;
    let (generation, rest) = rest.split_first_chunk::<8>()?;
    let end = rest.first_chunk::<8>()?;
    let valid = magic == MAGIC && crc32c::crc32c(covered) == u32::from_le_bytes(*crc);
    let mark = Mark {
        sequence: u64::from_le_bytes(*sequence),
        generation: u64::from_le_bytes(*generation),
        end: u64::from_le_bytes(*end),
    };
    valid.then_some((u32::from_le_bytes(*version), mark))
}
