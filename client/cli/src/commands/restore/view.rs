//! The report of a restore for people.

use headwater_broker::restore::{PartitionReport, RestoreReport, TopicReport};
use serde::Serialize;

use crate::output::{Answer, columns, facts};
use crate::units::{show_bytes, show_count, show_many};

/// What was restored.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct ReportView(pub(super) RestoreReport);

impl Answer for ReportView {
    fn table(&self) -> String {
        let ReportView(report) = self;
        let mut parts = vec![head(report)];
        if !report.topics.is_empty() {
            parts.push(partitions(report));
        }
        let problems = problems(report);
        if !problems.is_empty() {
            parts.push(problems);
        }
        parts.extend(notes(report));
        parts.push(next(report));
        parts.join("\n\n")
    }

    fn names(&self) -> Vec<String> {
        let topics = self.0.topics.iter();
        topics.map(|topic| topic.topic.clone()).collect()
    }
}

fn head(report: &RestoreReport) -> String {
    let snapshot = match (report.snapshot_revision, &report.snapshot_time) {
        (None, _) => "none; topics are as their own objects say".to_owned(),
        (Some(revision), None) => format!("revision {revision}"),
        (Some(revision), Some(time)) => format!("revision {revision}, written {time}"),
    };
    let objects = match (report.adopted, report.dry_run) {
        (true, false) => "adopted: they are the new cluster's now",
        (true, true) => "would be adopted",
        (false, false) => "read only: they stay the old cluster's, which deletes none of them",
        (false, true) => {
            "would be read only: they stay the old cluster's, which would delete none of them"
        }
    };
    let mut pairs = vec![
        ("from", report.from.clone()),
        ("old cluster", report.cluster_id.to_string()),
    ];
    if !report.dry_run {
        pairs.push(("new cluster", report.new_cluster_id.to_string()));
    }
    pairs.push(("snapshot", snapshot));
    pairs.push(("old objects", objects.to_owned()));
    facts(&pairs)
}

fn partitions(report: &RestoreReport) -> String {
    let header = [
        "partition",
        "log start",
        "end",
        "objects",
        "size",
        "problems",
    ];
    let row = |topic: &TopicReport, partition: &PartitionReport| {
        vec![
            format!("{}/{}", topic.topic, partition.partition),
            show_count(partition.log_start_offset),
            show_count(partition.end_offset),
            show_count(partition.objects),
            show_bytes(partition.bytes),
            match partition.problems_total {
                0 => String::new(),
                problems => show_count(problems),
            },
        ]
    };
    let rows = report.topics.iter().flat_map(|topic| {
        topic
            .partitions
            .iter()
            .map(move |partition| row(topic, partition))
    });
    columns(&header, &[1, 2, 3, 4, 5], rows)
}

