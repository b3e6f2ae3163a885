//! What a Topic's status says. Pure; holds nothing that moves with traffic.

use headwater_crds::{
    EffectiveTopic, ProblemPartition, Reason, Topic, TopicStatus, Verdict, ready_reason,
    set_conditions,
};
use headwater_proto::v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Problem partitions that a status names.
const PROBLEMS_MAX: usize = 16;
/// Topics with more partitions do not list their leaders.
const LEADERS_MAX: usize = 64;

/// What the cluster says of a topic.
pub(super) struct Facts {
    pub(super) topic: v1::Topic,
    pub(super) partitions: Vec<v1::Partition>,
}

/// What is wrong with a partition, if anything.
fn problem(partition: &v1::Partition) -> Option<ProblemPartition> {
    let problem = if partition.leader < 0 {
        "has no leader".to_owned()
    } else if partition.in_sync_replicas.len() < partition.replicas.len() {
        let (in_sync, all) = (partition.in_sync_replicas.len(), partition.replicas.len());
        format!("{in_sync} of {all} replicas are in sync")
    } else {
        return None;
    };
    Some(ProblemPartition {
        partition: partition.partition,
        problem,
    })
}

/// How it stands with a topic that is as the resource asks.
pub(super) fn verdict(facts: &Facts) -> Verdict {
    let bad = facts.partitions.iter().filter_map(problem).count();
    let all = facts.partitions.len();
    if bad == 0 {
        return Verdict::Ready {
            message: format!("{all} partitions, all in sync"),
        };
    }
    Verdict::Reconciling {
        reason: Reason::PartitionsNotInSync,
        message: format!("{bad} of {all} partitions are not in sync, see status.problemPartitions"),
    }
}

/// The status after a verdict. Without facts what was known stays.
pub(super) fn status(
    old: &TopicStatus,
    topic: &Topic,
    verdict: &Verdict,
    facts: Option<&Facts>,
    now: &Time,
) -> TopicStatus {
    let mut conditions = old.conditions.clone();
    set_conditions(&mut conditions, verdict, topic.metadata.generation, now);
    let Some(Facts {
        topic: is,
        partitions,
    }) = facts
    else {
        return TopicStatus {
            observed_generation: topic.metadata.generation,
            conditions,
            ..old.clone()
        };
    };
    let mut problems: Vec<_> = partitions.iter().filter_map(problem).collect();
    let in_sync = partitions.len() - problems.len();
    problems.truncate(PROBLEMS_MAX);
    let leaders = partitions.iter().map(|partition| partition.leader);
    TopicStatus {
        observed_generation: topic.metadata.generation,
        conditions,
        topic_name: Some(is.name.clone()),
        topic_id: Some(is.topic_id.clone()),
        partitions: Some(is.partitions),
        in_sync_partitions: Some(in_sync as i32),
        problem_partitions: problems,
        leaders: if partitions.len() <= LEADERS_MAX {
            leaders.collect()
        } else {
            Vec::new()
        },
        effective: Some(effective(is)),
    }
}

fn effective(topic: &v1::Topic) -> EffectiveTopic {
    let config = topic.effective_config.unwrap_or_default();
    EffectiveTopic {
        replication_factor: topic.replication_factor,
        min_in_sync_replicas: config.min_in_sync_replicas(),
        retention_time: retention_time(config.retention_ms()),
        retention_size: retention_size(config.retention_bytes()),
        durability: word(config.durability().as_str_name(), "DURABILITY_"),
        compression: word(config.compression().as_str_name(), "COMPRESSION_"),
        max_message_bytes: size(config.message_bytes_max().into()),
        // Absent from brokers that know no tier.
        tiering: config.tiering,
        local_retention_time: config.local_retention_ms.map(retention_time),
        local_retention_size: config.local_retention_bytes.map(retention_size),
    }
}

pub(super) fn retention_time(ms: i64) -> String {
    match ms {
        -1 => "forever".to_owned(),
        0 => "0s".to_owned(),
        ms => in_units(
            ms,
            &[
                ("d", 86_400_000),
                ("h", 3_600_000),
                ("m", 60_000),
                ("s", 1_000),
            ],
            "ms",
        ),
    }
}

fn retention_size(bytes: i64) -> String {
    match bytes {
        -1 => "unlimited".to_owned(),
        bytes => size(bytes),
    }
}

pub(super) fn size(bytes: i64) -> String {
    in_units(
        bytes,
        &[
            ("Ti", 1 << 40),
            ("Gi", 1 << 30),
            ("Mi", 1 << 20),
            ("Ki", 1 << 10),
        ],
        "",
    )
}

/// A number in the largest unit that divides it.
fn in_units(number: i64, units: &[(&str, i64)], least: &str) -> String {
    let unit = units
        .iter()
        .find(|(_, factor)| number != 0 && number % factor == 0);
    match unit {
        Some((name, factor)) => format!("{}{name}", number / factor),
        None => format!("{number}{least}"),
    }
}

/// `DURABILITY_FSYNC` as people write it.
fn word(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_ascii_lowercase()
}

/// Whether a status says something that only an operator of the Topic's Cluster can have said. One
/// that does not look after the Cluster leaves it alone.
pub(super) fn is_of_another_operator(status: &TopicStatus) -> bool {
    ready_reason(&status.conditions)
        .is_some_and(|reason| reason != Reason::ClusterNotOperated.as_str())
}
