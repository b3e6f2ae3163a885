//! What is in the tier: read across the border between disk and tier, shown, and checked.

use std::ops::Range;
use std::sync::Arc;

use futures::future::join_all;
use headwater_core::metadata::{Image, Topic};
use headwater_core::replica::TierView;
use headwater_log::{PartitionKey, ReadSlice};
use headwater_record::Offset;
use headwater_tier::{Depth, Entry, Head, Problem, StoreError, StoreErrorKind, TierError};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::Broker;
use crate::auth::{Action, Principal};
use crate::error::BrokerError;
use crate::limits::{DECODED_BYTES_MAX, TIER_READ_TIMEOUT, TIER_STATUS_TIMEOUT};
use crate::partition::read::PartitionRef;
use crate::tier::{BrokerTier, TierFacts, head};

/// How far one partition is in the tier.
pub struct PartitionTier {
    /// `namespace/name`.
    pub topic: String,
    /// Its number.
    pub partition: u32,
    /// Whether the topic's segments are uploaded.
    pub tiering: bool,
    /// What is on the disk.
    pub view: TierView,
    /// What is in the tier.
    pub head: Option<Head>,
    /// Bytes on the disk.
    pub local_bytes: u64,
    /// Bytes and segments in the tier; `None` if its manifest cannot be read now.
    pub tiered: Option<(u64, u64)>,
    /// Segments that are being uploaded, or wait for their manifest.
    pub uploading: usize,
    /// Why it cannot be uploaded, or its manifest not be read.
    pub error: Option<String>,
}

/// Something that `verify` says on its way.
pub enum VerifyEvent {
    /// Objects and bytes that are to be looked at in all. Comes once, when it is known; not at all from a check that is
    /// through before.
    Total(u64, u64),
    /// Objects and bytes that were looked at.
    Progress(u64, u64),
    /// An object that is not as it must be.
    Problem {
        /// `namespace/name`.
        topic: String,
        /// Its number.
        partition: u32,
        /// What is wrong.
        problem: Problem,
        /// Whether the disk still has these records.
        held_locally: bool,
    },
}

impl Broker {
    /// The tier, or why there is none.
    pub fn tier(&self) -> Result<&Arc<BrokerTier>, BrokerError> {
        self.tier.as_ref().ok_or(BrokerError::TierNotConfigured)
    }

    /// The wall clock, in milliseconds since the epoch.
    pub fn wall_ms(&self) -> i64 {
        self.clock.now().wall_ms
    }

    /// How the tier does; `None` without one.
    pub fn tier_facts(&self) -> Option<TierFacts> {
        self.tier.as_ref().map(|tier| tier.state.facts())
    }

    fn head_of(&self, partition: &PartitionRef) -> Option<Head> {
        let image = self.image();
        image.partition(partition.handle.key)?.tier.map(head)
    }

    /// Reads what is in the tier alone. At least one batch, if there is any.
    pub(super) async fn read_tier(
        &self,
        partition: &PartitionRef,
        from: Offset,
        bytes_max: usize,
    ) -> Result<ReadSlice, BrokerError> {
        let tier = self.tier()?;
        let failed = |source: TierError| self.tier_error(partition, source);
        let not_there = TierError::NotInTier {
            asked: from,
            start: from,
            end: from,
        };
        let key = partition.handle.key;
        let bounds = partition.bounds()?;
        let mut known = None;
        let read = async {
            let _permit = tier.reads.acquire().await;
            // Only now: what it names stays for the grace, which is longer than any read, but not than any wait.
            let head = self.head_of(partition).ok_or(not_there)?;
            known = Some(head);
            let limit = bounds.high_watermark.min(head.end);
            let tier = &tier.tier;
            tier.read(key, head.number, from, limit, bytes_max).await
        };
        let slice = in_time(key, read).await.map_err(failed)?;
        let bytes = slice.bytes.len() as u64;
        self.metrics.tier_read_bytes.inc_by(bytes);
        if let Some(head) = known.filter(|head| slice.next_offset < head.end) {
            let (tier, next) = (tier.clone(), slice.next_offset);
            tokio::spawn(async move {
                if let Some((_permit, bytes)) = tier.read_ahead.permit(key, Instant::now()) {
                    let read = tier.tier.read_ahead(key, head.number, next, bytes);
                    drop(timeout(TIER_READ_TIMEOUT, read).await);
                }
            });
        }
        Ok(slice)
    }

    /// Whether the tier has a copy of the record at this offset.
    pub(super) fn is_in_tier(&self, partition: &PartitionRef, offset: Offset) -> bool {
        let head = self.tier.as_ref().and_then(|_| self.head_of(partition));
        head.is_some_and(|head| (head.start..head.end).contains(&offset))
    }

