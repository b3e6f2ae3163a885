//! Settings of a topic on the command line.

use std::time::Duration;

use clap::ValueEnum;
use headwater_client::types::{CompressionSetting, Durability, TopicConfig};

use crate::units::{parse_bytes, parse_duration};

/// A setting that was given: a value, or back to the broker's default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting<T> {
    /// The broker's default.
    Default,
    /// This value.
    Value(T),
}

impl<T> Setting<T> {
    fn value(self) -> Option<T> {
        match self {
            Setting::Default => None,
            Setting::Value(value) => Some(value),
        }
    }
}

/// What has to happen before a batch counts as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DurabilityArg {
    /// On the disk of every in-sync replica
    Fsync,
    /// In the memory of every in-sync replica, on disk within ten seconds
    Replicated,
}

/// How batches are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompressionArg {
    /// Not
    #[default]
    None,
    /// gzip
    Gzip,
    /// snappy
    Snappy,
    /// lz4
    Lz4,
    /// zstd
    Zstd,
}

impl From<CompressionArg> for CompressionSetting {
    fn from(arg: CompressionArg) -> CompressionSetting {
        match arg {
            CompressionArg::None => CompressionSetting::None,
            CompressionArg::Gzip => CompressionSetting::Gzip,
            CompressionArg::Snappy => CompressionSetting::Snappy,
            CompressionArg::Lz4 => CompressionSetting::Lz4,
            CompressionArg::Zstd => CompressionSetting::Zstd,
        }
    }
}

impl From<CompressionArg> for headwater_client::Compression {
    fn from(arg: CompressionArg) -> headwater_client::Compression {
        use headwater_client::Compression;
        match arg {
            CompressionArg::None => Compression::None,
            CompressionArg::Gzip => Compression::Gzip,
            CompressionArg::Snappy => Compression::Snappy,
            CompressionArg::Lz4 => Compression::Lz4,
            CompressionArg::Zstd => Compression::Zstd,
        }
    }
}

/// Settings of a topic; each takes `default` to return to the broker's default.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Settings (each takes `default` as well)")]
pub(crate) struct SettingArgs {
    /// Delete records this long after they arrived: 7d, or `forever`
    #[arg(long, value_name = "TIME", value_parser = retention)]
    retention: Option<Setting<i64>>,
    /// Delete the oldest records while a partition is larger: 10GiB, or `unbounded`
    #[arg(long, value_name = "SIZE", value_parser = retention_bytes)]
    retention_bytes: Option<Setting<i64>>,
    /// When a batch counts as stored: `fsync` or `replicated`
    #[arg(long, value_name = "CLASS", value_parser = one_of::<DurabilityArg>)]
    durability: Option<Setting<DurabilityArg>>,
    /// Codec of batches that the broker builds: none, gzip, snappy, lz4 or zstd
    #[arg(long, value_name = "CODEC", value_parser = one_of::<CompressionArg>)]
    compression: Option<Setting<CompressionArg>>,
    /// The largest batch that is accepted: 1MiB
    #[arg(long, value_name = "SIZE", value_parser = bytes_i32)]
    message_bytes_max: Option<Setting<i32>>,
    /// Start a new segment at this size: 256MiB
    #[arg(long, value_name = "SIZE", value_parser = bytes_i64)]
    segment_bytes: Option<Setting<i64>>,
    /// Start a new segment at this age: 1d
    #[arg(long, value_name = "TIME", value_parser = millis)]
    segment_age: Option<Setting<i64>>,
    /// Refuse records from further in the future than this: 1h
    #[arg(long, value_name = "TIME", value_parser = millis)]
    timestamp_ahead_max: Option<Setting<i64>>,
    /// Refuse writes with acks=all while fewer replicas are in sync
    #[arg(long, value_name = "N", value_parser = number)]
    min_in_sync_replicas: Option<Setting<i32>>,
    /// Upload sealed segments to the tier, if the cluster has one: `true` or `false`
    #[arg(long, value_name = "BOOL", value_parser = true_or_false)]
    tiering: Option<Setting<bool>>,
    /// Keep copies of what is in the tier on the brokers' disks for so long: 1d, `0` for not at all,
    /// or `forever` for as long as the records
    #[arg(long, alias = "local-retention-time", value_name = "TIME", value_parser = local_retention)]
    local_retention: Option<Setting<i64>>,
    /// Drop the oldest copies of what is in the tier while a partition takes more than this on a
    /// broker's disk: 10GiB, `0`, or `unbounded`
    #[arg(long, value_name = "SIZE", value_parser = retention_bytes)]
    local_retention_bytes: Option<Setting<i64>>,
}

