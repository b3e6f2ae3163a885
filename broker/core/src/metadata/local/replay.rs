//! Reading a metadata log: the image that it leads to, or why it must not be used.

use std::path::Path;

use super::frame::{FILE_HEADER_BYTES, FORMAT_VERSION, Frame, read_frame, read_header};
use crate::limits::{COMMAND_BYTES_MAX, IMAGE_BYTES_MAX};
use crate::metadata::error::MetadataError;
use crate::metadata::image::Image;
use crate::metadata::wire::{WireError, decode_command, decode_image};

/// What to do about damage below the mark.
pub(super) const REMEDY: &str = "what was acknowledged may be missing, so the broker does not start: \
    restore the data directory from a copy, or keep it for rescue and start with an empty one";

/// What a log leads to.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) image: Image,
    pub(super) generation: u64,
    /// Where the commands begin: everything before is the image.
    pub(super) image_end: u64,
    /// Where the last whole command ends.
    pub(super) end: u64,
    /// Commands applied.
    pub(super) replayed: u64,
}

/// Which part of a log is marked as synced.
pub(super) struct Marked {
    pub(super) generation: u64,
    pub(super) end: u64,
}

/// Reads a whole log. Below the mark everything must be right; the first thing above it that is
/// not ends the log.
pub(super) fn replay(path: &Path, bytes: &[u8], marked: &Marked) -> Result<Replay, MetadataError> {
    let damaged = |position: usize, detail: &str| MetadataError::Damaged {
        path: path.to_owned(),
        position: position as u64,
        detail: detail.to_owned(),
        remedy: REMEDY,
    };
    let from_wire = |position: usize| {
        move |error: WireError| match error {
            WireError::Newer { what, found, known } => MetadataError::Newer {
                path: path.to_owned(),
                what,
                found,
                known,
            },
            WireError::Malformed(detail) => damaged(position, &detail),
        }
    };
    let (version, generation) = read_header(bytes).map_err(|detail| damaged(0, detail))?;
    if version > FORMAT_VERSION {
        let (found, known) = (version.into(), FORMAT_VERSION.into());
        return Err(MetadataError::Newer {
            path: path.to_owned(),
            what: "format",
            found,
            known,
        });
    }
    let first = bytes.get(FILE_HEADER_BYTES..).unwrap_or_default();
    let frame =
        read_frame(first, IMAGE_BYTES_MAX).map_err(|detail| damaged(FILE_HEADER_BYTES, detail))?;
    let mut image = decode_image(frame.message).map_err(from_wire(FILE_HEADER_BYTES))?;
    let mut end = FILE_HEADER_BYTES + frame.len();
    let marked_end = marked_end(generation, end, marked).map_err(|detail| damaged(0, &detail))?;
    if bytes.len() < marked_end {
        let detail = format!("the file ends there, {marked_end} bytes were synced");
        return Err(damaged(bytes.len(), &detail));
    }
    let image_end = end as u64;
    let mut replayed = 0;
    while end < bytes.len() {
        let rest = bytes.get(end..).unwrap_or_default();
        let next = image.next_revision().0;
        let frame = match read_frame(rest, COMMAND_BYTES_MAX).and_then(|f| follows(f, next)) {
            Ok(frame) if end < marked_end && end + frame.len() > marked_end => {
                return Err(damaged(end, "the sync mark lies within a frame"));
            }
            Ok(frame) => frame,
            Err(detail) if end < marked_end => return Err(damaged(end, detail)),
            Err(_) => break,
        };
        let command = decode_command(frame.message).map_err(from_wire(end))?;
        image
            .apply(&command)
            .map_err(|refused| damaged(end, &refused.to_string()))?;
        if image.revision().0 != next {
            return Err(damaged(end, "a command that changes nothing was recorded"));
        }
        end += frame.len();
        replayed += 1;
    }
    Ok(Replay {
        image,
        generation,
        image_end,
        end: end as u64,
        replayed,
    })
}

fn follows(frame: Frame<'_>, revision: u64) -> Result<Frame<'_>, &'static str> {
    if frame.revision == revision {
        Ok(frame)
    } else {
        Err("a frame's revision is out of order")
    }
}

/// Everything below this was synced. A log that is one generation ahead of the mark was put in
/// place when it had been synced, and the stop came before the mark could say so.
fn marked_end(generation: u64, image_end: usize, marked: &Marked) -> Result<usize, String> {
    if generation == marked.generation + 1 {
        return Ok(image_end);
    }
    if generation != marked.generation {
        let marked = marked.generation;
        return Err(format!(
            "the log's generation is {generation}, the sync mark's is {marked}"
        ));
    }
    match usize::try_from(marked.end) {
        Ok(end) if end >= image_end => Ok(end),
        _ => Err(format!(
            "the sync mark, {}, lies within the image",
            marked.end
        )),
    }
}
