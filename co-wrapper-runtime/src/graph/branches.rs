//! The branches of one holder, such as the futures of a `join!`, that read beside each other while a writer waits.
//!
//! The lock sees only the holder: the task or the thread. When one of its branches asks to read, the lock cannot tell
//! whether that branch reads again within its section, and must come in, or begins a section, and must wait. So a round
//! lets one branch past at a time:
//!
//! - While that branch is in its section, what the holder asks for counts as the branch's own reading, at most
//!   [`CREDIT`] times. Other requests of the holder go to the back of the queue.
//! - When the branch's section has ended, the next branch is let past, as long as any branch is in the middle of its
//!   own section: at once if the holder asks again, otherwise after [`PAUSE`].
//!
//! So all branches come to the ends of their sections, and then all of them wait.
//!
//! This file takes no lock. `shared.rs` has the mutex, `queue.rs` the queue.

use std::collections::BTreeMap;

/// How often a branch that was let past may read again without waiting. Most sections need less. If two branches run at
/// the same time, each is taken for the other's continuation; this limit ends that.
const CREDIT: u32 = 32;
/// How many sections a round lets begin for each branch that waits.
const TURNS: usize = 4;

/// How long after the end of a branch's section, in ns, the next is let past. Guards that are dropped together are all
/// gone by then.
pub const PAUSE: u64 = 1_000_000;

/// One holder's branches, in the present round.
struct Branches {
    runs: Runs,
    /// How often that branch may still read again.
    credit: u32,
    /// How many more branches this round lets past.
    turns: usize,
}

/// The branch that was let past.
#[derive(Clone, Copy)]
enum Runs {
    /// It has not been polled since.
    Soon,
    /// It is in its section. The number says how many guards the holder had when it came in.
    Inside(usize),
    /// Its section has ended.
    No,
}

/// The holders with branches, by what `Holder::who` says.
#[derive(Default)]
pub struct AllBranches(BTreeMap<u64, Branches>);

impl AllBranches {
    /// Other writers wait from now on.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// A round lets the first of `waiting` branches of `holder` past.
    pub fn round(&mut self, holder: u64, waiting: usize) {
        let turns = waiting.saturating_mul(TURNS).saturating_sub(1);
        self.0.insert(holder, Branches { runs: Runs::Soon, credit: 0, turns });
    }

    /// A round lets the holder's only reader past.
    pub fn single(&mut self, holder: u64) {
        self.0.remove(&holder);
    }

    /// A reader that was let past comes in; the holder had `before` guards. Returns whether it is one of several
    /// branches.
    pub fn comes_in(&mut self, holder: u64, before: usize) -> bool {
        let Some(branches) = self.0.get_mut(&holder) else { return false };
        *branches = Branches { runs: Runs::Inside(before), credit: CREDIT, ..*branches };
        true
    }

    /// Whether what the holder asks for now, with `inside` guards, continues the section of the branch that runs.
    pub fn continues(&self, holder: u64, inside: impl FnOnce() -> usize) -> bool {
        matches!(self.0.get(&holder), Some(Branches { runs: Runs::Inside(before), .. }) if inside() > *before)
    }

    /// Takes one of the branch's credits, if there is one.
    pub fn take_credit(&mut self, holder: u64) -> bool {
        let Some(branches) = self.0.get_mut(&holder).filter(|branches| branches.credit > 0) else { return false };
        branches.credit -= 1;
        true
    }

    /// A guard of the holder was dropped. If the branch that runs has not more guards than before, its section may have
    /// ended; but it may drop others next.
    pub fn left(&mut self, holder: u64, inside: impl FnOnce() -> usize) {
        let Some(branches) = self.0.get_mut(&holder) else { return };
        if let Runs::Inside(before) = branches.runs
            && inside() <= before
        {
            branches.runs = Runs::No;
        }
    }

    /// Whether the next branch of the holder is to be let past, if any of them has a guard.
    pub fn is_next_due(&self, holder: u64) -> bool {
        matches!(self.0.get(&holder), Some(Branches { runs: Runs::No, turns: 1.., .. }))
    }

    /// The holders whose next branch is to be let past.
    pub fn due(&self) -> Vec<u64> {
        self.0.keys().copied().filter(|holder| self.is_next_due(*holder)).collect()
    }

    /// The next branch is let past.
    pub fn next(&mut self, holder: u64) {
        if let Some(branches) = self.0.get_mut(&holder) {
            *branches = Branches { runs: Runs::Soon, credit: 0, turns: branches.turns - 1 };
        }
    }
}
