//! The task that drives the tier: looks at the partitions, carries out what they plan, and has heads committed.
//!
//! It decides nothing: [`headwater_tier::Partition`] does, and the metadata.

mod commit;
mod done;
mod upkeep;
mod work;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use headwater_core::ids::{BrokerId, Revision, TopicId};
use headwater_core::metadata::{EffectiveConfig, Image, Topic};
use headwater_core::replica::TierView;
use headwater_log::PartitionKey;
use headwater_record::Offset;
use headwater_tier::{Head, LogState, Partition, Policy, Proposal, Retention};
use rand::Rng;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use super::deleted::Deleted;
use super::replaced::Replaced;
use super::snapshots::Snapshots;
use super::{BrokerTier, head};
use crate::clock::Clock;
use crate::limits::{
    TIER_LOOK_INTERVAL, TIER_PARTITIONS_PER_TICK_MAX, TIER_PROBE_TIMEOUT, TIER_SMALL_REQUESTS_MAX,
    TIER_TICK_MAX, TIER_UPLOADS_WAITING_MAX, TIER_VIEWS_AT_ONCE, TIER_WAKE_DELAY,
};
use crate::metadata::MetadataHandle;
use crate::metrics::Metrics;
use crate::partition::handle::{PartitionHandle, Published};
use crate::partition::registry::Registry;
use crate::storage::Storage;

use self::work::Done;

/// What a driver is made of.
pub struct DriverParts {
    /// The tier.
    pub tier: Arc<BrokerTier>,
    /// This broker.
    pub broker: BrokerId,
    /// Heads are committed here.
    pub metadata: MetadataHandle,
    /// The partitions.
    pub registry: Arc<Registry>,
    /// The data directory.
    pub storage: Arc<Storage>,
    /// The clocks.
    pub clock: Clock,
    /// Counters.
    pub metrics: Metrics,
    /// Settings of topics that do not say.
    pub defaults: EffectiveConfig,
    /// How often retention is looked at, in milliseconds.
    pub retain_interval_ms: u64,
}

/// Drives the tier until the broker stops.
pub struct Driver {
    parts: DriverParts,
    slots: HashMap<PartitionKey, Slot>,
    running: JoinSet<Done>,
    /// Heads to be committed, and those of the command under way.
    proposals: Vec<Proposal>,
    committing: bool,
    commit_at_ms: u64,
    deleted: Deleted,
    snapshots: Snapshots,
    replaced: Replaced,
    probing: bool,
    probe_at_ms: u64,
    looking_for_holds: bool,
    look_for_holds_at_ms: u64,
    uploads: Arc<Semaphore>,
    small: Arc<Semaphore>,
    /// Uploads and manifests under way, by topic.
    writing: HashMap<TopicId, usize>,
    /// Uploads under way or waiting for their turn.
    uploading: usize,
    /// Partitions to be looked at before the next tick.
    woken: HashSet<PartitionKey>,
    wake_at: Option<Instant>,
}

struct Slot {
    partition: Partition,
    /// Something has come back since the last plan.
    touched: bool,
    look_at_ms: u64,
    /// Settings as of the last plan.
    revision: Revision,
    tiering: bool,
    backlog: (u64, u64, Option<i64>),
    garbage: u64,
}

impl Driver {
    /// A driver that has looked at nothing yet.
    pub fn new(parts: DriverParts) -> Driver {
        Driver {
            uploads: Arc::new(Semaphore::new(parts.tier.settings.upload_concurrency)),
            small: Arc::new(Semaphore::new(TIER_SMALL_REQUESTS_MAX)),
            parts,
            slots: HashMap::new(),
            running: JoinSet::new(),
            proposals: Vec::new(),
            committing: false,
            commit_at_ms: 0,
            deleted: Deleted::default(),
            snapshots: Snapshots::default(),
            replaced: Replaced::default(),
            probing: false,
            probe_at_ms: 0,
            looking_for_holds: false,
            look_for_holds_at_ms: 0,
            writing: HashMap::new(),
            uploading: 0,
            woken: HashSet::new(),
            wake_at: None,
        }
    }

