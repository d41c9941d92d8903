//! The queue of waiting readers and writers, behind a mutex. It is entered only while a writer waits or holds the lock.
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
//!   out, but the next writer waits for it for a while ([`GRACE`]).
//! - In a forked child nothing here takes the mutex, because another of the parent's threads may hold it.

use std::{
    collections::BTreeMap,
    mem,
    panic::Location,
    ptr,
    sync::Arc,
    task::{Context, Poll, Waker},
};

#[cfg(not(loom))]
use super::timer::Timer;
use super::{
    branches::AllBranches,
    held::{self, Entry, Holder},
    stripe,
    turn::{GRACE, Turn},
};
#[cfg(not(loom))]
use crate::sys::sync::plain_lock;
use crate::{
    sys::{
        fork,
        panics::{self, Guarded, wake_all},
        sync::{Mutex, lock},
    },
    watch::record::now,
};

pub type Stripe = stripe::Stripe<Shared>;

// A record keeps flags in the low bits of the address of its lock's `Shared`.
const _: () = assert!(align_of::<Shared>() > held::FLAGS);

/// The stripes that no lock has. In a model none is used again, because what loom models ends with the model's run.
#[cfg(not(loom))]
static SPARE: std::sync::Mutex<Vec<&'static Stripe>> = std::sync::Mutex::new(Vec::new());

/// Gives back a reference to a stripe, a reader's or the lock's.
pub fn release(stripe: &'static Stripe) {
    let ended = stripe.release();
    #[cfg(not(loom))]
    if ended.is_some() {
        plain_lock(&SPARE).push(stripe);
    }
    drop(ended);
}

pub struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// All stripes, each with the lock's reference, for as long as the lock lives.
    stripes: Vec<&'static Stripe>,
    /// The waiting readers, and those let in or let past that have not been polled since, in the order in which they
    /// are let past.
    readers: BTreeMap<i64, Reader>,
    /// The waiting writers.
    writers: BTreeMap<i64, Waker>,
    /// The last number given at the back of the queue, and the last given at its front.
    last: i64,
    front: i64,
    writing: Option<Writing>,
    /// How many readers that the last writer let in have not been polled since, and when that writer left.
    owed: usize,
    owed_since: u64,
    /// The turn of the waiting writers.
    turn: Turn,
    /// The tasks and threads that read in several branches.
    branches: AllBranches,
    /// Fires when the queue must be looked at again.
    #[cfg(not(loom))]
    timer: Option<Timer>,
}

struct Reader {
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

/// What the waiting readers and writers wait for.
#[cfg(not(loom))]
pub enum Waits {
    Nobody,
    ForWriter(Writing),
    ForReaders,
}

/// The holder of the write lock.
#[derive(Clone, Copy)]
pub struct Writing {
    pub thread: u64,
    pub place: &'static Location<'static>,
}

impl State {
    /// How many readers hold the lock.
    fn readers_in(&self) -> usize {
        self.stripes.iter().map(|stripe| stripe.readers()).sum()
    }

    /// Whether readers must come here rather than take the fast path.
    fn gated(&self) -> bool {
        self.writing.is_some() || !self.writers.is_empty()
    }

    fn set_gated(&self, gated: bool) {
        self.stripes.iter().for_each(|stripe| stripe.set_gated(gated));
    }

