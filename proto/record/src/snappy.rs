//! Snappy as Java's `SnappyOutputStream` frames it: a 16-byte head, then blocks of at most 32 KiB,
//! each behind its compressed size.

use std::io;

use crate::limits::SNAPPY_RATIO_MAX;
use crate::{Compression, RecordError};

/// Magic, then version 1 and lowest compatible version 1, both big-endian.
const HEAD: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";

/// Its first eight bytes; readers ignore the two versions, which never changed.
const MAGIC: &[u8] = b"\x82SNAPPY\0";

/// Plain bytes per block: the Java stream's default.
const BLOCK_BYTES: usize = 32 * 1024;

/// Appends `plain`, framed and compressed, to `out`.
pub(crate) fn compress(plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let mut encoder = snap::raw::Encoder::new();
    let mut block = vec![0; snap::raw::max_compress_len(plain.len().min(BLOCK_BYTES))];
    out.extend_from_slice(&HEAD);
    for chunk in plain.chunks(BLOCK_BYTES) {
        let size = encoder
            .compress(chunk, &mut block)
            .map_err(io::Error::other)?;
        out.extend_from_slice(&(size as u32).to_be_bytes());
        out.extend_from_slice(&block[..size]);
    }
    Ok(())
}

/// The plain bytes, at most `max` of them, of a framed stream or, without the magic, of one block.
pub(crate) fn decompress(packed: &[u8], max: usize) -> Result<Vec<u8>, RecordError> {
    let mut out = Vec::new();
    if !packed.starts_with(MAGIC) {
        append_block(packed, &mut out, max)?;
        return Ok(out);
    }
    let mut rest = packed
        .get(HEAD.len()..)
        .ok_or_else(|| damaged("head is cut"))?;
    while !rest.is_empty() {
        let (size, behind) = rest
            .split_first_chunk::<4>()
            .ok_or_else(|| damaged("block size is cut"))?;
        let (block, behind) = behind
            .split_at_checked(u32::from_be_bytes(*size) as usize)
            .ok_or_else(|| damaged("block is cut"))?;
        append_block(block, &mut out, max)?;
        rest = behind;
    }
    Ok(out)
}

/// Decompresses one block behind what is in `out`. The size that it claims is bounded by what its
/// bytes could make before anything is reserved.
fn append_block(block: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), RecordError> {
    let size = snap::raw::decompress_len(block).map_err(|error| damaged(&error.to_string()))?;
    let start = out.len();
    if size > max - start {
        return Err(RecordError::DecodedTooLarge { max });
    }
    if size > block.len().saturating_mul(SNAPPY_RATIO_MAX) {
        return Err(damaged("block claims more than its bytes can make"));
    }
    out.resize(start + size, 0);
    snap::raw::Decoder::new()
        .decompress(block, &mut out[start..])
        .map_err(|error| damaged(&error.to_string()))?;
    Ok(())
}

fn damaged(reason: &str) -> RecordError {
    RecordError::Compressed {
        codec: Compression::Snappy,
        reason: reason.to_owned(),
    }
}
