//! Opening the mark files: read them all, keep the newest mark of each partition, bring it to its shard's file.

use super::shard::{PAGE_PAIR_BYTES, PAIRS_PER_PAGE, Shard, slot_position};
use super::slot::{Mark, SLOT_BYTES, Slot};
use super::{MARKS_DIR, MarkStore, Unreadable, shard_of, shard_path};
use crate::disk::create_dir_all_synced;
use crate::trash::TOPICS_DIR;
use crate::{Disk, DiskFile, LogError, PartitionKey};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};

/// A mark and where it stands.
#[derive(Clone, Copy)]
struct Found {
    mark: Mark,
    pair: u64,
    side: u8,
}

/// A file as read.
struct ReadFile {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    pairs: u64,
    is_cut: bool,
    /// The newer mark of each pair that has one.
    found: Vec<Found>,
    free: Vec<u64>,
    unreadable: Vec<u64>,
}

pub(super) fn open(disk: Arc<dyn Disk>, shards: usize) -> Result<MarkStore, LogError> {
    assert!(shards > 0, "there is at least one shard");
    let (mut in_use, mut retired) = (Vec::new(), Vec::new());
    // The directory is made durable before the first topic is: topics without it have lost theirs.
    let is_missing = !exists(&*disk, MARKS_DIR)? && exists(&*disk, TOPICS_DIR)?;
    prepare(&*disk, shards).map_err(io_error("open", Path::new(MARKS_DIR)))?;
    for shard in 0..shards {
        in_use.push(read(&*disk, shard_path(shard))?);
    }
    for (name, is_dir) in list(&*disk)? {
        if let Some(shard) = shard_number(&name).filter(|shard| !is_dir && *shard >= shards) {
            retired.push(read(&*disk, shard_path(shard))?);
        }
    }

    let newest = newest_of_each(in_use.iter().chain(&retired));
    let store = build(disk, &in_use, &retired, &newest)?;
    store.lock_unreadable().is_missing = is_missing;
    move_home(&store, &in_use, &newest)?;
    drop_stale(&store, &in_use, &retired, &newest)?;
    Ok(store)
}

fn exists(disk: &dyn Disk, name: &str) -> Result<bool, LogError> {
    let path = Path::new(name);
    disk.exists(path).map_err(io_error("look at", path))
}

/// Makes the directory and the file of every shard, durably.
fn prepare(disk: &dyn Disk, shards: usize) -> io::Result<()> {
    let dir = Path::new(MARKS_DIR);
    create_dir_all_synced(disk, dir)?;
    (0..shards).try_for_each(|shard| disk.open(&shard_path(shard), true).map(drop))?;
    disk.sync_dir(dir)
}

fn list(disk: &dyn Disk) -> Result<Vec<(String, bool)>, LogError> {
    disk.list(Path::new(MARKS_DIR))
        .map_err(io_error("list", Path::new(MARKS_DIR)))
}

/// The number in `shard-<n>`, if that is just how we would write it.
fn shard_number(name: &str) -> Option<usize> {
    let number = name.strip_prefix("shard-")?.parse().ok()?;
    (shard_path(number).file_name()? == name).then_some(number)
}

fn read(disk: &dyn Disk, path: PathBuf) -> Result<ReadFile, LogError> {
    let file = disk.open(&path, false).map_err(io_error("open", &path))?;
    // What is read below is taken for durable: a mark that a killed broker left in the page cache has to become so.
    file.sync().map_err(io_error("sync", &path))?;
    let len = file.len().map_err(io_error("read", &path))?;
    let pages = len.div_ceil(PAGE_PAIR_BYTES);
    let mut read = ReadFile {
        path,
        file,
        pairs: pages * PAIRS_PER_PAGE,
        is_cut: len % PAGE_PAIR_BYTES != 0,
        found: Vec::new(),
        free: Vec::new(),
        unreadable: Vec::new(),
    };
    // Bytes behind the end of a cut file count as zero.
    let mut page = vec![0; PAGE_PAIR_BYTES as usize];
    for number in 0..pages {
        page.fill(0);
        read.file
            .read_at_medium(&mut page, number * PAGE_PAIR_BYTES)
            .map_err(io_error("read", &read.path))?;
        for place in 0..PAIRS_PER_PAGE {
            read.take_pair(
                number * PAIRS_PER_PAGE + place,
                number * PAGE_PAIR_BYTES,
                &page,
            )?;
        }
    }
    Ok(read)
}