impl SettingArgs {
    /// The values that were given.
    pub(crate) fn config(&self) -> TopicConfig {
        let durability = |arg| match arg {
            DurabilityArg::Fsync => Durability::Fsync as i32,
            DurabilityArg::Replicated => Durability::Replicated as i32,
        };
        let compression = |arg| CompressionSetting::from(arg) as i32;
        TopicConfig {
            retention_ms: self.retention.and_then(Setting::value),
            retention_bytes: self.retention_bytes.and_then(Setting::value),
            segment_bytes: self.segment_bytes.and_then(Setting::value),
            segment_ms: self.segment_age.and_then(Setting::value),
            durability: self.durability.and_then(Setting::value).map(durability),
            compression: self.compression.and_then(Setting::value).map(compression),
            message_bytes_max: self.message_bytes_max.and_then(Setting::value),
            timestamp_ahead_ms_max: self.timestamp_ahead_max.and_then(Setting::value),
            min_in_sync_replicas: self.min_in_sync_replicas.and_then(Setting::value),
            tiering: self.tiering.and_then(Setting::value),
            local_retention_ms: self.local_retention.and_then(Setting::value),
            local_retention_bytes: self.local_retention_bytes.and_then(Setting::value),
        }
    }

    /// Whether anything was given that decides where records are kept: on disks or in the tier.
    pub(crate) fn moves_records(&self) -> bool {
        self.tiering.is_some()
            || self.local_retention.is_some()
            || self.local_retention_bytes.is_some()
    }

    /// Whether anything was given that decides how long there are records.
    pub(crate) fn deletes_records(&self) -> bool {
        self.retention.is_some() || self.retention_bytes.is_some()
    }

    /// The API's paths of what was given, values and defaults alike.
    pub(crate) fn paths(&self) -> Vec<&'static str> {
        let given = [
            ("config.retention_ms", self.retention.is_some()),
            ("config.retention_bytes", self.retention_bytes.is_some()),
            ("config.segment_bytes", self.segment_bytes.is_some()),
            ("config.segment_ms", self.segment_age.is_some()),
            ("config.durability", self.durability.is_some()),
            ("config.compression", self.compression.is_some()),
            ("config.message_bytes_max", self.message_bytes_max.is_some()),
            (
                "config.timestamp_ahead_ms_max",
                self.timestamp_ahead_max.is_some(),
            ),
            (
                "config.min_in_sync_replicas",
                self.min_in_sync_replicas.is_some(),
            ),
            ("config.tiering", self.tiering.is_some()),
            ("config.local_retention_ms", self.local_retention.is_some()),
            (
                "config.local_retention_bytes",
                self.local_retention_bytes.is_some(),
            ),
        ];
        given
            .into_iter()
            .filter_map(|(path, given)| given.then_some(path))
            .collect()
    }
}