    /// Runs until `stop`. What is under way then is given up: it counts for nothing until it is committed.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            () = async { drop(stop.wait_for(|stop| *stop).await) } => {}
            () = self.work() => {}
        }
    }

    /// Looks at all partitions now and then, and soon at those of which something has come back.
    async fn work(&mut self) {
        if self.parts.tier.is_probed() {
            // Before the first look, which would find that nothing may be begun. If it does not go well, a tick tries again.
            let taken = tokio::time::timeout(TIER_PROBE_TIMEOUT, self.take_over()).await;
            if let Ok(Err(error)) = taken {
                tracing::warn!(%error, "the tier was not taken over; trying again");
            }
        }
        let interval = self.parts.tier.settings.commit_interval.min(TIER_TICK_MAX);
        let mut tick = tokio::time::interval(interval);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let wake_at = self.wake_at;
            let wake = async move {
                match wake_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = tick.tick() => self.tick().await,
                () = wake => {
                    let image = self.parts.metadata.image();
                    self.look(&image, true).await;
                }
                Some(done) = self.running.join_next() => match done {
                    Ok(done) => self.done(done),
                    Err(error) => self.begin_anew(&error.to_string()),
                },
            }
        }
    }

    async fn tick(&mut self) {
        self.commit();
        let image = self.parts.metadata.image();
        let state = &self.parts.tier.state;
        self.slots.retain(|key, _| {
            let stays = image.partition(*key).is_some();
            if !stays {
                state.blocked(*key, None);
            }
            stays
        });
        self.look(&image, false).await;
        self.clean_up(&image);
        self.report();
    }

    /// Has partitions planned: those that were woken, or all where there may be something to do.
    async fn look(&mut self, image: &Image, woken: bool) {
        self.wake_at = None;
        let keys = std::mem::take(&mut self.woken);
        // Nothing of what could be begun would count any more.
        if self.parts.tier.state.is_given_up() {
            return;
        }
        let handles = match woken {
            true => {
                let handles = keys.iter().map(|key| self.parts.registry.get(*key));
                handles.flatten().collect()
            }
            false => self.parts.registry.handles(),
        };
        let due = self.due(image, handles);
        for some in due.chunks(TIER_VIEWS_AT_ONCE) {
            let views = some.iter().map(|handle| handle.tier_view());
            let views = futures::future::join_all(views).await;
            for (handle, view) in some.iter().zip(views) {
                if let Some(view) = view {
                    self.plan(image, handle, view);
                }
            }
        }
    }

    /// Those for which there may be something to do, so many at most. Cheap for those where there is not.
    fn due(
        &mut self,
        image: &Image,
        mut handles: Vec<Arc<PartitionHandle>>,
    ) -> Vec<Arc<PartitionHandle>> {
        let now = self.parts.clock.now();
        // Wherever it ends for today, somebody else is first next time.
        let first = rand::rng().random_range(0..handles.len().max(1));
        handles.rotate_left(first);
        let mut due = Vec::new();
        for handle in handles {
            if due.len() >= TIER_PARTITIONS_PER_TICK_MAX {
                break;
            }
            let key = handle.key;
            let Some(published) = handle.published() else {
                continue;
            };
            let Some(epoch) = published.leader_epoch else {
                continue;
            };
            let topic = image.topic_by_id(TopicId(key.topic));
            let Some((topic, partition)) =
                topic.and_then(|topic| Some((topic, topic.partitions.get(key.index as usize)?)))
            else {
                continue;
            };
            let present = partition.tier.map(head);
            let slot = self.slots.get(&key);
            if slot.is_none_or(|slot| slot.partition.leader_epoch() != epoch) {
                let policy = self.policy(image, topic);
                let spread_ms = rand::rng().random_range(0..=policy.sweep_interval_ms / 4);
                let partition = Partition::new(key, epoch, present, now, &policy, spread_ms);
                self.slots.insert(key, Slot::new(partition, topic.revision));
            }
            let Some(slot) = self.slots.get_mut(&key) else {
                continue;
            };
            if slot.is_due(&published, present, topic.revision, now.monotonic_ms) {
                // Spread, so that partitions that came together do not come together for ever.
                let interval_ms = TIER_LOOK_INTERVAL.as_millis() as u64;
                let spread_ms = rand::rng().random_range(0..=interval_ms / 4);
                slot.look_at_ms = now.monotonic_ms + interval_ms - spread_ms;
                slot.revision = topic.revision;
                slot.touched = false;
                due.push(handle);
            }
        }
        due
    }

    fn policy(&self, image: &Image, topic: &Topic) -> Policy {
        let effective = topic.config.effective(&self.parts.defaults);
        let settings = &self.parts.tier.settings;
        let mut clusters = vec![self.parts.tier.tier.cluster()];
        if let Some(from) = image.restored_from().filter(|from| from.adopted) {
            clusters.push(from.cluster.0);
        }
        Policy {
            tiering: effective.tiering,
            retention: Retention {
                ms: effective.retention_ms.bound(),
                bytes: effective.retention_bytes.bound(),
            },
            wall_clock_suspect: self.parts.clock.is_suspect(),
            retain_interval_ms: self.parts.retain_interval_ms,
            grace_ms: settings.gc_grace.as_millis() as u64,
            sweep_interval_ms: settings.gc_interval.as_millis() as u64,
            clusters,
        }
    }

    fn plan(&mut self, image: &Image, handle: &Arc<PartitionHandle>, view: TierView) {
        let key = handle.key;
        let Some(topic) = image.topic_by_id(TopicId(key.topic)) else {
            return;
        };
        let Some(partition) = topic.partitions.get(key.index as usize) else {
            return;
        };
        let mut policy = self.policy(image, topic);
        let Some(slot) = self.slots.get_mut(&key) else {
            return;
        };
        let log = log_state(&view);
        let present = partition.tier.map(head);
        slot.backlog = backlog(&log, present, policy.tiering);
        slot.tiering = policy.tiering;
        // Where many wait already, this one waits for its turn without taking memory for it.
        policy.tiering &= self.uploading < TIER_UPLOADS_WAITING_MAX;
        let now = self.parts.clock.now();
        let draw = &mut Uuid::new_v4;
        let actions = slot.partition.plan(present, &log, &policy, now, draw);
        let why = slot.partition.last_error();
        self.parts.tier.state.blocked(key, why);
        for action in actions {
            self.start(action, handle, &view);
        }
    }

    /// Sees to it that a partition is looked at soon.
    fn wake(&mut self, key: PartitionKey) {
        if let Some(slot) = self.slots.get_mut(&key) {
            slot.touched = true;
            self.woken.insert(key);
            self.wake_at
                .get_or_insert_with(|| Instant::now() + TIER_WAKE_DELAY);
        }
    }

    /// Something of this code is wrong. What waits for an answer that will not come would wait for ever, so nobody does:
    /// what counts is in the metadata and in the logs, and sweeps wait for the whole grace again.
    fn begin_anew(&mut self, error: &str) {
        tracing::error!(error, "a task of the tier has failed; the tier begins anew");
        self.running.abort_all();
        self.running = JoinSet::new();
        self.slots.clear();
        self.proposals.clear();
        self.writing.clear();
        self.uploading = 0;
        self.committing = false;
        self.probing = false;
        self.deleted = Deleted::default();
        self.snapshots = Snapshots::default();
        self.replaced = Replaced::default();
        self.looking_for_holds = false;
    }

    fn report(&self) {
        let mut sum = (0, 0, None::<i64>);
        for slot in self.slots.values() {
            let (bytes, segments, since_ms) = slot.backlog;
            sum.0 += bytes;
            sum.1 += segments;
            sum.2 = sum.2.into_iter().chain(since_ms).min();
        }
        self.parts.tier.state.backlog(sum.0, sum.1, sum.2);
        let garbage = self.slots.values().map(|slot| slot.garbage).sum();
        let uploading = self
            .slots
            .iter()
            .map(|(&key, slot)| (key, slot.partition.uploading()));
        let uploading = uploading.filter(|(_, segments)| *segments > 0).collect();
        self.parts.tier.state.under_way(garbage, uploading);
        let metrics = &self.parts.metrics;
        metrics.tier_backlog_bytes.set(sum.0 as i64);
        metrics.tier_backlog_segments.set(sum.1 as i64);
        let wall_ms = self.parts.clock.now().wall_ms;
        let age_ms = sum.2.map_or(0, |ms| wall_ms.saturating_sub(ms).max(0));
        metrics.tier_backlog_age_seconds.set(age_ms / 1_000);
        let is_failing = self.parts.tier.state.is_failing();
        metrics.tier_unreachable.set(i64::from(is_failing));
        let (chunks, meta) = self.parts.tier.tier.cached_bytes();
        metrics.tier_cache_bytes.set((chunks + meta) as i64);
    }
}

