//! Values as people write them: sizes, times, counts, addresses.

use std::net::SocketAddr;

use headwater_core::limits::{NAMESPACE_BYTES_MAX, NODE_NAME_BYTES_MAX};

use crate::limits::{GIB, KIB, MIB, TIB};

/// Units of time, longest first, with their milliseconds.
const TIME_UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Units of size, largest first, with their bytes.
const SIZE_UNITS: [(&str, u64); 5] = [
    ("TiB", TIB),
    ("GiB", GIB),
    ("MiB", MIB),
    ("KiB", KIB),
    ("B", 1),
];

/// Bytes: a plain number, or one with `KiB`, `MiB`, `GiB` or `TiB`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let problem = || {
        "is not a size: write a number of bytes, or one with KiB, MiB, GiB or TiB, such as 64MiB"
            .to_owned()
    };
    let (number, unit) = split_unit(text).ok_or_else(problem)?;
    let factor = match unit {
        "" => 1,
        _ => unit_of(&SIZE_UNITS, unit).ok_or_else(problem)?,
    };
    number.checked_mul(factor).ok_or_else(problem)
}

/// Milliseconds: a number with `ms`, `s`, `m`, `h` or `d`.
pub(super) fn time_ms(text: &str) -> Result<u64, String> {
    let problem = || "is not a time: write a number with ms, s, m, h or d, such as 10s".to_owned();
    let (number, unit) = split_unit(text).ok_or_else(problem)?;
    let factor = unit_of(&TIME_UNITS, unit).ok_or_else(problem)?;
    number.checked_mul(factor).ok_or_else(problem)
}

/// Whether a value means "without bound".
pub(super) fn is_unbounded(text: &str) -> bool {
    matches!(text, "forever" | "unlimited" | "-1")
}

/// A whole number.
pub(super) fn count(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "is not a whole number".to_owned())
}

/// `true` or `false`.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    text.parse()
        .map_err(|_| "is neither true nor false".to_owned())
}

/// An address to listen on.
pub(super) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "is not an address to listen on: write an IP address and a port, such as 0.0.0.0:7650"
            .to_owned()
    })
}

/// `host:port` that clients can dial; kept as text, for the broker never resolves it.
pub(super) fn host_and_port(text: &str) -> Result<String, String> {
    let problem = || "is not host:port, such as broker-0.example.com:7650".to_owned();
    let (host, port) = text.rsplit_once(':').ok_or_else(problem)?;
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let plain = !host.contains([':', '/', '@']) && !host.contains(char::is_whitespace);
    if host.is_empty() || !(plain || bracketed) || !port.parse().is_ok_and(|port: u16| port > 0) {
        return Err(problem());
    }
    Ok(text.to_owned())
}

/// A name that is safe in logs and metrics: 1 to 253 of letters, digits, `.`, `_` and `-`.
pub(super) fn plain_name(text: &str) -> Result<String, String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.is_empty() || text.len() > NODE_NAME_BYTES_MAX || !text.chars().all(legal) {
        return Err(
            "is not a name: write 1 to 253 letters, digits, dots, dashes or underscores".to_owned(),
        );
    }
    Ok(text.to_owned())
}

/// A DNS label (RFC 1123): lower-case letters, digits and inner dashes, 1 to 63 of them.
pub(super) fn dns_label(text: &str) -> Result<String, String> {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let edges = text.starts_with('-') || text.ends_with('-');
    if text.is_empty() || text.len() > NAMESPACE_BYTES_MAX || edges || !text.chars().all(legal) {
        return Err(
            "is not a namespace: write 1 to 63 lower-case letters, digits or dashes, \
                    with no dash at either end"
                .to_owned(),
        );
    }
    Ok(text.to_owned())
}

/// Bytes in the largest unit that divides them, as [`size`] reads them.
pub(crate) fn show_size(bytes: u64) -> String {
    show(bytes, &SIZE_UNITS)
}

/// Milliseconds in the largest unit that divides them, as [`time_ms`] reads them.
pub(crate) fn show_time(ms: u64) -> String {
    show(ms, &TIME_UNITS)
}

fn show(number: u64, units: &[(&str, u64)]) -> String {
    let fits = |(_, factor): &&(&str, u64)| number >= *factor && number.is_multiple_of(*factor);
    match units.iter().find(fits) {
        Some((unit, factor)) => format!("{}{unit}", number / factor),
        None => "0".to_owned(),
    }
}

/// Splits `64MiB` and `64 MiB` into 64 and `MiB`.
fn split_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start()))
}

fn unit_of(units: &[(&str, u64)], unit: &str) -> Option<u64> {
    units
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, factor)| *factor)
}
