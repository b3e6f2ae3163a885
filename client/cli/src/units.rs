//! Sizes, durations and counts as people write them, and back.

use std::time::Duration;

/// Bytes from `512`, `64KiB`, `10MB`, `1.5GiB`. Decimal units are powers of 1000, binary ones of
/// 1024; a bare `k`, `m`, `g` is binary.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split_number(text);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        _ => {
            return Err(format!(
                "{unit:?} is no unit of size; write 64KiB, 10MB or 1GiB"
            ));
        }
    };
    scaled(number, factor as f64)
        .ok_or_else(|| format!("{text:?} is no size; write 64KiB, 10MB or 1GiB"))
}

/// A duration from `250ms`, `30s`, `5m`, `1h30m`, `7d`, `2w`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration; write 250ms, 30s, 5m, 1h30m or 7d");
    let mut rest = text.trim();
    let mut millis: u64 = 0;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let (number, tail) = split_number(rest);
        let unit_len = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        let factor = match unit {
            "ms" => 1.0,
            "s" => 1e3,
            "m" | "min" => 60e3,
            "h" => 3600e3,
            "d" => 86_400e3,
            "w" => 7.0 * 86_400e3,
            _ => return Err(wrong()),
        };
        let part = scaled(number, factor).ok_or_else(wrong)?;
        millis = millis.checked_add(part).ok_or_else(wrong)?;
        rest = tail;
    }
    Ok(Duration::from_millis(millis))
}

/// A count from `500`, `10k`, `2M`, `1_000`.
pub(crate) fn parse_count(text: &str) -> Result<u64, String> {
    let plain = text.replace(['_', ','], "");
    let (number, unit) = split_number(&plain);
    let factor = match unit {
        "" => 1.0,
        "k" | "K" => 1e3,
        "m" | "M" => 1e6,
        "g" | "G" => 1e9,
        _ => return Err(format!("{text:?} is no count; write 500, 10k or 2M")),
    };
    scaled(number, factor).ok_or_else(|| format!("{text:?} is no count; write 500, 10k or 2M"))
}

fn split_number(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start())
}

/// Whole numbers stay exact; fractions are rounded.
fn scaled(number: &str, factor: f64) -> Option<u64> {
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor as u64);
    }
    let value = number.parse::<f64>().ok()? * factor;
    (value.is_finite() && value <= i64::MAX as f64).then_some(value.round() as u64)
}

/// `1.5 MiB`.
pub(crate) fn show_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{value:.1} {}", UNITS[unit]),
    }
}

/// `336,776`.
pub(crate) fn show_count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 record`, `336,776 records`; what cannot be counted is none.
pub(crate) fn show_many(count: impl TryInto<u64>, what: &str) -> String {
    let count = count.try_into().unwrap_or(0);
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {what}{plural}", show_count(count))
}

/// `7d`, `1h30m`, `2.5s`, `250ms`, `80µs`, `0`: short, for people.
pub(crate) fn show_duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    if micros == 0 {
        return "0".to_owned();
    }
    if micros < 1000 {
        return format!("{micros}µs");
    }
    if micros < 1_000_000 {
        let millis = micros as f64 / 1e3;
        return if millis < 10.0 {
            format!("{millis:.1}ms")
        } else {
            format!("{millis:.0}ms")
        };
    }
    if micros < 60_000_000 {
        let seconds = micros as f64 / 1e6;
        let text = format!("{seconds:.1}");
        return format!("{}s", text.strip_suffix(".0").unwrap_or(&text));
    }
    let mut seconds = duration.as_secs();
    let mut text = String::new();
    for (unit, size) in [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)] {
        if seconds >= size {
            text.push_str(&format!("{}{unit}", seconds / size));
            seconds %= size;
        }
    }
    text
}

/// `20s`, `4m`, `5h`, `3d`: how long ago, in the largest unit that fits.
pub(crate) fn show_age(age: Duration) -> String {
    let seconds = age.as_secs();
    let (unit, size) = match seconds {
        0..60 => ("s", 1),
        60..3600 => ("m", 60),
        3600..86_400 => ("h", 3600),
        _ => ("d", 86_400),
    };
    format!("{}{unit}", seconds / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_both_kinds_of_units() {
        let cases = [
            ("512", 512),
            ("64KiB", 65_536),
            ("64k", 65_536),
            ("10MB", 10_000_000),
            ("1.5GiB", 1_610_612_736),
            ("1 GiB", 1 << 30),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "KiB",
            "1 potato",
            "-1",
            "1e9",
            "99999999999TiB",
            "1.2.3k",
        ] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_read_with_units_only() {
        let cases = [
            ("250ms", 250),
            ("30s", 30_000),
            ("1.5s", 1_500),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("7d", 604_800_000),
            ("2w", 1_209_600_000),
        ];
        for (text, millis) in cases {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
        }
        for text in [
            "",
            "30",
            "s",
            "5 minutes",
            "-5s",
            "1h 30m!",
            "99999999999999999w",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn counts_are_read_with_thousands() {
        for (text, count) in [
            ("500", 500),
            ("10k", 10_000),
            ("2M", 2_000_000),
            ("1_000", 1000),
        ] {
            assert_eq!(parse_count(text), Ok(count), "{text}");
        }
        assert!(parse_count("ten").is_err());
        assert!(parse_count("-1").is_err());
    }

    #[test]
    fn what_is_shown_is_short() {
        assert_eq!(show_bytes(999), "999 B");
        assert_eq!(show_bytes(1536), "1.5 KiB");
        assert_eq!(show_count(336_776), "336,776");
        assert_eq!(show_many(1_i32, "record"), "1 record");
        assert_eq!(show_many(1842_u64, "record"), "1,842 records");
        assert_eq!(show_duration(Duration::from_micros(80)), "80µs");
        assert_eq!(show_duration(Duration::from_micros(2_400)), "2.4ms");
        assert_eq!(show_duration(Duration::from_secs(2)), "2s");
        assert_eq!(show_duration(Duration::from_secs(604_800)), "7d");
        assert_eq!(show_duration(Duration::from_secs(5_400)), "1h30m");
    }

    #[test]
    fn ages_are_shown_in_one_unit() {
        let check = |seconds, text| assert_eq!(show_age(Duration::from_secs(seconds)), text);
        check(0, "0s");
        check(59, "59s");
        check(61, "1m");
        check(7200, "2h");
        check(100_000, "1d");
    }
}
