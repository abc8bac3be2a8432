//! The monotonic clock in microseconds: eight bytes a moment.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Microseconds since the program's first look at the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// Reads the clock; no system call where the kernel offers a vDSO (vdso(7)).
    #[must_use]
    pub fn now() -> Self {
        Self(micros(START.elapsed()))
    }

    /// A moment for tests and for arithmetic.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// What [`Moment::from_micros`] takes.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// This much later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }

    /// The same moment, coarser and in less memory.
    #[must_use]
    pub const fn tick(self) -> Tick {
        Tick((self.0 / 1000) as u32)
    }

    /// How long ago `earlier` was; zero where it lies ahead.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Nanoseconds of processor time that the calling thread has used. One system call.
#[must_use]
pub fn thread_time() -> u64 {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(used.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000) + u64::try_from(used.tv_nsec).unwrap_or(0)
}

/// A moment in four bytes: milliseconds, which come round after 49 days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tick(u32);

impl Tick {
    /// How long ago `earlier` was; right for less than 49 days.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.wrapping_sub(earlier.0) as u64)
    }
}

/// Microseconds since 1970-01-01 00:00 UTC.
#[must_use]
pub fn wall_micros() -> u64 {
    micros(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default(),
    )
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_come_round_unnoticed() {
        let late = Moment::from_micros((u64::from(u32::MAX) - 5) * 1000);
        let later = late.after(Duration::from_millis(20));
        assert_eq!(later.tick().since(late.tick()), Duration::from_millis(20));
    }
}