    /// First record that is in the tier alone (at or behind the log start, below the local start) and not older than a
    /// time.
    pub(super) async fn find_time_in_tier(
        &self,
        partition: &PartitionRef,
        local_start: Offset,
        timestamp_ms: i64,
    ) -> Result<Option<(Offset, i64)>, BrokerError> {
        let log_start = partition.bounds()?.log_start;
        if log_start >= local_start {
            return Ok(None);
        }
        let tier = self.tier()?;
        let key = partition.handle.key;
        let find = async {
            let _permit = tier.reads.acquire().await;
            let Some(head) = self.head_of(partition) else {
                return Ok(None);
            };
            let (tier, number) = (&tier.tier, head.number);
            tier.find_time(key, number, log_start, timestamp_ms, DECODED_BYTES_MAX)
                .await
        };
        let found = in_time(key, find).await;
        let found = found.map_err(|source| self.tier_error(partition, source))?;
        Ok(found.filter(|(offset, _)| *offset < local_start))
    }

    fn tier_error(&self, partition: &PartitionRef, source: TierError) -> BrokerError {
        let (topic, number) = (partition.topic.to_string(), partition.partition);
        if let TierError::DataLoss { range, object, .. } = &source {
            self.findings.add_lost_object(&topic, number, range, object);
        }
        if let (TierError::NotInTier { asked, .. }, Ok(bounds)) = (&source, partition.bounds())
            && *asked < bounds.log_start
        {
            // Retention has overtaken the reader.
            return BrokerError::OffsetOutOfRange {
                topic,
                partition: number,
                asked: asked.to_i64(),
                start: bounds.log_start,
                end: bounds.high_watermark,
            };
        }
        BrokerError::Tier {
            topic,
            partition: number,
            source,
        }
    }

    /// How far the partitions of these topics (none: of all) are in the tier.
    pub async fn tier_status(
        &self,
        principal: &Principal,
        topics: &[String],
    ) -> Result<Vec<PartitionTier>, BrokerError> {
        let image = self.image();
        let facts = self.tier_facts().unwrap_or_default();
        let mut asked = Vec::new();
        for topic in self.tier_topics(&image, principal, topics)? {
            let tiering = self.tier.is_some() && self.effective(topic).tiering;
            for (index, partition) in topic.partitions.iter().enumerate() {
                let Ok(reference) = self.partition_of(topic, index as i32) else {
                    continue;
                };
                asked.push((reference, tiering, partition.tier.map(head)));
            }
        }
        let deadline = Instant::now() + TIER_STATUS_TIMEOUT;
        let status = asked.into_iter().map(|(partition, tiering, head)| {
            let blocked = facts.blocked.get(&partition.handle.key).cloned();
            let uploading = facts.uploading.get(&partition.handle.key).copied();
            async move {
                let view = partition.handle.tier_view().await?;
                let local_bytes = partition
                    .handle
                    .published()
                    .map_or(0, |shown| shown.size_bytes);
                let (tiered, unreadable) = self.tiered(&partition, head, deadline).await;
                Some(PartitionTier {
                    topic: partition.topic.to_string(),
                    partition: partition.partition,
                    tiering,
                    view,
                    head,
                    local_bytes,
                    tiered,
                    uploading: uploading.unwrap_or_default(),
                    error: blocked.map(|failure| failure.reason).or(unreadable),
                })
            }
        });
        Ok(join_all(status).await.into_iter().flatten().collect())
    }

    async fn tiered(
        &self,
        partition: &PartitionRef,
        head: Option<Head>,
        deadline: Instant,
    ) -> (Option<(u64, u64)>, Option<String>) {
        let (Some(tier), Some(head)) = (&self.tier, head) else {
            return (Some((0, 0)), None);
        };
        let manifest = tier.tier.manifest(partition.handle.key, head.number);
        match timeout_at(deadline, manifest).await {
            Err(_) => {
                let seconds = TIER_STATUS_TIMEOUT.as_secs();
                (
                    None,
                    Some(format!(
                        "the store has not given the manifest within {seconds} s"
                    )),
                )
            }
            Ok(Ok(manifest)) => {
                let pages = manifest.pages.iter();
                let pages = pages.map(|page| (page.segment_bytes, u64::from(page.entries)));
                let entries = manifest
                    .entries
                    .iter()
                    .map(|entry| (entry.segment_bytes, 1));
                let sum = pages
                    .chain(entries)
                    .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
                (Some(sum), None)
            }
            Ok(Err(error)) => (None, Some(error.to_string())),
        }
    }

