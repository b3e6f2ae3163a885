//! Commands about topics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use headwater_record::LeaderEpoch;

use super::brokers::invalid;
use super::{Image, Partition, Tombstone, Topic};
use crate::ids::{BrokerId, TopicId};
use crate::limits::{
    BROKER_PARTITIONS_MAX, REPLICATION_FACTOR_DEFAULT, REPLICATION_FACTOR_MAX, TOMBSTONE_HEADS_MAX,
    TOMBSTONES_MAX, TOPIC_PARTITIONS_MAX, TOPICS_MAX,
};
use crate::metadata::applied::Applied;
use crate::metadata::command::{CreateTopic, DeleteTopic, UpdateTopic};
use crate::metadata::refused::Refused;
use crate::metadata::tier::TierHead;
use crate::names::TopicName;

impl Image {
    pub(super) fn create_topic(&mut self, create: &CreateTopic) -> Result<Applied, Refused> {
        self.check_new_topic(create)?;
        check_partition_count(create.partitions)?;
        let replication_factor = self.replication_factor(create.replication_factor)?;
        create.config.validate(replication_factor)?;
        let partitions = self.place(0, create.partitions, replication_factor)?;
        self.count_replicas(&partitions, usize::saturating_add);
        let topic = Topic {
            id: create.id,
            name: create.name.clone(),
            config: create.config.clone(),
            replication_factor,
            partitions,
            create_time_ms: create.create_time_ms,
            revision: self.next_revision(),
        };
        self.names.insert(create.id, create.name.clone());
        self.topics.insert(create.name.clone(), Arc::new(topic));
        Ok(Applied::TopicCreated { id: create.id })
    }

    fn check_new_topic(&self, create: &CreateTopic) -> Result<(), Refused> {
        if let Some(topic) = self.topic(&create.name) {
            return Err(Refused::TopicExists {
                name: topic.name.clone(),
                id: topic.id,
            });
        }
        if self.names.contains_key(&create.id) || self.tombstones.contains_key(&create.id) {
            return Err(Refused::TopicIdUsed { id: create.id });
        }
        let other = create.name.collides_with(&create.default_namespace);
        if let Some(other) = other.filter(|other| self.topics.contains_key(other)) {
            return Err(Refused::TopicNameCollides {
                name: create.name.clone(),
                other,
            });
        }
        if self.topics.len() >= TOPICS_MAX {
            return Err(Refused::LimitExceeded {
                what: "topics",
                limit: TOPICS_MAX as u64,
                remedy: "delete some, or use more partitions instead of more topics",
            });
        }
        Ok(())
    }

    fn replication_factor(&self, asked: Option<u32>) -> Result<u32, Refused> {
        let brokers = self.brokers.len();
        match asked {
            None => Ok(REPLICATION_FACTOR_DEFAULT.min(brokers as u32).max(1)),
            Some(asked) if asked == 0 || asked > REPLICATION_FACTOR_MAX => {
                let allowed = format!("give 1 to {REPLICATION_FACTOR_MAX}");
                Err(invalid("replication_factor", &asked.to_string(), &allowed))
            }
            Some(asked) if asked as usize > brokers => {
                Err(Refused::NotEnoughBrokers { asked, brokers })
            }
            Some(asked) => Ok(asked),
        }
    }

    /// Spreads new partitions over the brokers: round robin by id, beginning where the number of
    /// topics says, so that leaders of small topics do not all meet on one broker. What it answers
    /// is part of what a command does: another rule needs another feature level.
    fn place(
        &self,
        first: u32,
        end: u32,
        replication_factor: u32,
    ) -> Result<Vec<Partition>, Refused> {
        let brokers: Vec<BrokerId> = self.brokers.keys().copied().collect();
        if brokers.len() < replication_factor as usize {
            let (asked, brokers) = (replication_factor, brokers.len());
            return Err(Refused::NotEnoughBrokers { asked, brokers });
        }
        let place = |index: u32| {
            let start = self.topics.len() + index as usize;
            let cycle = brokers.iter().cycle().skip(start % brokers.len());
            let replicas: Vec<BrokerId> =
                cycle.take(replication_factor as usize).copied().collect();
            let mut isr = replicas.clone();
            isr.sort();
            Partition {
                leader: replicas.first().copied(),
                replicas,
                leader_epoch: LeaderEpoch(0),
                isr,
                epoch: 0,
                tier: None,
            }
        };
        let placed: Vec<Partition> = (first..end).map(place).collect();
        self.check_room(&placed)?;
        Ok(placed)
    }

    fn check_room(&self, placed: &[Partition]) -> Result<(), Refused> {
        for broker in self.brokers.values() {
            let holds = |partition: &&Partition| partition.replicas.contains(&broker.id);
            let added = placed.iter().filter(holds).count();
            if broker.replicas + added > BROKER_PARTITIONS_MAX {
                return Err(Refused::LimitExceeded {
                    what: "partitions on one broker",
                    limit: BROKER_PARTITIONS_MAX as u64,
                    remedy: "delete topics, add brokers, or ask for fewer partitions",
                });
            }
        }
        Ok(())
    }

