//! Topics as answers; field names are the API's.

use std::time::Duration;

use headwater_client::types::{CompressionSetting, Durability, Partition, Topic, TopicConfig};
use serde::Serialize;

use crate::moment::show_utc;
use crate::output::{Answer, columns, facts};
use crate::units::{show_bytes, show_count, show_duration};

/// One topic.
#[derive(Serialize)]
pub(super) struct TopicView {
    name: String,
    topic_id: String,
    partitions: i32,
    replication_factor: i32,
    config: ConfigView,
    effective_config: ConfigView,
    revision: i64,
    create_time_ms: i64,
}

/// Settings; what is absent follows the broker's defaults.
#[derive(Default, Serialize)]
struct ConfigView {
    #[serde(skip_serializing_if = "Option::is_none")]
    retention_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retention_bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    segment_bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    segment_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    durability: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compression: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_bytes_max: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp_ahead_ms_max: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_in_sync_replicas: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tiering: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    local_retention_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    local_retention_bytes: Option<i64>,
}

impl From<Topic> for TopicView {
    fn from(topic: Topic) -> TopicView {
        TopicView {
            name: topic.name,
            topic_id: topic.topic_id,
            partitions: topic.partitions,
            replication_factor: topic.replication_factor,
            config: topic.config.map(ConfigView::from).unwrap_or_default(),
            effective_config: topic
                .effective_config
                .map(ConfigView::from)
                .unwrap_or_default(),
            revision: topic.revision,
            create_time_ms: topic.create_time_ms,
        }
    }
}

impl From<TopicConfig> for ConfigView {
    fn from(config: TopicConfig) -> ConfigView {
        let durability = |value| match Durability::try_from(value) {
            Ok(Durability::Fsync) => "fsync",
            Ok(Durability::Replicated) => "replicated",
            _ => "unknown",
        };
        let compression = |value| match CompressionSetting::try_from(value) {
            Ok(CompressionSetting::None) => "none",
            Ok(CompressionSetting::Gzip) => "gzip",
            Ok(CompressionSetting::Snappy) => "snappy",
            Ok(CompressionSetting::Lz4) => "lz4",
            Ok(CompressionSetting::Zstd) => "zstd",
            _ => "unknown",
        };
        ConfigView {
            retention_ms: config.retention_ms,
            retention_bytes: config.retention_bytes,
            segment_bytes: config.segment_bytes,
            segment_ms: config.segment_ms,
            durability: config.durability.map(durability),
            compression: config.compression.map(compression),
            message_bytes_max: config.message_bytes_max,
            timestamp_ahead_ms_max: config.timestamp_ahead_ms_max,
            min_in_sync_replicas: config.min_in_sync_replicas,
            tiering: config.tiering,
            local_retention_ms: config.local_retention_ms,
            local_retention_bytes: config.local_retention_bytes,
        }
    }
}

impl ConfigView {
    /// Setting by flag, value for people; in the order of the flags.
    fn lines(&self) -> Vec<(&'static str, Option<String>)> {
        let or = |bound: &str, value: i64, show: &dyn Fn(u64) -> String| match value {
            ..0 => bound.to_owned(),
            value => show(value.unsigned_abs()),
        };
        let time = |millis: u64| show_duration(Duration::from_millis(millis));
        let text = |text: Option<&'static str>| text.map(str::to_owned);
        vec![
            (
                "retention",
                self.retention_ms.map(|ms| or("forever", ms, &time)),
            ),
            (
                "retention-bytes",
                self.retention_bytes
                    .map(|n| or("unbounded", n, &show_bytes)),
            ),
            ("durability", text(self.durability)),
            ("compression", text(self.compression)),
            (
                "message-bytes-max",
                self.message_bytes_max
                    .map(|n| or("unbounded", n.into(), &show_bytes)),
            ),
            (
                "segment-bytes",
                self.segment_bytes.map(|n| or("unbounded", n, &show_bytes)),
            ),
            (
                "segment-age",
                self.segment_ms.map(|ms| or("forever", ms, &time)),
            ),
            (
                "timestamp-ahead-max",
                self.timestamp_ahead_ms_max
                    .map(|ms| or("forever", ms, &time)),
            ),
            (
                "min-in-sync-replicas",
                self.min_in_sync_replicas.map(|n| n.to_string()),
            ),
            ("tiering", self.tiering.map(|tiering| tiering.to_string())),
            (
                "local-retention",
                self.local_retention_ms.map(|ms| or("forever", ms, &time)),
            ),
            (
                "local-retention-bytes",
                self.local_retention_bytes
                    .map(|n| or("unbounded", n, &show_bytes)),
            ),
        ]
    }
}

impl Answer for TopicView {
    fn table(&self) -> String {
        facts(&[
            ("name", self.name.clone()),
            ("id", self.topic_id.clone()),
            ("partitions", self.partitions.to_string()),
            ("replication", self.replication_factor.to_string()),
            ("created", show_utc(self.create_time_ms)),
        ])
    }

