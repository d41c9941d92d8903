//! Who waits for the lock, and who may come in when. Plain data, which `shared.rs` has behind a mutex.
//!
//! A *section* lasts from taking a guard to dropping it. A reader that waits is *let in* when a writer leaves, and *let
//! past* a writer that still waits.
//!
//! - A waiting writer holds new readers back, so that it gets its turn. A reader that reads again comes in at once
//!   (`held::reads_again`). The other readers are let past when no section has begun or ended for a while (`turn.rs`),
//!   because a reader that holds the lock may wait for one of them. Of the readers of one task or thread, only one is
//!   let past at a time (`branches.rs`).
//! - When a writer leaves, the readers that waited go first, then the next writer. So neither starves the other.
//! - A reader that is let in is woken; it is counted only when it is polled and comes in. Until then it keeps nobody
//!   out, but the next writer waits for it for a while ([`GRACE`]). However long ago it was let in, each writer first
//!   lets its own loop run something: the reader may be in that loop's queue.
//!
//! Nothing here wakes, clones or drops a reader's waker: wakers are returned, for whoever has released the mutex. (What a
//! stripe names as its lock is a parameter, `L`, so that this file does not depend on `shared.rs`.)

use std::{collections::BTreeMap, mem, panic::Location, task::Waker};

#[cfg(not(loom))]
use super::timer::Timer;
use super::{
    branches::AllBranches,
    held::{self, Entry},
    stripe::Stripe,
    turn::{GRACE, Turn},
};
use crate::watch::record::now;

/// The queue of one lock. `lock` is everywhere the address by which `held.rs` knows that lock.
pub struct Queue<L: 'static> {
    /// All stripes, each with the lock's reference, for as long as the lock lives.
    pub stripes: Vec<&'static Stripe<L>>,
    /// The waiting readers, and those let in or let past that have not been polled since, in the order in which they
    /// are let past.
    readers: BTreeMap<i64, Reader>,
    /// The waiting writers, whose wakers are ours.
    pub writers: BTreeMap<i64, Waker>,
    /// The last number given at the back of the queue, and the last given at its front.
    last: i64,
    front: i64,
    pub writing: Option<Writing>,
    /// How many readers that the last writer let in have not been polled since, and when that writer left.
    owed: usize,
    owed_since: u64,
    /// The turn of the waiting writers.
    turn: Turn,
    /// The tasks and threads that read in several branches.
    branches: AllBranches,
    /// Fires when the queue must be looked at again ([`due`](Self::due)).
    #[cfg(not(loom))]
    pub timer: Option<Timer>,
}

/// A reader in the queue.
pub struct Reader {
    /// The reader, from `Holder::current()`.
    holder: u64,
    stage: Stage,
}

enum Stage {
    Waits(Waker),
    /// It was woken. `owed`: the next writer waits for it.
    LetIn {
        owed: bool,
    },
}

/// The holder of the write lock.
#[derive(Clone, Copy)]
pub struct Writing {
    pub thread: u64,
    pub place: &'static Location<'static>,
}

impl<L> Queue<L> {
    /// Nobody waits, and there are no stripes.
    pub fn new() -> Self {
        Self {
            stripes: Vec::new(),
            readers: BTreeMap::new(),
            writers: BTreeMap::new(),
            last: 0,
            front: 0,
            writing: None,
            owed: 0,
            owed_since: 0,
            turn: Turn::default(),
            branches: AllBranches::default(),
            #[cfg(not(loom))]
            timer: None,
        }
    }

    /// How many readers hold the lock.
    fn readers_in(&self) -> usize {
        self.stripes.iter().map(|stripe| stripe.readers()).sum()
    }

    /// Whether readers must come here rather than take the fast path.
    pub fn gated(&self) -> bool {
        self.writing.is_some() || !self.writers.is_empty()
    }

    pub fn set_gated(&self, gated: bool) {
        self.stripes.iter().for_each(|stripe| stripe.set_gated(gated));
    }