    fn tier_topics<'a>(
        &self,
        image: &'a Image,
        principal: &Principal,
        topics: &[String],
    ) -> Result<Vec<&'a Topic>, BrokerError> {
        if topics.is_empty() {
            return Ok(image
                .topics()
                .filter(|topic| self.may_describe(principal, &topic.name))
                .collect());
        }
        let topic = |name: &String| self.topic(image, principal, Action::Describe, name);
        topics.iter().map(topic).collect()
    }

    /// Checks what the heads of these topics (none: of all) name, and tells on the way, until nobody listens any more.
    /// Returns how many partitions have anything in the tier.
    pub async fn verify_tier(
        &self,
        principal: &Principal,
        topics: &[String],
        depth: Depth,
        events: mpsc::Sender<VerifyEvent>,
    ) -> Result<u64, BrokerError> {
        let tier = self.tier()?;
        let image = self.image();
        let topics = self.tier_topics(&image, principal, topics)?;
        let tiered = self.tiered_partitions(&topics);
        // How much there is to do is found out beside, for the first thing that is wrong is to be told soon.
        let counting = async {
            let (objects, bytes) = count(tier, &tiered).await;
            drop(events.send(VerifyEvent::Total(objects, bytes)).await);
            std::future::pending().await
        };
        tokio::select! {
            partitions = self.verify_partitions(tier, &tiered, depth, &events) => Ok(partitions),
            never = counting => never,
        }
    }

    /// Those that have anything in the tier.
    fn tiered_partitions(&self, topics: &[&Topic]) -> Vec<(PartitionRef, Head)> {
        let mut tiered = Vec::new();
        for topic in topics {
            for (index, partition) in topic.partitions.iter().enumerate() {
                let reference = self.partition_of(topic, index as i32).ok();
                tiered.extend(reference.zip(partition.tier.map(head)));
            }
        }
        tiered
    }

    /// Ends when nobody listens; returns how many partitions it has come to.
    async fn verify_partitions(
        &self,
        tier: &BrokerTier,
        tiered: &[(PartitionRef, Head)],
        depth: Depth,
        events: &mpsc::Sender<VerifyEvent>,
    ) -> u64 {
        let (mut partitions, mut objects, mut bytes) = (0, 0, 0);
        for (reference, head) in tiered {
            partitions += 1;
            let problem = |problem: Problem| VerifyEvent::Problem {
                topic: reference.topic.to_string(),
                partition: reference.partition,
                held_locally: is_held(reference, &problem.range),
                problem,
            };
            let key = reference.handle.key;
            let entries = match tier.tier.entries_to_verify(key, *head).await {
                Ok(entries) => entries,
                Err(found) => {
                    self.note_problem(reference, &found);
                    if events.send(problem(found)).await.is_err() {
                        return partitions;
                    }
                    continue;
                }
            };
            for entry in &entries {
                if let Some(found) = self.verify_entry(tier, reference, entry, depth).await
                    && events.send(problem(found)).await.is_err()
                {
                    return partitions;
                }
                objects += 1;
                bytes += entry.object_bytes();
                let progress = VerifyEvent::Progress(objects, bytes);
                if events.send(progress).await.is_err() {
                    return partitions;
                }
            }
        }
        partitions
    }

    async fn verify_entry(
        &self,
        tier: &BrokerTier,
        partition: &PartitionRef,
        entry: &Entry,
        depth: Depth,
    ) -> Option<Problem> {
        let found = tier
            .tier
            .verify_entry(partition.handle.key, entry, depth)
            .await?;
        // One that left the manifest meanwhile may be gone.
        let head = self.head_of(partition);
        if head.is_none_or(|head| entry.end <= head.start) {
            return None;
        }
        self.note_problem(partition, &found);
        Some(found)
    }

    fn note_problem(&self, partition: &PartitionRef, problem: &Problem) {
        if problem.kind == headwater_tier::ProblemKind::Unreadable {
            return;
        }
        self.metrics.tier_problems.inc();
        let (topic, number) = (&partition.topic, partition.partition);
        self.findings
            .add_lost_object(topic, number, &problem.range, &problem.object);
    }
}

/// Objects and bytes that these heads name. Of a partition whose list cannot be read there are none: the check says so.
async fn count(tier: &BrokerTier, tiered: &[(PartitionRef, Head)]) -> (u64, u64) {
    let (mut objects, mut bytes) = (0, 0);
    for (partition, head) in tiered {
        let manifest = tier.tier.manifest(partition.handle.key, head.number);
        let Ok(manifest) = manifest.await else {
            continue;
        };
        let entries = tier.tier.entries(&manifest).await;
        for entry in entries.into_iter().flatten() {
            objects += 1;
            bytes += entry.object_bytes();
        }
    }
    (objects, bytes)
}

/// Whoever reads is told in time that the store does not answer.
async fn in_time<T>(
    key: PartitionKey,
    read: impl Future<Output = Result<T, TierError>>,
) -> Result<T, TierError> {
    let late = |_| {
        let detail = format!("no answer within {} s", TIER_READ_TIMEOUT.as_secs());
        let key = format!("{}/{}", key.topic, key.index);
        Err(StoreError::new(StoreErrorKind::Unavailable, "read", &key, detail).into())
    };
    timeout(TIER_READ_TIMEOUT, read).await.unwrap_or_else(late)
}

fn is_held(partition: &PartitionRef, range: &Range<Offset>) -> bool {
    let published = partition.handle.published();
    published.is_some_and(|published| published.view.local_start() <= range.start)
}
