//! The codecs: each compresses a whole buffer and decompresses within a bound.

use std::fmt;
use std::io::{self, Read, Write};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
use zstd::zstd_safe::{self, DCtx, zstd_sys::ZSTD_ErrorCode};

use crate::limits::{FIRST_OUTPUT_BYTES_MIN, FIRST_OUTPUT_RATIO, ZSTD_LIKELY_RATIO_MAX};
use crate::{RecordError, snappy};

/// How the records of a batch are compressed. The numbers are Kafka's and frozen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None = 0,
    /// RFC 1952, level 6.
    Gzip = 1,
    /// Snappy in the framing of Java's `SnappyOutputStream`; a bare snappy block is read, too.
    Snappy = 2,
    /// LZ4 frames of independent 64 KiB blocks.
    Lz4 = 3,
    /// RFC 8878, level 3.
    Zstd = 4,
}

/// Kafka's default and zstd's own.
const ZSTD_LEVEL: i32 = 3;

/// The first four bytes of an LZ4 frame. Legacy and skippable frames start otherwise.
const LZ4_MAGIC: [u8; 4] = 0x184D_2204_u32.to_le_bytes();

impl Compression {
    /// The codec in the low three attribute bits, if they name one.
    pub(crate) fn from_bits(attributes: u16) -> Option<Compression> {
        match attributes & 0b111 {
            0 => Some(Compression::None),
            1 => Some(Compression::Gzip),
            2 => Some(Compression::Snappy),
            3 => Some(Compression::Lz4),
            4 => Some(Compression::Zstd),
            _ => None,
        }
    }

    /// Appends `plain`, compressed, to `out`.
    pub(crate) fn compress(self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), RecordError> {
        match self {
            Compression::None => out.write_all(plain),
            Compression::Gzip => gzip(plain, out),
            Compression::Snappy => snappy::compress(plain, out),
            Compression::Lz4 => lz4(plain, out),
            Compression::Zstd => zstd(plain, out),
        }
        .map_err(|error| RecordError::Compressor {
            codec: self,
            reason: error.to_string(),
        })
    }

    /// The decompressed bytes, at most `max` of them; see [`crate::limits`] for the memory it takes.
    pub(crate) fn decompress(self, packed: Bytes, max: usize) -> Result<Bytes, RecordError> {
        let plain = match self {
            Compression::None if packed.len() > max => None,
            Compression::None => return Ok(packed),
            Compression::Gzip => {
                self.read_bounded(MultiGzDecoder::new(&packed[..]), &packed, max)?
            }
            Compression::Snappy => snappy::decompress(&packed, max)?,
            Compression::Lz4 if !packed.starts_with(&LZ4_MAGIC) => {
                return Err(self.damaged("not an LZ4 frame"));
            }
            Compression::Lz4 => self.read_bounded(FrameDecoder::new(&packed[..]), &packed, max)?,
            Compression::Zstd => unzstd(&packed, max)?,
        };
        plain
            .map(Bytes::from)
            .ok_or(RecordError::DecodedTooLarge { max })
    }

    /// Reads to the end; `None` if that is more than `max` bytes.
    fn read_bounded(
        self,
        mut reader: impl Read,
        packed: &[u8],
        max: usize,
    ) -> Result<Option<Vec<u8>>, RecordError> {
        let damaged = |error: io::Error| self.damaged(&error.to_string());
        let mut out = Vec::with_capacity(first_room(packed.len(), max));
        loop {
            let start = out.len();
            if start >= max {
                let more = reader.read(&mut [0]).map_err(damaged)?;
                return Ok((more == 0).then_some(out));
            }
            if start == out.capacity() {
                out.reserve_exact(start.max(FIRST_OUTPUT_BYTES_MIN).min(max - start));
            }
            let room = (out.capacity() - start).min(max - start);
            let mut limited = (&mut reader).take(room as u64);
            if limited.read_to_end(&mut out).map_err(damaged)? < room {
                return Ok(Some(out));
            }
        }
    }

    /// The error that compressed bytes do not hold what they should.
    pub(crate) fn damaged(self, reason: &str) -> RecordError {
        RecordError::Compressed {
            codec: self,
            reason: reason.to_owned(),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        })
    }
}

fn gzip(plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let mut encoder = GzEncoder::new(out, flate2::Compression::default());
    encoder.write_all(plain)?;
    encoder.finish().map(drop)
}

/// Kafka's Java client reads independent blocks only.
fn lz4(plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let info = FrameInfo::new()
        .block_size(BlockSize::Max64KB)
        .block_mode(BlockMode::Independent);
    let mut encoder = FrameEncoder::with_frame_info(info, out);
    encoder.write_all(plain)?;
    encoder.finish().map(drop).map_err(io::Error::from)
}

fn zstd(plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let mut encoder = zstd::stream::write::Encoder::new(out, ZSTD_LEVEL)?;
    encoder.set_pledged_src_size(Some(plain.len() as u64))?;
    encoder.write_all(plain)?;
    encoder.finish().map(drop)
}

/// Zstd in one call per attempt: the output is the window, so that no window size in a frame, up to
/// 128 MiB at the levels that Kafka allows, can reserve memory. Where the output does not fit, the
/// next attempt has four times the room; `None` if `max` is not enough.
fn unzstd(packed: &[u8], max: usize) -> Result<Option<Vec<u8>>, RecordError> {
    let too_small = (ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall as usize).wrapping_neg();
    let mut context = DCtx::create();
    let mut room = first_zstd_room(packed, max);
    loop {
        let mut out = Vec::with_capacity(room);
        match context.decompress(&mut out, packed) {
            Ok(_) => return Ok(Some(out)),
            Err(code) if code == too_small && room < max => {
                room = room.saturating_mul(4).min(max);
            }
            Err(code) if code == too_small => return Ok(None),
            Err(code) => {
                return Err(Compression::Zstd.damaged(zstd_safe::get_error_name(code)));
            }
        }
    }
}

/// The content size that the frame claims, as far as its bytes make that likely.
fn first_zstd_room(packed: &[u8], max: usize) -> usize {
    let claimed = zstd_safe::get_frame_content_size(packed).ok().flatten();
    let Some(claimed) = claimed.and_then(|size| usize::try_from(size).ok()) else {
        return first_room(packed.len(), max);
    };
    let likely = packed.len().saturating_mul(ZSTD_LIKELY_RATIO_MAX);
    claimed.min(likely).max(FIRST_OUTPUT_BYTES_MIN).min(max)
}

fn first_room(packed_len: usize, max: usize) -> usize {
    packed_len
        .saturating_mul(FIRST_OUTPUT_RATIO)
        .max(FIRST_OUTPUT_BYTES_MIN)
        .min(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector was made at level 22 and asks for a window of 128 MiB.
    #[test]
    fn a_zstd_window_reserves_no_memory() {
        let batch = include_bytes!("../tests/vectors/large-zstd-22.batch");
        let packed = &batch[crate::BatchHeader::SIZE_BYTES..];
        let mut context = DCtx::create();
        let mut out = Vec::with_capacity(1 << 20);
        context
            .decompress(&mut out, packed)
            .expect("it decompresses");
        assert!(out.len() > 70_000);
        assert!(context.sizeof() <= 256 * 1024, "{} bytes", context.sizeof());
    }
}
