//! The clocks, read by drivers only; everything behind them takes [`Now`] as an argument.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use headwater_log::Now;

use crate::limits::{CLOCK_GAP_WAIT, CLOCK_JUMP_MAX, CLOCK_OFF_MAX};

/// Monotonic and wall clock, and whether the wall clock can be trusted for retention.
#[derive(Clone, Debug)]
pub struct Clock {
    started: Instant,
    started_wall_ms: i64,
    /// Retention waits this long after the start.
    wait: Duration,
}

impl Clock {
    /// Starts the monotonic clock at 0. `last_wall_ms` is the last wall time that the data
    /// directory saw: after more than a day off nobody knows whether the clock was set wrongly, so
    /// time retention waits for an hour in which somebody can look.
    pub fn start(last_wall_ms: Option<i64>) -> Clock {
        let started_wall_ms = wall_ms();
        let off_ms = last_wall_ms.map_or(0, |last| started_wall_ms.abs_diff(last));
        let suspicious = off_ms > CLOCK_OFF_MAX.as_millis() as u64;
        Clock {
            started: Instant::now(),
            started_wall_ms,
            wait: if suspicious {
                CLOCK_GAP_WAIT
            } else {
                Duration::ZERO
            },
        }
    }

    /// Both clocks.
    pub fn now(&self) -> Now {
        Now {
            monotonic_ms: self.started.elapsed().as_millis() as u64,
            wall_ms: wall_ms(),
        }
    }

    /// Whether time retention must not act: the wall clock has jumped against the monotonic one
    /// since the start, or the data directory was unused for long.
    pub fn is_suspect(&self) -> bool {
        let elapsed = self.started.elapsed();
        self.is_waiting() || self.jump_ms(elapsed) > CLOCK_JUMP_MAX.as_millis() as u64
    }

    /// Whether time retention waits because the data directory was unused for long.
    pub fn is_waiting(&self) -> bool {
        self.started.elapsed() < self.wait
    }

    fn jump_ms(&self, elapsed: Duration) -> u64 {
        let expected = self
            .started_wall_ms
            .saturating_add_unsigned(elapsed.as_millis() as u64);
        wall_ms().abs_diff(expected)
    }
}

/// Milliseconds since the epoch, by the wall clock.
pub fn wall_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_runs_evenly_is_trusted() {
        assert!(!Clock::start(None).is_suspect());
        assert!(!Clock::start(Some(wall_ms())).is_suspect());
    }

    #[test]
    fn retention_waits_after_a_day_off_and_after_a_jump() {
        let two_days_ms = 2 * 24 * 60 * 60 * 1000;
        assert!(Clock::start(Some(wall_ms() - two_days_ms)).is_suspect());
        let mut clock = Clock::start(None);
        clock.started_wall_ms -= two_days_ms;
        assert!(clock.is_suspect());
    }
}
