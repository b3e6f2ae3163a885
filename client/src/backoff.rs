//! How long to wait before the next attempt.

use std::time::Duration;

use crate::config::ClientConfig;

/// Doubling pauses with jitter, up to a bound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    initial: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(config: &ClientConfig) -> Backoff {
        Backoff {
            initial: config.backoff_initial,
            max: config.backoff_max,
            failures: 0,
        }
    }

    /// The attempt has succeeded: the next failure waits shortly again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The attempt has failed: how long to wait now, between half the pause and all of it, so that
    /// many clients do not come back at once.
    pub(crate) fn next_pause(&mut self) -> Duration {
        // 2^20 of any pause above a microsecond is past every bound.
        let pause = self
            .initial
            .saturating_mul(1 << self.failures.min(20))
            .min(self.max);
        self.failures = self.failures.saturating_add(1);
        pause.mul_f64(rand::random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_bound_and_start_again_after_a_success() {
        let (initial, max) = (Duration::from_millis(10), Duration::from_millis(50));
        let mut backoff = Backoff::new(&ClientConfig::new("x").backoff(initial, max));
        let mut check = |pause_ms: u64| {
            let (got, pause) = (backoff.next_pause(), Duration::from_millis(pause_ms));
            assert!(
                got <= pause && got >= pause / 2,
                "{got:?} is not within half of {pause:?}"
            );
        };
        for pause_ms in [10, 20, 40, 50, 50] {
            check(pause_ms);
        }
        backoff.reset();
        assert!(backoff.next_pause() <= initial);
    }
}
