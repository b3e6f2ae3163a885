//! The operating system's disk. The one file of this crate that touches `std::fs`.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the fence's one gate"
)]

use super::{Disk, DiskFile, DiskSpace, check_path};
use rustix::buffer::spare_capacity;
use rustix::fs::{Advice, FallocateFlags, FlockOperation, Mode, OFlags};
use rustix::io::{Errno, ReadWriteFlags, retry_on_intr};
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Name of the lock file in the data directory; it holds nothing.
const LOCK_FILE: &str = "LOCK";

/// Slices handed to one `pwritev`; Linux takes at most `IOV_MAX` = 1024.
const SLICES_PER_WRITE_MAX: usize = 1024;

/// The page cache drops whole pages only, so ranges to drop grow to this. The largest page size of Linux (arm64).
const PAGE_BYTES_MAX: u64 = 64 * 1024;

/// A directory of the operating system. A data directory is locked for as long as this value lives; a shared one is not.
pub struct OsDisk {
    root: PathBuf,
    /// Holds the lock; the kernel releases it when the process dies, however it dies.
    _lock: Option<File>,
}

impl OsDisk {
    /// Opens a data directory, making it if it is absent. Fails with `ResourceBusy` if another process has it open.
    pub fn open(root: &Path) -> io::Result<OsDisk> {
        let root = make_root(root)?;
        let lock = open_file(&root.join(LOCK_FILE), true)?;
        match retry_on_intr(|| rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => Ok(OsDisk {
                root,
                _lock: Some(lock),
            }),
            Err(Errno::WOULDBLOCK) => Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!(
                    "data directory {} is in use by another broker",
                    root.display()
                ),
            )),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a directory that other processes use at the same time, making it if it is absent: a tier that several brokers
    /// share. Takes no lock and leaves no file of its own; what is in it is kept apart by names that nobody takes twice.
    pub fn open_shared(root: &Path) -> io::Result<OsDisk> {
        Ok(OsDisk {
            root: make_root(root)?,
            _lock: None,
        })
    }

    fn at(&self, path: &Path) -> io::Result<PathBuf> {
        check_path(path)?;
        Ok(self.root.join(path))
    }
}

/// The absolute path of a directory that is there, durably, when this returns.
fn make_root(root: &Path) -> io::Result<PathBuf> {
    let root = std::path::absolute(root)?;
    let made = root.ancestors().take_while(|dir| !dir.exists()).count();
    std::fs::create_dir_all(&root)?;
    // Each new directory is durable with the one above it.
    for parent in root.ancestors().skip(1).take(made) {
        File::open(parent)?.sync_all()?;
    }
    Ok(root)
}

fn open_file(path: &Path, create: bool) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let flags = if create {
        flags | OFlags::CREATE
    } else {
        flags
    };
    // Records are nobody else's to read.
    let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP;
    Ok(File::from(retry_on_intr(|| {
        rustix::fs::open(path, flags, mode)
    })?))
}

