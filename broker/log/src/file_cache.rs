//! Open segment files, bounded in number, shared by all partitions of a data directory.
//!
//! Descriptors do not grow with partitions: a file that nobody has touched for longest is dropped from the cache and
//! closes when its last reader is done. Readers hold an `Arc`, so eviction never breaks a read.

use crate::{Disk, DiskFile};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bounded cache of open files, least recently used out first.
pub struct FileCache {
    files_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: HashMap<PathBuf, Entry>,
    /// Every entry of `open` once, by its last use.
    by_use: BTreeMap<u64, PathBuf>,
    /// Number of uses so far: the clock of `by_use`.
    uses: u64,
    /// Grows with every `forget`: a file opened before and inserted after it may be the one forgotten.
    forgotten: u64,
}

struct Entry {
    file: Arc<dyn DiskFile>,
    last_use: u64,
}

impl FileCache {
    /// A cache of at most `open_files_max` files (at least 1).
    pub fn new(open_files_max: usize) -> FileCache {
        FileCache {
            files_max: open_files_max.max(1),
            state: Mutex::default(),
        }
    }

    /// The file, opened if it is not open yet. Never creates one: an absent file is `NotFound`.
    pub fn get(&self, disk: &dyn Disk, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let forgotten = {
            let mut state = self.lock();
            if let Some(file) = state.touch(path) {
                return Ok(file);
            }
            state.forgotten
        };
        // Opened without the lock, so that a slow disk delays nobody else. Two callers may open the same file at
        // once: one handle stays in the cache, both work.
        let file = disk.open(path, false)?;
        let mut state = self.lock();
        if state.forgotten == forgotten {
            state.insert(path, Arc::clone(&file), self.files_max);
        }
        Ok(file)
    }

    /// Puts a file in that the caller has just created, so that the first read need not open it again.
    pub fn put(&self, path: &Path, file: Arc<dyn DiskFile>) {
        self.lock().insert(path, file, self.files_max);
    }

    /// Drops the file, before it is removed or renamed. Handles that readers hold stay usable.
    pub fn forget(&self, path: &Path) {
        let mut state = self.lock();
        state.forgotten += 1;
        state.drop_entry(path);
    }

    /// Drops every file below a directory, before that is removed or renamed.
    pub fn forget_dir(&self, dir: &Path) {
        let mut state = self.lock();
        state.forgotten += 1;
        let below: Vec<PathBuf> = state
            .open
            .keys()
            .filter(|path| path.starts_with(dir))
            .cloned()
            .collect();
        for path in below {
            state.drop_entry(&path);
        }
    }

    /// Files open now; at most the bound.
    pub fn open_files(&self) -> usize {
        self.lock().open.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock with the maps half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn touch(&mut self, path: &Path) -> Option<Arc<dyn DiskFile>> {
        let entry = self.open.get_mut(path)?;
        self.uses += 1;
        let path = self
            .by_use
            .remove(&entry.last_use)
            .expect("every open file has its use");
        entry.last_use = self.uses;
        self.by_use.insert(self.uses, path);
        Some(Arc::clone(&entry.file))
    }

    fn insert(&mut self, path: &Path, file: Arc<dyn DiskFile>, files_max: usize) {
        self.drop_entry(path);
        while self.open.len() >= files_max {
            let (_, oldest) = self
                .by_use
                .pop_first()
                .expect("every open file has its use");
            self.open.remove(&oldest);
        }
        self.uses += 1;
        self.by_use.insert(self.uses, path.to_owned());
        self.open.insert(
            path.to_owned(),
            Entry {
                file,
                last_use: self.uses,
            },
        );
        assert_eq!(
            self.open.len(),
            self.by_use.len(),
            "each open file has exactly one use"
        );
    }

    fn drop_entry(&mut self, path: &Path) {
        if let Some(entry) = self.open.remove(path) {
            self.by_use.remove(&entry.last_use);
        }
    }
}
