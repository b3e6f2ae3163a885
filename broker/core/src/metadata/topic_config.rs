//! Settings of a topic: what was given, and what is in force.

use std::ops::RangeInclusive;

use headwater_record::Compression;

use super::command::TIER_LEVEL;
use crate::limits::{
    CONFIG_MS_MAX, MESSAGE_BYTES, REPLICATION_FACTOR_MAX, SEGMENT_BYTES, SEGMENT_MS,
};

/// When a batch counts as stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Durability {
    /// It is on the medium of every replica that counts.
    #[default]
    Fsync,
    /// It is in the page cache of every replica that counts; synced within seconds.
    Replicated,
}

/// How much of a partition is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retention {
    /// All of it. -1 in the API.
    Unbounded,
    /// At most this many milliseconds or bytes.
    Bounded(u64),
}

impl Retention {
    /// From the API's number; `None` if it is below -1.
    pub fn from_i64(value: i64) -> Option<Retention> {
        match value {
            -1 => Some(Retention::Unbounded),
            _ => u64::try_from(value).ok().map(Retention::Bounded),
        }
    }

    /// The API's number.
    pub fn to_i64(self) -> i64 {
        match self {
            Retention::Unbounded => -1,
            Retention::Bounded(value) => i64::try_from(value).unwrap_or(i64::MAX),
        }
    }

    /// The bound, if there is one.
    pub fn bound(self) -> Option<u64> {
        match self {
            Retention::Unbounded => None,
            Retention::Bounded(value) => Some(value),
        }
    }
}

/// Settings that were given for a topic; what is absent follows the broker's defaults.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TopicConfig {
    /// Delete records this many milliseconds after they were appended.
    pub retention_ms: Option<Retention>,
    /// Delete the oldest segments while a partition is larger than this many bytes.
    pub retention_bytes: Option<Retention>,
    /// Start a new segment at this size.
    pub segment_bytes: Option<u64>,
    /// Start a new segment at this age, in milliseconds.
    pub segment_ms: Option<u64>,
    /// When a batch counts as stored.
    pub durability: Option<Durability>,
    /// How the broker compresses the batches that it builds itself.
    pub compression: Option<Compression>,
    /// The largest batch, in bytes as stored.
    pub message_bytes_max: Option<u32>,
    /// How far ahead of the leader's clock a record's timestamp may be, in milliseconds.
    pub timestamp_ahead_ms_max: Option<u64>,
    /// How many replicas must be in sync for `Acks::All`.
    pub min_in_sync_replicas: Option<u32>,
    /// Upload sealed segments to the tier, if the broker has one.
    pub tiering: Option<bool>,
    /// Drop the local copy of what is in the tier this many milliseconds after it was appended: 0
    /// at once; unbounded as late as `retention_ms` deletes it.
    pub local_retention_ms: Option<Retention>,
    /// Drop the oldest local copies of what is in the tier while a partition has more than this
    /// many bytes on the local disk: 0 at once; unbounded as late as `retention_bytes` deletes it.
    pub local_retention_bytes: Option<Retention>,
}

/// Settings in force: a topic's own over the broker's defaults.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EffectiveConfig {
    /// See [`TopicConfig::retention_ms`].
    pub retention_ms: Retention,
    /// See [`TopicConfig::retention_bytes`].
    pub retention_bytes: Retention,
    /// See [`TopicConfig::segment_bytes`].
    pub segment_bytes: u64,
    /// See [`TopicConfig::segment_ms`].
    pub segment_ms: u64,
    /// See [`TopicConfig::durability`].
    pub durability: Durability,
    /// See [`TopicConfig::compression`].
    pub compression: Compression,
    /// See [`TopicConfig::message_bytes_max`].
    pub message_bytes_max: u32,
    /// See [`TopicConfig::timestamp_ahead_ms_max`].
    pub timestamp_ahead_ms_max: u64,
    /// See [`TopicConfig::min_in_sync_replicas`].
    pub min_in_sync_replicas: u32,
    /// See [`TopicConfig::tiering`].
    pub tiering: bool,
    /// See [`TopicConfig::local_retention_ms`].
    pub local_retention_ms: Retention,
    /// See [`TopicConfig::local_retention_bytes`].
    pub local_retention_bytes: Retention,
}

