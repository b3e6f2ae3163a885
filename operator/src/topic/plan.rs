//! From what shall be and what is to what to do. Pure.

use headwater_proto::v1;

use super::validate::ValidTopic;

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// It is as it shall be.
    Nothing(v1::Topic),
    /// Create it.
    Create(v1::Topic),
    /// Change it, if it is still what was looked at.
    Update {
        /// With the revision that was looked at.
        wanted: v1::Topic,
        /// What changes.
        paths: Vec<String>,
        /// The same for people.
        summary: String,
    },
}

/// Compares. Fewer partitions than there are is asked for too: the cluster refuses it in its own
/// words.
pub(super) fn plan(valid: &ValidTopic, actual: Option<v1::Topic>) -> Step {
    let Some(actual) = actual else {
        return Step::Create(v1::Topic {
            name: valid.name.clone(),
            partitions: valid.partitions,
            replication_factor: valid.replication_factor.unwrap_or(0),
            config: Some(valid.config),
            ..v1::Topic::default()
        });
    };
    let (is, shall) = (actual.config.unwrap_or_default(), &valid.config);
    let mut changes = Vec::new();
    let mut change = |path: &str, from: String, to: String| {
        if from != to {
            changes.push((path.to_owned(), format!("{path} from {from} to {to}")));
        }
    };
    let text = |value: Option<i64>| value.map_or("default".to_owned(), |value| value.to_string());
    let small = |value: Option<i32>| text(value.map(i64::from));
    change(
        "partitions",
        actual.partitions.to_string(),
        valid.partitions.to_string(),
    );
    for (path, from, to) in [
        ("config.retention_ms", is.retention_ms, shall.retention_ms),
        (
            "config.retention_bytes",
            is.retention_bytes,
            shall.retention_bytes,
        ),
        (
            "config.segment_bytes",
            is.segment_bytes,
            shall.segment_bytes,
        ),
        ("config.segment_ms", is.segment_ms, shall.segment_ms),
        (
            "config.timestamp_ahead_ms_max",
            is.timestamp_ahead_ms_max,
            shall.timestamp_ahead_ms_max,
        ),
        (
            "config.local_retention_ms",
            is.local_retention_ms,
            shall.local_retention_ms,
        ),
        (
            "config.local_retention_bytes",
            is.local_retention_bytes,
            shall.local_retention_bytes,
        ),
    ] {
        change(path, text(from), text(to));
    }
    for (path, from, to) in [
        ("config.durability", is.durability, shall.durability),
        ("config.compression", is.compression, shall.compression),
        (
            "config.message_bytes_max",
            is.message_bytes_max,
            shall.message_bytes_max,
        ),
        (
            "config.min_in_sync_replicas",
            is.min_in_sync_replicas,
            shall.min_in_sync_replicas,
        ),
    ] {
        change(path, small(from), small(to));
    }
    let flag = |value: Option<bool>| value.map_or("default".to_owned(), |value| value.to_string());
    change("config.tiering", flag(is.tiering), flag(shall.tiering));
    if changes.is_empty() {
        return Step::Nothing(actual);
    }
    let (paths, summary): (Vec<String>, Vec<String>) = changes.into_iter().unzip();
    Step::Update {
        wanted: v1::Topic {
            name: valid.name.clone(),
            partitions: valid.partitions,
            config: Some(valid.config),
            revision: actual.revision,
            ..v1::Topic::default()
        },
        paths,
        summary: summary.join(", "),
    }
}
