//! Recovery after an unclean stop.
//!
//! What lies below the sync mark was on the medium: a batch there that does not verify is damage, stepped over and never
//! cut. What lies above it may be torn: the first batch that does not verify ends the log. Segments before the one that
//! holds the mark are believed until they are read.

use super::{Cut, Opening, RecoveryReport, Start, replay::Replay};
use crate::append_times::AppendTimes;
use crate::epochs::Epochs;
use crate::files::{self, LOG};
use crate::index::SegmentIndex;
use crate::index::file::read_head;
use crate::limits::SCAN_CHUNK_BYTES;
use crate::log::Log;
use crate::planted::{self, Bug};
use crate::producers::Producers;
use crate::scan::{ChunkReader, Context, Step, Walk};
use crate::segment::Segment;
use crate::start::Starts;
use crate::{DiskFile, LogError, MarkState};
use headwater_record::{LeaderEpoch, Offset};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Recovers the log; see [`Log::open`].
pub(super) fn recover(opening: Opening) -> Result<(Log, RecoveryReport), LogError> {
    let mut report = RecoveryReport {
        mark_lost: opening.mark == MarkState::Lost,
        ..RecoveryReport::default()
    };
    opening.remove_unfinished()?;
    loop {
        // What the medium contradicts is cut there, and the rest is looked at again.
        let recovered = Recovery::begin(&opening, &mut report)?.run()?;
        if let Some(log) = recovered {
            return Ok((log, report));
        }
    }
}

impl Opening {
    /// Removes what was never finished. A `state` file of an earlier stop stays until the next one writes over it: it
    /// does not count after an unclean stop, and to remove ten thousand takes seconds.
    fn remove_unfinished(&self) -> Result<(), LogError> {
        let mut temporary = self.names.temporary.iter();
        temporary.try_for_each(|name| files::remove(&*self.env.disk, &files::named(self.key, name)))
    }
}

/// A segment file as found.
pub(super) struct Found {
    base: Offset,
    len: u64,
}

pub(super) struct Recovery<'a> {
    pub(super) opening: &'a Opening,
    pub(super) report: &'a mut RecoveryReport,
    pub(super) found: Vec<Found>,
    /// Everything below was durable. The largest offset while the mark is lost.
    pub(super) mark: Offset,
    pub(super) starts: Starts,
    /// What the `start` file holds.
    pub(super) durable: Starts,
    /// `None`: to be made anew from the batches.
    pub(super) epochs: Option<Epochs>,
    pub(super) rebuilt_epochs: Epochs,
    pub(super) append_times: AppendTimes,
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) producers: Producers,
    pub(super) damaged: Vec<Range<Offset>>,
    /// Where the log ends as far as it was looked at.
    pub(super) end: Offset,
    /// Where what lies above the mark begins: number of the segment, position, offset.
    pub(super) above: Option<(usize, u64, Offset)>,
    /// Whether anything but derived files was changed.
    pub(super) changed: bool,
}

/// Why the scan of a segment stopped.
enum Stop {
    /// At its end, or at damage that reaches the next segment: go on there.
    Next,
    /// Nothing valid follows; the segment ends here.
    End,
    /// Damage reaches the mark: what was there stays, and a new segment begins at the mark.
    Hole,
}

