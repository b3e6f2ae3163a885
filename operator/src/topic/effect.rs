//! What a change will do to records, said before it is asked for. From then on the change is conditional on the revision
//! that was looked at: what was said is what is done.

use headwater_crds::{Keeping, Topic, Units, delete_effect, move_effect};
use headwater_proto::v1;

use super::status::{retention_time, size};
use crate::context::Context;
use crate::events;

/// The event's reason.
const REASON: &str = "RetentionChanges";

/// Paths of what decides how long records are kept, and where.
const PATHS: [&str; 5] = [
    "config.tiering",
    "config.retention_ms",
    "config.retention_bytes",
    "config.local_retention_ms",
    "config.local_retention_bytes",
];

/// Amounts as a resource has them.
const UNITS: Units = Units {
    time: |ms| retention_time(i64::try_from(ms).unwrap_or(i64::MAX)),
    size: |bytes| size(i64::try_from(bytes).unwrap_or(i64::MAX)),
};

/// What will happen.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// In words.
    pub(super) note: String,
    /// Whether somebody should look: it takes room, or records.
    pub(super) warns: bool,
}

/// Whether a change of these paths may have an effect that is to be told.
pub(super) fn is_possible(paths: &[String]) -> bool {
    paths.iter().any(|path| PATHS.contains(&path.as_str()))
}

/// What going from one to the other does, both with the defaults that are in force; `None` if it does nothing.
pub(super) fn told(
    before: &v1::TopicConfig,
    after: &v1::TopicConfig,
    has_tier: bool,
) -> Option<Told> {
    let (before, after) = (keeping(before), keeping(after));
    let deleted = delete_effect(&before, &after, UNITS);
    let moved = move_effect(&before, &after, UNITS).filter(|_| has_tier);
    let warns = deleted.is_some() || moved.as_ref().is_some_and(|effect| effect.asks);
    let says = deleted.into_iter().chain(moved).map(|effect| effect.says);
    let says: Vec<String> = says.collect();
    (!says.is_empty()).then(|| Told {
        note: says.join("; "),
        warns,
    })
}

fn keeping(config: &v1::TopicConfig) -> Keeping {
    Keeping {
        tiering: config.tiering(),
        retention_ms: config.retention_ms,
        retention_bytes: config.retention_bytes,
        local_retention_ms: config.local_retention_ms,
        local_retention_bytes: config.local_retention_bytes,
    }
}

impl Told {
    /// Tells it to who looks at the resource.
    pub(super) async fn publish(self, context: &Context, topic: &Topic) {
        match self.warns {
            true => events::warning(context, topic, REASON, self.note).await,
            false => events::normal(context, topic, REASON, self.note).await,
        }
    }
}
