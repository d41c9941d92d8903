//! Adaptive spinning: how long a thread looks for work before it sleeps. (QEMU's `poll-max-ns`, `poll-grow` and
//! `poll-shrink` of an IOThread.)
//!
//! Waking a thread that sleeps takes some 50 µs; a thread that spins reacts in less than one. The budget grows while
//! waits are short, and shrinks after a long one.
//!
//! Spinning cannot pay if the thread that brings the work shares this thread's processor: it runs only when the spinning
//! ends, so the wait gets longer by all of the budget, however large that is. Such a spin fails although it is as long as
//! the thread has slept before. After several of these in a row the context goes without spins for a while, and for a
//! longer one each time. One spin that pays ends that.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// The first budget above zero.
const FIRST: u64 = 4_000;

/// After so many spins that did not pay, a context goes without for a while.
const IN_VAIN: u32 = 4;

/// For how many waits it does so first, and how often that is doubled: to 1024, because a spin may pay again at any time,
/// and beside so many waits a few spins cost little.
const REST: u32 = 64;
const DOUBLED: u32 = 4;

/// The parameters and the current budget of a context. Times in ns. What changes is written only by the home thread.
#[derive(Debug)]
pub struct Spin {
    budget: AtomicU64,
    /// How many spins did not pay since the last one that paid.
    in_vain: AtomicU32,
    /// How long the thread has slept at most in a wait since the last spin that paid, or wait that was too long to spin.
    slept: AtomicU64,
    /// How many waits are left of those that go without a spin.
    rest: AtomicU32,
    max: u64,
    grow: u64,
    shrink: u64,
}

impl Spin {
    /// A `max` of zero never spins. `grow` is a factor, `shrink` a divisor; a divisor of 0 sets the budget to zero.
    pub fn new(max: Duration, grow: u32, shrink: u32) -> Self {
        let max = max.as_nanos().try_into().unwrap_or(u64::MAX);
        Self {
            budget: AtomicU64::new(0),
            in_vain: AtomicU32::new(0),
            slept: AtomicU64::new(0),
            rest: AtomicU32::new(0),
            max,
            grow: grow.max(1).into(),
            shrink: shrink.into(),
        }
    }

    /// Called before each wait. Whether to [`adapt`](Self::adapt) after it; otherwise it goes without a spin.
    pub fn learns(&self) -> bool {
        let rest = self.rest.load(Ordering::Relaxed);
        if rest > 0 {
            self.rest.store(rest - 1, Ordering::Relaxed);
        }
        // With one processor, the thread that brings the work could not run meanwhile.
        rest == 0 && self.max > 0 && !one_processor()
    }

    /// How long to spin now.
    pub fn budget(&self) -> Duration {
        Duration::from_nanos(self.budget.load(Ordering::Relaxed))
    }

    /// Adjusts the budget after a wait that took `waited` in all, spinning and sleeping. `paid`: whether its spin ended it;
    /// `None` if it did not spin.
    pub fn adapt(&self, waited: Duration, paid: Option<bool>) {
        let waited = waited.as_nanos().try_into().unwrap_or(u64::MAX);
        let budget = self.budget.load(Ordering::Relaxed);
        let adapted = if self.was_in_vain(waited, budget, paid) { 0 } else { self.adapted(waited, budget) };
        self.budget.store(adapted, Ordering::Relaxed);
    }

    /// Counts the spin of a wait if it did not pay. Returns whether the next waits are to go without.
    fn was_in_vain(&self, waited: u64, budget: u64, paid: Option<bool>) -> bool {
        let slept = self.slept.load(Ordering::Relaxed);
        if paid == Some(true) {
            self.in_vain.store(0, Ordering::Relaxed);
            self.slept.store(0, Ordering::Relaxed);
            return false;
        }
        let spun = if paid.is_some() { budget } else { 0 };
        let longest = if waited > self.max { 0 } else { slept.max(waited.saturating_sub(spun)) };
        self.slept.store(longest, Ordering::Relaxed);
        if paid.is_none() || spun < slept {
            return false;
        }
        let in_vain = self.in_vain.load(Ordering::Relaxed).saturating_add(1);
        self.in_vain.store(in_vain, Ordering::Relaxed);
        let rests = in_vain.is_multiple_of(IN_VAIN);
        if rests {
            self.rest.store(REST << (in_vain / IN_VAIN - 1).min(DOUBLED), Ordering::Relaxed);
        }
        rests
    }

