//! Heads: all that are ready go into one command.

use std::collections::HashMap;

use headwater_core::ids::BrokerId;
use headwater_core::limits::TIER_HEADS_PER_COMMAND_MAX;
use headwater_core::metadata::{Applied, Command, CommitTierHeads, TierHeadCommit};
use headwater_log::PartitionKey;
use headwater_tier::Proposal;
use rand::Rng;

use super::super::{BrokerTier, metadata_head};
use super::Driver;
use super::work::Done;
use crate::clock::Clock;
use crate::metadata::MetadataHandle;

impl Driver {
    /// Proposes the heads of all partitions whose manifests are there, if it is time and no command is under way.
    pub(super) fn commit(&mut self) {
        let now_ms = self.parts.clock.now().monotonic_ms;
        if self.committing || self.proposals.is_empty() || now_ms < self.commit_at_ms {
            return;
        }
        self.committing = true;
        self.commit_at_ms = now_ms + self.parts.tier.settings.commit_interval.as_millis() as u64;
        let some = self.proposals.len().min(TIER_HEADS_PER_COMMAND_MAX);
        let proposals: Vec<Proposal> = self.proposals.drain(..some).collect();
        let tier = self.parts.tier.clone();
        let clock = self.parts.clock.clone();
        let metadata = self.parts.metadata.clone();
        let broker = self.parts.broker;
        self.running.spawn(async move {
            let result = propose(&tier, &clock, &metadata, broker, &proposals).await;
            Done::Commit(proposals, result)
        });
    }

    /// Tells the partitions what has become of their proposals.
    pub(super) fn committed(
        &mut self,
        proposals: &[Proposal],
        result: &Result<HashMap<PartitionKey, String>, String>,
    ) {
        self.committing = false;
        let now = self.parts.clock.now();
        for proposal in proposals {
            let Some(slot) = self.slots.get_mut(&proposal.key) else {
                continue;
            };
            if slot.partition.leader_epoch() != proposal.head.leader_epoch {
                continue;
            }
            let why = match result {
                Ok(refused) => refused.get(&proposal.key),
                Err(why) => Some(why),
            };
            if let Some(why) = why {
                tracing::warn!(partition = ?proposal.key, why, "a head was not committed");
            }
            let why = why.map(String::as_str);
            slot.partition.committed(why, now, rand::rng().random());
            self.wake(proposal.key);
        }
    }
}

async fn propose(
    tier: &BrokerTier,
    clock: &Clock,
    metadata: &MetadataHandle,
    broker: BrokerId,
    proposals: &[Proposal],
) -> Result<HashMap<PartitionKey, String>, String> {
    let checked = tier.fence.check(&tier.tier, clock.now().monotonic_ms).await;
    if let Err(error) = checked {
        tier.state.gives_up(&error);
        return Err(error.to_string());
    }
    if tier.fence.is_stale(clock.now().monotonic_ms) {
        return Err("the look for another owner took too long".to_owned());
    }
    let heads = proposals.iter().map(|proposal| TierHeadCommit {
        partition: proposal.key,
        parent: proposal.parent,
        head: metadata_head(proposal.head),
    });
    let command = Command::CommitTierHeads(CommitTierHeads {
        broker,
        heads: heads.collect(),
    });
    match metadata.propose(command).await {
        Ok(Applied::TierHeads { refused, .. }) => {
            let refused = refused.into_iter();
            Ok(refused.map(|(key, why)| (key, why.to_string())).collect())
        }
        Ok(other) => unreachable!("heads were proposed, got {other:?}"),
        Err(error) => Err(error.to_string()),
    }
}
