//! Topics: create, look up, change, delete.

use std::sync::Arc;

use headwater_core::ids::{Revision, TopicId};
use headwater_core::metadata::{
    Command, CreateTopic, DeleteTopic, EffectiveConfig, Topic, TopicConfig, UpdateTopic,
};
use headwater_core::names::TopicName;
use headwater_core::replica::Outcome;
use headwater_record::{Compression, Offset};
use uuid::Uuid;

use super::Broker;
use crate::auth::{Action, Principal};
use crate::error::BrokerError;
use crate::partition::handle::Published;

/// Names of the settings, as in `UpdateTopicRequest.update_mask` behind `config.`.
pub const SETTINGS: [&str; 12] = [
    "retention_ms",
    "retention_bytes",
    "segment_bytes",
    "segment_ms",
    "durability",
    "compression",
    "message_bytes_max",
    "timestamp_ahead_ms_max",
    "min_in_sync_replicas",
    "tiering",
    "local_retention_ms",
    "local_retention_bytes",
];

/// A topic to be created.
pub struct TopicPlan {
    /// `name` or `namespace/name`.
    pub name: String,
    /// `None` is the broker's default.
    pub partitions: Option<u32>,
    /// `None` is the cluster's rule.
    pub replication_factor: Option<u32>,
    /// Settings that are not the defaults.
    pub config: TopicConfig,
}

/// A change of a topic.
pub struct TopicChange {
    /// `name` or `namespace/name`.
    pub name: String,
    /// Refuse unless the topic is at this revision.
    pub revision: Option<u64>,
    /// Grow to this many partitions.
    pub partitions: Option<u32>,
    /// New values.
    pub config: TopicConfig,
    /// Which settings change; those without a new value return to the default. `None`: those that
    /// have one.
    pub settings: Option<Vec<&'static str>>,
}

impl TopicChange {
    fn apply_to(&self, current: &TopicConfig) -> TopicConfig {
        let mut config = current.clone();
        macro_rules! apply {
            ($($setting:ident),*) => {
                $(let named = match &self.settings {
                    Some(settings) => settings.contains(&stringify!($setting)),
                    None => self.config.$setting.is_some(),
                };
                if named {
                    config.$setting = self.config.$setting;
                })*
            };
        }
        apply!(
            retention_ms,
            retention_bytes,
            segment_bytes,
            segment_ms,
            durability,
            compression,
            message_bytes_max,
            timestamp_ahead_ms_max,
            min_in_sync_replicas,
            tiering,
            local_retention_ms,
            local_retention_bytes
        );
        config
    }
}

impl Broker {
    /// Creates a topic; its partitions can be written to when this returns.
    pub async fn create_topic(
        &self,
        principal: &Principal,
        plan: TopicPlan,
        validate_only: bool,
    ) -> Result<Topic, BrokerError> {
        let name = self.topic_name("topic.name", &plan.name)?;
        self.authorize(principal, Action::Administer, &name)?;
        let partitions = plan.partitions.unwrap_or(self.settings.topics.partitions);
        self.check_room(partitions as usize)?;
        let command = Command::CreateTopic(CreateTopic {
            id: TopicId(Uuid::new_v4()),
            name: name.clone(),
            default_namespace: self.settings.default_namespace.clone(),
            partitions,
            replication_factor: plan.replication_factor,
            config: plan.config,
            create_time_ms: self.clock.now().wall_ms,
        });
        self.change(&name, command, validate_only).await
    }

    /// Changes a topic's settings, or grows it.
    pub async fn update_topic(
        &self,
        principal: &Principal,
        change: TopicChange,
        validate_only: bool,
    ) -> Result<Topic, BrokerError> {
        let image = self.image();
        let topic = self.topic(&image, principal, Action::Administer, &change.name)?;
        let wanted = change.partitions.unwrap_or_default() as usize;
        self.check_room(wanted.saturating_sub(topic.partitions.len()))?;
        let command = Command::UpdateTopic(UpdateTopic {
            id: topic.id,
            // What was read is what is changed: another change in between is not overwritten.
            expected_revision: change.revision.map_or(topic.revision, Revision),
            partitions: change.partitions,
            config: change.apply_to(&topic.config),
        });
        self.change(&topic.name, command, validate_only).await
    }

