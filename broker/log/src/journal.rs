//! The journal: one sync for small appends to many partitions (`docs/format/journal.md`).
//!
//! Segments are written as always, and what a sync would have to bring to the medium is written to the journal as well,
//! which is synced alone. The segments follow at the next checkpoint, which all frames before it have to wait for. After
//! a crash the frames that waited are written to their segments again, before anything opens a log: from there on all is
//! as if each segment had been synced by itself.

mod frame;
mod replay;
#[cfg(test)]
mod tests;

use crate::disk::create_dir_all_synced;
use crate::error::is_full;
use crate::jobs::SyncJob;
use crate::limits::JOURNAL_FRAME_BYTES_MAX;
use crate::planted::{self, Bug};
use crate::segment::Segment;
use crate::{Disk, DiskFile, LogError, MarkStore, PartitionKey};
use frame::{BlockHead, Draft, HEAD_BYTES};
use headwater_record::Offset;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

pub use replay::JournalReport;

const JOURNAL_DIR: &str = "journal";

/// A journal is begun where the disk has so many times its size free.
const FREE_SHARE: u64 = 4;

fn block_path(shard: usize, block: usize) -> PathBuf {
    Path::new(JOURNAL_DIR).join(format!("shard-{shard}-{block}"))
}

/// The journals of a data directory, one for each shard. Thread safe.
///
/// A journal is two blocks of a fixed size that take turns. Each group of appends is one frame, synced before the next
/// one is written. A block is used again when no frame in it is needed, and when a later frame, synced, says so.
pub struct Journal {
    disk: Arc<dyn Disk>,
    limits: JournalLimits,
    salt: u64,
    lanes: Vec<Lane>,
}

/// How large a journal may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalLimits {
    /// Bytes of one of its two blocks.
    pub block_bytes: u64,
    /// Segments that may wait for a checkpoint: their descriptors are held until then. It begins at half of them; what
    /// would be more is synced where it is.
    pub files_max: usize,
}

impl JournalLimits {
    /// For those who write next to nothing: a MiB, 64 segments.
    pub const SMALL: JournalLimits = JournalLimits {
        block_bytes: 1 << 20,
        files_max: 64,
    };
}

struct Lane {
    state: Mutex<State>,
    checkpoint_ended: Condvar,
}

struct State {
    active: Block,
    other: Block,
    /// Where the next frame goes in the active block.
    position: u64,
    /// Number of the next frame.
    next: u64,
    /// Frames below are not needed any more.
    live_from: u64,
    /// The same, as the last frame says.
    written_live_from: u64,
    /// Segments with bytes that are on the medium only here.
    dirty: Files,
    checkpoint_is_running: bool,
    failed: bool,
}

struct Block {
    number: usize,
    file: Option<Arc<dyn DiskFile>>,
    /// Number of the last frame in it; 0 if there is none.
    last: u64,
}

/// With their handles: a handle that closed could take the error of a failed write-back with it.
type Files = HashMap<(PartitionKey, Offset), (Arc<Segment>, Arc<dyn DiskFile>)>;

impl Journal {
    /// Writes what the journals hold back to where it belongs, durably, raises the marks of those partitions, and begins
    /// new journals, which take no room until they are written to. To be called before any log is opened. `salt` is drawn
    /// at random: who writes records must not be able to write what looks like a frame.
    pub fn open(
        disk: Arc<dyn Disk>,
        marks: &MarkStore,
        shards: usize,
        limits: JournalLimits,
        salt: u64,
    ) -> Result<(Journal, JournalReport), LogError> {
        let report = replay::replay(&*disk, marks)?;
        let lanes = (0..shards).map(|_| Lane {
            state: Mutex::new(State {
                active: Block::new(0),
                other: Block::new(1),
                position: HEAD_BYTES as u64,
                next: 1,
                live_from: 1,
                written_live_from: 1,
                dirty: Files::new(),
                checkpoint_is_running: false,
                failed: false,
            }),
            checkpoint_ended: Condvar::new(),
        });
        let journal = Journal {
            disk,
            limits,
            salt,
            lanes: lanes.collect(),
        };
        Ok((journal, report))
    }