    /// The budget after a wait of `waited` in all. (QEMU's `aio_poll`.)
    fn adapted(&self, waited: u64, budget: u64) -> u64 {
        if waited <= budget {
            budget
        } else if waited > self.max {
            budget.checked_div(self.shrink).unwrap_or(0)
        } else if budget == 0 {
            FIRST.min(self.max)
        } else {
            budget.saturating_mul(self.grow).min(self.max)
        }
    }
}

/// A cgroup's quota and the affinity mask count too.
fn one_processor() -> bool {
    static ONE: OnceLock<bool> = OnceLock::new();
    *ONE.get_or_init(|| thread::available_parallelism().is_ok_and(|processors| processors.get() == 1))
}

#[cfg(test)]
mod tests {
    use std::mem;

    use super::*;

    const MAX: u64 = 32_000;

    fn budgets(spin: &Spin, waits: &[u64]) -> Vec<u64> {
        waits
            .iter()
            .map(|&wait| {
                let budget = spin.budget();
                let wait = Duration::from_nanos(wait);
                spin.adapt(wait, (!budget.is_zero()).then_some(wait <= budget));
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

    /// Waits that end `work` after the thread sleeps, or after so long of spinning if `beside`, that is, if another
    /// processor does the work. Returns how many waits lay before each spin since the last one.
    fn rests(spin: &Spin, waits: u32, work: Duration, beside: bool) -> Vec<u32> {
        let (mut rests, mut rest) = (Vec::new(), 0);
        for _ in 0..waits {
            if !spin.learns() {
                rest += 1;
                continue;
            }
            let budget = spin.budget();
            let paid = beside && work <= budget;
            let waited = if beside { work } else { work + budget };
            spin.adapt(waited, (!budget.is_zero()).then_some(paid));
            if !budget.is_zero() {
                rests.push(mem::take(&mut rest));
            }
        }
        rests
    }

    /// Catches: a context that goes on spinning although no spin pays, because whoever brings the work needs the same
    /// processor; one that gives up after a few failures, or without end, or does not start anew when a spin has paid.
    #[test]
    fn p06_spins_in_vain_are_left_out_for_longer_and_longer_until_one_pays() {
        if one_processor() {
            return;
        }
        const US: u64 = 1_000;
        // A wait as long as the first spins does not count against them yet: the budget still grows.
        for (max, shrink, work) in [(MAX, 0, 3), (MAX, 2, 3), (MAX, 0, 12), (100 * US, 0, 3), (100 * US, 0, 60)] {
            let spin = Spin::new(Duration::from_nanos(max), 2, shrink);
            let work = Duration::from_micros(work);
            // An idle time before says nothing of the waits that follow.
            spin.adapt(Duration::from_secs(1), None);
            let case = format!("{max}, {shrink}, {work:?}");
            let left_out: Vec<_> = rests(&spin, 20_000, work, false).into_iter().filter(|rest| *rest > 0).collect();
            assert_eq!(left_out[..5], [64, 128, 256, 512, 1024], "{case}");
            assert!(left_out[5..].iter().all(|rest| *rest == 1024) && left_out.len() > 10, "{case}: {left_out:?}");
            // The other thread gets a processor of its own.
            rests(&spin, 1_100, work, true);
            assert_eq!(rests(&spin, 100, work, true), [0; 100], "{case}");
            let left_out = rests(&spin, 1_000, work, false).into_iter().find(|rest| *rest > 0);
            assert_eq!(left_out, Some(REST), "{case}");
        }
    }

    /// Catches: a budget that is given up while it grows, because the first spins are too short for the work.
    #[test]
    fn p06_a_budget_grows_until_it_pays_however_long_that_takes() {
        if one_processor() {
            return;
        }
        for work in [5, 100, 3_000, 150_000].map(Duration::from_micros) {
            let spin = Spin::new(Duration::from_millis(200), 2, 0);
            assert_eq!(rests(&spin, 100, work, true), [0; 99], "{work:?}");
            assert!(spin.budget() >= work);
        }
    }

    /// Catches: a context that spins without a maximum.
    #[test]
    fn p06_without_a_maximum_nothing_is_learned() {
        let spin = Spin::new(Duration::ZERO, 2, 0);
        assert!(!spin.learns() && spin.budget().is_zero());
    }
}
