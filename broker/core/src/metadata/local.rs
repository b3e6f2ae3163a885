//! Metadata of a broker that is alone: a durable file on its own disk.
//!
//! `metadata/log` begins with an image and goes on with commands; `metadata/mark` says how much of
//! it was synced. A command is answered only after both were synced, so that everything that was
//! acknowledged lies below the mark. `docs/format/metadata.md` has the bytes and the commit points.

mod frame;
mod mark;
mod replay;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use headwater_log::{Disk, DiskFile};

use self::frame::{new_log, push_frame};
use self::mark::{MarkFile, MarkState};
use self::replay::{Marked, REMEDY, Replay, replay};
use super::applied::Applied;
use super::command::Command;
use super::error::{MetadataError, is_full};
use super::image::Image;
use super::refused::Refused;
use super::wire::encode_command;
use crate::limits::{COMMAND_BYTES_MAX, METADATA_LOG_BYTES_COMPACT, METADATA_LOG_BYTES_MAX};

const DIR: &str = "metadata";
const LOG: &str = "metadata/log";
const LOG_NEW: &str = "metadata/log.new";
const MARK: &str = "metadata/mark";
/// What is made after the metadata only: where it is, metadata was.
const DATA_DIRS: [&str; 2] = ["topics", "marks"];

/// What opening the metadata found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MetadataReport {
    /// There was no metadata: this is a new data directory.
    pub created: bool,
    /// Commands that were applied on top of the image.
    pub replayed: u64,
    /// Bytes above the mark that were no whole command and were cut: a write that was never
    /// acknowledged.
    pub cut_bytes: u64,
    /// Of these, bytes that were not zero.
    pub cut_nonzero_bytes: u64,
    /// One of the mark's two slots could not be read; the other counted.
    pub mark_slot_lost: bool,
}

/// The metadata of a broker that is alone. One thread owns it.
pub struct LocalBackend {
    disk: Arc<dyn Disk>,
    log: Arc<dyn DiskFile>,
    mark: MarkFile,
    image: Image,
    /// Rises each time that the log is rewritten.
    generation: u64,
    /// Where the commands begin.
    image_end: u64,
    /// Where the next command goes. `image_end <= end`.
    end: u64,
    /// Rewrite the log once its commands take more bytes than this.
    compact_bytes: u64,
    /// A write or sync failed: what the disk holds is not known.
    failed: bool,
    report: MetadataReport,
}

impl LocalBackend {
    /// Reads the metadata, or makes a new one where there is none.
    ///
    /// # Errors
    /// [`MetadataError::Damaged`] where something that was acknowledged cannot be read: the broker
    /// must not start with less.
    pub fn open(disk: Arc<dyn Disk>) -> Result<LocalBackend, MetadataError> {
        create_dir(disk.as_ref())?;
        let exists = |path| {
            disk.exists(path)
                .map_err(MetadataError::io("look for", path))
        };
        let has_log = exists(Path::new(LOG))?;
        if has_log && !exists(Path::new(MARK))? {
            return Err(damaged(MARK, "the file is missing"));
        }
        for dir in DATA_DIRS {
            if !has_log && exists(Path::new(dir))? {
                return Err(damaged(
                    LOG,
                    &format!("the file is missing, but {dir} is there"),
                ));
            }
        }
        let (mark, state) = MarkFile::open(disk.as_ref(), Path::new(MARK))?;
        let backend = match state {
            MarkState::None if !has_log => LocalBackend::create(disk, mark, Image::default()),
            // The log comes after the first mark: the stop came in between.
            MarkState::Some { mark: first, .. } if !has_log && first.generation == 0 => {
                LocalBackend::create(disk, mark, Image::default())
            }
            MarkState::None => Err(damaged(MARK, "neither slot of the sync mark can be read")),
            MarkState::Some { .. } if !has_log => Err(damaged(LOG, "the file is missing")),
            MarkState::Some { slot_lost, .. } => LocalBackend::read(disk, mark, slot_lost),
        }?;
        // A stop before the renaming of a new log.
        let new = Path::new(LOG_NEW);
        if backend
            .disk
            .exists(new)
            .map_err(MetadataError::io("look for", new))?
        {
            backend
                .disk
                .remove_file(new)
                .map_err(MetadataError::io("remove", new))?;
        }
        Ok(backend)
    }

