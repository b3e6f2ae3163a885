//! Snappy as Java's `SnappyOutputStream` frames it: a 16-byte head, then blocks of at most 32 KiB,
//! each behind its compressed size.

use std::{io, iter, mem};

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

/// The plain bytes of a framed stream or, without the magic, of one block; `None` if they are more
/// than `max`.
/// The sizes that blocks claim are added up first, so that the output is reserved once.
pub(crate) fn decompress(packed: &[u8], max: usize) -> Result<Option<Vec<u8>>, RecordError> {
    let mut size = 0usize;
    for block in blocks(packed) {
        size = size.saturating_add(plain_size(block?)?);
    }
    if size > max {
        return Ok(None);
    }
    let mut out = vec![0; size];
    let mut room = out.as_mut_slice();
    for block in blocks(packed) {
        let written = snap::raw::Decoder::new()
            .decompress(block?, room)
            .map_err(|error| damaged(&error.to_string()))?;
        room = &mut room[written..];
    }
    Ok(Some(out))
}

/// What a block claims to make, if its bytes can make that much at all.
fn plain_size(block: &[u8]) -> Result<usize, RecordError> {
    let size = snap::raw::decompress_len(block).map_err(|error| damaged(&error.to_string()))?;
    if size > block.len().saturating_mul(SNAPPY_RATIO_MAX) {
        return Err(damaged("block claims more than its bytes can make"));
    }
    Ok(size)
}

/// The compressed blocks of a framed stream, or all of `packed` as one. Ends behind the first error.
fn blocks(packed: &[u8]) -> impl Iterator<Item = Result<&[u8], RecordError>> {
    let framed = packed.starts_with(MAGIC);
    let mut rest = match framed {
        true => packed.get(HEAD.len()..).unwrap_or_default(),
        false => packed,
    };
    iter::from_fn(move || {
        let all = mem::take(&mut rest);
        if all.is_empty() {
            return None;
        }
        if !framed {
            return Some(Ok(all));
        }
        let cut = all
            .split_first_chunk::<4>()
            .and_then(|(size, behind)| behind.split_at_checked(u32::from_be_bytes(*size) as usize));
        let Some((block, behind)) = cut else {
            return Some(Err(damaged("block is cut")));
        };
        rest = behind;
        Some(Ok(block))
    })
}

fn damaged(reason: &str) -> RecordError {
    Compression::Snappy.damaged(reason)
}
