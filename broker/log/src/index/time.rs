//! Entry of `<base offset>.timeindex`: the largest timestamp below an offset.

use crate::files::Fields;

/// One entry: no record of the segment below `relative_offset` has a timestamp above `max_before_ms`. Timestamps need
/// not be monotonic; this running maximum is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub(crate) relative_offset: u32,
    pub(crate) max_before_ms: i64,
}

impl TimeEntry {
    pub(crate) const BYTES: usize = 16;

    pub(crate) fn encode(self, into: &mut Vec<u8>) {
        let mut fields = [0; 12];
        let (offset, max_before_ms) = fields.split_at_mut(4);
        offset.copy_from_slice(&self.relative_offset.to_le_bytes());
        max_before_ms.copy_from_slice(&self.max_before_ms.to_le_bytes());
        into.extend_from_slice(&fields);
        into.extend_from_slice(&crc32c::crc32c(&fields).to_le_bytes());
    }

    /// `None` if the checksum differs; zeros never pass, since the CRC of zeros is not zero.
    pub(crate) fn decode(bytes: &[u8]) -> Option<TimeEntry> {
        let (fields, crc) = bytes.split_at_checked(12)?;
        if Fields(crc).u32()? != crc32c::crc32c(fields) {
            return None;
        }
        let mut fields = Fields(fields);
        Some(TimeEntry {
            relative_offset: fields.u32()?,
            max_before_ms: fields.i64()?,
        })
    }
}