/// A setting that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {given}; {allowed}")]
pub struct ConfigError {
    /// The setting, as the API calls it.
    pub field: &'static str,
    /// What was given.
    pub given: i128,
    /// What is allowed, and what to do for more.
    pub allowed: String,
}

impl TopicConfig {
    /// Whether every setting lies in its range. `replication_factor` is the topic's.
    pub fn validate(&self, replication_factor: u32) -> Result<(), ConfigError> {
        let bound = |given: Option<Retention>| given.and_then(Retention::bound);
        let (ms, bytes) = (1..=CONFIG_MS_MAX, 1..=i64::MAX as u64);
        let more = ", or -1 to keep everything";
        within("retention_ms", bound(self.retention_ms), &ms, more)?;
        within("retention_bytes", bound(self.retention_bytes), &bytes, more)?;
        let (ms, bytes) = (0..=CONFIG_MS_MAX, 0..=i64::MAX as u64);
        let more = ", or -1 to keep local copies as long as the records";
        let given = bound(self.local_retention_ms);
        within("local_retention_ms", given, &ms, more)?;
        let given = bound(self.local_retention_bytes);
        within("local_retention_bytes", given, &bytes, more)?;
        within("segment_bytes", self.segment_bytes, &SEGMENT_BYTES, "")?;
        within("segment_ms", self.segment_ms, &SEGMENT_MS, "")?;
        let message_bytes = u64::from(*MESSAGE_BYTES.start())..=u64::from(*MESSAGE_BYTES.end());
        let given = self.message_bytes_max.map(u64::from);
        within("message_bytes_max", given, &message_bytes, "")?;
        within(
            "timestamp_ahead_ms_max",
            self.timestamp_ahead_ms_max,
            &(0..=CONFIG_MS_MAX),
            "",
        )?;
        let replicas = u64::from(replication_factor.min(REPLICATION_FACTOR_MAX));
        let given = self.min_in_sync_replicas.map(u64::from);
        within(
            "min_in_sync_replicas",
            given,
            &(1..=replicas),
            " (the replication factor)",
        )
    }

    /// The feature level that these settings need.
    pub(super) fn feature_level(&self) -> u32 {
        let of_the_tier = self.tiering.is_some()
            || self.local_retention_ms.is_some()
            || self.local_retention_bytes.is_some();
        if of_the_tier { TIER_LEVEL } else { 1 }
    }

    /// What is in force where these are a topic's own settings.
    pub fn effective(&self, defaults: &EffectiveConfig) -> EffectiveConfig {
        EffectiveConfig {
            retention_ms: self.retention_ms.unwrap_or(defaults.retention_ms),
            retention_bytes: self.retention_bytes.unwrap_or(defaults.retention_bytes),
            segment_bytes: self.segment_bytes.unwrap_or(defaults.segment_bytes),
            segment_ms: self.segment_ms.unwrap_or(defaults.segment_ms),
            durability: self.durability.unwrap_or(defaults.durability),
            compression: self.compression.unwrap_or(defaults.compression),
            message_bytes_max: self.message_bytes_max.unwrap_or(defaults.message_bytes_max),
            timestamp_ahead_ms_max: self
                .timestamp_ahead_ms_max
                .unwrap_or(defaults.timestamp_ahead_ms_max),
            min_in_sync_replicas: self
                .min_in_sync_replicas
                .unwrap_or(defaults.min_in_sync_replicas),
            tiering: self.tiering.unwrap_or(defaults.tiering),
            local_retention_ms: self
                .local_retention_ms
                .unwrap_or(defaults.local_retention_ms),
            local_retention_bytes: self
                .local_retention_bytes
                .unwrap_or(defaults.local_retention_bytes),
        }
    }
}

