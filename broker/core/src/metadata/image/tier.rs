//! Commands about the tier.

use headwater_log::PartitionKey;
use headwater_log::planted::{self, Bug};

use super::Image;
use crate::ids::{BrokerId, ClusterId, TopicId};
use crate::limits::TIER_HEADS_PER_COMMAND_MAX;
use crate::metadata::applied::Applied;
use crate::metadata::refused::Refused;
use crate::metadata::tier::{CommitTierHeads, TierHead, TierHeadCommit, TierHeadRefused};

impl Image {
    pub(super) fn commit_tier_heads(
        &mut self,
        commit: &CommitTierHeads,
    ) -> Result<Applied, Refused> {
        if commit.heads.len() > TIER_HEADS_PER_COMMAND_MAX {
            return Err(Refused::LimitExceeded {
                what: "tier heads of one command",
                limit: TIER_HEADS_PER_COMMAND_MAX as u64,
                remedy: "send several commands",
            });
        }
        let (mut committed, mut refused) = (Vec::new(), Vec::new());
        for one in &commit.heads {
            match self.judge_tier_head(commit.broker, one) {
                Ok(()) => {
                    self.put_tier_head(one.partition, one.head);
                    committed.push(one.partition);
                }
                Err(why) => refused.push((one.partition, why)),
            }
        }
        Ok(Applied::TierHeads { committed, refused })
    }

    fn judge_tier_head(
        &self,
        broker: BrokerId,
        commit: &TierHeadCommit,
    ) -> Result<(), TierHeadRefused> {
        let TierHeadCommit {
            partition,
            parent,
            head,
        } = commit;
        let Some(partition) = self.partition(*partition) else {
            return Err(TierHeadRefused::TopicGone);
        };
        if partition.leader != Some(broker) {
            return Err(TierHeadRefused::NotLeader);
        }
        if partition.leader_epoch != head.leader_epoch && !planted::is(Bug::HeadOfAnyEpoch) {
            let current = partition.leader_epoch;
            return Err(TierHeadRefused::StaleEpoch { current });
        }
        let present = partition.tier;
        let current = present.map(|head| head.number);
        if *parent != current && !planted::is(Bug::HeadOfAnyParent) {
            return Err(TierHeadRefused::WrongParent { current });
        }
        let is_above = current.is_none_or(|number| head.number > number);
        if !is_above && !planted::is(Bug::HeadOfAnyParent) {
            return Err(TierHeadRefused::NumberNotAbove);
        }
        let moves_back = |present: TierHead| head.start < present.start || head.end < present.end;
        if head.start > head.end || present.is_some_and(moves_back) {
            return Err(TierHeadRefused::MovesBack);
        }
        Ok(())
    }

    fn put_tier_head(&mut self, key: PartitionKey, head: TierHead) {
        let partition = self.partition_mut(key);
        partition.expect("it was judged").tier = Some(head);
    }

    pub(super) fn confirm_tier_deleted(&mut self, id: TopicId) -> Applied {
        let Some(tombstone) = self.tombstones.get_mut(&id) else {
            return Applied::Nothing;
        };
        if !tombstone.tiered {
            return Applied::Nothing;
        }
        tombstone.tiered = false;
        tombstone.heads.clear();
        self.drop_confirmed(id)
    }

    pub(super) fn adopt_tier(&mut self, cluster: ClusterId) -> Result<Applied, Refused> {
        match &mut self.restored_from {
            Some(from) if from.cluster == cluster && from.adopted => Ok(Applied::Nothing),
            Some(from) if from.cluster == cluster => {
                from.adopted = true;
                Ok(Applied::TierAdopted)
            }
            _ => Err(Refused::NotRestoredFrom { cluster }),
        }
    }
}