impl<'a> Recovery<'a> {
    fn begin(
        opening: &'a Opening,
        report: &'a mut RecoveryReport,
    ) -> Result<Recovery<'a>, LogError> {
        let mut found = Vec::new();
        let dir = files::partition_dir(opening.key);
        let listed = opening
            .env
            .disk
            .list(&dir)
            .map_err(LogError::io("list", &dir))?;
        for base in files::Names::of(listed).segments {
            let path = files::at_offset(opening.key, base, LOG);
            let file = opening.env.disk.open(&path, false);
            let len = file.and_then(|file| file.len());
            let len = len.map_err(LogError::io("stat", &path))?;
            found.push(Found { base, len });
        }
        let has_batches = found.iter().any(|found| found.len > 0);
        let epochs = match opening.epochs()? {
            None if !has_batches => Some(Epochs::default()),
            Some(epochs) if epochs.is_empty() && has_batches => None,
            epochs => epochs,
        };
        report.epochs_rebuilt |= epochs.is_none();
        let first = found.first().map(|found| found.base);
        let mut mark = match opening.mark {
            MarkState::Absent => Offset::ZERO,
            MarkState::Valid { synced_end } => synced_end,
            MarkState::Lost => Offset::MAX,
        };
        let mut durable = Starts::default();
        let starts = match opening.start()? {
            Start::At(starts) => {
                // The file may be in place and not synced, and what lies below goes from now on.
                if first.is_some_and(|first| first < starts.local) {
                    let synced = opening.env.disk.sync_dir(&dir);
                    synced.map_err(LogError::io("sync", &dir))?;
                }
                // Records below were deleted, or are in the tier: offsets below are taken for ever, whatever the mark
                // says.
                mark = mark.max(starts.local);
                durable = starts;
                starts
            }
            // Without a moved start the log begins at 0, so a later first segment means that segments are missing;
            // unless the mark has never been there.
            Start::Absent if first.is_none_or(|first| mark >= first) => Starts::default(),
            Start::Absent | Start::Damaged => {
                report.start_lost = true;
                let first = first.unwrap_or(Offset::ZERO);
                Starts::new(first, first)
            }
        };
        Ok(Recovery {
            opening,
            report,
            mark,
            starts,
            durable,
            epochs,
            rebuilt_epochs: Epochs::default(),
            append_times: opening.append_times()?,
            segments: Vec::with_capacity(found.len()),
            producers: Producers::default(),
            damaged: Vec::new(),
            end: starts.local,
            above: None,
            changed: false,
            found,
        })
    }

    /// The log; `None` if the medium contradicted the page cache and the log was cut there.
    fn run(mut self) -> Result<Option<Log>, LogError> {
        let scan_from = self.scan_from();
        for at in 0..scan_from {
            self.trust(at)?;
        }
        self.restore_producers(scan_from)?;
        let mut hole = false;
        for at in scan_from..self.found.len() {
            if !self.enter(at)? {
                break;
            }
            match self.scan(at)? {
                Stop::Next => {}
                Stop::End => {
                    self.drop_from(at + 1)?;
                    break;
                }
                Stop::Hole => {
                    hole = true;
                    self.drop_from(at + 1)?;
                    break;
                }
            }
        }
        // A lost mark says nothing, but what lies below the local start was there.
        let reached = match self.mark {
            Offset::MAX => self.starts.local,
            mark => mark,
        };
        if self.end < reached {
            self.damage(self.end..reached);
            self.end = reached;
            hole = true;
        }
        let is_new = hole || self.segments.is_empty();
        if is_new {
            self.begin_segment()?;
        }
        self.finish(is_new)
    }

    /// The segment to scan from: the last one that begins at or below the mark, or the first while there is more to be
    /// made anew than the end.
    fn scan_from(&self) -> usize {
        if self.epochs.is_none() || self.mark == Offset::MAX {
            return 0;
        }
        let later = self.found.partition_point(|found| found.base <= self.mark);
        later.saturating_sub(1)
    }

    fn next_base(&self, at: usize) -> Option<Offset> {
        self.found.get(at + 1).map(|found| found.base)
    }

    /// Takes a segment whose index says that it is as long as it was.
    fn trust(&mut self, at: usize) -> Result<(), LogError> {
        let (key, env) = (self.opening.key, &self.opening.env);
        let Some(&Found { base, len }) = self.found.get(at) else {
            return Ok(());
        };
        // There is a next one: the segment to scan from comes later.
        let next = self.next_base(at).unwrap_or(self.mark);
        let head = read_head(&*env.disk, key, base)?;
        // One that leaves a gap may be of what stood here before a cut, brought back by a crash, and as long by chance:
        // only the batches say what is missing.
        let ends_well = |end| end == next || planted::is(Bug::TrustOldIndex) && end < next;
        let fits = head.filter(|head| head.segment_bytes == len && ends_well(head.end_offset));
        let Some(head) = fits else {
            self.report.indexes_rebuilt += 1;
            self.enter(at)?;
            self.scan(at)?;
            return Ok(());
        };
        self.gap(base);
        let segment = Segment::new(key, base, head.end_offset, len, None);
        self.segments.push(Arc::new(segment));
        self.end = head.end_offset;
        Ok(())
    }

    /// Notes what is missing before a segment that begins at `base`, below the mark.
    fn gap(&mut self, base: Offset) {
        if self.end < base {
            self.damage(self.end..base);
        }
        self.end = base;
    }

    /// Whether segment `at` goes on from what came before; if not, it and all behind it are removed.
    fn enter(&mut self, at: usize) -> Result<bool, LogError> {
        let Some(&Found { base, .. }) = self.found.get(at) else {
            return Ok(false);
        };
        if base > self.end && base > self.mark {
            self.drop_from(at)?;
            return Ok(false);
        }
        self.gap(base);
        Ok(true)
    }

    fn damage(&mut self, range: Range<Offset>) {
        let range = range.start.max(self.starts.local)..range.end;
        if range.start < range.end {
            self.damaged.push(range);
        }
    }

    /// Walks a segment, batch by batch.
    fn scan(&mut self, at: usize) -> Result<Stop, LogError> {
        let Some(&Found { base, len }) = self.found.get(at) else {
            return Ok(Stop::End);
        };
        let opening = self.opening;
        let next_base = self.next_base(at);
        let path = files::at_offset(opening.key, base, LOG);
        let file = opening.env.files.get(&*opening.env.disk, &path);
        let file = file.map_err(LogError::io("open", &path))?;
        let epochs = self.epochs.clone();
        let context = Context {
            epochs: epochs.as_ref(),
            end_max: next_base.unwrap_or(Offset::MAX),
        };
        let reader = ChunkReader::new(Arc::clone(&file), path, len);
        let mut walk = Walk::new(reader, context, 0, base);
        let mut index = SegmentIndex::new(opening.config.index_interval_bytes);
        let (stop, size_bytes) = loop {
            let (position, offset) = (walk.position, walk.offset);
            match walk.step()? {
                Step::Batch(_, batch) => {
                    let header = batch.header();
                    if offset >= self.mark && self.above.is_none() {
                        self.above = Some((at, position, offset));
                    }
                    self.report.scanned_bytes += header.size_bytes as u64;
                    index.note(offset.since(base), position, header);
                    self.note_epoch(header.leader_epoch, offset);
                    let append_time_ms = self.append_times.floor_ms(offset);
                    let producers_max = opening.config.producers_max;
                    self.producers.apply(header, producers_max, append_time_ms);
                    continue;
                }
                Step::End => break (Stop::Next, len),
                Step::Invalid if offset >= self.mark => {
                    self.cut(&*file, base, position, len, offset)?;
                    break (Stop::End, position);
                }
                Step::Invalid => {}
            }
            // Damage below the mark.
            let before = (walk.position, walk.offset);
            match walk.resync()? {
                Some(offsets) if offsets.end <= self.mark => self.damage(offsets),
                _ => {
                    (walk.position, walk.offset) = before;
                    let end = match next_base {
                        Some(next) if next <= self.mark => next,
                        _ if self.mark == Offset::MAX => {
                            // Nothing says where the log ended: what does not verify is taken for a torn end.
                            self.cut(&*file, base, position, len, offset)?;
                            break (Stop::End, position);
                        }
                        _ => self.mark,
                    };
                    self.damage(offset..end);
                    walk.offset = end;
                    let stop = match Some(end) == next_base {
                        true => Stop::Next,
                        false => Stop::Hole,
                    };
                    break (stop, len);
                }
            }
        };
        self.end = walk.offset;
        let segment = Segment::new(opening.key, base, self.end, size_bytes, Some(index));
        self.segments.push(Arc::new(segment));
        Ok(stop)
    }

    /// While the epochs file is made anew. Epochs never fall from one batch to the next.
    fn note_epoch(&mut self, epoch: LeaderEpoch, offset: Offset) {
        if self.epochs.is_none() && self.rebuilt_epochs.last() < Some(epoch) {
            self.rebuilt_epochs.begin(epoch, offset);
        }
    }

    /// Cuts a segment file, with a report.
    pub(super) fn cut(
        &mut self,
        file: &dyn DiskFile,
        base: Offset,
        position: u64,
        len: u64,
        offset: Offset,
    ) -> Result<(), LogError> {
        let path = files::at_offset(self.opening.key, base, LOG);
        self.report_cut(file, &path, position..len, offset)?;
        file.truncate(position)
            .map_err(LogError::io("cut", &path))?;
        self.changed = true;
        Ok(())
    }

    fn report_cut(
        &mut self,
        file: &dyn DiskFile,
        path: &Path,
        range: Range<u64>,
        offset: Offset,
    ) -> Result<(), LogError> {
        let mut buffer = vec![0; SCAN_CHUNK_BYTES];
        let mut nonzero_bytes = 0;
        let mut position = range.start;
        while position < range.end {
            let got = file.read_at(&mut buffer, position);
            let got = got.map_err(LogError::io("read", path))?;
            if got == 0 {
                break;
            }
            let read = buffer.get(..got).unwrap_or_default();
            nonzero_bytes += read.iter().filter(|&&byte| byte != 0).count() as u64;
            position += got as u64;
        }
        let cut = self.report.cut.get_or_insert(Cut {
            offset,
            bytes: 0,
            nonzero_bytes: 0,
        });
        cut.offset = cut.offset.min(offset);
        cut.bytes += range.end - range.start;
        cut.nonzero_bytes += nonzero_bytes;
        Ok(())
    }

    /// Removes the segments from `at` on: they lie above the mark and do not go on from what is valid.
    pub(super) fn drop_from(&mut self, at: usize) -> Result<(), LogError> {
        let offset = self.end.max(self.mark);
        let env = &self.opening.env;
        let dropped: Vec<Found> = self.found.drain(at..).collect();
        // The last first, so that a crash in between leaves no gap.
        for found in dropped.iter().rev() {
            let segment = Segment::new(self.opening.key, found.base, found.base, 0, None);
            let file = segment.open(env)?;
            if found.len > 0 {
                self.report_cut(&*file, &segment.log_path(), 0..found.len, offset)?;
            }
            segment.remove_files(env)?;
            self.changed = true;
        }
        Ok(())
    }

    /// The producer state where the scan begins.
    fn restore_producers(&mut self, scan_from: usize) -> Result<(), LogError> {
        let Some(&Found { base, .. }) = self.found.get(scan_from) else {
            return Ok(());
        };
        let opening = self.opening;
        let replay = Replay {
            env: &opening.env,
            key: opening.key,
            producers_max: opening.config.producers_max,
            segments: &self.segments,
            epochs: self.epochs.as_ref(),
            append_times: &self.append_times,
        };
        let (producers, from) = replay.producers(&opening.names.producers, base)?;
        // Trusted segments that had to be scanned were applied already; the replay has read them as well.
        self.producers = producers;
        self.report.producers_rebuilt = from != base;
        Ok(())
    }
}
