//! The metadata log's frames: a length, a checksum, a revision, and a message.

use crate::limits::IMAGE_BYTES_MAX;
use crate::metadata::image::Image;
use crate::metadata::wire::encode_image;

/// Bytes before a frame's message: length of the message (u32), CRC-32C (u32) of everything else
/// in the frame, revision (u64). Little-endian.
pub(super) const FRAME_HEADER_BYTES: usize = 16;
/// Bytes before the first frame: magic, format version (u32), generation (u64), CRC-32C (u32).
pub(super) const FILE_HEADER_BYTES: usize = 24;
/// The version that this program writes and the newest that it reads.
pub(super) const FORMAT_VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"HWMETALG";

/// A frame whose checksum is right.
pub(super) struct Frame<'a> {
    pub(super) revision: u64,
    pub(super) message: &'a [u8],
}

impl Frame<'_> {
    pub(super) fn len(&self) -> usize {
        FRAME_HEADER_BYTES + self.message.len()
    }
}

/// Adds a frame.
pub(super) fn push_frame(bytes: &mut Vec<u8>, revision: u64, message: &[u8]) {
    let len = u32::try_from(message.len()).expect("messages are bounded below 4 GiB");
    bytes.extend(len.to_le_bytes());
    bytes.extend(frame_crc(len, revision, message).to_le_bytes());
    bytes.extend(revision.to_le_bytes());
    bytes.extend(message);
}

/// Reads the frame at the start of `bytes`; what is wrong, if there is none. No frame is empty, so
/// zeros are none.
pub(super) fn read_frame(
    bytes: &[u8],
    message_bytes_max: usize,
) -> Result<Frame<'_>, &'static str> {
    let cut = "a frame is cut short";
    let (len, rest) = bytes.split_first_chunk::<4>().ok_or(cut)?;
    let (crc, rest) = rest.split_first_chunk::<4>().ok_or(cut)?;
    let (revision, rest) = rest.split_first_chunk::<8>().ok_or(cut)?;
    let len = u32::from_le_bytes(*len);
    if len == 0 || len as usize > message_bytes_max {
        return Err("a frame's length is out of bounds");
    }
    let message = rest.get(..len as usize).ok_or(cut)?;
    let revision = u64::from_le_bytes(*revision);
    if frame_crc(len, revision, message) != u32::from_le_bytes(*crc) {
        return Err("a frame's CRC-32C differs");
    }
    Ok(Frame { revision, message })
}

fn frame_crc(len: u32, revision: u64, message: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&len.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &revision.to_le_bytes());
    crc32c::crc32c_append(crc, message)
}

/// A whole new log: header, and the image as the first frame.
pub(super) fn new_log(generation: u64, image: &Image) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(MAGIC);
    bytes.extend(FORMAT_VERSION.to_le_bytes());
    bytes.extend(generation.to_le_bytes());
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    let message = encode_image(image);
    assert!(
        message.len() <= IMAGE_BYTES_MAX,
        "the bounds of an image's parts bound the image"
    );
    push_frame(&mut bytes, image.revision().0, &message);
    bytes
}

/// The header of a log: its format version and generation.
pub(super) fn read_header(bytes: &[u8]) -> Result<(u32, u64), &'static str> {
    let cut = "the header is cut short";
    let (covered, rest) = bytes.split_at_checked(FILE_HEADER_BYTES - 4).ok_or(cut)?;
    let crc = rest.first_chunk::<4>().ok_or(cut)?;
    let (magic, rest) = covered.split_first_chunk::<8>().ok_or(cut)?;
    let (version, rest) = rest.split_first_chunk::<4>().ok_or(cut)?;
    let generation = rest.first_chunk::<8>().ok_or(cut)?;
    if magic != MAGIC {
        return Err("it does not begin as a metadata log does");
    }
    if crc32c::crc32c(covered) != u32::from_le_bytes(*crc) {
        return Err("the header's CRC-32C differs");
    }
    Ok((
        u32::from_le_bytes(*version),
        u64::from_le_bytes(*generation),
    ))
}
