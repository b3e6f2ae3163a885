//! How a run ends: faults stop, time passes, and then nothing is missing and nothing is left over.

use std::collections::BTreeSet;
use std::sync::Arc;

use headwater_tier::{Depth, Entry, FenceWatch, Problem, Tier};

use crate::bucket::BucketClient;
use crate::simulation::{ProcessId, Simulation};

/// The process that nobody started: for what is done by hand.
const NOBODY: ProcessId = ProcessId(u64::MAX);

/// How long it may take until all has come right, in virtual time.
const SETTLE_MS_MAX: u64 = 4 * 3_600_000;
const LOOK_INTERVAL_MS: u64 = 120_000;

impl Simulation {
    /// Lets a run come to its end.
    pub fn end(&mut self) {
        match self.world.draw(|rng| rng.below(8)) {
            0 => self.end_by_fence(),
            1 => self.end_by_deletion(),
            _ => self.end_in_quiet(),
        }
    }

    /// Lets so much time pass, or less if something is found.
    pub(crate) fn run_for(&mut self, ms: u64) {
        let until_ms = self.world.now_ms() + ms;
        self.run_until(until_ms);
    }

    /// No faults any more, one leader, and a few more records so that a head follows that is above every attempt.
    fn calm(&mut self) {
        self.is_calm = true;
        self.world.change_weather(crate::faults::Weather::clear);
        self.settings.tiering = true;
        self.settings.storage_full = false;
        self.settings.clock_suspect = false;
        let deposed = self
            .processes
            .iter()
            .filter(|(_, process)| process.is_deposed);
        let deposed: Vec<ProcessId> = deposed.map(|(id, _)| *id).collect();
        for id in deposed {
            self.end_process(id);
        }
        let now_ms = self.world.now_ms();
        for process in self.processes.values_mut() {
            process.frozen_until_ms = process.frozen_until_ms.min(now_ms);
        }
        self.configure();
        // Whoever was about to start has started, and the first segment rolls.
        self.run_for(400_000);
        self.is_quiet = true;
    }

    fn end_in_quiet(&mut self) {
        self.calm();
        let mut left = String::new();
        for _ in 0..SETTLE_MS_MAX / LOOK_INTERVAL_MS {
            self.run_for(LOOK_INTERVAL_MS);
            if self.failure().is_some() {
                return;
            }
            match self.unsettled() {
                None => return self.look_at_everything(),
                Some(what) => left = what,
            }
        }
        self.fail(format!("hours after the last fault {left}"));
    }

    /// What still has to happen.
    pub(crate) fn unsettled(&self) -> Option<String> {
        let process = self.leader.and_then(|leader| self.processes.get(&leader));
        let Some(process) = process else {
            return Some("nobody leads".to_owned());
        };
        let unanswered = process.appends.len();
        if unanswered > 0 {
            return Some(format!("{unanswered} appends are not answered"));
        }
        let view = process.replica.tier_view();
        let sealed_end = view.sealed.last().map(|last| last.end_offset);
        let head = self.metadata.head();
        if let Some(end) = sealed_end
            && head.is_none_or(|head| head.end < end)
        {
            let why = process.partition.last_error();
            return Some(format!("{end} is sealed and the head is {head:?}: {why:?}"));
        }
        let head = head?;
        if head.start < view.log_start && head.start < head.end {
            return Some(format!(
                "the log starts at {}, the head is {head:?}",
                view.log_start
            ));
        }
        let named = self.check.named.get(&head.number);
        let named: BTreeSet<&String> = named.iter().flat_map(|named| &named.keys).collect();
        let owners = headwater_tier::keys::owner_prefix(self.metadata.cluster());
        let left: Vec<&String> = self
            .bucket
            .objects()
            .map(|(key, _)| key)
            .filter(|key| !named.contains(key) && !key.starts_with(&owners))
            .collect();
        match left.is_empty() {
            true => None,
            false => Some(format!("these are named by nobody: {left:?}")),
        }
    }

    /// Reads all there is, and verifies every object.
    pub(crate) fn look_at_everything(&mut self) {
        let Some(leader) = self.leader else { return };
        let head = self.metadata.head();
        let Some(process) = self.processes.get(&leader) else {
            return;
        };
        let (tier, key) = (Arc::clone(&process.tier), self.check.key);
        let world = self.world.clone();
        let Some(head) = head else { return };
        self.spawn(leader, async move {
            let entries = tier.entries_to_verify(key, head).await;
            let mut problems: Vec<(Entry, Option<Problem>)> = Vec::new();
            let found = match entries {
                Ok(entries) => {
                    for entry in entries {
                        let problem = tier.verify_entry(key, &entry, Depth::Checksum).await;
                        problems.push((entry, problem));
                    }
                    Ok(problems)
                }
                Err(problem) => Err(problem),
            };
            world.after(0, move |simulation| simulation.verified(found));
        });
        for _ in 0..30 {
            self.start_reader();
        }
        self.run_for(120_000);
    }

