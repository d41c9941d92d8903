//! Adaptive spinning: how long a thread looks for work before it sleeps. (QEMU's `poll-max-ns`, `poll-grow` and
//! `poll-shrink` of an IOThread.)
//!
//! Waking a thread that sleeps takes some 50 µs; a thread that spins reacts in less than one. The budget grows while
//! waits are short, and shrinks after a long one.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// The first budget above zero.
const FIRST: u64 = 4_000;

/// The parameters and the current budget of a context. Times in ns.
#[derive(Debug)]
pub struct Spin {
    /// Written only by the home thread.
    budget: AtomicU64,
    max: u64,
    grow: u64,
    shrink: u64,
}

impl Spin {
    /// A `max` of zero never spins. `grow` is a factor, `shrink` a divisor; a divisor of 0 sets the budget to zero.
    pub fn new(max: Duration, grow: u32, shrink: u32) -> Self {
        let max = max.as_nanos().try_into().unwrap_or(u64::MAX);
        Self { budget: AtomicU64::new(0), max, grow: grow.max(1).into(), shrink: shrink.into() }
    }

    /// How long to spin now. Zero if the process may use only one processor, because then the thread that brings the
    /// work could not run meanwhile.
    pub fn budget(&self) -> Duration {
        if self.max == 0 || one_processor() {
            return Duration::ZERO;
        }
        Duration::from_nanos(self.budget.load(Ordering::Relaxed))
    }

    /// Adjusts the budget after a wait that took `waited` in all, spinning and sleeping.
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

/// A cgroup's quota and the affinity mask count too.
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

    /// Catches: a budget that grows other than 0 → 4 µs → × grow up to max; one that a wait within it changes.
    #[test]
    fn p06_the_budget_grows_while_waits_are_short_and_goes_with_a_long_one() {
        let spin = Spin::new(Duration::from_nanos(MAX), 2, 0);
        let waits = [10_000, 10_000, 10_000, 10_000, 20_000, 30_000, MAX + 1, MAX];
        assert_eq!(budgets(&spin, &waits), [4_000, 8_000, 16_000, 16_000, 32_000, 32_000, 0, 4_000]);
        let spin = Spin::new(Duration::from_nanos(MAX), 4, 2);
        assert_eq!(budgets(&spin, &[9_000, 9_000, 20_000, 40_000, 40_000]), [4_000, 16_000, 32_000, 16_000, 8_000]);
    }

    /// Catches: a context that spins without a maximum.
    #[test]
    fn p06_without_a_maximum_nothing_is_learned() {
        let spin = Spin::new(Duration::ZERO, 2, 0);
        assert_eq!(budgets(&spin, &[1_000, 1_000]), [0, 0]);
        assert_eq!(spin.budget(), Duration::ZERO);
    }
}