    /// Makes what these jobs are about durable. Blocking. `false`: not all was done, and the jobs have to be run; the
    /// disk has no room for a journal, or it waits for a checkpoint, or too many segments do, or these are jobs for which
    /// [`SyncJob::journal_bytes`] is `None`. After an error nothing is known of what is durable.
    pub fn write(&self, shard: usize, jobs: &[&SyncJob]) -> Result<bool, LogError> {
        let mut state = self.lock(shard);
        state.check_usable()?;
        let mut draft = Draft::default();
        let mut files = Files::new();
        for job in jobs.iter().filter(|job| !job.is_cut()) {
            let Some((run, bytes)) = job.journal_run()? else {
                return Ok(false);
            };
            draft.run(job.key, run.base, run.from, job.end, &bytes);
            let (segment, file) = (Arc::clone(&run.segment), Arc::clone(&run.file));
            files.insert((job.key, run.base), (segment, file));
            if draft.len() >= JOURNAL_FRAME_BYTES_MAX.min(self.limits.block_bytes / 4) {
                let (draft, files) = (std::mem::take(&mut draft), std::mem::take(&mut files));
                if !self.put_runs(shard, &mut state, draft, files)? {
                    return Ok(false);
                }
            }
        }
        Ok(draft.is_empty() || self.put_runs(shard, &mut state, draft, files)?)
    }

    fn put_runs(
        &self,
        shard: usize,
        state: &mut State,
        draft: Draft,
        files: Files,
    ) -> Result<bool, LogError> {
        let waiting = |at: &&(PartitionKey, Offset)| !state.dirty.contains_key(*at);
        let more = files.keys().filter(waiting).count();
        if state.dirty.len() + more > self.limits.files_max || !self.put(shard, state, draft)? {
            return Ok(false);
        }
        for (at, file) in files {
            // The first handle stays: it is told of every failure since.
            state.dirty.entry(at).or_insert(file);
        }
        Ok(true)
    }

    /// Before a partition's log is cut: what the journal holds of it is synced where it belongs, and never written
    /// there again. The log's generation has grown before. Blocking.
    pub fn forget(&self, key: PartitionKey, shard: usize) -> Result<(), LogError> {
        let mut state = self.wait_for_checkpoint(shard);
        state.check_usable()?;
        // What is not needed any more counts until a frame on the medium says so.
        if state.written_live_from == state.next {
            return Ok(());
        }
        let (forgotten, others): (Files, Files) = std::mem::take(&mut state.dirty)
            .into_iter()
            .partition(|((of, _), _)| *of == key);
        state.dirty = others;
        state.settle(sync_files(forgotten.values()))?;
        let mut draft = Draft::default();
        draft.forget(key);
        if self.put(shard, &mut state, draft)? {
            return Ok(());
        }
        // No room for a frame: then none is needed any more.
        let dirty = std::mem::take(&mut state.dirty);
        state.settle(sync_files(dirty.values()))?;
        self.empty(shard, &mut state)
    }

    /// What is to be synced now so that frames go out of need, if it is time: the other block waits for that, there are
    /// many files, or it has been `long` since. One at a time; `None` while one runs.
    pub fn begin_checkpoint(self: &Arc<Self>, shard: usize, long: bool) -> Option<Checkpoint> {
        let mut state = self.lock(shard);
        let due = long
            || state.other.last >= state.live_from
            || state.dirty.len() >= self.limits.files_max / 2;
        if !due || state.checkpoint_is_running || state.failed || state.dirty.is_empty() {
            return None;
        }
        state.checkpoint_is_running = true;
        Some(Checkpoint {
            journal: Arc::clone(self),
            shard,
            upto: state.next,
            files: std::mem::take(&mut state.dirty).into_values().collect(),
            has_succeeded: false,
        })
    }

