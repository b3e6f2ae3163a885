//! A frame: what one sync of the journal makes durable; and the head of a block of frames.

use crate::PartitionKey;
use crate::files::Fields;
use crate::frame::{FrameError, frame, unframe};
use headwater_record::Offset;
use std::ops::Range;
use uuid::Uuid;

pub(super) const HEAD_BYTES: usize = 64;
/// Where frames begin: at multiples of this.
pub(super) const ALIGN_BYTES: usize = 64;
const ITEM_BYTES: usize = 56;
const BLOCK_MAGIC: [u8; 4] = *b"HWJB";
const MAGIC: [u8; 3] = *b"HWJ";
const VERSION: u8 = 1;
/// The head of a block without what fills it up: a frame of the small files, and eight bytes.
const BLOCK_FRAME_BYTES: usize = 24;
const KIND_RUN: u32 = 1;
const KIND_FORGET: u32 = 2;

/// What is being gathered for a frame.
pub(super) struct Draft {
    /// With room for the head.
    bytes: Vec<u8>,
    items: u32,
}

impl Default for Draft {
    fn default() -> Draft {
        Draft {
            bytes: vec![0; HEAD_BYTES],
            items: 0,
        }
    }
}

impl Draft {
    /// Bytes at a position of a segment, which end the log at `end`.
    pub(super) fn run(
        &mut self,
        key: PartitionKey,
        base: Offset,
        position: u64,
        end: Offset,
        bytes: &[u8],
    ) {
        let len = u32::try_from(bytes.len()).expect("runs are small");
        self.item(key, KIND_RUN, len, [base.get(), position, end.get()]);
        self.bytes.extend_from_slice(bytes);
    }

    /// What earlier frames hold of this partition counts no more.
    pub(super) fn forget(&mut self, key: PartitionKey) {
        self.item(key, KIND_FORGET, 0, [0; 3]);
    }

    fn item(&mut self, key: PartitionKey, kind: u32, len: u32, numbers: [u64; 3]) {
        let bytes = &mut self.bytes;
        bytes.extend_from_slice(key.topic.as_bytes());
        for number in [key.index, kind, len, 0] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for number in numbers {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        self.items += 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items == 0
    }

    /// Bytes of the whole frame.
    pub(super) fn len(&self) -> u64 {
        self.bytes.len().next_multiple_of(ALIGN_BYTES) as u64
    }

    /// The frame, ready to be written.
    pub(super) fn finish(self, salt: u64, number: u64, live_from: u64) -> Vec<u8> {
        let Draft { mut bytes, items } = self;
        let payload = u32::try_from(bytes.len() - HEAD_BYTES).expect("a block is smaller");
        let mut head = Vec::with_capacity(HEAD_BYTES);
        head.extend_from_slice(&MAGIC);
        head.push(VERSION);
        head.extend_from_slice(&number.to_le_bytes());
        head.extend_from_slice(&live_from.to_le_bytes());
        head.extend_from_slice(&payload.to_le_bytes());
        head.extend_from_slice(&items.to_le_bytes());
        head.extend_from_slice(&salt.to_le_bytes());
        let (_, rest) = bytes.split_at_mut(4);
        for (to, from) in rest.iter_mut().zip(head) {
            *to = from;
        }
        let crc = crc32c::crc32c(rest).to_le_bytes();
        for (to, from) in bytes.iter_mut().zip(crc) {
            *to = from;
        }
        bytes.resize(bytes.len().next_multiple_of(ALIGN_BYTES), 0);
        bytes
    }
}

/// The head of a frame that verifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) version: u8,
    pub(super) number: u64,
    /// Frames below were not needed any more when this one was written.
    pub(super) live_from: u64,
    /// Bytes of the whole frame, without what fills it up.
    pub(super) len: usize,
}

/// The frame at the front of `bytes`, if one of this journal is there and verifies.
pub(super) fn head(bytes: &[u8], salt: u64) -> Option<Head> {
    let mut fields = Fields(bytes);
    let crc = fields.u32()?;
    if fields.array() != Some(MAGIC) {
        return None;
    }
    let [version] = fields.array()?;
    let (number, live_from) = (fields.u64()?, fields.u64()?);
    let len = HEAD_BYTES.checked_add(fields.u32()? as usize)?;
    let (_items, salt_found) = (fields.u32()?, fields.u64()?);
    let covered = bytes.get(4..len)?;
    let head = Head {
        version,
        number,
        live_from,
        len,
    };
    (salt_found == salt && crc32c::crc32c(covered) == crc).then_some(head)
}

impl Head {
    /// Whether it is of this release.
    pub(super) fn is_known(&self) -> bool {
        self.version == VERSION
    }
}

/// One thing that a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Run(Run),
    Forget { key: PartitionKey },
}

/// Bytes of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) key: PartitionKey,
    /// Where the segment begins.
    pub(super) base: Offset,
    /// Where the bytes belong in it.
    pub(super) position: u64,
    /// Where they end the log.
    pub(super) end: Offset,
    /// In the frame.
    pub(super) bytes: Range<usize>,
}

/// What a frame that verifies says; `None` if that is not what we write.
pub(super) fn items(frame: &[u8]) -> Option<Vec<Item>> {
    let mut items = Vec::new();
    let mut at = HEAD_BYTES;
    while at < frame.len() {
        let mut fields = Fields(frame.get(at..)?);
        at += ITEM_BYTES;
        let topic = Uuid::from_bytes(fields.array()?);
        let (index, kind, len, _) = (fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?);
        let key = PartitionKey { topic, index };
        let (base, position, end) = (fields.offset()?, fields.u64()?, fields.offset()?);
        let bytes = at..at.checked_add(len as usize)?;
        frame.get(bytes.clone())?;
        at = bytes.end;
        items.push(match kind {
            KIND_RUN => Item::Run(Run {
                key,
                base,
                position,
                end,
                bytes,
            }),
            KIND_FORGET => Item::Forget { key },
            _ => return None,
        });
    }
    Some(items)
}

/// What a block begins and ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockHead {
    /// Stands in each of its frames.
    pub(super) salt: u64,
}

impl BlockHead {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut bytes = frame(BLOCK_MAGIC, &self.salt.to_le_bytes());
        bytes.resize(HEAD_BYTES, 0);
        bytes
    }

    /// `Ok(None)` if none is there.
    pub(super) fn decode(bytes: &[u8]) -> Result<Option<BlockHead>, FrameError> {
        let Some(bytes) = bytes.get(..BLOCK_FRAME_BYTES) else {
            return Ok(None);
        };
        match unframe(BLOCK_MAGIC, bytes) {
            Ok(payload) => Ok(Fields(payload).u64().map(|salt| BlockHead { salt })),
            Err(error @ FrameError::Version { .. }) => Err(error),
            Err(_) => Ok(None),
        }
    }
}