    /// Makes new metadata that begins with `image`, such as [`Image::restored`] makes. Everything
    /// else that belongs to the image may be there already and should be: this is the last step of
    /// a restore, without which [`LocalBackend::open`] refuses a directory with partitions in it.
    ///
    /// # Errors
    /// [`MetadataError::Exists`] where there is metadata, be it half made.
    pub fn create_with(disk: Arc<dyn Disk>, image: Image) -> Result<LocalBackend, MetadataError> {
        for path in [LOG, MARK].map(Path::new) {
            if disk
                .exists(path)
                .map_err(MetadataError::io("look for", path))?
            {
                return Err(MetadataError::Exists { path: path.into() });
            }
        }
        create_dir(disk.as_ref())?;
        let (mark, _) = MarkFile::open(disk.as_ref(), Path::new(MARK))?;
        LocalBackend::create(disk, mark, image)
    }

    fn create(
        disk: Arc<dyn Disk>,
        mut mark: MarkFile,
        image: Image,
    ) -> Result<LocalBackend, MetadataError> {
        mark.write_both(0, 0)?;
        let dir = Path::new(DIR);
        disk.sync_dir(dir).map_err(MetadataError::io("sync", dir))?;
        let (log, end) = write_new(disk.as_ref(), 1, &image)?;
        put_in_place(disk.as_ref(), log.as_ref())?;
        mark.write_both(1, end)?;
        let report = MetadataReport {
            created: true,
            ..MetadataReport::default()
        };
        Ok(LocalBackend {
            disk,
            log,
            mark,
            image,
            generation: 1,
            image_end: end,
            end,
            compact_bytes: METADATA_LOG_BYTES_COMPACT,
            failed: false,
            report,
        })
    }

    fn read(
        disk: Arc<dyn Disk>,
        mut mark: MarkFile,
        slot_lost: bool,
    ) -> Result<LocalBackend, MetadataError> {
        let path = Path::new(LOG);
        // A stop between the renaming of a new log and the sync of its directory.
        disk.sync_dir(Path::new(DIR))
            .map_err(MetadataError::io("sync", Path::new(DIR)))?;
        let log = disk
            .open(path, false)
            .map_err(MetadataError::io("open", path))?;
        // What an earlier process wrote and did not sync counts once it is on the medium.
        log.sync().map_err(MetadataError::io("sync", path))?;
        let bytes = read_all(log.as_ref(), path)?;
        let marked = Marked {
            generation: mark.mark().generation,
            end: mark.mark().end,
        };
        let Replay {
            image,
            generation,
            image_end,
            end,
            replayed,
        } = replay(path, &bytes, &marked)?;
        let cut = bytes.get(end as usize..).unwrap_or_default();
        if !cut.is_empty() {
            log.truncate(end)
                .map_err(MetadataError::io("truncate", path))?;
            log.sync().map_err(MetadataError::io("sync", path))?;
        }
        if marked.generation != generation {
            mark.write_both(generation, end)?;
        } else if slot_lost || marked.end != end {
            mark.write(generation, end)?;
        }
        let report = MetadataReport {
            created: false,
            replayed,
            cut_bytes: cut.len() as u64,
            cut_nonzero_bytes: cut.iter().filter(|byte| **byte != 0).count() as u64,
            mark_slot_lost: slot_lost,
        };
        Ok(LocalBackend {
            disk,
            log,
            mark,
            image,
            generation,
            image_end,
            end,
            compact_bytes: image_end.max(METADATA_LOG_BYTES_COMPACT),
            failed: false,
            report,
        })
    }

    /// What opening found.
    pub fn report(&self) -> &MetadataReport {
        &self.report
    }

    /// The metadata after everything that was accepted.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Proposes one command. When this returns `Ok` it is durable.
    pub fn propose(&mut self, command: &Command) -> Result<Applied, MetadataError> {
        let mut answers = self.propose_all(std::slice::from_ref(command))?;
        let answer = answers.pop().expect("one answer for each command");
        Ok(answer?)
    }

    /// Proposes commands in order, each judged alone, with one sync for all. When this returns
    /// `Ok`, those that were accepted are durable. After an error none counts as accepted, but
    /// whether they were is only known after the next open; unless the disk was full the backend
    /// takes nothing more.
    pub fn propose_all(
        &mut self,
        commands: &[Command],
    ) -> Result<Vec<Result<Applied, Refused>>, MetadataError> {
        if self.failed {
            return Err(MetadataError::Failed);
        }
        let mut image = self.image.clone();
        let mut frames = Vec::new();
        let answers = commands
            .iter()
            .map(|command| {
                let before = image.revision();
                let applied = image.apply(command)?;
                if image.revision() != before {
                    let message = encode_command(command);
                    assert!(
                        message.len() <= COMMAND_BYTES_MAX,
                        "what was accepted is bounded"
                    );
                    push_frame(&mut frames, image.revision().0, &message);
                }
                Ok(applied)
            })
            .collect();
        if !frames.is_empty() {
            self.append(&frames)?;
            self.image = image;
            self.compact_if_due();
        }
        Ok(answers)
    }

