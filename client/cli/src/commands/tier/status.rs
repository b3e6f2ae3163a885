//! How far partitions are in the tier; field names are the API's.

use std::time::Duration;

use headwater_client::types::{GetTierStatusResponse, PartitionTierStatus, TierInfo};
use serde::Serialize;

use crate::moment::show_utc;
use crate::output::{Answer, columns, facts};
use crate::units::{show_age, show_bytes, show_count, show_many};

/// The tier, and its partitions.
#[derive(Serialize)]
pub(super) struct StatusView {
    #[serde(skip_serializing_if = "Option::is_none")]
    tier: Option<TierView>,
    partitions: Vec<PartitionView>,
}

#[derive(Serialize)]
struct TierView {
    url: String,
    reachable: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    last_error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error_time_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_success_time_ms: Option<i64>,
    upload_backlog_bytes: i64,
    tiered_bytes: i64,
    garbage_objects: i64,
}

#[derive(Serialize)]
struct PartitionView {
    topic: String,
    partition: i32,
    tiering: bool,
    log_start_offset: i64,
    local_start_offset: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tier_start_offset: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tier_end_offset: Option<i64>,
    high_watermark: i64,
    local_bytes: i64,
    tiered_bytes: i64,
    tiered_segments: i64,
    uploading_segments: i32,
    backlog_segments: i32,
    backlog_bytes: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    backlog_age_ms: Option<i64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    last_error: String,
}

impl From<GetTierStatusResponse> for StatusView {
    fn from(status: GetTierStatusResponse) -> StatusView {
        let partitions = status.partitions.into_iter().map(PartitionView::from);
        StatusView {
            tier: status.tier.map(TierView::from),
            partitions: partitions.collect(),
        }
    }
}

impl From<TierInfo> for TierView {
    fn from(tier: TierInfo) -> TierView {
        TierView {
            url: tier.url,
            reachable: tier.reachable,
            last_error: tier.last_error,
            last_error_time_ms: tier.last_error_time_ms,
            last_success_time_ms: tier.last_success_time_ms,
            upload_backlog_bytes: tier.upload_backlog_bytes,
            tiered_bytes: tier.tiered_bytes,
            garbage_objects: tier.garbage_objects,
        }
    }
}

impl From<PartitionTierStatus> for PartitionView {
    fn from(partition: PartitionTierStatus) -> PartitionView {
        PartitionView {
            topic: partition.topic,
            partition: partition.partition,
            tiering: partition.tiering,
            log_start_offset: partition.log_start_offset,
            local_start_offset: partition.local_start_offset,
            tier_start_offset: partition.tier_start_offset,
            tier_end_offset: partition.tier_end_offset,
            high_watermark: partition.high_watermark,
            local_bytes: partition.local_bytes,
            tiered_bytes: partition.tiered_bytes,
            tiered_segments: partition.tiered_segments,
            uploading_segments: partition.uploading_segments,
            backlog_segments: partition.backlog_segments,
            backlog_bytes: partition.backlog_bytes,
            backlog_age_ms: partition.backlog_age_ms,
            last_error: partition.last_error,
        }
    }
}

