//! What makes the bucket describe itself: the metadata, written there when it has changed.

use std::collections::HashMap;

use bytes::Bytes;
use headwater_core::ids::{Revision, TopicId};
use headwater_core::metadata::Image;
use headwater_tier::bucket::Snapshot;

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
        let waits = self
            .at_ms
            .is_some_and(|at| now_ms.saturating_sub(at) < interval_ms);
        if self.running.is_some() || waits || self.written == Some(revision) {
            return None;
        }
        self.at_ms = Some(now_ms);
        self.topics.retain(|&id, _| image.topic_by_id(id).is_some());
        let known = &self.topics;
        let changed = image
            .topics()
            .filter(|topic| known.get(&topic.id) != Some(&topic.revision));
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
