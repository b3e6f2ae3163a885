//! A partition's directory made from what the tier knows of it: no records, and everything that comes before them.

use crate::append_times::AppendMark;
use crate::config::{LogEnv, PartitionKey};
use crate::disk::create_dir_all_synced;
use crate::epochs::Epochs;
use crate::files::{self, APPEND_TIMES, EPOCHS, LOG, PRODUCERS, START};
use crate::log::Log;
use crate::producers::Producers;
use crate::start::Starts;
use crate::{Disk, LogError, MarkState};
use headwater_record::{LeaderEpoch, Offset};
use std::io;
use std::path::{Path, PathBuf};

/// Ending of a directory that is not finished; a later seeding begins it anew.
const UNFINISHED: &str = "seed";

/// What a log begins with whose records are all in the tier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogSeed {
    /// First offset that may be read.
    pub log_start: Offset,
    /// Offset of the next record: everything below is in the tier. Also the local start.
    pub end: Offset,
    /// Leader epochs and where each began; both grow strictly.
    pub epochs: Vec<(LeaderEpoch, Offset)>,
    /// When the last record was appended, in milliseconds since 1970; nothing is appended earlier.
    pub latest_append_ms: Option<i64>,
    /// The producer state at `end`, as in [`SegmentContext`](crate::SegmentContext). Without it a retry across the seeding
    /// is not told from a new batch.
    pub producers: Option<Vec<u8>>,
}

impl Log {
    /// Makes a partition's directory, durably, that [`Log::open`] then opens as a log without records on this disk. A
    /// crash leaves all of it or none. Fails with `AlreadyExists` if the partition has a directory. Blocking.
    pub fn seed(env: &LogEnv, key: PartitionKey, seed: &LogSeed) -> Result<(), LogError> {
        let dir = files::partition_dir(key);
        let contents = seed.files().map_err(|detail| LogError::Seed {
            path: dir.clone(),
            detail,
        })?;
        let disk = &*env.disk;
        if disk.exists(&dir).map_err(LogError::io("look at", &dir))? {
            let source = io::ErrorKind::AlreadyExists.into();
            return Err(LogError::io("seed", &dir)(source));
        }
        let unfinished = PathBuf::from(format!("{}.{UNFINISHED}", dir.display()));
        remove_unfinished(disk, &unfinished)?;
        let created = create_dir_all_synced(disk, &unfinished);
        created.map_err(LogError::io("create", &unfinished))?;
        for (name, bytes) in &contents {
            write_synced(disk, &unfinished.join(name), bytes)?;
        }
        sync_dir(disk, &unfinished)?;
        // A mark left over from a directory that is gone must not speak for this one.
        if matches!(env.marks.get(key), MarkState::Valid { .. }) {
            env.marks.remove(key)?;
            env.marks.sync(env.marks.shard_of(key))?;
        }
        // This commits.
        disk.rename(&unfinished, &dir)
            .map_err(LogError::io("rename", &unfinished))?;
        dir.parent()
            .map_or(Ok(()), |parent| sync_dir(disk, parent))?;
        // Not before: a mark without its directory would be damage. Until it is there the local start stands in for it.
        match seed.end > Offset::ZERO {
            true => env.marks.lower(key, seed.end),
            false => Ok(()),
        }
    }
}

impl LogSeed {
    /// Names and contents of the files; what does not fit if it does not.
    fn files(&self) -> Result<Vec<(String, Vec<u8>)>, String> {
        let LogSeed { log_start, end, .. } = *self;
        if log_start > end {
            return Err(format!("log start {log_start} lies above end {end}"));
        }
        let epochs = Epochs::checked(&self.epochs)
            .ok_or("leader epochs or their starts do not grow strictly")?;
        if let Some((epoch, start)) = self.epochs.last().filter(|(_, start)| *start > end) {
            let LeaderEpoch(epoch) = epoch;
            return Err(format!(
                "leader epoch {epoch} begins at {start}, above end {end}"
            ));
        }
        let mut files = vec![
            (files::offset_name(end, LOG), Vec::new()),
            (EPOCHS.to_owned(), epochs.encode()),
            (START.to_owned(), Starts::new(log_start, end).encode()),
        ];
        if let Some(bytes) = &self.producers {
            Producers::decode(bytes).ok_or("the producer state does not verify")?;
            files.push((files::offset_name(end, PRODUCERS), bytes.clone()));
        }
        if let (Some(ms), Some(last)) = (self.latest_append_ms, end.get().checked_sub(1)) {
            let offset = Offset::new(last);
            let mark = AppendMark { offset, ms };
            files.push((APPEND_TIMES.to_owned(), mark.encode().to_vec()));
        }
        Ok(files)
    }
}

fn write_synced(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), LogError> {
    let write = || {
        let file = disk.open(path, true)?;
        file.write_at(&[bytes], 0)?;
        file.sync()
    };
    write().map_err(LogError::io("write", path))
}

fn sync_dir(disk: &dyn Disk, dir: &Path) -> Result<(), LogError> {
    disk.sync_dir(dir).map_err(LogError::io("sync", dir))
}

/// Removes what a crash left of an earlier seeding.
fn remove_unfinished(disk: &dyn Disk, dir: &Path) -> Result<(), LogError> {
    let names = match disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        listed => listed.map_err(LogError::io("list", dir))?,
    };
    for (name, _) in names {
        files::remove(disk, &dir.join(name))?;
    }
    disk.remove_dir(dir).map_err(LogError::io("remove", dir))
}