    /// Clean stop of a shard: everything is synced where it belongs, marks too, and the journal is empty. Blocking.
    pub fn close(&self, shard: usize, marks: &MarkStore) -> Result<(), LogError> {
        let mut state = self.wait_for_checkpoint(shard);
        state.check_usable()?;
        let dirty = std::mem::take(&mut state.dirty);
        let synced = sync_files(dirty.values()).and_then(|()| marks.sync(shard));
        state.settle(synced)?;
        match state.next {
            1 => Ok(()),
            _ => self.empty(shard, &mut state),
        }
    }

    /// All that is journaled is where it belongs: says so, durably.
    fn empty(&self, shard: usize, state: &mut State) -> Result<(), LogError> {
        state.live_from = state.next;
        if self.make_room(shard, state, HEAD_BYTES as u64)? {
            state.live_from = state.next + 1;
            if self.append(shard, state, Draft::default())? {
                return Ok(());
            }
        }
        state.settle(Err(LogError::Failed))
    }

    fn put(&self, shard: usize, state: &mut State, draft: Draft) -> Result<bool, LogError> {
        if !self.make_room(shard, state, draft.len())? {
            return Ok(false);
        }
        self.append(shard, state, draft)
    }

    /// Goes to the other block if the frame does not fit; `false` if that one is still needed, or the disk is full.
    fn make_room(&self, shard: usize, state: &mut State, len: u64) -> Result<bool, LogError> {
        // Behind the frames there is room for the one that frees the other block, and for the block's second head.
        let room = self
            .limits
            .block_bytes
            .saturating_sub(2 * HEAD_BYTES as u64);
        if len + HEAD_BYTES as u64 > room {
            return Ok(false);
        }
        if state.position + len > room {
            let last = state.other.last;
            if last >= state.live_from {
                return Ok(false);
            }
            if last >= state.written_live_from && !self.append(shard, state, Draft::default())? {
                return Ok(false);
            }
            std::mem::swap(&mut state.active, &mut state.other);
            state.position = HEAD_BYTES as u64;
        }
        self.prepare(shard, state)
    }

    /// Makes both blocks when the first frame comes; `false` if there is no room for them.
    fn prepare(&self, shard: usize, state: &mut State) -> Result<bool, LogError> {
        if state.active.file.is_some() {
            return Ok(true);
        }
        let made = self.has_room().and_then(|has_room| match has_room {
            true => self.make_blocks(shard, state),
            false => Ok(false),
        });
        if !matches!(made, Ok(true)) {
            for block in [&mut state.active, &mut state.other] {
                block.file = None;
                // Best effort: an empty journal does no harm.
                let _ = self.disk.remove_file(&block_path(shard, block.number));
            }
        }
        let made = made.map_err(LogError::io("create", Path::new(JOURNAL_DIR)));
        state.failed |= made.is_err();
        made
    }

    /// Whether the disk has room to spare, so that nothing is made in vain time and again.
    fn has_room(&self) -> io::Result<bool> {
        let asked = 2 * self.limits.block_bytes;
        Ok(self.disk.space()?.free_bytes >= FREE_SHARE * asked)
    }

    /// `false` if the disk is full.
    fn make_blocks(&self, shard: usize, state: &mut State) -> io::Result<bool> {
        let dir = Path::new(JOURNAL_DIR);
        let mut written = self.disk.create_dir_all(dir);
        for block in [&mut state.active, &mut state.other] {
            written = written.and_then(|()| {
                let path = block_path(shard, block.number);
                block.file = Some(self.write_block(&path)?);
                Ok(())
            });
        }
        match written {
            Err(error) if is_full(&error) => return Ok(false),
            written => written?,
        }
        for block in [&state.active, &state.other] {
            block.file.as_ref().map_or(Ok(()), |file| file.sync())?;
        }
        create_dir_all_synced(&*self.disk, dir)?;
        self.disk.sync_dir(dir)?;
        Ok(true)
    }

