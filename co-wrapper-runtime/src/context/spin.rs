//! Adaptive spinning: for how long a thread looks for work before it goes to sleep. (QEMU's `poll-max-ns`, `poll-grow`
//! and `poll-shrink` of an IOThread.)
//!
//! A wake costs some 50 µs on a thread that sleeps, and less than one on a thread that spins. The budget grows while
//! what comes, comes soon, and goes when it does not.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// The budget's first step up from nothing.
const FIRST: u64 = 4_000;

/// The rule and the present budget of a context. Times in ns.
#[derive(Debug)]
pub struct Spin {
    /// Written by the home thread alone.
    budget: AtomicU64,
    max: u64,
    grow: u64,
    shrink: u64,
}

impl Spin {
    /// `max` of zero never spins. `grow` is a factor; `shrink` a divisor, 0 for straight to nothing.
    pub fn new(max: Duration, grow: u32, shrink: u32) -> Self {
        let max = max.as_nanos().try_into().unwrap_or(u64::MAX);
        Self { budget: AtomicU64::new(0), max, grow: grow.max(1).into(), shrink: shrink.into() }
    }

    /// For how long to spin now. Nothing where the process may use one processor only: whoever is waited for could not
    /// run meanwhile.
    pub fn budget(&self) -> Duration {
        if self.max == 0 || one_processor() {
            return Duration::ZERO;
        }
        Duration::from_nanos(self.budget.load(Ordering::Relaxed))
    }

    /// Learns from a wait that took `waited`, spinning and sleeping.
    pub fn adapt(&self, waited: Duration) {
        if self.max == 0 {
            return;
        }
        let waited = waited.as_nanos().try_into().unwrap_or(u64::MAX);
        let budget = self.budget.load(Ordering::Relaxed);
        let adapted = if waited <= budget {
            budget
        } else if waited > self.max {
            budget.checked_div(self.shrink).unwrap_or(0)
        } else if budget == 0 {
            FIRST.min(self.max)
        } else {
            budget.saturating_mul(self.grow).min(self.max)
        };
        self.budget.store(adapted, Ordering::Relaxed);
    }
}

/// Counts a cgroup's quota and the affinity mask too.
fn one_processor() -> bool {
    static ONE: OnceLock<bool> = OnceLock::new();
    *ONE.get_or_init(|| thread::available_parallelism().is_ok_and(|processors| processors.get() == 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u64 = 32_000;

    fn budgets(spin: &Spin, waits: &[u64]) -> Vec<u64> {
        waits
            .iter()
            .map(|&wait| {
                spin.adapt(Duration::from_nanos(wait));
                spin.budget.load(Ordering::Relaxed)
            })
            .collect()
    }

    /// Catches: any other growth than 0 → 4 µs → × grow up to max; a wait within the budget that changes it.
    #[test]
    fn p06_the_budget_grows_while_waits_are_short_and_goes_with_a_long_one() {
        let spin = Spin::new(Duration::from_nanos(MAX), 2, 0);
        let waits = [10_000, 10_000, 10_000, 10_000, 20_000, 30_000, MAX + 1, MAX];
        assert_eq!(budgets(&spin, &waits), [4_000, 8_000, 16_000, 16_000, 32_000, 32_000, 0, 4_000]);
        let spin = Spin::new(Duration::from_nanos(MAX), 4, 2);
        assert_eq!(budgets(&spin, &[9_000, 9_000, 20_000, 40_000, 40_000]), [4_000, 16_000, 32_000, 16_000, 8_000]);
    }

    /// Catches: spinning that nobody asked for.
    #[test]
    fn p06_without_a_maximum_nothing_is_learned() {
        let spin = Spin::new(Duration::ZERO, 2, 0);
        assert_eq!(budgets(&spin, &[1_000, 1_000]), [0, 0]);
        assert_eq!(spin.budget(), Duration::ZERO);
    }
}
