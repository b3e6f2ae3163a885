//! A simulated disk: deterministic, loses what was not synced, fails to order (feature `sim`).
//!
//! Two images are kept, what processes see and what the medium holds. [`SimDisk::crash`] makes of them what power loss
//! would leave: each unsynced page kept, lost or torn at any byte, each unsynced change of names kept or lost, whatever
//! the order in which they were made.
#![expect(
    clippy::indexing_slicing,
    reason = "not for production: its own bugs should panic"
)]

mod content;
mod fault;
mod rng;
#[cfg(test)]
mod tests;
mod tree;

pub use fault::{Fault, FaultId, SimOp};

use super::{Disk, DiskFile, DiskSpace, check_path};
use content::{Content, PAGE_BYTES};
use fault::Faults;
use rng::Rng;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tree::{NodeId, Tree};

/// What of the unsynced state is there after power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    /// Only what was synced.
    Nothing,
    /// All of it: a process that was killed.
    Everything,
    /// Decided page by page and name by name from a seed.
    Seeded(u64),
}

/// A simulated data directory. A clone is the same disk; `snapshot` and `crash` make others.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

struct State {
    tree: Tree,
    rng: Rng,
    capacity_bytes: u64,
    faults: Faults,
    ops: u64,
    images: Option<Vec<SimDisk>>,
}

impl SimDisk {
    /// An empty disk of 1 TiB.
    pub fn new(seed: u64) -> SimDisk {
        SimDisk::with_tree(Tree::new(), Rng::new(seed), 1 << 40)
    }