fn within(
    field: &'static str,
    given: Option<u64>,
    range: &RangeInclusive<u64>,
    more: &str,
) -> Result<(), ConfigError> {
    match given {
        Some(value) if !range.contains(&value) => Err(ConfigError {
            field,
            given: value.into(),
            allowed: format!("give {} to {}{more}", range.start(), range.end()),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut TopicConfig), refused: Option<&str>) {
        let mut config = TopicConfig::default();
        change(&mut config);
        let error = config.validate(3).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), refused);
    }

    #[test]
    fn a_setting_out_of_its_range_is_refused_with_field_limit_and_remedy() {
        check(|_| {}, None);
        check(|c| c.retention_ms = Some(Retention::Unbounded), None);
        check(
            |c| c.retention_ms = Some(Retention::Bounded(0)),
            Some("retention_ms is 0; give 1 to 3153600000000, or -1 to keep everything"),
        );
        check(
            |c| c.segment_bytes = Some(1),
            Some("segment_bytes is 1; give 65536 to 2147483647"),
        );
        check(
            |c| c.segment_ms = Some(59_999),
            Some("segment_ms is 59999; give 60000 to 3153600000000"),
        );
        check(|c| c.message_bytes_max = Some(16 << 20), None);
        check(
            |c| c.message_bytes_max = Some((16 << 20) + 1),
            Some("message_bytes_max is 16777217; give 1024 to 16777216"),
        );
        check(|c| c.timestamp_ahead_ms_max = Some(0), None);
        check(|c| c.min_in_sync_replicas = Some(3), None);
        check(
            |c| c.min_in_sync_replicas = Some(4),
            Some("min_in_sync_replicas is 4; give 1 to 3 (the replication factor)"),
        );
        check(|c| c.local_retention_ms = Some(Retention::Bounded(0)), None);
        check(
            |c| c.local_retention_bytes = Some(Retention::Unbounded),
            None,
        );
        check(
            |c| c.local_retention_ms = Some(Retention::Bounded(CONFIG_MS_MAX + 1)),
            Some(
                "local_retention_ms is 3153600000001; give 0 to 3153600000000, or -1 to keep local \
                 copies as long as the records",
            ),
        );
    }

    #[test]
    fn a_topics_own_settings_stand_over_the_defaults() {
        let defaults = EffectiveConfig {
            retention_ms: Retention::Bounded(5),
            retention_bytes: Retention::Unbounded,
            segment_bytes: 1 << 30,
            segment_ms: 86_400_000,
            durability: Durability::Fsync,
            compression: Compression::None,
            message_bytes_max: 1 << 20,
            timestamp_ahead_ms_max: 3_600_000,
            min_in_sync_replicas: 1,
            tiering: true,
            local_retention_ms: Retention::Bounded(86_400_000),
            local_retention_bytes: Retention::Unbounded,
        };
        assert_eq!(TopicConfig::default().effective(&defaults), defaults);
        let own = TopicConfig {
            retention_ms: Some(Retention::Unbounded),
            durability: Some(Durability::Replicated),
            tiering: Some(false),
            local_retention_bytes: Some(Retention::Bounded(0)),
            ..TopicConfig::default()
        };
        let expected = EffectiveConfig {
            retention_ms: Retention::Unbounded,
            durability: Durability::Replicated,
            tiering: false,
            local_retention_bytes: Retention::Bounded(0),
            ..defaults.clone()
        };
        assert_eq!(own.effective(&defaults), expected);
    }

    #[test]
    fn retention_reads_the_numbers_of_the_api() {
        assert_eq!(Retention::from_i64(-1), Some(Retention::Unbounded));
        assert_eq!(Retention::from_i64(7), Some(Retention::Bounded(7)));
        assert_eq!(Retention::from_i64(-2), None);
        assert_eq!(Retention::Unbounded.to_i64(), -1);
        assert_eq!(Retention::Bounded(7).to_i64(), 7);
    }
}
