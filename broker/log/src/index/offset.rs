//! Entry of `<base offset>.index`: where in the segment the batch stands that begins at an offset.

use crate::files::Fields;

/// One entry: the batch at `relative_offset` from the segment's base stands at `position`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    pub(crate) relative_offset: u32,
    pub(crate) position: u32,
}

impl OffsetEntry {
    pub(crate) const BYTES: usize = 12;

    pub(crate) fn encode(self, into: &mut Vec<u8>) {
        let mut fields = [0; 8];
        let (offset, position) = fields.split_at_mut(4);
        offset.copy_from_slice(&self.relative_offset.to_le_bytes());
        position.copy_from_slice(&self.position.to_le_bytes());
        into.extend_from_slice(&fields);
        into.extend_from_slice(&crc32c::crc32c(&fields).to_le_bytes());
    }

    /// `None` if the checksum differs; zeros never pass, since the CRC of zeros is not zero.
    pub(crate) fn decode(bytes: &[u8]) -> Option<OffsetEntry> {
        let (fields, crc) = bytes.split_at_checked(8)?;
        if Fields(crc).u32()? != crc32c::crc32c(fields) {
            return None;
        }
        let mut fields = Fields(fields);
        Some(OffsetEntry {
            relative_offset: fields.u32()?,
            position: fields.u32()?,
        })
    }
}
