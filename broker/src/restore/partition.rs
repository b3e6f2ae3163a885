//! What the tier holds of one partition, and what its log begins with.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::PoisonError;

use futures::{StreamExt as _, stream};
use headwater_log::{LogSeed, PartitionKey, producers_after};
use headwater_record::Offset;
use headwater_tier::bucket::{self, Newest};
use headwater_tier::{
    Depth, Entry, Manifest, Problem, ProblemKind, StoreErrorKind, Tier, TierError, keys,
};
use uuid::Uuid;

use super::{Committed, OnProgress, PartitionReport, ProblemReport, Progress};
use crate::limits::PRODUCERS_PER_PARTITION_MAX;

/// Objects of one partition that are looked at at once.
const OBJECTS_AT_ONCE: usize = 8;

/// Objects, from the newest back, in which a producer snapshot is looked for. Without one their batches are read.
const FOOTERS_LOOKED_AT: usize = 4;

/// Problems of one partition that are listed; all are counted.
const PROBLEMS_MAX: usize = 100;

/// Bytes of batches that are read at once for the producer state.
const READ_BYTES: usize = 4 << 20;

/// How far looking through the bucket is.
pub(super) struct Counters {
    now: Mutex<(usize, u64, u64)>,
    total: usize,
    say: OnProgress,
}

impl Counters {
    /// Nothing is looked at yet.
    pub(super) fn new(total: usize, say: OnProgress) -> Counters {
        Counters {
            now: Mutex::default(),
            total,
            say,
        }
    }

    fn add(&self, partitions: usize, objects: u64, bytes: u64) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.0 += partitions;
        now.1 += objects;
        now.2 += bytes;
        (self.say)(Progress::Checked {
            partitions: now.0,
            partitions_total: self.total,
            objects: now.1,
            bytes: now.2,
        });
    }
}

/// What there is of a partition.
pub(super) struct Survey {
    /// The partition.
    pub(super) key: PartitionKey,
    /// The manifest that counts, as the old cluster wrote it.
    pub(super) manifest: Option<Manifest>,
    /// What the new log begins with.
    pub(super) seed: LogSeed,
    /// The clusters that wrote what the manifest names.
    pub(super) origins: BTreeSet<Uuid>,
    /// A manifest or page that is missing or damaged: not all is known that should count.
    pub(super) unsound: Option<String>,
    /// For people.
    pub(super) report: PartitionReport,
}

/// Looks through what the tier holds of a partition; without a depth at manifests and pages only. Fails only if the
/// store does not answer.
pub(super) async fn survey(
    old: &Tier,
    key: PartitionKey,
    committed: Committed,
    depth: Option<Depth>,
    counters: &Counters,
) -> Result<Survey, TierError> {
    let Newest { found, passed_over } =
        bucket::newest_manifest(old.store(), old.cluster(), key).await?;
    let mut problems = Problems::default();
    for (object, why) in passed_over {
        problems.manifest(
            object,
            ProblemKind::Checksum,
            &why,
            Offset::ZERO..Offset::ZERO,
        );
    }
    let known = committed.map(|head| (head.leader_epoch, head.number));
    let newest = found
        .as_ref()
        .map(|manifest| (manifest.leader_epoch, manifest.number));
    if let Some(head) = committed
        && newest < known
    {
        // Behind the end of an older one, if there is any, nothing is known.
        let from = found.as_ref().map_or(head.start, |manifest| manifest.end);
        let object = keys::manifest(old.cluster(), key, head.number);
        let detail = "the partition's last known manifest is not there";
        problems.manifest(
            object,
            ProblemKind::Missing,
            detail,
            from..head.end.max(from),
        );
    }
    let Some(manifest) = found else {
        counters.add(1, 0, 0);
        // Offsets are never given out twice, where it is known which were.
        let start = committed.map_or(Offset::ZERO, |head| head.end);
        let seed = LogSeed {
            log_start: start,
            end: start,
            ..LogSeed::default()
        };
        return Ok(Survey {
            key,
            manifest: None,
            origins: BTreeSet::new(),
            report: problems.report(key, &seed, &[], false),
            unsound: problems.unsound,
            seed,
        });
    };
    let entries = entries(old, &manifest, &mut problems).await?;
    let mut seed = LogSeed {
        log_start: manifest.start,
        end: manifest.end,
        epochs: manifest.epochs.entries().to_vec(),
        latest_append_ms: entries
            .iter()
            .filter_map(|entry| entry.latest_append_ms)
            .max(),
        producers: None,
    };
    if let Some(depth) = depth {
        let mut looks = stream::iter(&entries)
            .map(|entry| async move { (entry, old.verify_entry(key, entry, depth).await) })
            .buffered(OBJECTS_AT_ONCE);
        while let Some((entry, problem)) = looks.next().await {
            counters.add(0, 1, entry.segment_bytes);
            if let Some(problem) = problem {
                problems.object(problem);
            }
        }
        seed.producers = producers(old, &manifest, &entries).await?;
    }
    counters.add(1, 0, 0);
    let is_newer = newest > known;
    Ok(Survey {
        key,
        report: problems.report(key, &seed, &entries, is_newer),
        unsound: problems.unsound,
        origins: entries
            .iter()
            .map(|entry| entry.origin)
            .chain(manifest.pages.iter().map(|page| page.origin))
            .collect(),
        manifest: Some(manifest),
        seed,
    })
}

