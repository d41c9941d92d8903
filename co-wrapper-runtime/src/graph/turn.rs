//! A writer's turn: when readers that wait behind a waiting writer are let past it, and when no more.
//!
//! A waiting writer holds new readers back. But one that is in may wait for one that is held back, in a way of which the
//! lock knows nothing: a channel, a task. So those that wait are let past in rounds, each when for a while, its *patience*,
//! no reader has come in or left. Two things keep the rounds from going on for ever:
//!
//! - Patience is at least twice as long as any section that ended since the writer waits, without what it waited for the
//!   lock itself. So sections that overlap without end, however long they are, get past in one or two rounds, after which
//!   all of them leave before the next.
//! - It doubles with every [`ROUNDS`] rounds, up to a bound. So short sections that are over at once are not begun often
//!   during a long one.
//!
//! That does not do for the branches of one task, as the lock cannot tell one that reads again from another that begins:
//! out of step they would let each other in for ever. So after [`ROUNDS`] rounds a round lets its readers past one at a
//! time, with patience between them. One that asks while more readers are in than when the last was let past goes on with
//! its section, or so it seems, and is next; any other goes to the end of the line. So each branch that is in the middle of
//! its section comes to its end, and then waits. (`queue.rs` has the line.)
//!
//! Who reads again while it reads is no matter of this: it never waits for a waiting writer.
//!
//! Times are in nanoseconds of `watch::record::now`.

/// The shortest patience.
const FIRST: u64 = 10_000_000;
/// With so many rounds it doubles,
const ROUNDS: u32 = 8;
/// so often at most.
const DOUBLINGS: u32 = 6;

/// How long a writer waits for those whom the last one let in and who have not been polled since.
pub const GRACE: u64 = if cfg!(loom) { NEVER } else { FIRST };
/// A model has no clock.
const NEVER: u64 = u64::MAX;

/// What is known of the wait of the writers that wait now.
#[derive(Default)]
pub struct Turn {
    /// Since when they wait.
    since: u64,
    /// When a section last began or ended, other than within another.
    moved: u64,
    /// How often readers were let past.
    rounds: u32,
    /// The longest section that has ended, of its time since `since`.
    longest: u64,
}

impl Turn {
    /// Writers wait from now on.
    pub fn begin(&mut self, now: u64) {
        *self = Self { since: now, moved: now, rounds: 0, longest: 0 };
    }

    /// A reader that was let past came in.
    pub fn came_in(&mut self, now: u64) {
        self.moved = now;
    }

    /// A section ended, that had begun at `since`, or before the writers waited.
    pub fn left(&mut self, since: Option<u64>, now: u64) {
        self.moved = now;
        self.longest = self.longest.max(now.saturating_sub(since.unwrap_or(self.since)));
    }

    /// When those that wait are to be let past, unless something moves.
    pub fn due(&self) -> u64 {
        let grown = FIRST << (self.rounds / ROUNDS).min(DOUBLINGS);
        self.moved.saturating_add(grown.max(self.longest.saturating_mul(2)))
    }

    /// Those that wait are let past, or the first of them.
    pub fn round(&mut self, now: u64) {
        self.moved = now;
        self.rounds += 1;
    }

    /// The next of the same round is let past.
    pub fn go_on(&mut self, now: u64) {
        self.moved = now;
    }

    /// Whether readers are let past one at a time.
    pub fn one_at_a_time(&self) -> bool {
        self.rounds >= ROUNDS
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Tasks that begin a section of `length` as soon as they may, with `phases` of them in when the writer comes. Returns
    /// how many sections they begin before the writer has its turn.
    fn sections_begun(length: impl Fn(usize) -> u64, phases: &[u64]) -> usize {
        let mut turn = Turn::default();
        turn.begin(0);
        // When each leaves that is in, and since when it is.
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

    /// Catches: patience that does not grow with the sections, or does not begin anew when one ends: then those that are
    /// longer than it overlap for ever.
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

    /// Catches: patience that does not grow with the rounds: short sections that may begin during a long one are begun by the
    /// thousand.
    #[test]
    fn g07_short_sections_are_begun_seldom_during_a_long_one() {
        let begun = sections_begun(|task| if task == 0 { 60_000 * MS } else { 0 }, &[60_000 * MS, 0, 0]);
        assert!(begun <= 2 * 160, "{begun} short sections within a minute");
    }
}