/// What cannot be below zero, for people.
fn natural(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

impl TierView {
    fn state(&self) -> String {
        if self.reachable {
            return "reachable".to_owned();
        }
        let since = match self.last_success_time_ms {
            Some(time_ms) => format!("last answer {}", show_utc(time_ms)),
            None => "no answer since the broker started".to_owned(),
        };
        match self.last_error.as_str() {
            "" => format!("not reachable, {since}"),
            error => format!("not reachable, {since}: {error}"),
        }
    }

    fn table(&self) -> String {
        let mut pairs = vec![
            ("tier", self.url.clone()),
            ("state", self.state()),
            ("in the tier", show_bytes(natural(self.tiered_bytes))),
            ("to upload", show_bytes(natural(self.upload_backlog_bytes))),
        ];
        if self.garbage_objects > 0 {
            pairs.push(("to delete", show_many(self.garbage_objects, "object")));
        }
        facts(&pairs)
    }
}

impl PartitionView {
    fn name(&self) -> String {
        format!("{}/{}", self.topic, self.partition)
    }

    fn row(&self) -> Vec<String> {
        let count = |value| show_count(natural(value));
        let waiting = |age_ms| show_age(Duration::from_millis(natural(age_ms)));
        let backlog = match self.backlog_segments {
            0 => String::new(),
            _ => show_bytes(natural(self.backlog_bytes)),
        };
        let uploading = match self.uploading_segments {
            0 => String::new(),
            segments => count(segments.into()),
        };
        vec![
            self.name(),
            if self.tiering { "on" } else { "off" }.to_owned(),
            count(self.log_start_offset),
            count(self.local_start_offset),
            self.tier_end_offset.map(count).unwrap_or_default(),
            count(self.high_watermark),
            show_bytes(natural(self.local_bytes)),
            show_bytes(natural(self.tiered_bytes)),
            count(self.tiered_segments),
            uploading,
            backlog,
            self.backlog_age_ms.map(waiting).unwrap_or_default(),
        ]
    }
}

impl Answer for StatusView {
    fn table(&self) -> String {
        let mut text = match &self.tier {
            Some(tier) => tier.table(),
            None => "tier   none; the broker's setting tier.url names one".to_owned(),
        };
        if self.partitions.is_empty() {
            return text;
        }
        let header = [
            "partition",
            "tiering",
            "log start",
            "local start",
            "tier end",
            "high watermark",
            "on disk",
            "in tier",
            "segments",
            "uploading",
            "backlog",
            "waiting",
        ];
        let right: Vec<usize> = (2..header.len()).collect();
        let rows = self.partitions.iter().map(PartitionView::row);
        text.push_str(&format!("\n\n{}", columns(&header, &right, rows)));
        let failed = self.partitions.iter().filter(|p| !p.last_error.is_empty());
        for partition in failed {
            let (name, why) = (partition.name(), &partition.last_error);
            text.push_str(&format!(
                "\n\n✗ {name}: the last upload failed\n  why: {why}"
            ));
        }
        text
    }

    fn names(&self) -> Vec<String> {
        self.partitions.iter().map(PartitionView::name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> GetTierStatusResponse {
        GetTierStatusResponse {
            tier: Some(TierInfo {
                url: "s3://logs/prod?region=eu-central-1".into(),
                reachable: true,
                upload_backlog_bytes: 3 << 20,
                tiered_bytes: 5 << 30,
                garbage_objects: 2,
                ..TierInfo::default()
            }),
            partitions: vec![
                PartitionTierStatus {
                    topic: "shop/orders".into(),
                    tiering: true,
                    local_start_offset: 9000,
                    tier_start_offset: Some(0),
                    tier_end_offset: Some(12_000),
                    high_watermark: 12_345,
                    local_bytes: 1 << 20,
                    tiered_bytes: 5 << 30,
                    tiered_segments: 20,
                    uploading_segments: 3,
                    backlog_segments: 1,
                    backlog_bytes: 3 << 20,
                    backlog_age_ms: Some(90_000),
                    last_error: "the store is throttling".into(),
                    ..PartitionTierStatus::default()
                },
                PartitionTierStatus {
                    topic: "shop/orders".into(),
                    partition: 1,
                    high_watermark: 7,
                    ..PartitionTierStatus::default()
                },
            ],
        }
    }

    #[test]
    fn partitions_stand_below_the_tier_and_failures_below_them() {
        let text = StatusView::from(status()).table();
        assert_eq!(
            text,
            "tier          s3://logs/prod?region=eu-central-1\n\
             state         reachable\n\
             in the tier   5.0 GiB\n\
             to upload     3.0 MiB\n\
             to delete     2 objects\n\
             \n\
             PARTITION       TIERING   LOG START   LOCAL START   TIER END   HIGH WATERMARK   ON DISK   \
             IN TIER   SEGMENTS   UPLOADING   BACKLOG   WAITING\n\
             shop/orders/0   on                0         9,000     12,000           12,345   1.0 MiB   \
             5.0 GiB         20           3   3.0 MiB        1m\n\
             shop/orders/1   off               0             0                           7       0 B   \
             \u{20}   0 B          0\n\
             \n\
             ✗ shop/orders/0: the last upload failed\n  why: the store is throttling"
        );
    }

    #[test]
    fn a_tier_that_does_not_answer_says_since_when_and_why() {
        let mut status = status();
        let tier = status.tier.as_mut().unwrap();
        tier.reachable = false;
        tier.last_error = "connection refused".into();
        let state = StatusView::from(status.clone()).tier.unwrap().state();
        assert_eq!(
            state,
            "not reachable, no answer since the broker started: connection refused"
        );
        status.tier.as_mut().unwrap().last_success_time_ms = Some(0);
        let state = StatusView::from(status).tier.unwrap().state();
        assert!(state.contains("last answer 1970-01-01"), "{state}");
    }

    #[test]
    fn a_cluster_without_a_tier_says_how_to_have_one() {
        let view = StatusView::from(GetTierStatusResponse::default());
        assert!(view.table().contains("tier.url"));
        assert_eq!(
            serde_json::to_string(&view).unwrap(),
            r#"{"partitions":[]}"#
        );
    }
}
