//! What the engine needs of a disk: two small traits, so that the simulator runs the engine's very code.
//!
//! The contract, beyond what each method says (`suite.rs` holds both implementations to it):
//!
//! - Paths are relative to the data directory, made of normal components only; the root is the empty path.
//! - What was written is seen by every later read through any handle, and survives the death of the process.
//! - It survives loss of power only after [`DiskFile::sync`] of the file and [`Disk::sync_dir`] of every directory
//!   whose entries changed on the way (creation, rename, removal).
//! - A failed `sync` says nothing about what is durable, and a later successful one does not either: the kernel may have
//!   dropped the pages and marked them clean. Callers never retry.
//! - A file that was removed or renamed stays usable through the handles that are open.

mod os;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
#[cfg(any(test, feature = "sim"))]
pub mod suite;

pub use os::OsDisk;

use std::io;
use std::path::{Component, Path};
use std::sync::Arc;

/// A data directory.
pub trait Disk: Send + Sync + 'static {
    /// Opens for reading and writing. `create`: made if absent (durable only after `sync_dir` of the parent); the
    /// parent must exist.
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>>;
    /// Whether a file or directory of that name exists.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Names in a directory with whether each is a directory; sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, bool)>>;
    /// Makes a directory and those above it; no error if it is there. Each is durable after `sync_dir` of its parent.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Renames a file or directory, replacing a file that has the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name (a hard link); `AlreadyExists` if the name is taken, which it then keeps. The name is
    /// durable after `sync_dir` of its parent. Of several callers at once exactly one gets the name.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file: the name, and with its last name the contents.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes the entries of a directory durable (not the contents of the files in it).
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Space of the file system that holds the data directory.
    fn space(&self) -> io::Result<DiskSpace>;
}

/// Size of a file system and what is left of it for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// Size, in bytes.
    pub total_bytes: u64,
    /// Bytes that an unprivileged process can still allocate.
    pub free_bytes: u64,
}

/// An open file. Positions are bytes from its start.
#[expect(
    clippy::len_without_is_empty,
    reason = "nobody asks whether a file is empty"
)]
pub trait DiskFile: Send + Sync + 'static {
    /// Reads up to `buf.len()` bytes; fewer only at the end of the file, 0 behind it.
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize>;
    /// The same into memory of its own, up to `len` bytes: no zeros are written first where that can be had, which for
    /// large reads is worth a tenth.
    fn read_vec(&self, len: usize, position: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        let read = self.read_at(&mut bytes, position)?;
        bytes.truncate(read);
        Ok(bytes)
    }
    /// The same from memory alone, without ever waiting for the medium: `WouldBlock` where that is not possible.
    fn read_at_now(&self, buf: &mut [u8], position: u64) -> io::Result<usize>;
    /// The same past the page cache, for recovery: what the medium holds, not what a failed write-back left in memory.
    /// To be called after a `sync`: bytes not yet written back still come from memory.
    fn read_at_medium(&self, buf: &mut [u8], position: u64) -> io::Result<usize>;
    /// Writes all of the slices, one behind the other. After an error any part of them may have been written.
    fn write_at(&self, slices: &[&[u8]], position: u64) -> io::Result<()>;
    /// Makes contents and length durable (fdatasync). Of several callers at once all are told of a failure.
    fn sync(&self) -> io::Result<()>;
    /// Sets the length; bytes gained are zero.
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Makes the file at least `len` bytes long, with space behind it, so that a sync need not write metadata; bytes
    /// gained are zero. Best effort: where the file system cannot, the length stays and that is no error; a full one is.
    fn allocate(&self, len: u64) -> io::Result<()>;
}

/// Makes a directory and those above it, each durable when this returns.
pub(crate) fn create_dir_all_synced(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    disk.create_dir_all(dir)?;
    // From the root down, so that no durable entry is ever without its parent. An old directory may be one that was
    // made and never synced, so these are synced too.
    let above: Vec<&Path> = dir.ancestors().skip(1).collect();
    above
        .into_iter()
        .rev()
        .try_for_each(|parent| disk.sync_dir(parent))
}

/// Refuses a path that could leave the data directory. Ours never do: this holds the line if a name ever gets in.
fn check_path(path: &Path) -> io::Result<()> {
    if path
        .components()
        .all(|part| matches!(part, Component::Normal(_)))
    {
        return Ok(());
    }
    let message = format!("{} is not a path within the data directory", path.display());
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}
