//! A writer's turn: when waiting readers are let past a waiting writer, and when that stops.
//!
//! A waiting writer holds new readers back. But a reader that holds the lock may wait, unknown to the lock, for one
//! that is held back: through a channel or a task. So waiting readers are let past in rounds. A round begins when for a
//! while, the *patience*, no reader has come in or left. Two rules keep the rounds from going on for ever:
//!
//! - Patience is at least twice the length of any section that ended since the writer waits, not counting time that the
//!   section spent waiting for this lock. So sections that overlap without end, however long they are, get past in one
//!   or two rounds; then all of them leave before the next round.
//! - Patience doubles with every [`ROUNDS`] rounds, up to a bound. So short sections are not begun often during a long
//!   one.
//!
//! These rules do not suffice for the branches of one task, because the lock cannot tell a branch that reads again from
//! another branch that begins: out of step they would let each other in for ever. So a round lets only one of them past
//! at a time (`branches.rs`).
//!
//! A reader that reads again is not affected: it never waits for a waiting writer.
//!
//! Times are in nanoseconds of `watch::record::now`.

use super::branches::PAUSE;

/// The shortest patience.
const FIRST: u64 = 10_000_000;
/// After how many rounds patience doubles.
const ROUNDS: u32 = 8;
/// How many times patience doubles at most.
const DOUBLINGS: u32 = 6;

/// How long a writer waits for readers that the last writer let in and that have not been polled since.
pub const GRACE: u64 = if cfg!(loom) { NEVER } else { FIRST };
/// Loom has no clock.
const NEVER: u64 = u64::MAX;

/// The state of the current wait of writers.
#[derive(Default)]
pub struct Turn {
    /// Since when writers wait.
    since: u64,
    /// When a section last began or ended, not counting those inside another.
    moved: u64,
    /// How many rounds there were.
    rounds: u32,
    /// The longest section that has ended, counted from `since`.
    longest: u64,
}

impl Turn {
    /// Writers begin to wait.
    pub fn begin(&mut self, now: u64) {
        *self = Self { since: now, moved: now, rounds: 0, longest: 0 };
    }

    /// A reader that was let past came in.
    pub fn came_in(&mut self, now: u64) {
        self.moved = now;
    }

    /// A section ended. `since` says when it began; `None` means before the writers waited.
    pub fn left(&mut self, since: Option<u64>, now: u64) {
        self.moved = now;
        self.longest = self.longest.max(now.saturating_sub(since.unwrap_or(self.since)));
    }

    /// When to let waiting readers past, unless something moves before.
    pub fn due(&self) -> u64 {
        let grown = FIRST << (self.rounds / ROUNDS).min(DOUBLINGS);
        self.moved.saturating_add(grown.max(self.longest.saturating_mul(2)))
    }

    /// When to let the next branch past, unless something moves before.
    pub fn paused(&self) -> u64 {
        self.moved.saturating_add(PAUSE)
    }

    /// Begins a round: waiting readers are let past.
    pub fn round(&mut self, now: u64) {
        self.moved = now;
        self.rounds += 1;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Simulates tasks that begin a section of `length` as soon as they may. `phases` says when those that hold the
    /// lock at first leave. Returns how many sections begin before the writer gets its turn.
    fn sections_begun(length: impl Fn(usize) -> u64, phases: &[u64]) -> usize {
        let mut turn = Turn::default();
        turn.begin(0);
        // For each task that holds the lock: when it leaves, and since when it holds it.
        let mut inside: Vec<(usize, u64, Option<u64>)> =
            phases.iter().enumerate().map(|(task, leaves)| (task, *leaves, None)).collect();
        let mut waiting = Vec::new();
        let mut begun = 0;
        while !inside.is_empty() {
            let next = inside.iter().enumerate().min_by_key(|(_, inside)| inside.1).map(|(at, _)| at).unwrap();
            let due = turn.due();
            if !waiting.is_empty() && due < inside[next].1 {
                turn.round(due);
                begun += waiting.len();
                inside.extend(waiting.drain(..).map(|task| (task, due + length(task), Some(due))));
                continue;
            }
            let (task, now, since) = inside.remove(next);
            turn.left(since, now);
            waiting.push(task);
            assert!(begun < 1_000, "the writer starves");
        }
        begun
    }

    /// Catches: patience that does not grow with the sections, or does not begin again when one ends: sections longer
    /// than it would then overlap for ever.
    #[test]
    fn g07_sections_of_any_length_that_overlap_get_past_in_a_few_rounds() {
        for length in [0, MS / 10, MS, 9 * MS, 11 * MS, 50 * MS, 1_000 * MS, 60_000 * MS] {
            for tasks in [1, 2, 3, 8, 100] {
                let phases: Vec<u64> = (1..=tasks).map(|n| length * n / tasks).collect();
                let begun = sections_begun(|_| length, &phases);
                assert!(begun <= 2 * phases.len(), "{begun} sections of {length} ns by {tasks} tasks");
            }
        }
    }

    /// Catches: patience that does not grow with the rounds: short sections would then begin by the thousand during a
    /// long one.
    #[test]
    fn g07_short_sections_are_begun_seldom_during_a_long_one() {
        let begun = sections_begun(|task| if task == 0 { 60_000 * MS } else { 0 }, &[60_000 * MS, 0, 0]);
        assert!(begun <= 2 * 160, "{begun} short sections within a minute");
    }
}