    /// Writes frames and moves the mark behind them: the commit point.
    fn append(&mut self, frames: &[u8]) -> Result<(), MetadataError> {
        let path = Path::new(LOG);
        let end = self.end + frames.len() as u64;
        if let Err(error) = self.log.write_at(&[frames], self.end) {
            // Part of it may be there; on a full disk it can be taken back.
            let taken_back = || self.log.truncate(self.end).and_then(|()| self.log.sync());
            self.failed = !is_full(&error) || taken_back().is_err();
            return Err(MetadataError::io("write", path)(error));
        }
        // Nothing is tried again: a later sync may succeed without the bytes being there.
        self.failed = true;
        self.log.sync().map_err(MetadataError::io("sync", path))?;
        self.mark.write(self.generation, end)?;
        self.failed = false;
        self.end = end;
        Ok(())
    }

    /// Rewrites the log as one image once it is long. What was accepted stays so if this fails.
    fn compact_if_due(&mut self) {
        if self.end - self.image_end <= self.compact_bytes {
            return;
        }
        match write_new(self.disk.as_ref(), self.generation + 1, &self.image) {
            Ok((log, end)) => {
                // From the renaming on the present log must not be written to any more.
                if let Err(error) = self.replace_log(log, end) {
                    tracing::error!(%error, "compacting the metadata log has failed");
                    self.failed = true;
                }
            }
            Err(error) if error.is_full() => {
                tracing::warn!(%error, "no space to compact the metadata log; trying again later");
                self.compact_bytes += METADATA_LOG_BYTES_COMPACT;
            }
            Err(error) => {
                tracing::error!(%error, "compacting the metadata log has failed");
                self.failed = true;
            }
        }
    }

    fn replace_log(&mut self, log: Arc<dyn DiskFile>, end: u64) -> Result<(), MetadataError> {
        put_in_place(self.disk.as_ref(), log.as_ref())?;
        self.log = log;
        self.generation += 1;
        self.image_end = end;
        self.end = end;
        self.compact_bytes = end.max(METADATA_LOG_BYTES_COMPACT);
        self.mark.write_both(self.generation, end)
    }
}

impl fmt::Debug for LocalBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalBackend")
            .field("revision", &self.image.revision())
            .field("generation", &self.generation)
            .field("end", &self.end)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

fn create_dir(disk: &dyn Disk) -> Result<(), MetadataError> {
    let (root, dir) = (Path::new(""), Path::new(DIR));
    disk.create_dir_all(dir)
        .map_err(MetadataError::io("create", dir))?;
    disk.sync_dir(root).map_err(MetadataError::io("sync", root))
}

/// Writes a new log beside the old one; the log and its length.
fn write_new(
    disk: &dyn Disk,
    generation: u64,
    image: &Image,
) -> Result<(Arc<dyn DiskFile>, u64), MetadataError> {
    let path = Path::new(LOG_NEW);
    let bytes = new_log(generation, image);
    let log = disk
        .open(path, true)
        .map_err(MetadataError::io("create", path))?;
    log.truncate(0)
        .map_err(MetadataError::io("truncate", path))?;
    log.write_at(&[&bytes], 0)
        .map_err(MetadataError::io("write", path))?;
    Ok((log, bytes.len() as u64))
}

/// Makes the new log durable, then the log.
fn put_in_place(disk: &dyn Disk, log: &dyn DiskFile) -> Result<(), MetadataError> {
    let (new, path, dir) = (Path::new(LOG_NEW), Path::new(LOG), Path::new(DIR));
    log.sync().map_err(MetadataError::io("sync", new))?;
    disk.rename(new, path)
        .map_err(MetadataError::io("rename", new))?;
    disk.sync_dir(dir).map_err(MetadataError::io("sync", dir))
}

/// Reads a file past the page cache.
fn read_all(file: &dyn DiskFile, path: &Path) -> Result<Vec<u8>, MetadataError> {
    let len = file.len().map_err(MetadataError::io("look at", path))?;
    if len > METADATA_LOG_BYTES_MAX {
        let detail = format!("the file has {len} bytes, at most {METADATA_LOG_BYTES_MAX} are ours");
        return Err(damaged(LOG, &detail));
    }
    let mut bytes = vec![0; len as usize];
    let read = file
        .read_at_medium(&mut bytes, 0)
        .map_err(MetadataError::io("read", path))?;
    bytes.truncate(read);
    Ok(bytes)
}

fn damaged(path: &str, detail: &str) -> MetadataError {
    MetadataError::Damaged {
        path: path.into(),
        position: 0,
        detail: detail.to_owned(),
        remedy: REMEDY,
    }
}
