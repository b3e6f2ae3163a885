//! One slot of a mark file: 64 bytes that decode to a mark, to nothing, or not at all (`docs/format/marks.md`).

use crate::PartitionKey;
use headwater_record::Offset;
use uuid::Uuid;

/// Bytes of a slot. Divides every sector size, so that no slot straddles two sectors.
pub(super) const SLOT_BYTES: usize = 64;

/// Format version that this code writes, the only one it reads.
const VERSION: u16 = 1;

/// The synced end of one partition, as it stands in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) key: PartitionKey,
    pub(super) synced_end: Offset,
    /// Counts all marks written in a data directory, from 1: of two that name a partition the larger one holds.
    pub(super) generation: u64,
}

/// What stands in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// Zero bytes: never written, or cleared.
    Empty,
    Mark(Mark),
    /// A sound slot of a version that this code does not know.
    UnknownVersion(u16),
    /// A torn write or damage.
    Unreadable,
}

impl Mark {
    pub(super) fn encode(&self) -> [u8; SLOT_BYTES] {
        let mut body = Vec::with_capacity(SLOT_BYTES);
        body.extend_from_slice(&VERSION.to_le_bytes());
        body.extend_from_slice(&[0; 2]);
        body.extend_from_slice(self.key.topic.as_bytes());
        body.extend_from_slice(&self.key.index.to_le_bytes());
        body.extend_from_slice(&[0; 4]);
        body.extend_from_slice(&self.generation.to_le_bytes());
        body.extend_from_slice(&self.synced_end.get().to_le_bytes());
        body.resize(SLOT_BYTES - 4, 0);
        let mut slot = [0; SLOT_BYTES];
        let (crc, rest) = slot.split_at_mut(4);
        crc.copy_from_slice(&crc32c::crc32c(&body).to_le_bytes());
        rest.copy_from_slice(&body);
        slot
    }
}

impl Slot {
    pub(super) fn decode(bytes: &[u8; SLOT_BYTES]) -> Slot {
        if bytes == &[0; SLOT_BYTES] {
            return Slot::Empty;
        }
        Self::decode_written(bytes).unwrap_or(Slot::Unreadable)
    }

    fn decode_written(bytes: &[u8; SLOT_BYTES]) -> Option<Slot> {
        let (crc, body) = bytes.split_first_chunk::<4>()?;
        if u32::from_le_bytes(*crc) != crc32c::crc32c(body) {
            return None;
        }
        let (version, rest) = body.split_first_chunk::<2>()?;
        let version = u16::from_le_bytes(*version);
        if version != VERSION {
            return Some(Slot::UnknownVersion(version));
        }
        let (_, rest) = rest.split_first_chunk::<2>()?;
        let (topic, rest) = rest.split_first_chunk::<16>()?;
        let (index, rest) = rest.split_first_chunk::<4>()?;
        let (_, rest) = rest.split_first_chunk::<4>()?;
        let (generation, rest) = rest.split_first_chunk::<8>()?;
        let (synced_end, _) = rest.split_first_chunk::<8>()?;
        Some(Slot::Mark(Mark {
            key: PartitionKey {
                topic: Uuid::from_bytes(*topic),
                index: u32::from_le_bytes(*index),
            },
            synced_end: Offset::from_i64(i64::from_le_bytes(*synced_end))?,
            generation: u64::from_le_bytes(*generation),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mark() -> Mark {
        let key = PartitionKey {
            topic: Uuid::from_u128(0x0123_4567_89ab_cdef),
            index: 7,
        };
        Mark {
            key,
            synced_end: Offset::new(842),
            generation: 9,
        }
    }

    #[test]
    fn the_bytes_of_a_slot_are_those_of_the_format_document() {
        let bytes = mark().encode();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex[8..],
            "0100000000000000000000000123456789abcdef0700000000000000\
             09000000000000004a0300000000000000000000000000000000000000000000"[..]
        );
        assert_eq!(Slot::decode(&bytes), Slot::Mark(mark()));
    }

    #[test]
    fn zero_bytes_are_an_empty_slot_and_never_a_mark() {
        assert_eq!(Slot::decode(&[0; SLOT_BYTES]), Slot::Empty);
        let mut all_but_one = [0; SLOT_BYTES];
        for byte in 0..SLOT_BYTES {
            all_but_one[byte] = 1;
            assert_eq!(Slot::decode(&all_but_one), Slot::Unreadable);
            all_but_one[byte] = 0;
        }
    }

    #[test]
    fn every_flipped_bit_makes_a_slot_unreadable() {
        let good = mark().encode();
        for bit in 0..SLOT_BYTES * 8 {
            let mut bytes = good;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Slot::decode(&bytes), Slot::Unreadable, "bit {bit}");
        }
    }

    #[test]
    fn a_slot_torn_between_two_marks_is_never_a_third() {
        let old = mark().encode();
        let newer = Mark {
            synced_end: Offset::new(900),
            generation: 11,
            ..mark()
        };
        for cut in 0..=SLOT_BYTES {
            let mut torn = newer.encode();
            torn[cut..].copy_from_slice(&old[cut..]);
            match Slot::decode(&torn) {
                Slot::Mark(found) => assert!(found == mark() || found == newer, "cut at {cut}"),
                slot => assert_eq!(slot, Slot::Unreadable, "cut at {cut}"),
            }
        }
    }

    #[test]
    fn a_later_version_is_named_and_not_taken_for_damage() {
        let mut bytes = mark().encode();
        bytes[4] = 2;
        let crc = crc32c::crc32c(&bytes[4..]).to_le_bytes();
        bytes[..4].copy_from_slice(&crc);
        assert_eq!(Slot::decode(&bytes), Slot::UnknownVersion(2));
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes: [[u8; 32]; 2], sealed: bool) {
            let mut slot = [0; SLOT_BYTES];
            slot.copy_from_slice(bytes.as_flattened());
            if sealed {
                let crc = crc32c::crc32c(&slot[4..]).to_le_bytes();
                slot[..4].copy_from_slice(&crc);
                slot[4..6].copy_from_slice(&VERSION.to_le_bytes());
            }
            if let Slot::Mark(mark) = Slot::decode(&slot) {
                prop_assert!(mark.synced_end.to_i64() >= 0);
            }
        }
    }
}
