//! After a crash: what the journals hold goes back to the segments.

use super::JOURNAL_DIR;
use super::frame::{self, ALIGN_BYTES, BlockHead, HEAD_BYTES, Head, Item, Run};
use crate::files::{self, LOG};
use crate::{Disk, DiskFile, LogError, MarkState, MarkStore, PartitionKey};
use headwater_record::Offset;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The name of journals that were read and are about to be removed.
const DONE_DIR: &str = "journal.done";

/// What the journals held when they were opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalReport {
    /// Frames that were needed.
    pub frames: u64,
    /// Bytes that were written to segments.
    pub bytes: u64,
    /// Frames that were needed and cannot be read. Records that only they held are lost: below a mark their partitions
    /// answer so, above one they end before them.
    pub frames_lost: u64,
}

/// A file with frames.
type Block = (PathBuf, Arc<dyn DiskFile>);

type Segments = HashMap<PathBuf, Option<Arc<dyn DiskFile>>>;

/// Segments that are open at once.
const SEGMENTS_OPEN_MAX: usize = 512;

/// A frame, where it is, and what it takes back: small, for the frames of a whole journal are held.
struct Found {
    head: Head,
    block: usize,
    position: u64,
    forgotten: Vec<PartitionKey>,
}

/// Reads all journals, writes to segments and marks what they hold, and removes them.
pub(super) fn replay(disk: &dyn Disk, marks: &MarkStore) -> Result<JournalReport, LogError> {
    let (dir, done) = (Path::new(JOURNAL_DIR), Path::new(DONE_DIR));
    let mut report = JournalReport::default();
    remove_all(disk, done)?;
    let mut journals: BTreeMap<String, Vec<Block>> = BTreeMap::new();
    for name in list(disk, dir)? {
        // `shard-<n>-<block>`; whatever else there is goes as well.
        let Some((journal, _)) = name.rsplit_once('-') else {
            continue;
        };
        let path = dir.join(&name);
        let file = disk
            .open(&path, false)
            .map_err(LogError::io("open", &path))?;
        journals
            .entry(journal.to_owned())
            .or_default()
            .push((path, file));
    }
    if journals.is_empty() {
        return Ok(report);
    }
    let mut replay = Replay {
        disk,
        report: &mut report,
        segments: Segments::new(),
        ends: BTreeMap::new(),
    };
    for blocks in journals.values() {
        replay.journal(blocks)?;
    }
    replay.finish(marks)?;
    // At once and for all: a part of them would bring back what the other part says is to be forgotten.
    disk.rename(dir, done)
        .map_err(LogError::io("rename", dir))?;
    let root = Path::new("");
    disk.sync_dir(root).map_err(LogError::io("sync", root))?;
    remove_all(disk, done)?;
    Ok(report)
}

struct Replay<'a> {
    disk: &'a dyn Disk,
    report: &'a mut JournalReport,
    /// Segments that were written to; `None` for one that is gone.
    segments: Segments,
    /// Where the logs end by the journals.
    ends: BTreeMap<PartitionKey, Offset>,
}

impl Replay<'_> {
    fn journal(&mut self, blocks: &[Block]) -> Result<(), LogError> {
        let Some(salt) = salt(blocks)? else {
            return Ok(());
        };
        let mut found = Vec::new();
        for (block, (path, file)) in blocks.iter().enumerate() {
            found.extend(frames(path, &**file, block, salt)?);
        }
        let live_from = found.iter().map(|frame| frame.head.live_from).max();
        let live_from = live_from.unwrap_or_default();
        found.retain(|frame| frame.head.number >= live_from);
        found.sort_by_key(|frame| frame.head.number);
        if let Some(last) = found.last() {
            let needed = last.head.number + 1 - live_from;
            self.report.frames_lost += needed.saturating_sub(found.len() as u64);
        }
        let mut forgotten: HashMap<PartitionKey, u64> = HashMap::new();
        for frame in &found {
            let number = frame.head.number;
            forgotten.extend(frame.forgotten.iter().map(|key| (*key, number)));
        }
        for frame in &found {
            self.report.frames += 1;
            let (path, file) = blocks.get(frame.block).expect("it was found in a block");
            let bytes = read(path, &**file, frame)?;
            for item in items(path, frame.position, &bytes)? {
                let Item::Run(run) = item else { continue };
                let last = forgotten.get(&run.key);
                if last.is_none_or(|last| *last < frame.head.number) {
                    self.run(&run, &bytes)?;
                }
            }
        }
        Ok(())
    }

    fn run(&mut self, run: &Run, frame: &[u8]) -> Result<(), LogError> {
        let bytes = frame.get(run.bytes.clone());
        let bytes = bytes.expect("what a frame says lies in it");
        let path = files::at_offset(run.key, run.base, LOG);
        let segment = match self.segments.get(&path) {
            Some(segment) => segment,
            None => {
                if self.segments.len() >= SEGMENTS_OPEN_MAX {
                    sync_all(&mut self.segments)?;
                }
                // The name of a segment was durable before anything of it came here: one that is gone was removed.
                let opened = match self.disk.open(&path, false) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                    opened => Some(opened.map_err(LogError::io("open", &path))?),
                };
                self.segments.entry(path.clone()).or_insert(opened)
            }
        };
        let Some(segment) = segment else {
            return Ok(());
        };
        let written = segment.write_at(&[bytes], run.position);
        written.map_err(LogError::io("write", &path))?;
        self.report.bytes += bytes.len() as u64;
        let last = self.ends.entry(run.key).or_insert(run.end);
        *last = run.end.max(*last);
        Ok(())
    }

    fn finish(mut self, marks: &MarkStore) -> Result<(), LogError> {
        sync_all(&mut self.segments)?;
        let mut written = Vec::new();
        for (key, end) in self.ends {
            let is_behind = match marks.get(key) {
                MarkState::Valid { synced_end } => synced_end < end,
                MarkState::Absent => true,
                // All that is found counts as below the mark.
                MarkState::Lost => false,
            };
            if is_behind {
                let shard = marks.shard_of(key);
                marks.write(shard, &[(key, end)])?;
                written.push(shard);
            }
        }
        written.sort_unstable();
        written.dedup();
        written.into_iter().try_for_each(|shard| marks.sync(shard))
    }
}

