//! Where to start and where to end reading: `--from` and `--until`.

use std::str::FromStr;

use headwater_client::Position;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::moment::parse_moment;
use crate::units::parse_count;

/// Where to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// The oldest record of each partition.
    Begin,
    /// Behind the newest record of each partition.
    End,
    /// The newest so many records, over all partitions, by timestamp.
    Last(u64),
    /// The first record of each partition that is at least this old, in milliseconds since the
    /// epoch.
    Time(i64),
    /// This offset, in each partition.
    Offset(u64),
}

/// Where to end; what stands there is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// What is the end when the command starts.
    End,
    /// The first record of each partition with at least this timestamp, in milliseconds since
    /// the epoch, among those that exist when the command starts.
    Time(i64),
    /// This offset, in each partition.
    Offset(u64),
}

impl From {
    /// As the broker is asked; `Last` is asked of each partition and cut down afterwards.
    pub(crate) fn position(self) -> Position {
        match self {
            From::Begin => Position::Earliest,
            From::End => Position::Latest,
            From::Last(count) => Position::LastN(count),
            From::Time(timestamp_ms) => Position::Timestamp(timestamp_ms),
            From::Offset(offset) => Position::Offset(offset),
        }
    }
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<From, String> {
        match text {
            "begin" | "start" | "earliest" => return Ok(From::Begin),
            "end" | "latest" => return Ok(From::End),
            _ => {}
        }
        if let Some(time) = text.strip_prefix('@') {
            return moment(time).map(From::Time);
        }
        if let Some(count) = text.strip_prefix('-') {
            return parse_count(count).map(From::Last).map_err(|_| {
                format!("{text:?} is no count of records; write -10 for the newest ten")
            });
        }
        text.parse::<u64>().map(From::Offset).map_err(|_| {
            format!(
                "{text:?} is no place; write begin, end, -10 (the newest ten), \
                 @2013-01-01T12:00-05:00, @-1h (an hour ago), or an offset"
            )
        })
    }
}

impl FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Until, String> {
        if matches!(text, "end" | "latest") {
            return Ok(Until::End);
        }
        if let Some(time) = text.strip_prefix('@') {
            return moment(time).map(Until::Time);
        }
        text.parse::<u64>().map(Until::Offset).map_err(|_| {
            format!(
                "{text:?} is no place to end; write end, @2013-01-01T12:00-05:00, @-1h (an hour \
                 ago), or an offset"
            )
        })
    }
}

fn moment(text: &str) -> Result<i64, String> {
    parse_moment(text, Timestamp::now(), &TimeZone::system())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_place_is_read() {
        let cases = [
            ("begin", From::Begin),
            ("end", From::End),
            ("-5", From::Last(5)),
            ("-10k", From::Last(10_000)),
            ("@2013-01-01T12:00-05:00", From::Time(1_357_059_600_000)),
            ("@1357059600000", From::Time(1_357_059_600_000)),
            ("42", From::Offset(42)),
        ];
        for (text, from) in cases {
            assert_eq!(text.parse(), Ok(from), "{text}");
        }
        assert_eq!("end".parse(), Ok(Until::End));
        assert_eq!("42".parse(), Ok(Until::Offset(42)));
        assert_eq!("@0".parse(), Ok(Until::Time(0)));
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in [
            "",
            "middle",
            "-",
            "--5",
            "@",
            "@noon",
            "4.2",
            "99999999999999999999",
        ] {
            assert!(text.parse::<From>().is_err(), "{text}");
        }
        for text in ["begin", "-5", "", "soon"] {
            assert!(text.parse::<Until>().is_err(), "{text}");
        }
    }
}
