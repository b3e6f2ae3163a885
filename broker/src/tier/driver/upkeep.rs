//! What is done besides: metadata for a restore, objects of deleted topics, and asking a store that is unwell.

use std::sync::Arc;

use bytes::Bytes;
use headwater_core::ids::TopicId;
use headwater_core::metadata::Image;
use headwater_tier::limits::HOLD_LOOK_INTERVAL_MS;
use headwater_tier::{TierError, keys};
use uuid::Uuid;

use super::super::snapshots::Update;
use super::super::{BrokerTier, Side};
use super::Driver;
use super::work::Done;
use crate::clock::Clock;
use crate::limits::{TIER_OBJECTS_PER_STEP, TIER_PROBE_INTERVAL};

impl Driver {
    pub(super) fn clean_up(&mut self, image: &Arc<Image>) {
        self.probe();
        let tier = &self.parts.tier;
        if tier.state.is_given_up() || !tier.is_ready() {
            return;
        }
        let now_ms = self.parts.clock.now().monotonic_ms;
        let snapshot_ms = tier.settings.snapshot_interval.as_millis() as u64;
        let grace_ms = tier.settings.gc_grace.as_millis() as u64;
        if let Some(update) = self.snapshots.plan(image, snapshot_ms, now_ms) {
            let tier = self.parts.tier.clone();
            let clock = self.parts.clock.clone();
            self.spawn_small(async move {
                let result = write(&tier, &update, &clock).await;
                Done::Snapshot(update, result)
            });
        }
        self.look_for_holds(now_ms);
        if self.parts.tier.state.is_held() {
            return;
        }
        let (snapshots, writing) = (&self.snapshots, &self.writing);
        let is_busy = |id| writing.contains_key(&id) || snapshots.is_writing(id);
        let tombstones = image.tombstones();
        let tiered = tombstones.filter_map(|(id, tombstone)| tombstone.tiered.then_some(id));
        if let Some(topic) = self.deleted.plan(tiered, grace_ms, now_ms, is_busy) {
            self.delete(image, topic);
        }
        let exists = |id| image.topic_by_id(id).is_some();
        if let Some(topic) = self.replaced.plan(now_ms, exists) {
            self.trim(topic, grace_ms);
        }
    }

    fn look_for_holds(&mut self, now_ms: u64) {
        if self.looking_for_holds || now_ms < self.look_for_holds_at_ms {
            return;
        }
        self.looking_for_holds = true;
        self.look_for_holds_at_ms = now_ms + HOLD_LOOK_INTERVAL_MS;
        let tier = self.parts.tier.clone();
        let clock = self.parts.clock.clone();
        self.spawn_small(async move {
            let now_ms = clock.now().monotonic_ms;
            Done::Holds(tier.fence.look_for_holds(&tier.tier, now_ms).await)
        });
    }

    fn trim(&mut self, topic: TopicId, grace_ms: u64) {
        let tier = self.parts.tier.clone();
        let clock = self.parts.clock.clone();
        self.spawn_small(async move {
            let now_ms = move || clock.now().monotonic_ms;
            let date = Uuid::new_v4();
            let trimmed = tier
                .tier
                .trim_topic(topic.0, grace_ms, date, &tier.fence, &now_ms);
            Done::Trim(topic, trimmed.await)
        });
    }

    fn delete(&mut self, image: &Image, topic: TopicId) {
        let tier = self.parts.tier.clone();
        let clock = self.parts.clock.clone();
        let adopted = image.restored_from().filter(|from| from.adopted);
        let clusters = [
            Some(tier.tier.cluster()),
            adopted.map(|from| from.cluster.0),
        ];
        self.spawn_small(async move {
            let now_ms = move || clock.now().monotonic_ms;
            let mut deleted = Ok(0);
            for cluster in clusters.into_iter().flatten() {
                let step = tier.tier.delete_topic(
                    cluster,
                    topic.0,
                    TIER_OBJECTS_PER_STEP,
                    &tier.fence,
                    &now_ms,
                );
                deleted = match (deleted, step.await) {
                    (Ok(before), Ok(more)) => Ok(before + more),
                    (Err(error), _) | (_, Err(error)) => Err(error),
                };
            }
            Done::Delete(topic, deleted)
        });
    }

    /// Takes the objects over, in the name of this start.
    pub(super) fn take_over(&self) -> impl Future<Output = anyhow::Result<()>> + Send + use<> {
        let tier = self.parts.tier.clone();
        let image = self.parts.metadata.image();
        let broker = image.broker(self.parts.broker);
        let broker_epoch = broker
            .expect("a broker is registered before it serves")
            .epoch;
        async move { tier.take_over(broker_epoch).await }
    }

    /// A store that has not shown yet what it is, is asked to, and then taken over; one that is unwell and that nobody asks
    /// for anything is asked whether it is well again.
    fn probe(&mut self) {
        let now = self.parts.clock.now();
        if self.probing || now.monotonic_ms < self.probe_at_ms {
            return;
        }
        let tier = self.parts.tier.clone();
        let interval_ms = TIER_PROBE_INTERVAL.as_millis() as u64;
        let work = match tier.is_ready() {
            // It is another's.
            false if tier.state.is_given_up() => return,
            false => None,
            true => match tier.state.failing_unasked(interval_ms as i64, now.wall_ms) {
                Some(side) => Some(side),
                None => return,
            },
        };
        self.probing = true;
        self.probe_at_ms = now.monotonic_ms + interval_ms;
        let take_over = self.take_over();
        self.running.spawn(async move {
            match work {
                None => Done::Probe(probe(&tier, take_over).await),
                Some(side) => {
                    ask(&tier, side).await;
                    Done::Asked
                }
            }
        });
    }
}

async fn probe(
    tier: &BrokerTier,
    take_over: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    if !tier.is_probed() {
        tier.probe().await?;
    }
    take_over.await
}

/// How it goes shows in the state of the tier.
async fn ask(tier: &BrokerTier, side: Side) {
    let (store, cluster) = (tier.tier.store(), tier.tier.cluster());
    match side {
        Side::Read => drop(tier.tier.fenced_by(cluster).await),
        Side::Write => {
            // Always the same key: were it not to be deleted there would still be one object and no more.
            let key = keys::clock(cluster, Uuid::nil());
            drop(store.put_if_absent(&key, Bytes::new()).await);
            drop(store.delete(&key).await);
        }
    }
}

async fn write(tier: &BrokerTier, update: &Update, clock: &Clock) -> Result<(), TierError> {
    // A restore takes the newest for the truth, and a store may take minutes for many topics.
    let check = || tier.fence.check(&tier.tier, clock.now().monotonic_ms);
    for (topic, snapshot) in &update.topics {
        check().await?;
        tier.tier.put_topic(topic.0, snapshot).await?;
    }
    check().await?;
    tier.tier.put_snapshot(&update.snapshot).await
}
