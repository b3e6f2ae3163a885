//! What was restored, for people and programs.

use std::collections::BTreeMap;

use headwater_tier::{Problem, ProblemKind};
use serde::Serialize;
use uuid::Uuid;

use super::Looked;
use super::directory::Unfinished;
use super::source::moment;

/// What was restored, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RestoreReport {
    /// Nothing was written.
    pub dry_run: bool,
    /// Where from, without anything secret.
    pub from: String,
    /// The old cluster.
    pub cluster_id: Uuid,
    /// The new one; another each time in a dry run.
    pub new_cluster_id: Uuid,
    /// Whether the old cluster's objects are the new one's now.
    pub adopted: bool,
    /// Revision of the metadata snapshot that was used; absent: there was none, and topics are as their objects say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_revision: Option<u64>,
    /// When the store says that it was written, in RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_time: Option<String>,
    /// The topics, by name.
    pub topics: Vec<TopicReport>,
    /// Topics that a snapshot names and that were not restored.
    pub vanished_topics: Vec<VanishedTopic>,
    /// Metadata snapshots and topic objects that could not be read, so that an older one counted.
    pub unread_objects: Vec<UnreadObject>,
    /// Missing and damaged objects of all partitions.
    pub problems_total: u64,
    /// Clusters that delete nothing from the tier as long as the new one may need it.
    pub holds: Vec<HoldReport>,
    /// The command that starts the new broker.
    pub start_command: String,
}

/// A cluster whose objects the new one names, and holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HoldReport {
    /// It.
    pub cluster_id: Uuid,
    /// The command that lets it delete again, once the new cluster is not needed any more.
    pub release_command: String,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TopicReport {
    /// `namespace/name`.
    pub topic: String,
    /// Its id, the same as before.
    pub topic_id: Uuid,
    /// It was created or changed after the snapshot; its own object says how it is.
    pub newer_than_snapshot: bool,
    /// Its partitions, by number.
    pub partitions: Vec<PartitionReport>,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionReport {
    /// Its number.
    pub partition: u32,
    /// First offset that there is.
    pub log_start_offset: u64,
    /// Offset behind the last: records from here on were never in the tier. New ones begin here.
    pub end_offset: u64,
    /// Segments in the tier.
    pub objects: u64,
    /// Their bytes of records.
    pub bytes: u64,
    /// The tier reaches further than the snapshot knew.
    pub newer_than_snapshot: bool,
    /// Objects that are missing or damaged, at most 100.
    pub problems: Vec<ProblemReport>,
    /// How many there are.
    pub problems_total: u64,
}

/// An object that is missing or damaged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProblemReport {
    /// Its key.
    pub object_key: String,
    /// First offset that cannot be read for it.
    pub base_offset: u64,
    /// Offset behind the last.
    pub end_offset: u64,
    /// missing, length, checksum or unreadable.
    pub kind: &'static str,
    /// In words.
    pub detail: String,
}

/// A topic that was not restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VanishedTopic {
    /// `namespace/name`.
    pub topic: String,
    /// Its id.
    pub topic_id: Uuid,
    /// Why.
    pub why: &'static str,
}

/// An object that says what there is and could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnreadObject {
    /// Its key.
    pub object: String,
    /// What is wrong with it.
    pub why: String,
}

impl From<Problem> for ProblemReport {
    fn from(problem: Problem) -> ProblemReport {
        ProblemReport {
            object_key: problem.object,
            base_offset: problem.range.start.get(),
            end_offset: problem.range.end.get(),
            kind: match problem.kind {
                ProblemKind::Missing => "missing",
                ProblemKind::Length => "length",
                ProblemKind::Checksum => "checksum",
                ProblemKind::Unreadable => "unreadable",
            },
            detail: problem.detail,
        }
    }
}

impl RestoreReport {
    pub(super) fn new(
        what: &Unfinished,
        dry_run: bool,
        adopted: bool,
        looked: &Looked,
        holds: Vec<HoldReport>,
        start_command: String,
    ) -> RestoreReport {
        let Looked { source, surveys } = looked;
        let mut partitions: BTreeMap<Uuid, Vec<PartitionReport>> = BTreeMap::new();
        for survey in surveys {
            let of_topic = partitions.entry(survey.key.topic).or_default();
            of_topic.push(survey.report.clone());
        }
        let topics = source.image.topics().map(|topic| TopicReport {
            topic: topic.name.to_string(),
            topic_id: topic.id.0,
            newer_than_snapshot: source.newer.contains_key(&topic.id),
            partitions: partitions.remove(&topic.id.0).unwrap_or_default(),
        });
        let problems = surveys.iter().map(|survey| survey.report.problems_total);
        RestoreReport {
            dry_run,
            from: what.from.clone(),
            cluster_id: what.cluster,
            new_cluster_id: what.new_cluster,
            adopted,
            snapshot_revision: source.snapshot.map(|(revision, _)| revision),
            snapshot_time: source.snapshot.and_then(|(_, ms)| ms).map(moment),
            topics: topics.collect(),
            vanished_topics: source.vanished.clone(),
            unread_objects: source.unread.clone(),
            problems_total: problems.sum(),
            holds,
            start_command,
        }
    }
}
