//! The kernel's clock, and the calendar's.

use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since the machine started, suspended time included: `CLOCK_BOOTTIME`, which the
/// kernel programs read by `bpf_ktime_get_boot_ns`.
pub(crate) fn since_boot() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let (seconds, rest) = (time.tv_sec.cast_unsigned(), time.tv_nsec.cast_unsigned());
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

/// Microseconds of `CLOCK_MONOTONIC`, as the service manager wants them.
pub(crate) fn monotonic_microseconds() -> i128 {
    let time = clock_gettime(ClockId::Monotonic);
    i128::from(time.tv_sec) * 1_000_000 + i128::from(time.tv_nsec) / 1000
}

/// The day by the calendar of UTC, as `2026-11-22`.
pub(crate) fn today() -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    now.split('T').next().unwrap_or_default().to_owned()
}

/// Puts the kernel's clock and the calendar's together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// Nanoseconds of the calendar at boot.
    boot: i128,
}

impl Clock {
    /// Reads both clocks.
    pub(crate) fn now() -> Self {
        let time = clock_gettime(ClockId::Realtime);
        let wall = i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
        Self { boot: wall - i128::from(since_boot()) }
    }

    /// A time of the kernel's, as events have it.
    pub(crate) fn wall(self, since_boot: u64) -> String {
        let nanoseconds = u64::try_from(self.boot + i128::from(since_boot)).unwrap_or(0);
        let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds);
        humantime::format_rfc3339_nanos(time).to_string()
    }

    /// The time as events have it.
    pub(crate) fn wall_now(self) -> String {
        humantime::format_rfc3339_nanos(SystemTime::now()).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_clock_becomes_the_calendars() {
        let clock = Clock { boot: 1_000_000_000 };
        assert_eq!(clock.wall(500), "1970-01-01T00:00:01.000000500Z");
    }
}