fn or_default<T>(
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Setting<T>, String> {
    match text {
        "default" => Ok(Setting::Default),
        _ => parse(text).map(Setting::Value),
    }
}

fn retention(text: &str) -> Result<Setting<i64>, String> {
    match text {
        "forever" | "unlimited" | "-1" => Ok(Setting::Value(-1)),
        _ => millis(text),
    }
}

fn local_retention(text: &str) -> Result<Setting<i64>, String> {
    match text {
        "0" => Ok(Setting::Value(0)),
        _ => retention(text),
    }
}

fn true_or_false(text: &str) -> Result<Setting<bool>, String> {
    or_default(text, |text| {
        text.parse()
            .map_err(|_| "there are true, false and default".to_owned())
    })
}

fn retention_bytes(text: &str) -> Result<Setting<i64>, String> {
    match text {
        "unbounded" | "unlimited" | "-1" => Ok(Setting::Value(-1)),
        _ => bytes_i64(text),
    }
}

fn millis(text: &str) -> Result<Setting<i64>, String> {
    let fit =
        |time: Duration| i64::try_from(time.as_millis()).map_err(|_| format!("{text} is too long"));
    or_default(text, |text| parse_duration(text).and_then(fit))
}

fn bytes_i64(text: &str) -> Result<Setting<i64>, String> {
    let fit = |bytes| i64::try_from(bytes).map_err(|_| format!("{text} is too large"));
    or_default(text, |text| parse_bytes(text).and_then(fit))
}

fn bytes_i32(text: &str) -> Result<Setting<i32>, String> {
    let fit = |bytes| i32::try_from(bytes).map_err(|_| format!("{text} is too large"));
    or_default(text, |text| parse_bytes(text).and_then(fit))
}

fn number(text: &str) -> Result<Setting<i32>, String> {
    or_default(text, |text| {
        text.parse().map_err(|_| format!("{text:?} is no number"))
    })
}

fn one_of<T: ValueEnum>(text: &str) -> Result<Setting<T>, String> {
    or_default(text, |text| {
        T::from_str(text, true).map_err(|_| {
            let names = T::value_variants()
                .iter()
                .filter_map(ValueEnum::to_possible_value);
            let names: Vec<_> = names.map(|value| value.get_name().to_owned()).collect();
            format!("there are {} and default", names.join(", "))
        })
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Probe {
        #[command(flatten)]
        settings: SettingArgs,
    }

    fn parse(args: &[&str]) -> Result<SettingArgs, clap::Error> {
        let args = std::iter::once(&"probe").chain(args);
        Probe::try_parse_from(args).map(|probe| probe.settings)
    }

    #[test]
    fn what_is_given_becomes_the_config_and_its_paths() {
        let settings = parse(&["--retention", "7d", "--durability", "replicated"]).unwrap();
        let config = settings.config();
        assert_eq!(config.retention_ms, Some(604_800_000));
        assert_eq!(config.durability, Some(Durability::Replicated as i32));
        assert_eq!(config.segment_bytes, None);
        assert_eq!(
            settings.paths(),
            ["config.retention_ms", "config.durability"]
        );
    }

    #[test]
    fn default_names_the_path_and_leaves_the_value_out() {
        let settings = parse(&["--segment-bytes", "default"]).unwrap();
        assert_eq!(settings.config(), TopicConfig::default());
        assert_eq!(settings.paths(), ["config.segment_bytes"]);
    }

    #[test]
    fn what_decides_where_records_are_kept_is_told_apart() {
        let settings = parse(&["--tiering=false", "--local-retention", "0"]).unwrap();
        let config = settings.config();
        assert_eq!(
            (config.tiering, config.local_retention_ms),
            (Some(false), Some(0))
        );
        assert_eq!(
            settings.paths(),
            ["config.tiering", "config.local_retention_ms"]
        );
        assert!(settings.moves_records());
        let bytes = parse(&["--local-retention-bytes", "unbounded"]).unwrap();
        assert_eq!(bytes.config().local_retention_bytes, Some(-1));
        assert!(bytes.moves_records());
        let back = parse(&["--local-retention-time", "default"]).unwrap();
        assert_eq!(back.config(), TopicConfig::default());
        assert!(back.moves_records());
        assert!(!parse(&["--retention", "7d"]).unwrap().moves_records());
        let error = parse(&["--tiering", "yes"]).unwrap_err().to_string();
        assert!(error.contains("true, false and default"), "{error}");
    }

    #[test]
    fn for_ever_is_minus_one_and_nonsense_is_refused() {
        assert_eq!(
            parse(&["--retention", "forever"])
                .unwrap()
                .config()
                .retention_ms,
            Some(-1)
        );
        assert!(parse(&["--retention", "7"]).is_err());
        assert!(parse(&["--message-bytes-max", "3GiB"]).is_err());
        let error = parse(&["--compression", "rar"]).unwrap_err().to_string();
        assert!(
            error.contains("there are none, gzip, snappy, lz4, zstd and default"),
            "{error}"
        );
    }
}
