//! Objects of topics that newer ones have replaced: looked for when a topic has changed, and again after the grace while
//! any is left.

use std::collections::HashMap;

use headwater_core::ids::TopicId;

/// Topics of which objects may have been replaced.
#[derive(Default)]
pub(super) struct Replaced {
    /// When each is to be looked at, by the monotonic clock.
    due: HashMap<TopicId, u64>,
    /// One at a time: nobody waits for it.
    running: bool,
}

impl Replaced {
    /// The bucket has got newer objects of these topics.
    pub(super) fn changed(&mut self, topics: impl Iterator<Item = TopicId>, now_ms: u64) {
        self.due.extend(topics.map(|id| (id, now_ms)));
    }

    /// The topic to be looked at next. Of those that `exists` does not know there is nothing to keep.
    pub(super) fn plan(
        &mut self,
        now_ms: u64,
        exists: impl Fn(TopicId) -> bool,
    ) -> Option<TopicId> {
        self.due.retain(|&id, _| exists(id));
        if self.running {
            return None;
        }
        let mut due = self.due.iter().filter(|&(_, &due_ms)| due_ms <= now_ms);
        let id = due.next().map(|(&id, _)| id)?;
        self.due.remove(&id);
        self.running = true;
        Some(id)
    }

    /// The topic was looked at; until `again_ms` what was found has to wait, if anything has.
    pub(super) fn looked(&mut self, id: TopicId, again_ms: Option<u64>) {
        self.running = false;
        if let Some(again_ms) = again_ms {
            // It may have changed meanwhile.
            self.due.entry(id).or_insert(again_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn id(n: u128) -> TopicId {
        TopicId(Uuid::from_u128(n))
    }

    #[test]
    fn a_topic_is_looked_at_until_nothing_of_it_waits() {
        let mut replaced = Replaced::default();
        assert_eq!(replaced.plan(0, |_| true), None);
        replaced.changed([id(1)].into_iter(), 0);
        assert_eq!(replaced.plan(0, |_| true), Some(id(1)));
        replaced.changed([id(2)].into_iter(), 5);
        assert_eq!(replaced.plan(5, |_| true), None, "one at a time");
        replaced.looked(id(1), Some(100));
        assert_eq!(replaced.plan(5, |_| true), Some(id(2)));
        replaced.looked(id(2), None);
        assert_eq!(replaced.plan(99, |_| true), None);
        assert_eq!(replaced.plan(100, |_| true), Some(id(1)));
        replaced.changed([id(1)].into_iter(), 101);
        replaced.looked(id(1), Some(900));
        assert_eq!(replaced.plan(101, |_| true), Some(id(1)), "it has changed");
        replaced.looked(id(1), Some(200));
        assert_eq!(replaced.plan(200, |_| false), None, "it is deleted");
        assert_eq!(replaced.plan(200, |_| true), None);
    }
}
