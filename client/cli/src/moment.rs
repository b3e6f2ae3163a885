//! Points in time as people write them.

use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};

use crate::units::parse_duration;

/// Milliseconds since the epoch from `2013-01-01T12:00-05:00`, `2013-01-01T12:00` and
/// `2013-01-01` (in `zone`), `12:00` (today), `1357059600000`, `now`, `-1h` (before `now`).
pub(crate) fn parse_moment(text: &str, now: Timestamp, zone: &TimeZone) -> Result<i64, String> {
    let text = text.trim();
    if text == "now" {
        return Ok(now.as_millisecond());
    }
    if let Some(ago) = text.strip_prefix('-') {
        let ago = parse_duration(ago)?;
        return Ok(now.as_millisecond() - i64::try_from(ago.as_millis()).unwrap_or(i64::MAX));
    }
    if let Ok(millis) = text.parse::<i64>() {
        return Ok(millis);
    }
    // Instants that carry their offset come first: the civil parsers would ignore it.
    if let Some(instant) = with_offset(text) {
        return Ok(instant.as_millisecond());
    }
    let civil = text
        .parse::<civil::DateTime>()
        .or_else(|_| text.parse::<civil::Date>().map(civil::DateTime::from))
        .or_else(|_| {
            let today = now.to_zoned(zone.clone()).date();
            text.parse::<civil::Time>()
                .map(|time| today.to_datetime(time))
        });
    let zoned = civil.and_then(|civil| civil.to_zoned(zone.clone()));
    zoned
        .map(|zoned| zoned.timestamp().as_millisecond())
        .map_err(|_| {
            format!(
                "{text:?} is no time; write 2013-01-01T12:00-05:00, 2013-01-01T12:00 (local time), \
             2013-01-01, 12:00 (today), -1h (ago), now, or milliseconds since 1970"
            )
        })
}

/// RFC 3339; also without seconds.
fn with_offset(text: &str) -> Option<Timestamp> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(instant);
    }
    let (local, offset) = split_offset(text)?;
    format!("{local}:00{offset}").parse().ok()
}

/// `2013-01-01T12:00` and `-05:00`; `None` if there is no offset behind the time of day.
fn split_offset(text: &str) -> Option<(&str, &str)> {
    let time_at = text.find(['T', 't', ' '])?;
    let offset_at = text.get(time_at..)?.find(['Z', 'z', '+', '-'])? + time_at;
    Some(text.split_at(offset_at))
}

/// `2013-01-01T17:00:00.000Z`.
pub(crate) fn show_utc(timestamp_ms: i64) -> String {
    match Timestamp::from_millisecond(timestamp_ms) {
        Ok(timestamp) => format!("{timestamp:.3}"),
        Err(_) => timestamp_ms.to_string(),
    }
}

/// `2013-01-01 12:00:00.000`, in `zone`.
pub(crate) fn show_in(timestamp_ms: i64, zone: &TimeZone) -> String {
    match Timestamp::from_millisecond(timestamp_ms) {
        Ok(timestamp) => timestamp
            .to_zoned(zone.clone())
            .strftime("%Y-%m-%d %H:%M:%S%.3f")
            .to_string(),
        Err(_) => timestamp_ms.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON_IN_NEW_YORK_MS: i64 = 1_357_059_600_000;

    fn new_york() -> TimeZone {
        TimeZone::fixed(jiff::tz::offset(-5))
    }

    fn parse(text: &str) -> Result<i64, String> {
        let now = "2013-01-01T18:30:00Z".parse().unwrap();
        parse_moment(text, now, &new_york())
    }

    #[test]
    fn one_moment_can_be_written_in_many_ways() {
        let ways = [
            "2013-01-01T12:00-05:00",
            "2013-01-01T12:00:00-05:00",
            "2013-01-01T17:00Z",
            "2013-01-01T17:00:00Z",
            "2013-01-01 12:00:00-05:00",
            "2013-01-01T17:00+00:00",
            "2013-01-01T12:00",
            "2013-01-01 12:00",
            "2013-01-01T12:00:00",
            "12:00",
            "1357059600000",
            "-1h30m",
        ];
        for text in ways {
            assert_eq!(parse(text), Ok(NOON_IN_NEW_YORK_MS), "{text}");
        }
    }

    #[test]
    fn a_date_is_its_local_midnight() {
        assert_eq!(
            parse("2013-01-01"),
            Ok(NOON_IN_NEW_YORK_MS - 12 * 3_600_000)
        );
        assert_eq!(parse("now"), Ok(NOON_IN_NEW_YORK_MS + 90 * 60_000));
    }

    #[test]
    fn what_is_no_time_is_refused_with_examples() {
        for text in [
            "",
            "noon",
            "2013-13-01",
            "2013-01-01T25:00",
            "-",
            "-5",
            "2013-01-01T12:00-99:00",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(
            parse("noon")
                .unwrap_err()
                .contains("2013-01-01T12:00-05:00")
        );
    }

    #[test]
    fn times_are_shown_with_milliseconds() {
        assert_eq!(show_utc(NOON_IN_NEW_YORK_MS), "2013-01-01T17:00:00.000Z");
        assert_eq!(
            show_in(NOON_IN_NEW_YORK_MS + 7, &new_york()),
            "2013-01-01 12:00:00.007"
        );
        assert_eq!(show_utc(i64::MAX), i64::MAX.to_string());
    }
}