    /// Whether this broker may hold that many more partitions.
    fn check_room(&self, added: usize) -> Result<(), BrokerError> {
        let (present, max) = (self.registry.len(), self.settings.limits.partitions_max);
        if present + added <= max {
            return Ok(());
        }
        let message = format!(
            "{added} more than the {present} there are would pass this broker's limit of {max}; \
             delete topics, or raise limits.partitions_max"
        );
        Err(BrokerError::invalid("topic.partitions", message))
    }

    async fn change(
        &self,
        name: &TopicName,
        command: Command,
        validate_only: bool,
    ) -> Result<Topic, BrokerError> {
        let image = if validate_only {
            let mut image = (*self.image()).clone();
            image.apply(&command)?;
            Arc::new(image)
        } else {
            self.metadata.propose(command).await?;
            self.image()
        };
        image
            .topic(name)
            .cloned()
            .ok_or_else(|| BrokerError::TopicNotFound {
                topic: name.to_string(),
                nearest: Vec::new(),
            })
    }

    /// Deletes a topic. Its records cannot be read when this returns; its files go soon after.
    pub async fn delete_topic(
        &self,
        principal: &Principal,
        name: &str,
        topic_id: &str,
    ) -> Result<(), BrokerError> {
        let image = self.image();
        let topic = self.topic(&image, principal, Action::Administer, name)?;
        if !topic_id.is_empty() && topic_id != topic.id.to_string() {
            return Err(BrokerError::TopicNotFound {
                topic: format!("{} with id {topic_id}", topic.name),
                nearest: Vec::new(),
            });
        }
        // Objects that were put there before tier.url was taken away go when it is back.
        let has_objects = topic
            .partitions
            .iter()
            .any(|partition| partition.tier.is_some());
        self.metadata
            .propose(Command::DeleteTopic(DeleteTopic {
                id: topic.id,
                tiered: self.tier.is_some() || has_objects,
            }))
            .await?;
        Ok(())
    }

    /// One topic.
    pub fn get_topic(&self, principal: &Principal, name: &str) -> Result<Topic, BrokerError> {
        self.topic(&self.image(), principal, Action::Describe, name)
            .cloned()
    }

    /// Topics by name, behind `after`, of one namespace or (if it is empty) of all.
    pub fn list_topics(
        &self,
        principal: &Principal,
        namespace: &str,
        after: &str,
        count: usize,
    ) -> Vec<Topic> {
        let image = self.image();
        let topics = image.topics().filter(|topic| {
            topic.name.as_str() > after
                && (namespace.is_empty() || topic.name.namespace() == namespace)
                && self.may_describe(principal, &topic.name)
        });
        topics.take(count).cloned().collect()
    }

    /// Whether a topic is shown to a principal.
    pub fn may_describe(&self, principal: &Principal, topic: &TopicName) -> bool {
        self.authorizer
            .allows(principal, Action::Describe, topic.as_str())
    }

    /// Settings in force.
    pub fn effective(&self, topic: &Topic) -> EffectiveConfig {
        topic.config.effective(&self.settings.topics.effective())
    }

    pub(super) fn compression_of(&self, topic: &Topic) -> Compression {
        self.effective(topic).compression
    }

    /// What one partition shows, if it is open.
    pub fn published(&self, topic: &Topic, index: usize) -> Option<Arc<Published>> {
        let partition = self.partition_of(topic, index as i32).ok()?;
        partition.handle.published()
    }

    /// Moves a log start; `None` is the high watermark.
    pub async fn delete_records(
        &self,
        principal: &Principal,
        topic: &str,
        partition: i32,
        before: Option<Offset>,
    ) -> Result<Offset, BrokerError> {
        let partition = self.partition(principal, Action::Administer, topic, partition)?;
        match partition.handle.delete_records(before).await {
            Ok(Outcome::StartMoved(start)) => Ok(start),
            Ok(Outcome::Appended { .. }) => unreachable!("delete-records appends nothing"),
            Err(refusal) => Err(BrokerError::Refused {
                topic: partition.topic.to_string(),
                partition: partition.partition,
                refusal,
            }),
        }
    }
}
