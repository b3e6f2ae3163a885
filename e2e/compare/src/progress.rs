//! What it is at, on the terminal.

use std::fmt::Display;
use std::sync::LazyLock;
use std::time::Instant;

/// When something was said first.
static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Says it, with the time since the start before it.
pub(crate) fn say(what: impl Display) {
    eprintln!("{} {what}", clock(STARTED.elapsed().as_secs()));
}

/// Hours, minutes and seconds.
pub(crate) fn clock(seconds: u64) -> String {
    let minutes = seconds / 60;
    format!("{}:{:02}:{:02}", minutes / 60, minutes % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_shown_in_hours_minutes_and_seconds() {
        assert_eq!([59, 3_661].map(clock), ["0:00:59", "1:01:01"]);
    }
}
