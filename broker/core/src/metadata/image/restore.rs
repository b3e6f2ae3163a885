//! The image of a cluster that is rebuilt from a snapshot of another and from its tier.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_log::PartitionKey;
use headwater_record::LeaderEpoch;

use super::{Cluster, Image, Partition, Topic};
use crate::ids::{ProducerId, TopicId};
use crate::limits::NUMBER_MAX;
use crate::metadata::command::FEATURE_LEVEL;
use crate::metadata::tier::{RestoredFrom, TierHead};

impl Image {
    /// The image of a new cluster with the topics of `snapshot`, which another cluster wrote.
    ///
    /// It has no brokers, and no partition has a replica: the first broker that registers, which
    /// must be the one of `cluster.first_storage`, is made the only replica and the leader of every
    /// partition by its registration. That needs no command of its own, so no restored cluster is
    /// ever without a leader once a broker is in it, and its data directory can be filled before.
    /// Replication factors stay what they were.
    ///
    /// Heads of the tier are for the caller to find and to set, see [`Image::set_tier_head`].
    /// Leader epochs rise, so that what is written here is told from what the old cluster wrote
    /// behind the snapshot. Producer ids are handed out from `next_producer_min` or what the
    /// snapshot says, whichever is higher; name those behind the highest id in the tier. Names of
    /// producers are forgotten, because their epochs may have risen since: each gets a new id, with
    /// nothing to be told from, when it is next used. Tombstones stay with the old cluster, whose
    /// objects are not this one's to delete.
    pub fn restored(snapshot: Image, cluster: Cluster, next_producer_min: ProducerId) -> Image {
        let restored_from = snapshot.cluster.map(|old| RestoredFrom {
            cluster: old.id,
            adopted: false,
        });
        let revision = snapshot.next_revision();
        let topics = snapshot.topics.into_iter().map(|(name, mut topic)| {
            orphan(Arc::make_mut(&mut topic));
            (name, topic)
        });
        Image {
            revision,
            feature_level: FEATURE_LEVEL,
            cluster: Some(cluster),
            brokers: BTreeMap::new(),
            topics: topics.collect(),
            names: snapshot.names,
            tombstones: BTreeMap::new(),
            named_producers: BTreeMap::new(),
            next_broker: snapshot.next_broker,
            next_producer: snapshot.next_producer.max(next_producer_min),
            restored_from,
        }
    }

    /// Puts a topic in as another image has it, without replicas. One of the same id or name gives way; the id of one
    /// that had the name is returned. For images that no backend has.
    pub fn take_topic(&mut self, topic: &Topic) -> Option<TopicId> {
        self.forget_topic(topic.id);
        let namesake = self.topic(&topic.name).map(|namesake| namesake.id);
        if let Some(namesake) = namesake {
            self.forget_topic(namesake);
        }
        let mut topic = topic.clone();
        for partition in &mut topic.partitions {
            partition.replicas.clear();
            partition.leader = None;
            partition.isr.clear();
        }
        self.revision = self.revision.max(topic.revision);
        self.names.insert(topic.id, topic.name.clone());
        self.topics.insert(topic.name.clone(), Arc::new(topic));
        namesake
    }

    /// The id that the next producer gets.
    pub fn next_producer(&self) -> ProducerId {
        self.next_producer
    }

    /// Leaves a topic out, without a tombstone. For images that no backend has.
    pub fn forget_topic(&mut self, id: TopicId) {
        if let Some(name) = self.names.remove(&id) {
            self.topics.remove(&name);
        }
    }

    /// Names what the tier holds of a partition, in an image that no backend has yet. Raises the
    /// leader epoch above the head's, which may be of a leadership that the snapshot did not see.
    /// `false`, and nothing has changed, if there is no such partition, or the head cannot be one:
    /// it ends before it starts, or no epoch can follow its own.
    #[must_use]
    pub fn set_tier_head(&mut self, key: PartitionKey, head: TierHead) -> bool {
        let Some(partition) = self.partition_mut(key) else {
            return false;
        };
        // Many more have to fit behind the one that follows.
        if head.start > head.end || head.leader_epoch.0 > NUMBER_MAX / 2 {
            return false;
        }
        let above = LeaderEpoch(head.leader_epoch.0 + 1);
        partition.leader_epoch = partition.leader_epoch.max(above);
        partition.tier = Some(head);
        true
    }
}

fn orphan(topic: &mut Topic) {
    for partition in &mut topic.partitions {
        let Partition {
            replicas,
            leader,
            leader_epoch,
            isr,
            epoch,
            tier,
        } = partition;
        replicas.clear();
        *leader = None;
        leader_epoch.0 += 1;
        isr.clear();
        *epoch += 1;
        *tier = None;
    }
}