    fn write_block(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.open(path, true)?;
        file.allocate(self.limits.block_bytes)?;
        let head = BlockHead { salt: self.salt }.encode();
        // Twice, far apart, for without it no frame can be told.
        file.write_at(&[&head], 0)?;
        file.write_at(&[&head], self.limits.block_bytes - HEAD_BYTES as u64)?;
        Ok(file)
    }

    /// Writes a frame where there is room for it, and syncs. `false` if the disk is full.
    fn append(&self, shard: usize, state: &mut State, draft: Draft) -> Result<bool, LogError> {
        let frame = draft.finish(self.salt, state.next, state.live_from);
        let path = block_path(shard, state.active.number);
        let file = state.active.file.as_ref().map(Arc::clone);
        let file = file.expect("a block is made before it is written to");
        if let Err(error) = file.write_at(&[&frame], state.position) {
            // Nothing counts that was not synced; the next frame goes over it.
            if is_full(&error) {
                return Ok(false);
            }
            state.failed = true;
            return Err(LogError::io("write", &path)(error));
        }
        if !planted::is(Bug::FrameUnsynced)
            && let Err(error) = file.sync()
        {
            state.failed = true;
            return Err(LogError::io("sync", &path)(error));
        }
        state.active.last = state.next;
        state.position += frame.len() as u64;
        state.next += 1;
        state.written_live_from = state.live_from;
        Ok(true)
    }

    fn wait_for_checkpoint(&self, shard: usize) -> MutexGuard<'_, State> {
        let state = self.lock(shard);
        let ended = &self.lane(shard).checkpoint_ended;
        let state = ended.wait_while(state, |state| state.checkpoint_is_running);
        state.unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self, shard: usize) -> MutexGuard<'_, State> {
        let state = self.lane(shard).state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }

    fn lane(&self, shard: usize) -> &Lane {
        self.lanes.get(shard).expect("shards are numbered from 0")
    }
}

impl Block {
    fn new(number: usize) -> Block {
        Block {
            number,
            file: None,
            last: 0,
        }
    }
}

impl State {
    fn check_usable(&self) -> Result<(), LogError> {
        match self.failed {
            true => Err(LogError::Failed),
            false => Ok(()),
        }
    }

    /// A sync that failed is never tried again.
    fn settle(&mut self, result: Result<(), LogError>) -> Result<(), LogError> {
        self.failed |= result.is_err();
        result
    }
}

/// Segments to be synced where they are, after which the frames written before are not needed any more.
#[must_use]
pub struct Checkpoint {
    journal: Arc<Journal>,
    shard: usize,
    upto: u64,
    files: Vec<(Arc<Segment>, Arc<dyn DiskFile>)>,
    has_succeeded: bool,
}

impl Checkpoint {
    /// Syncs one of so many parts; parts may be synced side by side. Blocking.
    pub fn sync(&self, part: usize, parts: usize) -> Result<(), LogError> {
        if planted::is(Bug::CheckpointUnsynced) {
            return Ok(());
        }
        sync_files(self.files.iter().skip(part).step_by(parts.max(1)))
    }

    /// All parts are synced: syncs the marks, and frees what has become free. Without this call the journal takes the
    /// checkpoint for failed, and refuses all work from then on.
    pub fn finish(mut self, marks: &MarkStore) -> Result<(), LogError> {
        marks.sync(self.shard)?;
        self.has_succeeded = true;
        Ok(())
    }
}

impl Drop for Checkpoint {
    fn drop(&mut self) {
        let mut state = self.journal.lock(self.shard);
        match self.has_succeeded {
            true => state.live_from = state.live_from.max(self.upto),
            false => state.failed = true,
        }
        state.checkpoint_is_running = false;
        drop(state);
        self.journal.lane(self.shard).checkpoint_ended.notify_all();
    }
}

fn sync_files<'a>(
    files: impl IntoIterator<Item = &'a (Arc<Segment>, Arc<dyn DiskFile>)>,
) -> Result<(), LogError> {
    files.into_iter().try_for_each(|(segment, file)| {
        let synced = file.sync();
        synced.map_err(|source| LogError::io("sync", &segment.log_path())(source))
    })
}
