//! What makes the bucket describe itself: the metadata, written there when it has changed.

use std::collections::HashMap;

use bytes::Bytes;
use headwater_core::ids::{Revision, TopicId};
use headwater_core::metadata::{Image, Topic};
use headwater_tier::bucket::Snapshot;

/// Topics that are new or have changed wait for no longer than this: what of them is in the tier is lost to a restore
/// that does not know them. Heads alone change often, and wait for `tier.snapshot_interval`.
const TOPICS_MS: u64 = 1_000;

/// What the bucket has been told.
#[derive(Default)]
pub(super) struct Snapshots {
    written: Option<Revision>,
    topics: HashMap<TopicId, Revision>,
    at_ms: Option<u64>,
    /// Topics of the update under way, if one is.
    running: Option<Vec<TopicId>>,
}

/// What is to be written.
pub(super) struct Update {
    /// The whole.
    pub(super) snapshot: Snapshot,
    /// Topics that are new or have changed.
    pub(super) topics: Vec<(TopicId, Snapshot)>,
}

impl Snapshots {
    /// What is to be written now, if anything is.
    pub(super) fn plan(&mut self, image: &Image, interval_ms: u64, now_ms: u64) -> Option<Update> {
        let revision = image.revision();
        if self.running.is_some() || self.written == Some(revision) {
            return None;
        }
        let least_ms = match image.topics().all(|topic| self.has(topic)) {
            true => interval_ms,
            false => TOPICS_MS.min(interval_ms),
        };
        if self
            .at_ms
            .is_some_and(|at| now_ms.saturating_sub(at) < least_ms)
        {
            return None;
        }
        self.at_ms = Some(now_ms);
        self.topics.retain(|&id, _| image.topic_by_id(id).is_some());
        let changed = image.topics().filter(|topic| !self.has(topic));
        let topics = changed.map(|topic| {
            let alone = image.with_topic_alone(topic.id);
            let snapshot = Snapshot {
                revision: topic.revision.0,
                image: Bytes::from(alone.encode()),
            };
            (topic.id, snapshot)
        });
        let topics: Vec<_> = topics.collect();
        self.running = Some(topics.iter().map(|(id, _)| *id).collect());
        Some(Update {
            topics,
            snapshot: Snapshot {
                revision: revision.0,
                image: Bytes::from(image.encode()),
            },
        })
    }

    /// Whether the bucket has the topic as it is.
    fn has(&self, topic: &Topic) -> bool {
        self.topics.get(&topic.id) == Some(&topic.revision)
    }

    /// Whether an object of this topic is being written.
    pub(super) fn is_writing(&self, topic: TopicId) -> bool {
        let writing = self.running.as_ref();
        writing.is_some_and(|topics| topics.contains(&topic))
    }

    /// The update is there; or the store did not take it, and it is tried again.
    pub(super) fn done(&mut self, update: &Update, success: bool) {
        self.running = None;
        if success {
            self.written = Some(Revision(update.snapshot.revision));
            let topics = update.topics.iter();
            self.topics
                .extend(topics.map(|(id, topic)| (*id, Revision(topic.revision))));
        }
    }
}

#[cfg(test)]
mod tests {
    use headwater_core::ids::{ClusterId, IncarnationId, StorageId};
    use headwater_core::metadata::{
        Command, CreateTopic, FEATURE_LEVEL, FormCluster, RegisterBroker, TopicConfig,
    };
    use headwater_core::names::TopicName;
    use uuid::Uuid;

    use super::*;

    const INTERVAL_MS: u64 = 60_000;

    fn cluster() -> Image {
        let mut image = Image::default();
        let storage = StorageId(Uuid::from_u128(1));
        let commands = [
            Command::FormCluster(FormCluster {
                cluster: ClusterId(Uuid::from_u128(2)),
                first_storage: storage,
            }),
            Command::RegisterBroker(RegisterBroker {
                storage,
                incarnations: vec![IncarnationId(Uuid::from_u128(3))],
                node_name: "broker-1".to_owned(),
                version: "0.1.0".to_owned(),
                feature_level_max: FEATURE_LEVEL,
            }),
        ];
        for command in commands {
            image.apply(&command).unwrap();
        }
        image
    }

    fn create_topic(image: &mut Image, number: u128) {
        let create = CreateTopic {
            id: TopicId(Uuid::from_u128(10 + number)),
            name: TopicName::parse(&format!("t{number}"), "default").unwrap(),
            default_namespace: "default".to_owned(),
            partitions: 1,
            replication_factor: None,
            config: TopicConfig::default(),
            create_time_ms: 1_700_000_000_000,
        };
        image.apply(&Command::CreateTopic(create)).unwrap();
    }

    #[test]
    fn a_new_topic_does_not_wait_for_the_interval_and_all_else_does() {
        let (mut image, mut snapshots) = (cluster(), Snapshots::default());
        let first = snapshots.plan(&image, INTERVAL_MS, 0).unwrap();
        snapshots.done(&first, true);

        create_topic(&mut image, 1);
        assert!(snapshots.plan(&image, INTERVAL_MS, TOPICS_MS - 1).is_none());
        let update = snapshots.plan(&image, INTERVAL_MS, TOPICS_MS).unwrap();
        assert_eq!(update.topics.len(), 1);
        snapshots.done(&update, true);

        image
            .apply(&Command::AllocateProducerIds { count: 1 })
            .unwrap();
        let later = TOPICS_MS + INTERVAL_MS;
        assert!(snapshots.plan(&image, INTERVAL_MS, later - 1).is_none());
        let update = snapshots.plan(&image, INTERVAL_MS, later).unwrap();
        assert!(update.topics.is_empty(), "no topic has changed");
    }

    #[test]
    fn a_topic_that_the_store_did_not_take_is_tried_again_soon() {
        let (mut image, mut snapshots) = (cluster(), Snapshots::default());
        create_topic(&mut image, 1);
        let update = snapshots.plan(&image, INTERVAL_MS, 0).unwrap();
        assert!(snapshots.is_writing(TopicId(Uuid::from_u128(11))));
        snapshots.done(&update, false);
        assert!(!snapshots.is_writing(TopicId(Uuid::from_u128(11))));
        assert!(snapshots.plan(&image, INTERVAL_MS, TOPICS_MS - 1).is_none());
        let again = snapshots.plan(&image, INTERVAL_MS, TOPICS_MS).unwrap();
        assert_eq!(again.topics.len(), 1);
    }
}