    /// Adds to, or takes off, the brokers' counts of replicas.
    fn count_replicas(&mut self, partitions: &[Partition], change: fn(usize, usize) -> usize) {
        for id in partitions.iter().flat_map(|partition| &partition.replicas) {
            if let Some(broker) = self.brokers.get_mut(id) {
                broker.replicas = change(broker.replicas, 1);
            }
        }
    }

    pub(super) fn update_topic(&mut self, update: &UpdateTopic) -> Result<Applied, Refused> {
        let UpdateTopic {
            id,
            expected_revision: expected,
            partitions,
            config,
        } = update;
        let topic = self
            .topic_by_id(*id)
            .ok_or(Refused::TopicNotFound { id: *id })?;
        if topic.revision != *expected {
            let (expected, actual) = (*expected, topic.revision);
            return Err(Refused::RevisionMismatch { expected, actual });
        }
        config.validate(topic.replication_factor)?;
        let present = topic.partitions.len() as u32;
        let asked = partitions.unwrap_or(present);
        check_partition_count(asked)?;
        if asked < present {
            return Err(Refused::PartitionsShrink { present, asked });
        }
        let config_changed = topic.config != *config;
        if !config_changed && asked == present {
            return Ok(Applied::Nothing);
        }
        let added = self.place(present, asked, topic.replication_factor)?;
        let name = topic.name.clone();
        self.count_replicas(&added, usize::saturating_add);
        let revision = self.next_revision();
        let topic = self.topics.get_mut(&name).expect("names leads to topics");
        let topic = Arc::make_mut(topic);
        topic.partitions.extend(added);
        topic.config = config.clone();
        topic.revision = revision;
        Ok(Applied::TopicUpdated {
            id: *id,
            config_changed,
            added: present..asked,
        })
    }

    pub(super) fn delete_topic(&mut self, delete: &DeleteTopic) -> Result<Applied, Refused> {
        let id = delete.id;
        let name = self
            .names
            .get(&id)
            .ok_or(Refused::TopicNotFound { id })?
            .clone();
        let heads = self.tier_heads(&name);
        self.check_new_tombstone(heads.len())?;
        let topic = self.topics.remove(&name).expect("names leads to topics");
        self.names.remove(&id);
        self.count_replicas(&topic.partitions, usize::saturating_sub);
        let replicas = topic
            .partitions
            .iter()
            .flat_map(|partition| &partition.replicas);
        let brokers: BTreeSet<BrokerId> = replicas.copied().collect();
        let partitions = topic.partitions.len() as u32;
        let tombstone = Tombstone {
            name,
            partitions,
            brokers,
            tiered: delete.tiered || !heads.is_empty(),
            heads,
        };
        self.tombstones.insert(id, tombstone);
        self.drop_confirmed(id);
        Ok(Applied::TopicDeleted { id, partitions })
    }

    fn check_new_tombstone(&self, heads: usize) -> Result<(), Refused> {
        if self.tombstones.len() >= TOMBSTONES_MAX {
            return Err(Refused::LimitExceeded {
                what: "deleted topics that are not known to be gone",
                limit: TOMBSTONES_MAX as u64,
                remedy: "bring back the brokers that hold replicas of them, and the tier",
            });
        }
        // Without heads nothing is added, and nothing has to be counted.
        let present = || self.tombstones.values().map(|gone| gone.heads.len());
        if heads > 0 && present().sum::<usize>() + heads > TOMBSTONE_HEADS_MAX {
            return Err(Refused::LimitExceeded {
                what: "partitions of deleted topics that are in the tier",
                limit: TOMBSTONE_HEADS_MAX as u64,
                remedy: "bring back the tier, so that their objects can go",
            });
        }
        Ok(())
    }

    /// The heads of a topic's partitions, by number.
    fn tier_heads(&self, name: &TopicName) -> BTreeMap<u32, TierHead> {
        let partitions = self.topic(name).map(|topic| &topic.partitions);
        let numbered = (0..).zip(partitions.into_iter().flatten());
        numbered
            .filter_map(|(index, partition)| Some((index, partition.tier?)))
            .collect()
    }

    pub(super) fn confirm_topic_deleted(&mut self, id: TopicId, broker: BrokerId) -> Applied {
        let Some(tombstone) = self.tombstones.get_mut(&id) else {
            return Applied::Nothing;
        };
        if !tombstone.brokers.remove(&broker) {
            return Applied::Nothing;
        }
        self.drop_confirmed(id)
    }

    /// Drops the tombstone if nothing is left of the topic anywhere.
    pub(super) fn drop_confirmed(&mut self, id: TopicId) -> Applied {
        let is_gone = |tombstone: &Tombstone| tombstone.brokers.is_empty() && !tombstone.tiered;
        let last = self.tombstones.get(&id).is_some_and(is_gone);
        if last {
            self.tombstones.remove(&id);
        }
        Applied::TopicDeletionConfirmed { last }
    }
}

fn check_partition_count(partitions: u32) -> Result<(), Refused> {
    if (1..=TOPIC_PARTITIONS_MAX).contains(&partitions) {
        return Ok(());
    }
    let allowed = format!("give 1 to {TOPIC_PARTITIONS_MAX}");
    Err(invalid("partitions", &partitions.to_string(), &allowed))
}
