//! Opening a log: at once after a clean stop, else by reading what the crash may have touched.

use crate::append_times::AppendTimes;
use crate::close::ClosedState;
use crate::config::{LogConfig, LogEnv, Now, PartitionKey};
use crate::epochs::Epochs;
use crate::files::{self, APPEND_TIMES, EPOCHS, Names, PRODUCERS, START, STATE};
use crate::jobs::Shared;
use crate::log::Log;
use crate::producers::Producers;
use crate::segment::Segment;
use crate::start::Starts;
use crate::{LogError, MarkState};
use headwater_record::Offset;
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;

mod finish;
pub(crate) mod replay;
mod tail;

/// What opening a log found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Bytes of batches read to check them.
    pub scanned_bytes: u64,
    /// The log was cut above the mark.
    pub cut: Option<Cut>,
    /// Ranges below the mark that cannot be read.
    pub damaged: Vec<Range<Offset>>,
    /// The epochs file was damaged and made anew from the batches.
    pub epochs_rebuilt: bool,
    /// Both mark slots were bad: the whole recovered log counts as below the mark.
    pub mark_lost: bool,
    /// The log start was damaged: what delete-records hid may be visible again. The first offset on this disk counts as
    /// the log start; if the tier holds more, see [`Log::restore_start`].
    pub start_lost: bool,
    /// There was no sound producer snapshot where one should be.
    pub producers_rebuilt: bool,
    /// Sealed segments whose index was absent or damaged.
    pub indexes_rebuilt: usize,
}

/// Bytes at the end of a log that were no valid batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Where the log ends now.
    pub offset: Offset,
    /// Bytes cut.
    pub bytes: u64,
    /// Those that were not zero: with none, this was space set aside, or a file that grew before its data came.
    pub nonzero_bytes: u64,
}

/// See [`Log::open`].
pub(crate) fn open(
    env: &LogEnv,
    key: PartitionKey,
    config: LogConfig,
    now: Now,
    clean: bool,
) -> Result<(Log, RecoveryReport), LogError> {
    let env = Arc::new(env.clone());
    let dir = files::partition_dir(key);
    let names = match env.disk.list(&dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let created = env.disk.create_dir_all(&dir);
            created.map_err(LogError::io("create", &dir))?;
            Names::default()
        }
        listed => Names::of(listed.map_err(LogError::io("list", &dir))?),
    };
    let opening = Opening {
        mark: env.marks.get(key),
        env,
        key,
        config,
        now,
        names,
    };
    if clean && let Some(log) = opening.closed()? {
        let report = RecoveryReport {
            damaged: log.damaged(),
            ..RecoveryReport::default()
        };
        return Ok((log, report));
    }
    tail::recover(opening)
}

/// A log about to be opened.
struct Opening {
    env: Arc<LogEnv>,
    key: PartitionKey,
    config: LogConfig,
    now: Now,
    names: Names,
    mark: MarkState,
}

/// The parts of a log that differ by how it was opened.
struct Opened {
    segments: Vec<Arc<Segment>>,
    starts: Starts,
    /// What the `start` file holds.
    durable: Starts,
    end: Offset,
    damaged: Vec<Range<Offset>>,
    epochs: Epochs,
    producers: Producers,
    append_times: AppendTimes,
    unsynced_entry: Option<Offset>,
    unchanged: bool,
}

/// What the `start` file says.
enum Start {
    Absent,
    At(Starts),
    Damaged,
}

impl Opening {
    /// The log as its `state` file says, if that fits what is there; reads no segment.
    fn closed(&self) -> Result<Option<Log>, LogError> {
        let Some(state) = self.closed_state()? else {
            return Ok(None);
        };
        let Some(&(active_base, _, active_bytes)) = state.segments.last() else {
            return Ok(None);
        };
        let path = files::at_offset(self.key, active_base, files::LOG);
        let file = self.env.disk.open(&path, false);
        let len = file.and_then(|file| file.len());
        if len.map_err(LogError::io("stat", &path))? != active_bytes {
            return Ok(None);
        }
        let Some(epochs) = self.epochs()? else {
            return Ok(None);
        };
        let producers = match state.has_producers {
            true => self.producers(state.end)?,
            false => Some(Producers::default()),
        };
        let Some(producers) = producers else {
            return Ok(None);
        };
        // Deleting records may have moved it since.
        let (starts, durable) = match self.start()? {
            Start::At(file) => (Starts::new(file.log.max(state.log_start), file.local), file),
            Start::Absent => {
                let starts = Starts::new(state.log_start, state.log_start);
                (starts, Starts::default())
            }
            // The first segment is the first one that there was.
            Start::Damaged => {
                let first = self.names.segments.first().copied();
                let starts = Starts::new(state.log_start, first.unwrap_or_default());
                (starts, Starts::default())
            }
        };
        let mut append_times = self.append_times()?;
        append_times.assume_latest(state.latest_append_ms);
        let segments = state.segments.iter().map(|&(base, end, size_bytes)| {
            Arc::new(Segment::new(self.key, base, end, size_bytes, None))
        });
        let opened = Opened {
            segments: segments.collect(),
            starts,
            durable,
            end: state.end,
            damaged: state.damaged,
            epochs,
            producers,
            append_times,
            unsynced_entry: None,
            unchanged: true,
        };
        Ok(Some(self.log(opened)))
    }

