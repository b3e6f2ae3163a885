//! How the tier does, for health, metrics and `tier status`.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use headwater_log::PartitionKey;
use headwater_tier::{Failure, Hold, TierError};

/// Partitions whose trouble is kept for people; the rest is in the log.
const PARTITION_ERRORS_MAX: usize = 100;

/// How the tier does. Shared by those who use it, who write it, and by all who are asked.
#[derive(Default)]
pub struct TierState(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    facts: TierFacts,
    /// Since when reads and writes fail, each by itself: that one goes well does not make up for the other.
    failing_since_ms: [Option<i64>; 2],
    /// When the store was last asked for anything, and how that went.
    asked_ms: i64,
}

/// What is asked of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Reading, looking and listing.
    Read = 0,
    /// Writing and deleting.
    Write = 1,
}

/// What is known.
#[derive(Clone, Debug, Default)]
pub struct TierFacts {
    /// When the store last did as asked, in milliseconds since the epoch.
    pub last_success_ms: Option<i64>,
    /// Since when it has not.
    pub failing_since_ms: Option<i64>,
    /// The last trouble, and when it was.
    pub last_error: Option<(String, i64)>,
    /// Why the store must not be written to, once it has answered; see [`super::store::probe()`].
    pub unusable: Option<String>,
    /// The cluster that has taken this one's objects over.
    pub fenced_by: Option<String>,
    /// Another process of this cluster has taken the objects over.
    pub superseded: bool,
    /// Clusters that were restored from this one's objects and hold them.
    pub holds: Vec<Hold>,
    /// Partitions that cannot be uploaded, and why.
    pub blocked: BTreeMap<PartitionKey, Failure>,
    /// Segments that are being uploaded or wait for their manifest, of partitions that have any.
    pub uploading: BTreeMap<PartitionKey, usize>,
    /// Sealed bytes that are not in the tier.
    pub backlog_bytes: u64,
    /// Segments of them.
    pub backlog_segments: u64,
    /// When the newest record of the oldest of them was appended, in milliseconds since the epoch.
    pub backlog_since_ms: Option<i64>,
    /// Objects that nothing names, still within their grace or held, as the last sweeps found.
    pub garbage_objects: u64,
}

impl TierState {
    /// What is known now.
    pub fn facts(&self) -> TierFacts {
        self.lock().facts.clone()
    }

    /// The store did as asked.
    pub fn succeeded(&self, side: Side, wall_ms: i64) {
        let mut inner = self.lock();
        inner.asked_ms = wall_ms;
        inner.facts.last_success_ms = Some(wall_ms);
        if inner.failing_since_ms[side as usize].take().is_some() {
            inner.facts.failing_since_ms = inner.failing_since_ms.into_iter().flatten().min();
            if inner.facts.failing_since_ms.is_none() {
                tracing::info!("the tier answers again");
            }
        }
    }

    /// The store did not do as asked.
    pub fn failed(&self, side: Side, error: &str, wall_ms: i64) {
        let mut inner = self.lock();
        inner.asked_ms = wall_ms;
        if inner.facts.failing_since_ms.is_none() {
            tracing::warn!(
                error,
                "the tier does not do as asked; segments stay on the disk until it does"
            );
        }
        inner.failing_since_ms[side as usize].get_or_insert(wall_ms);
        inner.facts.failing_since_ms = inner.failing_since_ms.into_iter().flatten().min();
        inner.facts.last_error = Some((error.to_owned(), wall_ms));
    }

    /// Whether the store does not do as asked.
    pub(super) fn is_failing(&self) -> bool {
        self.lock().facts.failing_since_ms.is_some()
    }

    /// The side that fails although nobody has asked the store for `quiet_ms`: only asking shows whether it still does.
    pub(super) fn failing_unasked(&self, quiet_ms: i64, wall_ms: i64) -> Option<Side> {
        let inner = self.lock();
        if wall_ms.saturating_sub(inner.asked_ms) < quiet_ms {
            return None;
        }
        match inner.failing_since_ms {
            [_, Some(_)] => Some(Side::Write),
            [Some(_), None] => Some(Side::Read),
            [None, None] => None,
        }
    }

    /// The store cannot be a tier's; `None`: it can.
    pub(super) fn unusable(&self, why: Option<String>) {
        let mut inner = self.lock();
        if let Some(why) = &why
            && inner.facts.unusable.is_none()
        {
            tracing::error!(why, "nothing is written to the tier");
        }
        inner.facts.unusable = why;
    }

    /// Whether another cluster, or another process of this one, has taken the objects over.
    pub(super) fn is_given_up(&self) -> bool {
        let facts = &self.lock().facts;
        facts.fenced_by.is_some() || facts.superseded
    }

    /// Whether an error says that another cluster, or another process of this one, has taken the objects over; from then
    /// on the tier is read only.
    pub(super) fn gives_up(&self, error: &TierError) -> bool {
        let facts = &mut self.lock().facts;
        match error {
            TierError::Fenced { by } => {
                if facts.fenced_by.is_none() {
                    tracing::error!(
                        by,
                        "another cluster has adopted this one's objects; the tier is read only"
                    );
                    facts.fenced_by = Some(by.clone());
                }
                true
            }
            TierError::Superseded => {
                if !facts.superseded {
                    tracing::error!(
                        "another process of this cluster has taken its objects over; the tier is read only"
                    );
                    facts.superseded = true;
                }
                true
            }
            _ => false,
        }
    }

    /// Whether another cluster holds this one's objects.
    pub(super) fn is_held(&self) -> bool {
        !self.lock().facts.holds.is_empty()
    }

    /// Who holds this cluster's objects now.
    pub(super) fn held(&self, holds: Vec<Hold>) {
        let facts = &mut self.lock().facts;
        match (facts.holds.first(), holds.first()) {
            (None, Some(hold)) => tracing::warn!(
                by = hold.holder,
                "another cluster was restored from this one's objects; nothing is deleted from the tier"
            ),
            (Some(_), None) => tracing::info!("nobody holds the tier's objects any more"),
            _ => {}
        }
        facts.holds = holds;
    }

    /// A partition cannot be uploaded; `None`: it can, or is not there any more.
    pub(super) fn blocked(&self, key: PartitionKey, why: Option<&Failure>) {
        let blocked = &mut self.lock().facts.blocked;
        match why {
            None => drop(blocked.remove(&key)),
            Some(why) if blocked.len() < PARTITION_ERRORS_MAX || blocked.contains_key(&key) => {
                blocked.insert(key, why.clone());
            }
            Some(_) => {}
        }
    }

    /// What is not in the tier yet.
    pub(super) fn backlog(&self, bytes: u64, segments: u64, since_ms: Option<i64>) {
        let facts = &mut self.lock().facts;
        facts.backlog_bytes = bytes;
        facts.backlog_segments = segments;
        facts.backlog_since_ms = since_ms;
    }

    /// What waits for its deletion, and what is under way.
    pub(super) fn under_way(&self, garbage: u64, uploading: BTreeMap<PartitionKey, usize>) {
        let facts = &mut self.lock().facts;
        facts.garbage_objects = garbage;
        facts.uploading = uploading;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