impl Disk for OsDisk {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(OsFile {
            file: open_file(&self.at(path)?, create)?,
            sync_has_failed: Mutex::new(false),
        }))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.at(path)?.try_exists()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, bool)>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.at(dir)?)? {
            let entry = entry?;
            // None of our names is other than ASCII: a foreign one only has to show in the list.
            let name = entry.file_name().to_string_lossy().into_owned();
            names.push((name, entry.file_type()?.is_dir()));
        }
        names.sort();
        Ok(names)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        std::fs::create_dir_all(self.at(dir)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(self.at(from)?, self.at(to)?)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(self.at(from)?, self.at(to)?)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(self.at(path)?)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir(self.at(path)?)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let path = self.at(dir)?;
        let dir = retry_on_intr(|| rustix::fs::open(&path, flags, Mode::empty()))?;
        Ok(rustix::fs::fsync(dir)?)
    }

    fn space(&self) -> io::Result<DiskSpace> {
        let stat = retry_on_intr(|| rustix::fs::statvfs(&self.root))?;
        Ok(DiskSpace {
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
            free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }
}

struct OsFile {
    file: File,
    /// Whether a sync has failed. The kernel tells of a failure once: of two callers at the same time one would take what
    /// the other lost for durable, so they take turns, and after a failure all fail.
    sync_has_failed: Mutex<bool>,
}

impl DiskFile for OsFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match retry_on_intr(|| {
                rustix::io::pread(&self.file, &mut *rest, position + done as u64)
            })? {
                0 => break,
                read => done += read,
            }
        }
        Ok(done)
    }

    fn read_vec(&self, len: usize, position: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let at = position + bytes.len() as u64;
            let read =
                retry_on_intr(|| rustix::io::pread(&self.file, spare_capacity(&mut bytes), at))?;
            if read == 0 {
                break;
            }
        }
        // There may be room for more than was asked for.
        bytes.truncate(len);
        Ok(bytes)
    }

    fn read_at_now(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let (mut slices, at) = ([IoSliceMut::new(rest)], position + done as u64);
            let read = retry_on_intr(|| {
                rustix::io::preadv2(&self.file, &mut slices, at, ReadWriteFlags::NOWAIT)
            });
            match read {
                Ok(0) => break,
                Ok(read) => done += read,
                // Where the file system cannot promise it, nobody can.
                Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS) => {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(done)
    }

    fn read_at_medium(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let start = position / PAGE_BYTES_MAX * PAGE_BYTES_MAX;
        let end = (position + buf.len() as u64).next_multiple_of(PAGE_BYTES_MAX);
        // A length of none would mean "to the end of the file"; only an empty `buf` gets there.
        rustix::fs::fadvise(
            &self.file,
            start,
            NonZeroU64::new(end - start),
            Advice::DontNeed,
        )?;
        self.read_at(buf, position)
    }

    fn write_at(&self, slices: &[&[u8]], mut position: u64) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
        let mut rest = slices.as_mut_slice();
        // Skips leading empty slices, so that an empty `rest` means that all is written.
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let now = rest.get(..SLICES_PER_WRITE_MAX).unwrap_or(rest);
            match retry_on_intr(|| rustix::io::pwritev(&self.file, now, position))? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => {
                    position += written as u64;
                    IoSlice::advance_slices(&mut rest, written);
                }
            }
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let failed = self.sync_has_failed.lock();
        let mut failed = failed.unwrap_or_else(PoisonError::into_inner);
        if *failed {
            return Err(io::Error::other("an earlier sync of this file failed"));
        }
        // No retry, not even when interrupted: after a failure the pages may count as clean.
        let synced = rustix::fs::fdatasync(&self.file);
        *failed = synced.is_err();
        Ok(synced?)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        Ok(retry_on_intr(|| rustix::fs::ftruncate(&self.file, len))?)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        match retry_on_intr(|| rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, len)) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::suite;
    use std::cell::Cell;

    #[test]
    fn the_operating_system_keeps_the_contract() {
        let dir = tempfile::tempdir().unwrap();
        let made = Cell::new(0);
        suite::run(|| {
            made.set(made.get() + 1);
            OsDisk::open(&dir.path().join(format!("data/{}", made.get()))).unwrap()
        });
    }

    #[test]
    fn after_a_failed_sync_all_fail() {
        // A pipe cannot be synced.
        let (reader, _writer) = io::pipe().unwrap();
        let file = OsFile {
            file: File::from(std::os::fd::OwnedFd::from(reader)),
            sync_has_failed: Mutex::new(false),
        };
        let first = file.sync().unwrap_err();
        assert_eq!(first.kind(), io::ErrorKind::InvalidInput);
        let second = file.sync().unwrap_err();
        assert_eq!(second.to_string(), "an earlier sync of this file failed");
    }

    #[test]
    fn two_brokers_never_share_a_data_directory() {
        let dir = tempfile::tempdir().unwrap();
        let first = OsDisk::open(dir.path()).unwrap();
        let error = OsDisk::open(dir.path())
            .err()
            .expect("the second is refused");
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        assert_eq!(
            error.to_string(),
            format!(
                "data directory {} is in use by another broker",
                dir.path().display()
            )
        );
        drop(first);
        OsDisk::open(dir.path()).unwrap();
    }

    #[test]
    fn a_shared_directory_is_made_and_used_by_several_at_once_without_a_file_of_ours() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("no/tier/yet");
        let first = OsDisk::open_shared(&root).unwrap();
        let second = OsDisk::open_shared(&root).unwrap();
        assert_eq!(first.list(Path::new("")).unwrap(), []);
        first.open(Path::new("f"), true).unwrap();
        let taken = second.link(Path::new("f"), Path::new("g"));
        taken.unwrap();
        assert!(first.exists(Path::new("g")).unwrap());
        let _owned = OsDisk::open(&root).unwrap();
        OsDisk::open_shared(&root).unwrap();
    }

    #[test]
    fn a_shared_directory_keeps_the_contract() {
        let dir = tempfile::tempdir().unwrap();
        let made = Cell::new(0);
        suite::run(|| {
            made.set(made.get() + 1);
            OsDisk::open_shared(&dir.path().join(format!("tier/{}", made.get()))).unwrap()
        });
    }
}