impl ReadFile {
    /// Sorts one pair in. `page` holds the file's bytes from `page_position` on.
    fn take_pair(&mut self, pair: u64, page_position: u64, page: &[u8]) -> Result<(), LogError> {
        let mut newest: Option<Found> = None;
        let mut is_unreadable = false;
        for side in [0, 1] {
            let position = slot_position(pair, side);
            let bytes = page
                .get((position - page_position) as usize..)
                .and_then(|bytes| bytes.first_chunk::<SLOT_BYTES>())
                .expect("a page pair holds both slots of its pairs");
            match Slot::decode(bytes) {
                Slot::Empty => {}
                Slot::Unreadable => is_unreadable = true,
                Slot::Mark(mark) => {
                    if newest.is_none_or(|other| other.mark.generation < mark.generation) {
                        newest = Some(Found { mark, pair, side });
                    }
                }
                Slot::UnknownVersion(version) => {
                    let detail = format!(
                        "the slot at byte {position} has version {version}, which a later release wrote"
                    );
                    return Err(LogError::Damaged {
                        path: self.path.clone(),
                        detail,
                    });
                }
            }
        }
        match newest {
            Some(found) => self.found.push(found),
            None if is_unreadable => self.unreadable.push(pair),
            None => self.free.push(pair),
        }
        Ok(())
    }

    fn stale<'a>(
        &'a self,
        newest: &'a BTreeMap<PartitionKey, Mark>,
        home: impl Fn(PartitionKey) -> bool + 'a,
    ) -> impl Iterator<Item = &'a Found> {
        self.found
            .iter()
            .filter(move |found| newest[&found.mark.key] != found.mark || !home(found.mark.key))
    }
}

fn newest_of_each<'a>(files: impl Iterator<Item = &'a ReadFile>) -> BTreeMap<PartitionKey, Mark> {
    let mut newest: BTreeMap<PartitionKey, Mark> = BTreeMap::new();
    for found in files.flat_map(|file| &file.found) {
        let mark = newest.entry(found.mark.key).or_insert(found.mark);
        if mark.generation < found.mark.generation {
            *mark = found.mark;
        }
    }
    newest
}

fn build(
    disk: Arc<dyn Disk>,
    in_use: &[ReadFile],
    retired: &[ReadFile],
    newest: &BTreeMap<PartitionKey, Mark>,
) -> Result<MarkStore, LogError> {
    let mut unreadable = Unreadable::default();
    let mut shards = Vec::with_capacity(in_use.len());
    for (number, read) in in_use.iter().enumerate() {
        let mut shard = Shard::new(Arc::clone(&read.file), read.pairs);
        read.free
            .iter()
            .rev()
            .for_each(|pair| shard.adopt_free(*pair));
        for found in &read.found {
            let is_home = shard_of(found.mark.key, in_use.len()) == number;
            if is_home && newest[&found.mark.key] == found.mark {
                shard.adopt(&found.mark, found.pair, found.side);
            }
        }
        unreadable
            .pairs
            .extend(read.unreadable.iter().map(|pair| (number, *pair)));
        unreadable.cut.extend(read.is_cut.then_some(number));
        shards.push(Mutex::new(shard));
    }
    for read in retired
        .iter()
        .filter(|read| read.is_cut || !read.unreadable.is_empty())
    {
        unreadable.retired_files.push(read.path.clone());
    }
    Ok(MarkStore {
        disk,
        shards,
        generation: AtomicU64::new(
            newest
                .values()
                .map(|mark| mark.generation)
                .max()
                .unwrap_or(0),
        ),
        unreadable: Mutex::new(unreadable),
        failed: AtomicBool::new(false),
    })
}

/// Writes the marks that stand in another file than their shard's, and syncs them.
fn move_home(
    store: &MarkStore,
    in_use: &[ReadFile],
    newest: &BTreeMap<PartitionKey, Mark>,
) -> Result<(), LogError> {
    for mark in newest.values() {
        let shard = store.shard_of(mark.key);
        if store.lock(shard).get(mark.key).is_none() {
            store.write(shard, &[(mark.key, mark.synced_end)])?;
        }
    }
    (0..in_use.len()).try_for_each(|shard| store.sync(shard))
}

/// Clears what is superseded: only now that its newer form is durable.
fn drop_stale(
    store: &MarkStore,
    in_use: &[ReadFile],
    retired: &[ReadFile],
    newest: &BTreeMap<PartitionKey, Mark>,
) -> Result<(), LogError> {
    for (number, read) in in_use.iter().enumerate() {
        let home = |key| store.shard_of(key) == number;
        for found in read.stale(newest, home) {
            store
                .lock(number)
                .clear(found.pair)
                .map_err(io_error("write", &read.path))?;
        }
        store.sync(number)?;
    }
    let kept = store.lock_unreadable().retired_files.clone();
    let gone: Vec<PathBuf> = retired
        .iter()
        .map(|read| read.path.clone())
        .filter(|path| !kept.contains(path))
        .collect();
    remove_files(&*store.disk, &gone)
}

pub(super) fn remove_files(disk: &dyn Disk, paths: &[PathBuf]) -> Result<(), LogError> {
    for path in paths {
        disk.remove_file(path).map_err(io_error("remove", path))?;
    }
    disk.sync_dir(Path::new(MARKS_DIR))
        .map_err(io_error("sync", Path::new(MARKS_DIR)))
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LogError {
    let path = path.to_owned();
    move |source| LogError::Io {
        action,
        path,
        source,
    }
}
