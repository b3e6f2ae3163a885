//! Values that the settings of a topic have, as people write them.

use std::borrow::Cow;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// What becomes of the data when the resource is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// The data stays. Applying the same resource again finds it.
    #[default]
    Retain,
    /// The data is deleted with the resource, for good.
    Delete,
}

/// When a batch counts as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// On the medium of every in-sync replica.
    Fsync,
    /// In the page cache of every in-sync replica.
    Replicated,
}

/// How the broker compresses batches that it builds itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// How long records are kept. Both bounds count where both are given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// Delete records this long after they were appended: a number with `ms`, `s`, `m`, `h` or `d`
    /// such as `7d`, or `forever`. Unset: the cluster's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<RetentionTime>,
    /// Delete the oldest segments while a partition is larger than this: bytes, or a number with
    /// `Ki`, `Mi`, `Gi` or `Ti` such as `50Gi`, or `unlimited`. Unset: the cluster's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<RetentionSize>,
}

/// How long copies of what is in the tier stay on the brokers' disks. Both bounds count where both
/// are given. What is not in the tier yet stays in any case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalRetention {
    /// Drop copies this long after the records were appended: a number with `ms`, `s`, `m`, `h` or
    /// `d` such as `12h`, or `0s` for as soon as they are in the tier, or `forever` for as long as
    /// the records. Unset: the cluster's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<RetentionTime>,
    /// Drop the oldest copies while a partition takes more than this on a broker's disk: bytes, or
    /// a number with `Ki`, `Mi`, `Gi` or `Ti` such as `5Gi`, or `0` for as soon as they are in the
    /// tier, or `unlimited`. Unset: the cluster's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<RetentionSize>,
}

/// A value that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not {expected}")]
pub struct ValueError {
    /// As written.
    pub value: String,
    /// What may be written.
    pub expected: &'static str,
}

/// Units of time with their milliseconds.
const TIME_UNITS: [(&str, i64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];
/// Units of size with their bytes. `64MiB`, as the broker writes it, means what `64Mi` means.
const SIZE_UNITS: [(&str, i64); 9] = [
    ("", 1),
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// A number and its unit, multiplied; nothing if it is no such thing or too large.
fn amount(text: &str, units: &[(&str, i64)]) -> Option<i64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    number.parse::<i64>().ok()?.checked_mul(factor)
}

/// Makes a text type with a pattern in the schema and a number behind it.
macro_rules! written_amount {
    ($(#[$doc:meta])* $name:ident, $expected:literal, $pattern:literal, $parse:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The number behind it.
            ///
            /// # Errors
            /// When it is written as the schema forbids, or is beyond 63 bits.
            pub fn value(&self) -> Result<i64, ValueError> {
                let parse: fn(&str) -> Option<i64> = $parse;
                parse(&self.0).ok_or_else(|| ValueError {
                    value: self.0.clone(),
                    expected: $expected,
                })
            }
        }

        impl FromStr for $name {
            type Err = ValueError;

            fn from_str(text: &str) -> Result<$name, ValueError> {
                let written = $name(text.to_owned());
                written.value().map(|_| written)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "maxLength": 24, "pattern": $pattern})
            }
        }
    };
}

written_amount!(
    /// A span of time such as `10s` or `7d`; its value is in milliseconds.
    TimeSpan,
    "a time: write a number with ms, s, m, h or d, such as 7d",
    "^[0-9]+(ms|s|m|h|d)$",
    |text| amount(text, &TIME_UNITS)
);
written_amount!(
    /// A [`TimeSpan`] or `forever`; its value is in milliseconds, -1 for ever.
    RetentionTime,
    "a time: write a number with ms, s, m, h or d, such as 7d, or forever",
    "^([0-9]+(ms|s|m|h|d)|forever)$",
    |text| match text {
        "forever" => Some(-1),
        _ => amount(text, &TIME_UNITS),
    }
);
written_amount!(
    /// A size such as `1Mi`; its value is in bytes.
    Size,
    "a size: write bytes, or a number with Ki, Mi, Gi or Ti, such as 64Mi",
    "^[0-9]+([KMGT]iB?)?$",
    |text| amount(text, &SIZE_UNITS)
);
written_amount!(
    /// A [`Size`] or `unlimited`; its value is in bytes, -1 without bound.
    RetentionSize,
    "a size: write bytes, or a number with Ki, Mi, Gi or Ti, such as 50Gi, or unlimited",
    "^([0-9]+([KMGT]iB?)?|unlimited)$",
    |text| match text {
        "unlimited" => Some(-1),
        _ => amount(text, &SIZE_UNITS),
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_read_with_their_units() {
        assert_eq!(TimeSpan("7d".into()).value(), Ok(604_800_000));
        assert_eq!(TimeSpan("250ms".into()).value(), Ok(250));
        assert_eq!(RetentionTime("forever".into()).value(), Ok(-1));
        assert_eq!(Size("1048576".into()).value(), Ok(1 << 20));
        assert_eq!(Size("64MiB".into()).value(), Size("64Mi".into()).value());
        assert_eq!(RetentionSize("unlimited".into()).value(), Ok(-1));
    }

    #[test]
    fn what_is_no_amount_is_an_error_that_shows_the_form() {
        for text in ["", "7", "d", "7 d", "-7d", "7w", "99999999999999999999d"] {
            assert!(TimeSpan(text.into()).value().is_err(), "{text}");
        }
        for text in ["", "Ki", "1.5Gi", "10G", "-1", "9223372036854775807Ti"] {
            assert!(Size(text.into()).value().is_err(), "{text}");
        }
        let error = RetentionTime("7w".into()).value().unwrap_err().to_string();
        assert!(
            error.contains("`7w`") && error.contains("such as 7d"),
            "{error}"
        );
    }
}