    /// Lets in all waiting readers.
    fn let_in(&mut self, owed: bool) -> Vec<Waker> {
        // A reader that was let in before and has not been polled since is not let in again.
        let woken: Vec<_> = self.readers.values_mut().filter_map(|reader| reader.let_in(owed)).collect();
        if owed {
            self.owed += woken.len();
        }
        woken
    }

    /// Lets waiting readers past the waiting writer: each that reads alone in its task or thread, and of the branches of
    /// each other one the first.
    pub fn let_past(&mut self, lock: usize, now: u64) -> Vec<Waker> {
        self.turn.round(now);
        let inside = held::holders(lock);
        let mut waiting = BTreeMap::<u64, usize>::new();
        for reader in self.readers.values().filter(|reader| matches!(reader.stage, Stage::Waits(_))) {
            *waiting.entry(reader.holder).or_default() += 1;
        }
        let mut woken = Vec::new();
        for reader in self.readers.values_mut().filter(|reader| matches!(reader.stage, Stage::Waits(_))) {
            let Some(count) = waiting.remove(&reader.holder) else { continue };
            if count == 1 && !inside.contains_key(&reader.holder) {
                self.branches.single(reader.holder);
            } else {
                self.branches.round(reader.holder, count);
            }
            woken.extend(reader.let_in(false));
        }
        woken
    }

    /// The number, and thereby the place in the queue, of a reader that begins to wait.
    pub fn place(&mut self, lock: usize, holder: u64) -> i64 {
        if self.branches.continues(holder, || held::inside(lock, holder)) {
            self.front -= 1;
            self.front
        } else {
            self.number()
        }
    }

    /// How reader `number`, which was let past, comes in.
    fn comes_past(&mut self, lock: usize, number: i64) -> Entry {
        let since = now();
        self.turn.came_in(since);
        let holder = self.readers[&number].holder;
        let inside = held::waited(lock, holder, since);
        Entry::LetPast { since, alone: self.branches.comes_in(holder, inside) }
    }

    /// Whether a reader that asks continues the section of a branch that was let past.
    fn reads_on(&mut self, lock: usize, holder: u64) -> bool {
        self.branches.continues(holder, || held::inside(lock, holder)) && self.branches.take_credit(holder)
    }

    /// Lets the next branch of `holder` past, if it is its turn and another is in the middle of its section.
    pub fn next_branch(&mut self, lock: usize, holder: u64) -> Option<Waker> {
        if self.writing.is_some() || !self.branches.is_next_due(holder) || held::inside(lock, holder) == 0 {
            return None;
        }
        let waker =
            self.readers.values_mut().filter(|reader| reader.holder == holder).find_map(|next| next.let_in(false))?;
        self.branches.next(holder);
        self.turn.came_in(now());
        Some(waker)
    }

    /// Writers begin to wait.
    pub fn begin_turn(&mut self, now: u64) {
        self.turn.begin(now);
        self.branches.clear();
    }

    /// After a writer has left or given up: lets in the readers that waited for it.
    pub fn after_writer(&mut self, now: u64) -> Vec<Waker> {
        if self.gated() {
            self.begin_turn(now);
        } else {
            self.set_gated(false);
        }
        self.owed_since = now;
        self.let_in(true)
    }

    /// The next writer no longer waits for readers that were let in and not polled.
    pub fn forget_owed(&mut self) {
        self.owed = 0;
        for reader in self.readers.values_mut() {
            if let Stage::LetIn { owed } = &mut reader.stage {
                *owed = false;
            }
        }
    }

    /// How a reader comes in now, if it may: the one that has waited as `number`; or a new one, of `holder`, which with
    /// `again` reads within its own section.
    pub fn entry(&mut self, lock: usize, number: Option<i64>, holder: u64, again: bool) -> Option<Entry> {
        let is_let_in =
            |number: &i64| matches!(self.readers.get(number), Some(Reader { stage: Stage::LetIn { .. }, .. }));
        match (self.writing, number.filter(is_let_in)) {
            (Some(_), _) => None,
            (None, _) if self.writers.is_empty() => Some(Entry::Free),
            (None, Some(number)) => Some(self.comes_past(lock, number)),
            (None, None) if again || number.is_none() && self.reads_on(lock, holder) => Some(Entry::Again),
            (None, None) => None,
        }
    }