    /// Lets in all waiting readers, and returns their wakers, which must be woken after the mutex is released.
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
    fn let_past(&mut self, lock: usize, now: u64) -> Vec<Waker> {
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
    fn place(&mut self, lock: usize, holder: u64) -> i64 {
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
    fn next_branch(&mut self, lock: usize, holder: u64) -> Option<Waker> {
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
    fn begin_turn(&mut self, now: u64) {
        self.turn.begin(now);
        self.branches.clear();
    }

    /// After a writer has left or given up: lets in the readers that waited for it.
    fn after_writer(&mut self, now: u64) -> Vec<Waker> {
        if self.gated() {
            self.begin_turn(now);
        } else {
            self.set_gated(false);
        }
        self.owed_since = now;
        self.let_in(true)
    }

    /// The next writer no longer waits for readers that were let in and not polled.
    fn forget_owed(&mut self) {
        self.owed = 0;
        for reader in self.readers.values_mut() {
            if let Stage::LetIn { owed } = &mut reader.stage {
                *owed = false;
            }
        }
    }

    /// Updates `owed` for a reader that leaves the queue or changes its stage. `reader` is what it was before.
    fn settle_owed(&mut self, reader: Option<&Reader>) {
        if let Some(Reader { stage: Stage::LetIn { owed: true }, .. }) = reader {
            self.owed -= 1;
        }
    }

    /// Whether a writer may come in.
    fn is_free(&self) -> bool {
        self.writing.is_none() && self.owed == 0 && self.readers_in() == 0
    }

    /// The wakers of all waiting writers, if one may come in. All of them, because the first may give up.
    fn free_for_writers(&self) -> Vec<Waker> {
        if self.writers.is_empty() || !self.is_free() { Vec::new() } else { self.writers.values().cloned().collect() }
    }

    /// When to look at the queue again if nothing else happens.
    fn due(&self) -> Option<u64> {
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

    fn number(&mut self) -> i64 {
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

impl Shared {
    pub fn new() -> Self {
        Self { state: Mutex::new(State::default()) }
    }

    /// Takes a stripe and publishes it, unless another thread has published one.
    pub fn add_stripe(self: &Arc<Self>, publish: impl FnOnce(&'static Stripe) -> bool) {
        let mut state = lock(&self.state);
        #[cfg(not(loom))]
        let spare = plain_lock(&SPARE).pop();
        #[cfg(loom)]
        let spare = None;
        let stripe: &'static Stripe = spare.unwrap_or_else(|| Box::leak(Box::new(Stripe::new())));
        stripe.begin(Arc::clone(self), state.gated());
        if publish(stripe) {
            state.stripes.push(stripe);
        } else {
            release(stripe);
        }
    }

    /// Ends the lock. Readers that hold it keep their stripes.
    pub fn end(&self) {
        if fork::is_child() {
            return;
        }
        let stripes = mem::take(&mut lock(&self.state).stripes);
        stripes.into_iter().for_each(release);
    }

    /// Polls for a read lock that is counted on `stripe`. `number` is the reader's, once it waits.
    pub fn poll_read(
        self: &Arc<Self>,
        number: &mut Option<i64>,
        stripe: &'static Stripe,
        cx: &mut Context<'_>,
        refuse: impl FnOnce(Writing),
    ) -> Poll<Entry> {
        // Cloning and dropping wakers runs users' code, which may come here, so both happen outside the mutex.
        let new_waker = Guarded::new(cx.waker().clone());
        let address = self.address();
        let new = number.is_none();
        let (again, holder) = (new && held::reads_again(address), Holder::who(Holder::current()));
        let mut state = lock(&self.state);
        if number.is_none()
            && let Some(writing) = state.writing
        {
            drop(state);
            refuse(writing);
            state = lock(&self.state);
        }
        let let_in = number
            .filter(|number| matches!(state.readers.get(number), Some(Reader { stage: Stage::LetIn { .. }, .. })));
        let entry = match (state.writing, let_in) {
            (Some(_), _) => None,
            (None, _) if state.writers.is_empty() => Some(Entry::Free),
            (None, Some(number)) => Some(state.comes_past(address, number)),
            (None, None) if again || new && state.reads_on(address, holder) => Some(Entry::Again),
            (None, None) => None,
        };
        let (old, unused);
        let mut next = None;
        if entry.is_some() {
            stripe.enter();
            old = number.take().and_then(|number| state.readers.remove(&number));
            unused = Some(new_waker);
        } else {
            let mine = *number.get_or_insert_with(|| state.place(address, holder));
            let waits = Reader { holder, stage: Stage::Waits(new_waker.into_inner()) };
            old = state.readers.insert(mine, waits);
            unused = None;
            if new {
                next = state.next_branch(address, holder);
            }
        }
        state.settle_owed(old.as_ref());
        self.arm(&mut state);
        drop(state);
        let Some(entry) = entry else {
            let mut panicked = None;
            panics::catch(&mut panicked, || drop(old));
            panics::catch(&mut panicked, || wake_all(next));
            panics::raise(panicked);
            return Poll::Pending;
        };
        // The reader has the lock now, so its owner must get the guard even if a waker's destructor panics; otherwise
        // the lock would never be released.
        panics::discard(old);
        panics::discard(unused);
        Poll::Ready(entry)
    }

    /// Removes a reader that gives up, whether it waits or was let in and not polled since.
    pub fn cancel_read(&self, number: i64) {
        if fork::is_child() {
            return;
        }
        let mut state = lock(&self.state);
        let old = state.readers.remove(&number);
        state.settle_owed(old.as_ref());
        let writers = state.free_for_writers();
        drop(state);
        let mut panicked = None;
        panics::catch(&mut panicked, || drop(old));
        panics::catch(&mut panicked, || wake_all(writers));
        panics::raise(panicked);
    }

    /// Polls for the write lock on behalf of `writing`. `number` is the writer's, once it waits. Before its first wait,
    /// `refuse` may panic; it gets the current writer, if there is one.
    pub fn poll_write(
        self: &Arc<Self>,
        number: &mut Option<i64>,
        writing: Writing,
        cx: &mut Context<'_>,
        refuse: impl FnOnce(Option<Writing>),
    ) -> Poll<()> {
        fork::forbid_at("GraphLock::write", writing.place);
        // The waker of a writer is ours, so it may be used under the mutex.
        let mut state = lock(&self.state);
        let now = now();
        if number.is_none() {
            // First, so that every reader that leaves from now on comes here.
            state.set_gated(true);
        }
        if state.owed > 0 && now >= state.owed_since.saturating_add(GRACE) {
            state.forget_owed();
        }
        if state.is_free() {
            let waker = number.take().and_then(|number| state.writers.remove(&number));
            state.writing = Some(writing);
            self.arm(&mut state);
            drop(state);
            drop(waker);
            return Poll::Ready(());
        }
        if !state.gated() {
            state.begin_turn(now);
        }
        let mine = number.unwrap_or_else(|| state.number());
        let first = number.is_none();
        *number = Some(mine);
        let old = state.writers.insert(mine, cx.waker().clone());
        let other = state.writing;
        self.arm(&mut state);
        drop(state);
        drop(old);
        if first {
            // This may panic; the caller's drop then removes the writer from the queue.
            refuse(other);
        }
        Poll::Pending
    }

    /// Removes a writer that gives up.
    pub fn cancel_write(self: &Arc<Self>, number: i64) {
        if fork::is_child() {
            return;
        }
        let mut state = lock(&self.state);
        let removed = state.writers.remove(&number);
        let readers = if state.gated() { Vec::new() } else { state.after_writer(now()) };
        self.arm(&mut state);
        drop(state);
        drop(removed);
        wake_all(readers);
    }

    /// Ends the writer's section. Readers that waited go first.
    pub fn end_write(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        state.writing = None;
        let mut woken = state.after_writer(now());
        woken.extend(state.free_for_writers());
        self.arm(&mut state);
        drop(state);
        wake_all(woken);
    }

    /// Ends a reader's section while a writer waits or holds the lock. The reader was `holder`, and came in by `entry`.
    pub fn left(self: &Arc<Self>, entry: Entry, holder: u64) {
        let mut state = lock(&self.state);
        match entry {
            Entry::Free => state.turn.left(None, now()),
            Entry::LetPast { since, .. } => state.turn.left(Some(since), now()),
            Entry::Again => {}
        }
        let (lock, holder) = (self.address(), Holder::who(holder));
        state.branches.left(holder, || held::inside(lock, holder));
        let writers = state.free_for_writers();
        self.arm(&mut state);
        drop(state);
        wake_all(writers);
    }

    /// By which `held` knows the lock.
    fn address(&self) -> usize {
        ptr::from_ref(self).addr()
    }

    /// Arms a timer that calls `look` when that is due.
    fn arm(self: &Arc<Self>, state: &mut State) {
        // Loom has no timers.
        #[cfg(loom)]
        let _ = state.due();
        #[cfg(not(loom))]
        match state.due() {
            None => state.timer = None,
            // A timer that fires too soon arms another.
            Some(due) if state.timer.as_ref().is_none_or(|timer| timer.due > due) => {
                let number = state.number();
                let shared = Arc::downgrade(self);
                let look = move || shared.upgrade().into_iter().for_each(|shared| shared.look(number));
                state.timer = Some(Timer::start(look, number, now(), due));
            }
            Some(_) => {}
        }
    }

    /// Called when timer `number` fires.
    #[cfg(not(loom))]
    pub fn look(self: &Arc<Self>, number: i64) {
        let mut state = lock(&self.state);
        if state.timer.as_ref().is_none_or(|timer| timer.number != number) {
            return;
        }
        state.timer = None;
        let now = now();
        let mut woken = Vec::new();
        if state.due().is_some_and(|due| now >= due) {
            if state.owed > 0 {
                state.forget_owed();
                woken = state.free_for_writers();
            } else {
                let lock = self.address();
                woken = state.branches.due().into_iter().filter_map(|holder| state.next_branch(lock, holder)).collect();
                if woken.is_empty() {
                    woken = state.let_past(lock, now);
                }
            }
        }
        self.arm(&mut state);
        drop(state);
        wake_all(woken);
    }

    /// Lets the waiting readers past the waiting writer, which a timer does outside the models.
    #[cfg(loom)]
    pub fn let_through(&self) {
        let mut state = lock(&self.state);
        let woken = if state.writing.is_none() { state.let_past(self.address(), now()) } else { Vec::new() };
        drop(state);
        wake_all(woken);
    }

    /// Ends the grace of readers that were let in, which a timer does outside the models.
    #[cfg(loom)]
    pub fn end_grace(&self) {
        let mut state = lock(&self.state);
        state.forget_owed();
        let woken = state.free_for_writers();
        drop(state);
        wake_all(woken);
    }

    /// Adds a reader beside one that holds the lock, past all that wait. Returns the stripe on which it is counted.
    pub fn share(&self) -> Option<&'static Stripe> {
        lock(&self.state).stripes.iter().copied().find(|stripe| stripe.try_share())
    }

    /// What the waiting readers and writers wait for.
    #[cfg(not(loom))]
    pub fn waits(&self) -> Waits {
        let state = lock(&self.state);
        match state.writing {
            Some(writing) if !state.writers.is_empty() || !state.readers.is_empty() => Waits::ForWriter(writing),
            None if !state.writers.is_empty() => Waits::ForReaders,
            _ => Waits::Nobody,
        }
    }

    /// The current writer.
    pub fn writing(&self) -> Option<Writing> {
        lock(&self.state).writing
    }
}
