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
        self.get_or_open(path, || disk.open(path, false))
    }

    /// The file, if it is open.
    pub(crate) fn get_open(&self, path: &Path) -> Option<Arc<dyn DiskFile>> {
        self.lock().touch(path)
    }

    fn get_or_open(
        &self,
        path: &Path,
        open: impl FnOnce() -> io::Result<Arc<dyn DiskFile>>,
    ) -> io::Result<Arc<dyn DiskFile>> {
        let forgotten = {
            let mut state = self.lock();
            if let Some(file) = state.touch(path) {
                return Ok(file);
            }
            state.forgotten
        };
        // Opened without the lock, so that a slow disk delays nobody else. Two callers may open the same file at
        // once: one handle stays in the cache, both work.
        let file = open()?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::sim::{Fault, SimDisk, SimOp};

    fn disk_with(count: u32) -> (SimDisk, Vec<PathBuf>) {
        let disk = SimDisk::new(1);
        let paths: Vec<PathBuf> = (0..count).map(|n| format!("d/{n}").into()).collect();
        paths
            .iter()
            .for_each(|path| disk.put(path, path.to_string_lossy().as_bytes()));
        (disk, paths)
    }

    fn read(file: &dyn DiskFile) -> String {
        let mut bytes = [0; 10];
        let count = file.read_at(&mut bytes, 0).unwrap();
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    }

    #[test]
    fn the_file_used_least_recently_is_closed_first() {
        let (disk, paths) = disk_with(3);
        let cache = FileCache::new(2);
        for path in [0, 1, 0, 2] {
            cache.get(&disk, &paths[path]).unwrap();
        }
        assert_eq!(cache.open_files(), 2);
        let opens = |path: usize| {
            let before = disk.ops();
            cache.get(&disk, &paths[path]).unwrap();
            disk.ops() - before
        };
        assert_eq!([opens(0), opens(2), opens(1)], [0, 0, 1]);
    }

    #[test]
    fn a_reader_keeps_its_file_whatever_the_cache_does() {
        let (disk, paths) = disk_with(3);
        let cache = FileCache::new(1);
        let file = cache.get(&disk, &paths[0]).unwrap();
        cache.get(&disk, &paths[1]).unwrap();
        cache.forget(&paths[1]);
        disk.remove_file(&paths[0]).unwrap();
        assert_eq!(read(&*file), "d/0");
        assert_eq!(cache.open_files(), 0);
    }

    #[test]
    fn a_forgotten_file_is_opened_anew() {
        let (disk, paths) = disk_with(2);
        let cache = FileCache::new(10);
        cache.get(&disk, &paths[0]).unwrap();
        disk.rename(&paths[1], &paths[0]).unwrap();
        assert_eq!(
            read(&*cache.get(&disk, &paths[0]).unwrap()),
            "d/0",
            "still the old one"
        );
        cache.forget(&paths[0]);
        assert_eq!(read(&*cache.get(&disk, &paths[0]).unwrap()), "d/1");
        cache.forget_dir(Path::new("d"));
        assert_eq!(cache.open_files(), 0);
    }

    #[test]
    fn a_file_replaced_while_it_is_being_opened_is_not_remembered() {
        let (disk, paths) = disk_with(2);
        let cache = FileCache::new(10);
        let open = || {
            let old = disk.open(&paths[0], false);
            disk.rename(&paths[1], &paths[0]).unwrap();
            cache.forget(&paths[0]);
            old
        };
        let old = cache.get_or_open(&paths[0], open).unwrap();
        assert_eq!(read(&*old), "d/0");
        assert_eq!(read(&*cache.get(&disk, &paths[0]).unwrap()), "d/1");
    }

    #[test]
    fn an_absent_file_is_an_error_and_is_not_made() {
        let (disk, _) = disk_with(0);
        let cache = FileCache::new(10);
        let error = cache.get(&disk, Path::new("none")).err().expect("an error");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        disk.put(Path::new("some"), b"");
        disk.inject(Fault::once(SimOp::Open));
        assert!(cache.get(&disk, Path::new("some")).is_err());
        assert!(
            cache.get(&disk, Path::new("some")).is_ok(),
            "a failure is not remembered"
        );
    }

    #[test]
    fn a_file_that_the_caller_made_is_not_opened_again() {
        let (disk, paths) = disk_with(1);
        let cache = FileCache::new(10);
        cache.put(&paths[0], disk.open(&paths[0], true).unwrap());
        let before = disk.ops();
        assert_eq!(read(&*cache.get(&disk, &paths[0]).unwrap()), "d/0");
        assert_eq!(disk.ops(), before + 1, "only the read");
    }
}