/// Syncs the segments and lets them go.
fn sync_all(segments: &mut Segments) -> Result<(), LogError> {
    for (path, segment) in segments.drain() {
        if let Some(segment) = segment {
            segment.sync().map_err(LogError::io("sync", &path))?;
        }
    }
    Ok(())
}

/// The salt of a journal, from any head of any block. None was synced if there is none: then no frame was, either.
fn salt(blocks: &[Block]) -> Result<Option<u64>, LogError> {
    for (path, file) in blocks {
        let failed = || LogError::io("read", path);
        let len = file.len().map_err(failed())?;
        for position in [0, len.saturating_sub(HEAD_BYTES as u64)] {
            let mut bytes = [0; HEAD_BYTES];
            file.read_at(&mut bytes, position).map_err(failed())?;
            let head = BlockHead::decode(&bytes).map_err(|error| LogError::Damaged {
                path: path.clone(),
                detail: error.to_string(),
            })?;
            if let Some(head) = head {
                return Ok(Some(head.salt));
            }
        }
    }
    Ok(None)
}

/// All frames of a block that verify, in order of their place.
fn frames(
    path: &Path,
    file: &dyn DiskFile,
    block: usize,
    salt: u64,
) -> Result<Vec<Found>, LogError> {
    let failed = || LogError::io("read", path);
    let len = file.len().map_err(failed())?;
    let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
    let got = file.read_at(&mut bytes, 0).map_err(failed())?;
    bytes.truncate(got);
    let mut found = Vec::new();
    let mut at = HEAD_BYTES;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let Some(head) = frame::head(rest, salt) else {
            // Behind what is torn, damaged or old there may be a frame that counts: its number will tell.
            at += ALIGN_BYTES;
            continue;
        };
        if !head.is_known() {
            let detail = format!("byte {at}: version {} is of a newer release", head.version);
            let path = path.to_owned();
            return Err(LogError::Damaged { path, detail });
        }
        let position = at as u64;
        let items = items(path, position, rest.get(..head.len).unwrap_or_default())?;
        let forgotten = items.iter().filter_map(|item| match item {
            Item::Forget { key } => Some(*key),
            Item::Run(_) => None,
        });
        found.push(Found {
            head,
            block,
            position,
            forgotten: forgotten.collect(),
        });
        at += head.len.next_multiple_of(ALIGN_BYTES);
    }
    Ok(found)
}

fn read(path: &Path, file: &dyn DiskFile, frame: &Found) -> Result<Vec<u8>, LogError> {
    let mut bytes = vec![0; frame.head.len];
    let got = file.read_at(&mut bytes, frame.position);
    let got = got.map_err(LogError::io("read", path))?;
    bytes.truncate(got);
    Ok(bytes)
}

fn items(path: &Path, position: u64, frame: &[u8]) -> Result<Vec<Item>, LogError> {
    frame::items(frame).ok_or_else(|| LogError::Damaged {
        path: path.to_owned(),
        detail: format!("byte {position}: a frame that verifies says nothing known"),
    })
}

fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<String>, LogError> {
    match disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => {
            let listed = listed.map_err(LogError::io("list", dir))?;
            Ok(listed.into_iter().map(|(name, _)| name).collect())
        }
    }
}

fn remove_all(disk: &dyn Disk, dir: &Path) -> Result<(), LogError> {
    for name in list(disk, dir)? {
        files::remove(disk, &dir.join(name))?;
    }
    match disk.remove_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(LogError::io("remove", dir)),
    }
}
