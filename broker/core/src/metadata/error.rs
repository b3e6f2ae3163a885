//! Why the metadata or the identity could not be read or written.

use std::io;
use std::path::{Path, PathBuf};

use super::refused::Refused;

/// The action of a failed sync.
const SYNC: &str = "sync";

/// Of a file that replaces another one: until it is there nothing has been written.
pub(super) const CREATE: &str = "create";

/// Why the metadata or the identity could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// The command was refused; nothing has changed.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The disk failed. Unless it is full, the backend takes nothing more.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// What was acknowledged cannot be read. The broker must not start with less.
    #[error("{} is damaged at byte {position}: {detail}; {remedy}", path.display())]
    Damaged {
        /// The file, relative to the data directory.
        path: PathBuf,
        /// Where the damage begins.
        position: u64,
        /// What is wrong there.
        detail: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A newer program wrote this.
    #[error(
        "{} was written by a newer version: {what} {found}, this one knows up to {known}; start \
         that version or a newer one",
        path.display()
    )]
    Newer {
        /// The file, relative to the data directory.
        path: PathBuf,
        /// What is newer.
        what: &'static str,
        /// What stands there.
        found: u64,
        /// What this program knows.
        known: u64,
    },
    /// New metadata was to be made where there is some.
    #[error("{} is there already; give an empty data directory", path.display())]
    Exists {
        /// The file, relative to the data directory.
        path: PathBuf,
    },
    /// An earlier write of the metadata or the identity failed, and what is on the disk is not known any more.
    #[error("the metadata takes nothing more after an earlier I/O error; restart the broker")]
    Failed,
}

impl MetadataError {
    /// Whether the disk is full: the same may succeed once there is space.
    pub fn is_full(&self) -> bool {
        matches!(self, MetadataError::Io { source, .. } if is_full(source))
    }

    /// Whether what is on the disk is not known any more, so that nothing may be tried again: a later sync may succeed
    /// without the bytes being there.
    pub fn is_final(&self) -> bool {
        match self {
            MetadataError::Io { action, source, .. } => match *action {
                SYNC => true,
                CREATE => false,
                _ => !is_full(source),
            },
            MetadataError::Failed => true,
            _ => false,
        }
    }

    /// For `map_err`: the same for what was being synced, of which no failure is tried again.
    pub(super) fn sync(path: &Path) -> impl FnOnce(io::Error) -> MetadataError + '_ {
        MetadataError::io(SYNC, path)
    }

    /// For `map_err`: names what was being done to which file.
    pub(super) fn io<'a>(
        action: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(io::Error) -> MetadataError + 'a {
        move |source| MetadataError::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