    fn with_tree(tree: Tree, rng: Rng, capacity_bytes: u64) -> SimDisk {
        let faults = Faults::default();
        let state = State {
            tree,
            rng,
            capacity_bytes,
            faults,
            ops: 0,
            images: None,
        };
        SimDisk {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// The disk after power loss now. This one goes on unchanged.
    pub fn crash(&self, survival: Survival) -> SimDisk {
        let state = self.lock();
        let mut rng = match survival {
            Survival::Seeded(seed) => Rng::new(seed),
            Survival::Nothing | Survival::Everything => state.rng.clone(),
        };
        let tree = state.tree.crashed(survival, &mut rng);
        SimDisk::with_tree(tree, rng, state.capacity_bytes)
    }

    /// A copy with all that is synced and unsynced, without the faults. Shares pages until they change.
    pub fn snapshot(&self) -> SimDisk {
        self.lock().snapshot()
    }

    /// From now on keeps a snapshot after every call that changes something.
    pub fn keep_images(&self) {
        self.lock().images = Some(Vec::new());
    }

    /// The snapshots kept since `keep_images`, or since the last call of this.
    pub fn take_images(&self) -> Vec<SimDisk> {
        self.lock()
            .images
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// Orders a fault.
    pub fn inject(&self, fault: Fault) -> FaultId {
        self.lock().faults.inject(fault)
    }

    /// How often a fault has struck: a test whose fault never did proves nothing.
    pub fn struck(&self, fault: FaultId) -> u64 {
        self.lock().faults.struck(fault)
    }

    /// Heals everything that was injected.
    pub fn clear_faults(&self) {
        self.lock().faults = Faults::default();
    }

    /// Size of the file system: a write that needs more fails with ENOSPC.
    pub fn set_capacity(&self, bytes: u64) {
        self.lock().capacity_bytes = bytes;
    }

    /// Calls so far, failed ones too.
    pub fn ops(&self) -> u64 {
        self.lock().ops
    }

    /// All files with their contents, sorted by path.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let state = self.lock();
        state
            .tree
            .files()
            .into_iter()
            .map(|(path, file)| (path, file.bytes()))
            .collect()
    }

    /// Contents of a file, if it is there.
    pub fn read(&self, path: &Path) -> Option<Vec<u8>> {
        let mut state = self.lock();
        let file = state.tree.file(path).ok()?;
        Some(state.tree.content(file).bytes())
    }

    /// Flips a bit of a file, in memory and on the medium. Panics if the byte is not there.
    pub fn corrupt(&self, path: &Path, byte: u64, bit: u8) {
        self.lock().existing(path).flip(byte, bit);
    }

    /// Cuts or extends a file, in memory and on the medium. Panics if it is not there.
    pub fn truncate(&self, path: &Path, len: u64) {
        self.lock().existing(path).cut(len);
    }

    /// Puts a file, durable with its directories, in place of what is there.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.lock();
        let parent = path.parent().expect("a file has a directory");
        state
            .tree
            .create_dir_all(parent)
            .expect("the directories can be made");
        let file = state.tree.open(path, true).expect("the file can be made");
        state.tree.close(file);
        *state.tree.content(file) = Content::durable(bytes);
        for dir in path.ancestors().skip(1) {
            state
                .tree
                .sync_dir(dir)
                .expect("the directory was just made");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call, lets it fail if that was ordered, and keeps an image of what it leaves.
    fn call<T>(
        &self,
        op: SimOp,
        path: &Path,
        act: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        self.call_or(op, path, act, |_| {})
    }

    /// The same for a call that leaves something behind when it fails.
    fn call_or<T>(
        &self,
        op: SimOp,
        path: &Path,
        act: impl FnOnce(&mut State) -> io::Result<T>,
        fail: impl FnOnce(&mut State),
    ) -> io::Result<T> {
        check_path(path)?;
        let mut state = self.lock();
        state.ops += 1;
        let result = match state.faults.check(op, path) {
            Ok(()) => act(&mut state),
            Err(error) => {
                fail(&mut state);
                Err(error)
            }
        };
        state.keep_image(op);
        result
    }
}

impl State {
    fn snapshot(&self) -> SimDisk {
        let tree = self.tree.clone().without_handles();
        SimDisk::with_tree(tree, self.rng.clone(), self.capacity_bytes)
    }

    fn keep_image(&mut self, op: SimOp) {
        if matches!(op, SimOp::Read | SimOp::Look) || self.images.is_none() {
            return;
        }
        let image = self.snapshot();
        self.images.as_mut().expect("images are kept").push(image);
    }

    fn existing(&mut self, path: &Path) -> &mut Content {
        let file = self
            .tree
            .file(path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        self.tree.content(file)
    }

    fn free_pages(&self) -> u64 {
        (self.capacity_bytes / PAGE_BYTES as u64).saturating_sub(self.tree.used_pages())
    }

    fn write(&mut self, file: NodeId, bytes: &[u8], position: u64) -> io::Result<()> {
        let free_pages = self.free_pages();
        let content = self.tree.content(file);
        let fitting = content.fitting(position, bytes.len(), free_pages);
        content.write(&bytes[..fitting], position);
        if self.rng.below(4) == 0 {
            content.write_back_some(&mut self.rng);
        }
        if fitting < bytes.len() {
            Err(fault::no_space())
        } else {
            Ok(())
        }
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.call(SimOp::Open, path, |state| state.tree.open(path, create))?;
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            file,
            path: path.to_owned(),
        }))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.call(SimOp::Look, path, |state| state.tree.exists(path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, bool)>> {
        self.call(SimOp::Look, dir, |state| state.tree.list(dir))
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.call(SimOp::CreateDir, dir, |state| {
            state.tree.create_dir_all(dir)
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        check_path(to)?;
        self.call(SimOp::Rename, from, |state| state.tree.rename(from, to))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        check_path(from)?;
        self.call(SimOp::Link, to, |state| state.tree.link(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.call(SimOp::Remove, path, |state| state.tree.remove_file(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.call(SimOp::Remove, path, |state| state.tree.remove_dir(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.call(SimOp::SyncDir, dir, |state| state.tree.sync_dir(dir))
    }

    fn space(&self) -> io::Result<DiskSpace> {
        let state = self.lock();
        let free_bytes = state.free_pages() * PAGE_BYTES as u64;
        Ok(DiskSpace {
            total_bytes: state.capacity_bytes,
            free_bytes,
        })
    }
}

struct SimFile {
    disk: SimDisk,
    file: NodeId,
    path: PathBuf,
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.disk.lock().tree.close(self.file);
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let read = |state: &mut State| Ok(state.tree.content(self.file).read(buf, position));
        self.disk.call(SimOp::Read, &self.path, read)
    }

    fn read_at_now(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.read_at(buf, position)
    }

    fn read_at_medium(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let read = |state: &mut State| Ok(state.tree.content(self.file).read_medium(buf, position));
        self.disk.call(SimOp::Read, &self.path, read)
    }

    fn write_at(&self, slices: &[&[u8]], position: u64) -> io::Result<()> {
        let bytes = slices.concat();
        let write = |state: &mut State| state.write(self.file, &bytes, position);
        let write_some = |state: &mut State| {
            let count = state.rng.below(bytes.len() as u64 + 1) as usize;
            state
                .tree
                .content(self.file)
                .write(&bytes[..count], position);
        };
        self.disk
            .call_or(SimOp::Write, &self.path, write, write_some)
    }

    fn sync(&self) -> io::Result<()> {
        let sync = |state: &mut State| {
            state.tree.content(self.file).sync();
            Ok(())
        };
        let fail = |state: &mut State| {
            state.tree.content(self.file).fail_sync(&mut state.rng);
        };
        self.disk.call_or(SimOp::Sync, &self.path, sync, fail)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.disk.call(SimOp::Truncate, &self.path, |state| {
            state.tree.content(self.file).set_len(len);
            Ok(())
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.disk.call(SimOp::Look, &self.path, |state| {
            Ok(state.tree.content(self.file).len())
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.disk.call(SimOp::Allocate, &self.path, |state| {
            let free_pages = state.free_pages();
            let fits = state.tree.content(self.file).allocate(len, free_pages);
            if fits { Ok(()) } else { Err(fault::no_space()) }
        })
    }
}