fn problems(report: &RestoreReport) -> String {
    let rows: Vec<_> = report
        .topics
        .iter()
        .flat_map(|topic| {
            topic.partitions.iter().flat_map(move |partition| {
                partition.problems.iter().map(move |problem| {
                    vec![
                        format!("{}/{}", topic.topic, partition.partition),
                        format!("{}..{}", problem.base_offset, problem.end_offset),
                        problem.kind.to_owned(),
                        problem.object_key.clone(),
                        problem.detail.clone(),
                    ]
                })
            })
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let hidden = report.problems_total.saturating_sub(rows.len() as u64);
    let header = ["partition", "offsets", "problem", "object", "detail"];
    let mut text = columns(&header, &[], rows);
    if hidden > 0 {
        text.push_str(&format!("\nand {} more", show_many(hidden, "problem")));
    }
    text
}

fn notes(report: &RestoreReport) -> Option<String> {
    let mut lines = Vec::new();
    for topic in report
        .topics
        .iter()
        .filter(|topic| topic.newer_than_snapshot)
    {
        lines.push(format!(
            "{} is newer than the snapshot; restored as its own object says",
            topic.topic
        ));
    }
    for topic in &report.vanished_topics {
        lines.push(format!(
            "{} ({}) is left out: {}",
            topic.topic, topic.topic_id, topic.why
        ));
    }
    for object in &report.unread_objects {
        lines.push(format!(
            "{} {}; an older one counted",
            object.object, object.why
        ));
    }
    for hold in &report.holds {
        lines.push(format!(
            "cluster {} deletes nothing in the tier until\n  {}",
            hold.cluster_id, hold.release_command
        ));
    }
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn next(report: &RestoreReport) -> String {
    let of: Vec<_> = report
        .topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .collect();
    let bytes = of.iter().map(|partition| partition.bytes).sum();
    let what = format!(
        "{}, {}, {}",
        show_many(report.topics.len() as u64, "topic"),
        show_many(of.len() as u64, "partition"),
        show_bytes(bytes)
    );
    match report.dry_run {
        true => format!("nothing was written; {what} would be restored"),
        false => format!(
            "✓ {what} restored. Records behind each END were never in the tier. Start the broker:\n  {}",
            report.start_command
        ),
    }
}

#[cfg(test)]
mod tests {
    use headwater_broker::restore::{HoldReport, ProblemReport};

    use super::*;
    use crate::failure::Exit;

    fn report() -> RestoreReport {
        let partition = |partition, problems: Vec<ProblemReport>| PartitionReport {
            partition,
            log_start_offset: 100,
            end_offset: 12_000,
            objects: 20,
            bytes: 5 << 30,
            newer_than_snapshot: false,
            problems_total: problems.len() as u64,
            problems,
        };
        let problem = ProblemReport {
            object_key: "c/t/1/0-1-u".to_owned(),
            base_offset: 100,
            end_offset: 700,
            kind: "missing",
            detail: "the object is not there".to_owned(),
        };
        RestoreReport {
            dry_run: false,
            from: "s3://logs/prod".to_owned(),
            cluster_id: Default::default(),
            new_cluster_id: Default::default(),
            adopted: false,
            snapshot_revision: Some(17),
            snapshot_time: Some("2026-01-02T03:04:05Z".to_owned()),
            topics: vec![TopicReport {
                topic: "shop/orders".to_owned(),
                topic_id: Default::default(),
                newer_than_snapshot: true,
                partitions: vec![partition(0, Vec::new()), partition(1, vec![problem])],
            }],
            vanished_topics: Vec::new(),
            unread_objects: Vec::new(),
            problems_total: 1,
            holds: vec![HoldReport {
                cluster_id: Default::default(),
                release_command: "headwater tier release --from s3://logs/prod".to_owned(),
            }],
            start_command: "headwater-broker --data-dir new --set tier.url=s3://logs/prod"
                .to_owned(),
        }
    }

    #[test]
    fn the_report_says_where_each_partition_ends_what_is_wrong_and_what_to_do() {
        let id = "00000000-0000-0000-0000-000000000000";
        let expected = format!(
            "from          s3://logs/prod\n\
             old cluster   {id}\n\
             new cluster   {id}\n\
             snapshot      revision 17, written 2026-01-02T03:04:05Z\n\
             old objects   read only: they stay the old cluster's, which deletes none of them\n\
             \n\
             PARTITION       LOG START      END   OBJECTS      SIZE   PROBLEMS\n\
             shop/orders/0         100   12,000        20   5.0 GiB\n\
             shop/orders/1         100   12,000        20   5.0 GiB          1\n\
             \n\
             PARTITION       OFFSETS    PROBLEM   OBJECT        DETAIL\n\
             shop/orders/1   100..700   missing   c/t/1/0-1-u   the object is not there\n\
             \n\
             shop/orders is newer than the snapshot; restored as its own object says\n\
             cluster {id} deletes nothing in the tier until\n\
             \x20 headwater tier release --from s3://logs/prod\n\
             \n\
             ✓ 1 topic, 2 partitions, 10.0 GiB restored. Records behind each END were never in the tier. Start \
             the broker:\n  headwater-broker --data-dir new --set tier.url=s3://logs/prod"
        );
        assert_eq!(ReportView(report()).table(), expected);
    }

    #[test]
    fn what_is_missing_is_exit_code_5() {
        let failure = super::super::judge(&ReportView(report())).unwrap_err();
        assert_eq!(failure.exit, Exit::Partial);
        assert!(
            failure
                .to_string()
                .contains("1 object is missing or damaged")
        );
        let whole = RestoreReport {
            problems_total: 0,
            ..report()
        };
        assert!(super::super::judge(&ReportView(whole)).is_ok());
    }
}