impl Slot {
    fn new(partition: Partition, revision: Revision) -> Slot {
        Slot {
            partition,
            touched: true,
            look_at_ms: 0,
            revision,
            tiering: true,
            backlog: (0, 0, None),
            garbage: 0,
        }
    }

    fn is_due(
        &self,
        published: &Published,
        head: Option<Head>,
        revision: Revision,
        now_ms: u64,
    ) -> bool {
        let log_start = published.view.log_start();
        let reached = self.partition.reached().unwrap_or(log_start).max(log_start);
        let sealed = self.tiering && published.sealed_end > reached;
        let moved = head != self.partition.head() || revision != self.revision;
        let may_act = now_ms >= self.partition.retry_at_ms();
        may_act && (self.touched || sealed || moved || now_ms >= self.look_at_ms)
    }
}

fn log_state(view: &TierView) -> LogState {
    LogState {
        log_start: view.log_start,
        local_start: view.local_start,
        committed: view.limit,
        sealed: view.sealed.clone(),
        active_bytes: view.rest_bytes,
    }
}

/// Bytes, segments, and the time of the newest record of the oldest of them.
fn backlog(log: &LogState, head: Option<Head>, tiering: bool) -> (u64, u64, Option<i64>) {
    if !tiering {
        return (0, 0, None);
    }
    let end = head
        .map_or(Offset::ZERO, |head| head.end)
        .max(log.log_start);
    let waiting = log.sealed.iter().filter(|segment| segment.end_offset > end);
    let since_ms = waiting
        .clone()
        .next()
        .and_then(|segment| segment.latest_append_ms);
    let bytes = waiting.clone().map(|segment| segment.size_bytes).sum();
    (bytes, waiting.count() as u64, since_ms)
}
