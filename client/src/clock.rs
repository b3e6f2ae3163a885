//! A clock that goes on while the machine sleeps, which `Instant` does not promise.

use std::time::Duration;

use rustix::time::ClockId;

/// Linux stops its monotonic clock in suspend, and has another that goes on.
#[cfg(target_os = "linux")]
const CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const CLOCK: ClockId = ClockId::Monotonic;

/// Time since some point before the start of this process. What must not be older than the
/// delivery timeout is measured by it: a laptop that slept for an hour must not resend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BootTime(pub(crate) Duration);

impl BootTime {
    pub(crate) fn now() -> BootTime {
        let now = rustix::time::clock_gettime(CLOCK);
        // Both are never negative, and nanoseconds are below a second.
        BootTime(Duration::new(now.tv_sec as u64, now.tv_nsec as u32))
    }

    /// Zero if `earlier` is later.
    pub(crate) fn since(self, earlier: BootTime) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    pub(crate) fn after(self, pause: Duration) -> BootTime {
        BootTime(self.0.saturating_add(pause))
    }
}

/// Milliseconds since the epoch, for timestamps of records.
pub(crate) fn wall_clock_ms() -> i64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since_epoch.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}