    /// The `state` file, if it agrees with the mark and the names.
    fn closed_state(&self) -> Result<Option<ClosedState>, LogError> {
        if !self.names.state {
            return Ok(None);
        }
        let path = files::named(self.key, STATE);
        let bytes = files::read_small(&*self.env.disk, &path)?;
        let state = bytes.and_then(|bytes| ClosedState::decode(&bytes));
        let marked = match self.mark {
            MarkState::Valid { synced_end } => Some(synced_end),
            MarkState::Absent => Some(Offset::ZERO),
            MarkState::Lost => None,
        };
        Ok(state.filter(|state| {
            let bases = state.segments.iter().map(|&(base, ..)| base);
            marked == Some(state.end) && bases.eq(self.names.segments.iter().copied())
        }))
    }

    /// The epochs file; `None` if absent or damaged while there is anything that it should tell.
    fn epochs(&self) -> Result<Option<Epochs>, LogError> {
        if !self.names.epochs {
            return Ok((self.mark == MarkState::Absent).then(Epochs::default));
        }
        let path = files::named(self.key, EPOCHS);
        let bytes = files::read_small(&*self.env.disk, &path)?;
        Ok(bytes.and_then(|bytes| Epochs::decode(&bytes)))
    }

    fn producers(&self, at: Offset) -> Result<Option<Producers>, LogError> {
        let path = files::at_offset(self.key, at, PRODUCERS);
        let bytes = files::read_small(&*self.env.disk, &path)?;
        Ok(bytes.and_then(|bytes| Producers::decode(&bytes)))
    }

    fn append_times(&self) -> Result<AppendTimes, LogError> {
        if !self.names.append_times {
            return Ok(AppendTimes::default());
        }
        let path = files::named(self.key, APPEND_TIMES);
        let bytes = files::read_small(&*self.env.disk, &path)?;
        Ok(AppendTimes::decode(&bytes.unwrap_or_default()))
    }

    fn start(&self) -> Result<Start, LogError> {
        if !self.names.start {
            return Ok(Start::Absent);
        }
        let bytes = files::read_small(&*self.env.disk, &files::named(self.key, START))?;
        let starts = bytes.and_then(|bytes| Starts::decode(&bytes));
        Ok(starts.map_or(Start::Damaged, Start::At))
    }

    fn log(&self, opened: Opened) -> Log {
        let Opened {
            segments,
            starts,
            end,
            append_times,
            ..
        } = opened;
        let active = segments.last().expect("a log has a segment");
        let active_since_ms = (active.size_bytes() > 0).then(|| {
            let since_ms = append_times.earliest_at(active.base_offset());
            let age_ms = since_ms.map_or(0, |since_ms| self.now.wall_ms.saturating_sub(since_ms));
            let age_ms = u64::try_from(age_ms).unwrap_or(0);
            self.now.monotonic_ms.saturating_sub(age_ms)
        });
        let synced_at = (active.base_offset(), active.size_bytes());
        let shared = Shared::new(opened.durable, opened.damaged);
        shared.clip_damage(starts.local, end);
        Log {
            env: Arc::clone(&self.env),
            key: self.key,
            config: self.config.clone(),
            shared: Arc::new(shared),
            segments: Arc::new(segments),
            log_start: starts.log,
            local_start: starts.local,
            synced_end: end,
            synced_at,
            end,
            epochs: Arc::new(opened.epochs),
            epochs_version: 0,
            begun: None,
            producers: opened.producers,
            append_times,
            unsynced: Vec::new(),
            unsynced_entry: opened.unsynced_entry,
            sync_jobs: VecDeque::new(),
            active_since_ms,
            unchanged: opened.unchanged,
            failed: false,
        }
    }
}