    fn names(&self) -> Vec<String> {
        vec![self.name.clone()]
    }
}

/// Several topics.
#[derive(Serialize)]
pub(super) struct TopicList {
    topics: Vec<TopicView>,
}

impl From<Vec<Topic>> for TopicList {
    fn from(topics: Vec<Topic>) -> TopicList {
        TopicList {
            topics: topics.into_iter().map(TopicView::from).collect(),
        }
    }
}

impl Answer for TopicList {
    fn table(&self) -> String {
        if self.topics.is_empty() {
            return String::new();
        }
        let row = |topic: &TopicView| {
            let config = topic.effective_config.lines();
            let setting = |name| config.iter().find(|line| line.0 == name).cloned();
            let setting = |name| setting(name).and_then(|line| line.1).unwrap_or_default();
            vec![
                topic.name.clone(),
                topic.partitions.to_string(),
                setting("retention"),
                setting("durability"),
                show_utc(topic.create_time_ms),
            ]
        };
        let header = ["name", "partitions", "retention", "durability", "created"];
        columns(&header, &[1], self.topics.iter().map(row))
    }

    fn names(&self) -> Vec<String> {
        self.topics.iter().map(|topic| topic.name.clone()).collect()
    }
}

/// A topic with its partitions.
#[derive(Serialize)]
pub(super) struct TopicDescription {
    topic: TopicView,
    partitions: Vec<PartitionView>,
}

#[derive(Serialize)]
struct PartitionView {
    topic: String,
    partition: i32,
    leader: i32,
    leader_epoch: i32,
    replicas: Vec<i32>,
    in_sync_replicas: Vec<i32>,
    log_start_offset: i64,
    high_watermark: i64,
    log_end_offset: i64,
    synced_end_offset: i64,
    size_bytes: i64,
    segments: i32,
}

impl From<Partition> for PartitionView {
    fn from(partition: Partition) -> PartitionView {
        PartitionView {
            topic: partition.topic,
            partition: partition.partition,
            leader: partition.leader,
            leader_epoch: partition.leader_epoch,
            replicas: partition.replicas,
            in_sync_replicas: partition.in_sync_replicas,
            log_start_offset: partition.log_start_offset,
            high_watermark: partition.high_watermark,
            log_end_offset: partition.log_end_offset,
            synced_end_offset: partition.synced_end_offset,
            size_bytes: partition.size_bytes,
            segments: partition.segments,
        }
    }
}

impl TopicDescription {
    /// Of a topic and the state of its partitions.
    pub(super) fn new(topic: Topic, partitions: Vec<Partition>) -> TopicDescription {
        let partitions = partitions.into_iter().map(PartitionView::from).collect();
        TopicDescription {
            topic: topic.into(),
            partitions,
        }
    }
}

impl Answer for TopicDescription {
    fn table(&self) -> String {
        let count = |value: i64| show_count(u64::try_from(value).unwrap_or(0));
        let records = |p: &PartitionView| (p.high_watermark - p.log_start_offset).max(0);
        let total: i64 = self.partitions.iter().map(records).sum();
        let bytes: i64 = self.partitions.iter().map(|p| p.size_bytes).sum();
        let summary = facts(&[
            ("records", count(total)),
            ("size", show_bytes(u64::try_from(bytes).unwrap_or(0))),
        ]);
        let given = self.topic.config.lines();
        let setting = |(name, value): (&'static str, Option<String>)| {
            let own = given
                .iter()
                .any(|(given, value)| *given == name && value.is_some());
            let source = if own { "set" } else { "default" };
            value.map(|value| vec![name.to_owned(), value, source.to_owned()])
        };
        let settings = self
            .topic
            .effective_config
            .lines()
            .into_iter()
            .filter_map(setting);
        let row = |p: &PartitionView| {
            vec![
                p.partition.to_string(),
                p.leader.to_string(),
                ids(&p.in_sync_replicas),
                count(p.log_start_offset),
                count(p.high_watermark),
                count(records(p)),
                show_bytes(u64::try_from(p.size_bytes).unwrap_or(0)),
                p.segments.to_string(),
            ]
        };
        let header = [
            "partition",
            "leader",
            "in sync",
            "log start",
            "high watermark",
            "records",
            "size",
            "segments",
        ];
        format!(
            "{}\n{summary}\n\n{}\n\n{}",
            self.topic.table(),
            columns(&["setting", "value", "source"], &[], settings),
            columns(
                &header,
                &[0, 1, 3, 4, 5, 6, 7],
                self.partitions.iter().map(row)
            ),
        )
    }

    fn names(&self) -> Vec<String> {
        self.topic.names()
    }
}

fn ids(brokers: &[i32]) -> String {
    brokers
        .iter()
        .map(i32::to_string)
        .collect::<Vec<_>>()
        .join(",")
}
