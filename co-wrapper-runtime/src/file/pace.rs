//! Decides whether system calls that may be slow are made on the calling thread: only as long as they are quick.
//!
//! A call that took longer than [`SLOW`] may have waited for the disk, or its thread may have waited for a processor.
//! So the next calls are watched, for [`PAUSE`] times as long as that call took. Watching costs a call a fraction of a
//! microsecond. If a watched call is slow and has waited, no call is made on the calling thread for [`PAUSE`] times as
//! long as it took.
//!
//! Invariant: a thread has at most two slow calls in a row, and they take at most a fiftieth of its time. The system
//! decides how long one call takes; Linux lets a writer wait for at most 200 ms at a time when too much is to be
//! written back.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::syscall;

/// A call that takes longer is slow. Up to this, a context's other work waits no longer than for a badly timed task.
pub(super) const SLOW: Duration = Duration::from_millis(1);

/// For how long calls are watched, or not made, after a slow one: this many times as long as that one took.
pub(super) const PAUSE: u32 = 100;

/// Times are kept as nanoseconds since this one. Any time would do that comes before all others.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The state of a file.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Until when calls are watched.
    suspicious: AtomicU64,
    /// Until when no call is made on the calling thread.
    paused: AtomicU64,
}

/// How a call is made.
#[derive(Debug, PartialEq, Eq)]
enum Mode {
    /// On this thread.
    Here,
    /// On this thread, and it is found out whether the call waits.
    Closely,
    /// Not on this thread.
    Elsewhere,
}

impl Pace {
    /// Makes `call` on this thread. `None` if calls were slow lately, so it must be made elsewhere.
    #[inline]
    pub fn here<T>(&self, call: impl FnOnce() -> T) -> Option<T> {
        let began = Instant::now();
        let waits = match self.mode(began) {
            Mode::Here => None,
            Mode::Closely => syscall::waits(),
            Mode::Elsewhere => return None,
        };
        let output = call();
        let time = began.elapsed();
        if time > SLOW {
            // If the system does not say whether the call waited, it counts as one that did.
            self.was_slow(began, time, waits.is_none_or(|before| syscall::waits() != Some(before)));
        }
        Some(output)
    }

    fn mode(&self, now: Instant) -> Mode {
        let (suspicious, paused) = (self.suspicious.load(Relaxed), self.paused.load(Relaxed));
        // Usual case: no call was slow, so no time is computed.
        if suspicious == 0 && paused == 0 {
            return Mode::Here;
        }
        match since_start(now) {
            now if now < paused => Mode::Elsewhere,
            now if now < suspicious => Mode::Closely,
            _ => Mode::Here,
        }
    }

    #[cold]
    fn was_slow(&self, began: Instant, time: Duration, waited: bool) {
        let until = since_start(began + time).saturating_add(nanos(time.saturating_mul(PAUSE)));
        let suspected = since_start(began) < self.suspicious.load(Relaxed);
        self.suspicious.fetch_max(until, Relaxed);
        if waited && (suspected || syscall::waits().is_none()) {
            self.paused.fetch_max(until, Relaxed);
        }
    }
}

fn since_start(now: Instant) -> u64 {
    nanos(now.saturating_duration_since(*START))
}

fn nanos(time: Duration) -> u64 {
    time.as_nanos().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f02_two_slow_calls_are_followed_by_a_hundred_times_the_second_ones_duration_without_one() {
        LazyLock::force(&START);
        let (pace, start) = (Pace::default(), Instant::now());
        let ms = |n| start + Duration::from_millis(n);
        let slow = |at, n, waited| pace.was_slow(ms(at), Duration::from_millis(n), waited);
        assert_eq!(pace.mode(ms(0)), Mode::Here);
        // Only the next one shows what it was, if that can be told.
        slow(0, 2, true);
        assert_eq!(pace.mode(ms(2)), if syscall::waits().is_some() { Mode::Closely } else { Mode::Elsewhere });
        // It had to wait for a processor.
        slow(100, 3, false);
        assert_eq!(pace.mode(ms(403)), Mode::Here);
        slow(1000, 2, false);
        assert_eq!(pace.mode(ms(1201)), Mode::Closely);
        slow(1201, 10, true);
        assert_eq!(pace.mode(ms(1211)), Mode::Elsewhere);
        // A quicker one that began before that one ended does not cut the pause short.
        slow(1202, 2, true);
        assert_eq!(pace.mode(ms(2210)), Mode::Elsewhere);
        assert_eq!(pace.mode(ms(2211)), Mode::Here);
    }
}
