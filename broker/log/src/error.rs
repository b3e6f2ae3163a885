//! What can go wrong in a log, with the facts as fields.

use headwater_record::{Offset, RecordError};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Why an operation on a log failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The operating system refused.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file, relative to the data directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that is not derived from others does not verify.
    #[error("{path} is damaged: {detail}")]
    Damaged {
        /// Relative to the data directory.
        path: PathBuf,
        /// What does not fit.
        detail: String,
    },
    /// The offset is not, or no longer, in the log.
    #[error("offset {asked} is out of range {start}..={end}")]
    OutOfRange {
        /// The offset asked for.
        asked: Offset,
        /// Log start offset.
        start: Offset,
        /// Log end offset.
        end: Offset,
    },
    /// The offset is in the log, but not on this disk: it is in the tier.
    #[error(
        "offset {asked} is not on this disk, where the log starts at {local_start}; read it from the tier"
    )]
    NotLocal {
        /// The offset asked for.
        asked: Offset,
        /// Local start offset.
        local_start: Offset,
    },
    /// The records were there and cannot be read.
    #[error("records {}..{} are damaged", range.start, range.end)]
    DataLoss {
        /// Exactly the offsets that cannot be served.
        range: Range<Offset>,
    },
    /// The batch is larger than the engine stores.
    #[error("batch of {got} bytes is larger than the limit of {max}")]
    TooLarge {
        /// Size of the batch, in bytes.
        got: usize,
        /// The limit, in bytes.
        max: usize,
    },
    /// A stored batch is sound, but its records do not decode within the bound given.
    #[error("records of the batch at offset {offset}: {source}")]
    Records {
        /// Base offset of the batch.
        offset: Offset,
        /// What the codec said.
        source: RecordError,
    },
    /// What a log was to be seeded with does not fit together.
    #[error("{path} cannot be seeded: {detail}")]
    Seed {
        /// The partition's directory, relative to the data directory.
        path: PathBuf,
        /// What does not fit.
        detail: String,
    },
    /// An earlier I/O error left the handle in doubt.
    #[error("the log refused further work after an earlier I/O error")]
    Failed,
}

impl LogError {
    /// No space, or no quota: the log is usable and the append may be tried again when there is room.
    pub fn is_full(&self) -> bool {
        matches!(self, LogError::Io { source, .. } if is_full(source))
    }

    /// For `map_err`: an I/O error with what was tried on which file.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LogError {
        let path = path.to_owned();
        move |source| LogError::Io {
            action,
            path,
            source,
        }
    }
}

pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
