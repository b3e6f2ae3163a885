//! Objects of deleted topics: deleted, looked for once more after the grace, and then forgotten.

use std::collections::{HashMap, HashSet};

use headwater_core::ids::TopicId;

/// How long a topic waits after the store did not do as asked.
const RETRY_MS: u64 = 10_000;

/// Deleted topics whose objects may still be there, and since when none was found, by the monotonic clock.
#[derive(Default)]
pub(super) struct Deleted {
    topics: HashMap<TopicId, Topic>,
    /// One at a time: nobody waits for it.
    running: Option<TopicId>,
}

#[derive(Clone, Copy, Default)]
struct Topic {
    empty_since_ms: Option<u64>,
    /// After a failure: not before.
    retry_at_ms: u64,
}

impl Deleted {
    /// The topic to be looked after next, of those whose tombstones wait for the tier. `is_busy`: something that was begun before the topic was deleted may
    /// still write an object of it, so that what is found then is not all.
    pub(super) fn plan(
        &mut self,
        tombstones: impl Iterator<Item = TopicId>,
        grace_ms: u64,
        now_ms: u64,
        is_busy: impl Fn(TopicId) -> bool,
    ) -> Option<TopicId> {
        let tombstones: HashSet<TopicId> = tombstones.collect();
        self.topics.retain(|id, _| tombstones.contains(id));
        for id in tombstones {
            let topic = self.topics.entry(id).or_default();
            if is_busy(id) {
                topic.empty_since_ms = None;
            }
        }
        if self.running.is_some() {
            return None;
        }
        let due = self.topics.iter().find(|(_, topic)| {
            let waited = topic
                .empty_since_ms
                .is_none_or(|since_ms| now_ms.saturating_sub(since_ms) >= grace_ms);
            waited && topic.retry_at_ms <= now_ms
        });
        self.running = due.map(|(&id, _)| id);
        self.running
    }

    /// So many objects were deleted; `None` if the store did not do as asked. Returns whether all is gone, so that the
    /// tombstone need not wait for the tier.
    pub(super) fn swept(&mut self, id: TopicId, objects: Option<usize>, now_ms: u64) -> bool {
        self.running = None;
        let Some(topic) = self.topics.get_mut(&id) else {
            return false;
        };
        match (objects, topic.empty_since_ms) {
            (Some(0), Some(_)) => return true,
            (Some(0), None) => topic.empty_since_ms = Some(now_ms),
            // More may be there.
            (Some(_), _) => topic.empty_since_ms = None,
            // It begins anew, and others have their turn meanwhile.
            (None, _) => {
                topic.empty_since_ms = None;
                topic.retry_at_ms = now_ms + RETRY_MS;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const GRACE_MS: u64 = 1_000;

    fn id(n: u128) -> TopicId {
        TopicId(Uuid::from_u128(n))
    }

    fn plan(deleted: &mut Deleted, now_ms: u64, busy: bool) -> Option<TopicId> {
        deleted.plan([id(1)].into_iter(), GRACE_MS, now_ms, |_| busy)
    }

    #[test]
    fn a_topic_is_gone_when_nothing_of_it_is_found_twice_a_grace_apart() {
        let mut deleted = Deleted::default();
        assert_eq!(plan(&mut deleted, 0, false), Some(id(1)));
        assert_eq!(plan(&mut deleted, 0, false), None, "one at a time");
        assert!(!deleted.swept(id(1), Some(7), 10));
        assert_eq!(
            plan(&mut deleted, 10, false),
            Some(id(1)),
            "more may be there"
        );
        assert!(!deleted.swept(id(1), Some(0), 20));
        assert_eq!(plan(&mut deleted, 1_019, false), None);
        assert_eq!(plan(&mut deleted, 1_020, false), Some(id(1)));
        assert!(!deleted.swept(id(1), Some(1), 1_020), "one came late");
        assert_eq!(plan(&mut deleted, 1_020, false), Some(id(1)));
        assert!(!deleted.swept(id(1), Some(0), 1_030));
        assert_eq!(plan(&mut deleted, 2_030, false), Some(id(1)));
        assert!(deleted.swept(id(1), Some(0), 2_030));
    }

    #[test]
    fn what_is_still_being_written_is_waited_for() {
        let mut deleted = Deleted::default();
        for now_ms in [0, 500, 1_000, 5_000] {
            assert_eq!(plan(&mut deleted, now_ms, true), Some(id(1)));
            assert!(!deleted.swept(id(1), Some(0), now_ms), "it may still come");
        }
        assert_eq!(plan(&mut deleted, 5_999, false), None);
        assert_eq!(plan(&mut deleted, 6_000, false), Some(id(1)));
        assert!(deleted.swept(id(1), Some(0), 6_000));
    }

    #[test]
    fn a_topic_that_cannot_be_deleted_holds_up_no_other() {
        let mut deleted = Deleted::default();
        let both = || [id(1), id(2)].into_iter();
        let mut seen = HashSet::new();
        for now_ms in 0..2 {
            let next = deleted.plan(both(), GRACE_MS, now_ms, |_| false).unwrap();
            assert!(!deleted.swept(next, None, now_ms));
            seen.insert(next);
        }
        assert_eq!(seen.len(), 2);
        assert_eq!(deleted.plan(both(), GRACE_MS, 2, |_| false), None);
        let later = deleted.plan(both(), GRACE_MS, RETRY_MS + 1, |_| false);
        assert!(later.is_some());
    }
}