    /// Reader `number`, of `holder`, waits with this waker from now on. Returns what it was before.
    pub fn waits(&mut self, number: i64, holder: u64, waker: Waker) -> Option<Reader> {
        let old = self.readers.insert(number, Reader { holder, stage: Stage::Waits(waker) });
        self.settle_owed(old.as_ref());
        old
    }

    /// Removes reader `number`, which comes in or gives up.
    pub fn remove(&mut self, number: i64) -> Option<Reader> {
        let old = self.readers.remove(&number);
        self.settle_owed(old.as_ref());
        old
    }

    /// Whether readers wait, or were let in and not polled since.
    #[cfg(not(loom))]
    pub fn has_readers(&self) -> bool {
        !self.readers.is_empty()
    }

    /// A reader of `holder`, which came in by `entry`, ends its section.
    pub fn left(&mut self, lock: usize, entry: Entry, holder: u64) {
        match entry {
            Entry::Free => self.turn.left(None, now()),
            Entry::LetPast { since, .. } => self.turn.left(Some(since), now()),
            Entry::Again => {}
        }
        self.branches.left(holder, || held::inside(lock, holder));
    }

    /// Ends the time for which a writer waits for readers that were let in, if that is up.
    pub fn end_grace(&mut self, now: u64) {
        if self.owed > 0 && now >= self.owed_since.saturating_add(GRACE) {
            self.forget_owed();
        }
    }

    /// Looks at the queue when that is [`due`](Self::due), and returns whom to wake.
    #[cfg(not(loom))]
    pub fn look(&mut self, lock: usize, now: u64) -> Vec<Waker> {
        if self.due().is_none_or(|due| now < due) {
            return Vec::new();
        }
        if self.owed > 0 {
            self.forget_owed();
            return self.free_for_writers();
        }
        let next = self.branches.due().into_iter().filter_map(|holder| self.next_branch(lock, holder));
        let woken: Vec<_> = next.collect();
        if woken.is_empty() { self.let_past(lock, now) } else { woken }
    }

    /// Updates `owed` for a reader that leaves the queue or changes its stage. `reader` is what it was before.
    fn settle_owed(&mut self, reader: Option<&Reader>) {
        if let Some(Reader { stage: Stage::LetIn { owed: true }, .. }) = reader {
            self.owed -= 1;
        }
    }

    /// Whether a writer may come in.
    pub fn is_free(&self) -> bool {
        self.writing.is_none() && self.owed == 0 && self.readers_in() == 0
    }

    /// Whether a reader was let in and has not been polled since.
    pub fn has_let_in(&self) -> bool {
        self.readers.values().any(|reader| matches!(reader.stage, Stage::LetIn { .. }))
    }

    /// The wakers of all waiting writers, if one may come in. All of them, because the first may give up.
    pub fn free_for_writers(&self) -> Vec<Waker> {
        if self.writers.is_empty() || !self.is_free() { Vec::new() } else { self.writers.values().cloned().collect() }
    }

    /// When to look at the queue again if nothing else happens.
    pub fn due(&self) -> Option<u64> {
        if self.writers.is_empty() || self.writing.is_some() {
            return None;
        }
        if self.owed > 0 {
            return Some(self.owed_since.saturating_add(GRACE));
        }
        let waits = self.readers.values().any(|reader| matches!(reader.stage, Stage::Waits(_)));
        let pause = if self.branches.due().is_empty() { u64::MAX } else { self.turn.paused() };
        waits.then(|| self.turn.due().min(pause))
    }

    /// A number at the back of the queue.
    pub fn number(&mut self) -> i64 {
        self.last += 1;
        self.last
    }
}

impl Reader {
    /// Lets the reader in. Returns its waker if it waited.
    fn let_in(&mut self, owed: bool) -> Option<Waker> {
        match mem::replace(&mut self.stage, Stage::LetIn { owed }) {
            Stage::Waits(waker) => Some(waker),
            let_in => {
                self.stage = let_in;
                None
            }
        }
    }
}
