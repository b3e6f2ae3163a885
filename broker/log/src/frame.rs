//! The frame of the small files of a log and of the tier's objects: magic, version, payload length, CRC-32C of those and
//! of the payload; payload. Numbers are little endian.

use crate::files::Fields;

/// Bytes before the payload.
const FRAME_BYTES: usize = 16;
const VERSION: u32 = 1;

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// There are fewer bytes than any frame has.
    #[error("{got} bytes are no frame")]
    NoFrame {
        /// So many.
        got: usize,
    },
    /// It is the frame of something else.
    #[error("the magic is another")]
    Magic,
    /// It was written by a newer release.
    #[error("version {got} is not known; {VERSION} is: use a newer release")]
    Version {
        /// The version that it has.
        got: u32,
    },
    /// It was cut, or something follows it.
    #[error("{got} of {expected} bytes are there")]
    Length {
        /// Bytes of payload that are there.
        got: usize,
        /// Bytes that it should have.
        expected: u32,
    },
    /// A byte is another than was written.
    #[error("the checksum does not fit")]
    Checksum,
}

/// Puts a payload, of less than 4 GiB, into a frame.
pub fn frame(magic: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("frames are bounded");
    let mut bytes = Vec::with_capacity(FRAME_BYTES + payload.len());
    bytes.extend_from_slice(&magic);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes), payload);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// The payload of a frame that fills `bytes` exactly.
pub fn unframe(magic: [u8; 4], bytes: &[u8]) -> Result<&[u8], FrameError> {
    let got = bytes.len();
    let no_frame = FrameError::NoFrame { got };
    let (head, payload) = bytes.split_at_checked(FRAME_BYTES).ok_or(no_frame)?;
    let (head, crc) = head.split_at(FRAME_BYTES - 4);
    let mut fields = Fields(head);
    if fields.array() != Some(magic) {
        return Err(FrameError::Magic);
    }
    let version = fields.u32().ok_or(no_frame)?;
    if version != VERSION {
        return Err(FrameError::Version { got: version });
    }
    let expected = fields.u32().ok_or(no_frame)?;
    if expected as usize != payload.len() {
        let got = payload.len();
        return Err(FrameError::Length { got, expected });
    }
    let expected = crc32c::crc32c_append(crc32c::crc32c(head), payload);
    match Fields(crc).u32() == Some(expected) {
        true => Ok(payload),
        false => Err(FrameError::Checksum),
    }
}