    fn verified(&mut self, found: Result<Vec<(Entry, Option<Problem>)>, Problem>) {
        let found = match found {
            Ok(found) => found,
            Err(problem) => return self.fail(format!("{problem:?}")),
        };
        self.world
            .trace(format_args!("verified {} objects", found.len()));
        for (entry, problem) in found {
            let key = entry.object_key(self.check.key);
            let is_damaged = self.check.damaged.contains(&key);
            if problem.is_some() != is_damaged {
                self.fail(format!(
                    "{key}: damaged {is_damaged}, verified as {problem:?}"
                ));
            }
        }
    }

    /// Another cluster takes the objects over: from a minute later on this one touches nothing.
    fn end_by_fence(&mut self) {
        let other = self.world.draw(|rng| rng.uuid());
        let cluster = self.metadata.cluster();
        let limits = headwater_tier::CacheLimits {
            chunk_bytes: 1 << 16,
            meta_bytes: 1 << 16,
        };
        let store = BucketClient::new(self.world.clone(), NOBODY);
        let tier = Tier::new(Arc::new(store), other, limits);
        let world = self.world.clone();
        let fence = async move {
            while tier.put_fence(cluster).await.is_err() {
                world.sleep(1_000).await;
            }
            world
                .ask(0, |simulation| {
                    // Ten minutes are waited; what was on its way arrives within one.
                    let from_ms =
                        simulation.world.now_ms() + 2 * headwater_tier::limits::FENCE_AGE_MS_MAX;
                    simulation.check.fenced_from_ms = Some(from_ms);
                })
                .await;
        };
        self.spawn(NOBODY, fence);
        self.run_for(3_600_000);
    }

    /// The topic is deleted, with all that happens meanwhile.
    fn end_by_deletion(&mut self) {
        (self.is_calm, self.is_quiet) = (true, true);
        self.metadata.delete_topic();
        self.check.is_deleted = true;
        let ids: Vec<ProcessId> = self.processes.keys().copied().collect();
        for id in ids {
            self.end_process(id);
        }
        let (cluster, topic) = (self.metadata.cluster(), self.metadata.key().topic);
        let limits = headwater_tier::CacheLimits {
            chunk_bytes: 1 << 16,
            meta_bytes: 1 << 16,
        };
        let store = BucketClient::new(self.world.clone(), NOBODY);
        let tier = Tier::new(Arc::new(store), cluster, limits);
        let (world, grace_ms) = (self.world.clone(), self.settings.grace_ms);
        self.spawn(NOBODY, async move {
            delete_all(&tier, cluster, topic, &world, grace_ms).await;
            world
                .ask(0, |simulation| simulation.metadata.confirm_deleted())
                .await;
        });
        self.run_for(8 * 3_600_000);
        if self.failure().is_some() {
            return;
        }
        if self.metadata.has_tombstone() {
            self.fail("hours after its deletion the topic has a tombstone".to_owned());
        }
        let prefix = headwater_tier::keys::topic_prefix(cluster, topic);
        let left = self
            .bucket
            .objects()
            .find(|(key, _)| key.starts_with(&prefix));
        if let Some((key, _)) = left {
            let finding = format!("of the deleted topic {key} is left");
            self.fail(finding);
        }
    }
}

/// What the shell does for a deleted topic: until its prefix is empty, and once more after the grace.
async fn delete_all(
    tier: &Tier,
    cluster: uuid::Uuid,
    topic: uuid::Uuid,
    world: &crate::world::World,
    grace_ms: u64,
) {
    let fence = FenceWatch::default();
    while fence.take_over(tier, u64::MAX).await.is_err() {
        world.sleep(1_000).await;
    }
    let clock = world.clone();
    let now_ms = move || clock.now_ms();
    let mut empty_since_ms = None;
    loop {
        let deleted = tier.delete_topic(cluster, topic, 20, &fence, &now_ms).await;
        let now_ms = world.now_ms();
        match deleted {
            Ok(0) if empty_since_ms.is_some_and(|since_ms| now_ms > since_ms + grace_ms) => return,
            Ok(0) => {
                empty_since_ms.get_or_insert(now_ms);
            }
            // A listing that lags shows again what is gone; what counts is that nothing new comes.
            Ok(_) | Err(_) => empty_since_ms = None,
        }
        world.sleep(20_000).await;
    }
}