/// All entries that can be known, oldest first.
async fn entries(
    old: &Tier,
    manifest: &Manifest,
    problems: &mut Problems,
) -> Result<Vec<Entry>, TierError> {
    let mut entries = Vec::new();
    for page in &manifest.pages {
        match old.page(manifest.key, page).await {
            Ok(page) => entries.extend(page.iter().filter(|entry| entry.end > manifest.start)),
            Err(error) if is_of_the_store(&error) => return Err(error),
            Err(error) => {
                let Problem {
                    object,
                    range,
                    kind,
                    detail,
                } = Problem::of(&error, page.start..page.end);
                problems.manifest(object, kind, &detail, range);
            }
        }
    }
    entries.extend(&manifest.entries);
    Ok(entries)
}

/// The producer state at the end: the newest snapshot in a footer, and the batches behind it. What cannot be read of them
/// is passed over: producers that wrote there are unknown, as after a long pause.
async fn producers(
    old: &Tier,
    manifest: &Manifest,
    entries: &[Entry],
) -> Result<Option<Vec<u8>>, TierError> {
    let key = manifest.key;
    let (mut snapshot, mut from) = (None, manifest.end);
    for entry in entries.iter().rev().take(FOOTERS_LOOKED_AT) {
        match old.footer(key, entry).await {
            Ok(footer) if footer.producers.is_some() && footer.end_offset == entry.end => {
                snapshot.clone_from(&footer.producers);
                from = entry.end;
                break;
            }
            Err(error) if is_of_the_store(&error) => return Err(error),
            _ => from = entry.start.max(manifest.start),
        }
    }
    let mut headers = Vec::new();
    while from < manifest.end {
        match old
            .read(key, manifest.number, from, manifest.end, READ_BYTES)
            .await
        {
            Ok(slice) if slice.next_offset > from => {
                headers.extend(headwater_record::headers(&slice.bytes));
                from = slice.next_offset;
            }
            Ok(_) => break,
            Err(TierError::DataLoss { range, .. }) if range.end > from => from = range.end,
            Err(error) if is_of_the_store(&error) => return Err(error),
            Err(_) => break,
        }
    }
    if snapshot.is_none() && headers.is_empty() {
        return Ok(None);
    }
    let producers = producers_after(
        snapshot.as_deref(),
        headers.into_iter(),
        PRODUCERS_PER_PARTITION_MAX,
    );
    Ok(Some(producers))
}

/// Whether an error says nothing of the object: the store did not answer.
fn is_of_the_store(error: &TierError) -> bool {
    matches!(error, TierError::Store(error) if error.kind != StoreErrorKind::NotFound)
}

#[derive(Default)]
struct Problems {
    listed: Vec<ProblemReport>,
    count: u64,
    unsound: Option<String>,
}

impl Problems {
    fn manifest(
        &mut self,
        object: String,
        kind: ProblemKind,
        detail: &str,
        range: std::ops::Range<Offset>,
    ) {
        self.unsound.get_or_insert_with(|| object.clone());
        self.object(Problem {
            object,
            range,
            kind,
            detail: detail.to_owned(),
        });
    }

    fn object(&mut self, problem: Problem) {
        self.count += 1;
        if self.listed.len() < PROBLEMS_MAX {
            self.listed.push(problem.into());
        }
    }

    fn report(
        &mut self,
        key: PartitionKey,
        seed: &LogSeed,
        entries: &[Entry],
        newer_than_snapshot: bool,
    ) -> PartitionReport {
        PartitionReport {
            partition: key.index,
            log_start_offset: seed.log_start.get(),
            end_offset: seed.end.get(),
            objects: entries.len() as u64,
            bytes: entries.iter().map(|entry| entry.segment_bytes).sum(),
            newer_than_snapshot,
            problems: std::mem::take(&mut self.listed),
            problems_total: self.count,
        }
    }
}
