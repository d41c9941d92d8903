//! Who waits for the lock, and who goes first: the part of it that is behind a mutex, entered only while a writer waits
//! or holds the lock.
//!
//! - A waiting writer holds new readers back, so that it gets its turn. Who reads already reads again at once
//!   (`held::reads_again`); who does not is let past when nothing has moved for a while (`turn.rs`), for it may be what a
//!   reader that is in waits for. At first all who wait are let past, later one at a time.
//! - When a writer leaves, the readers that waited go first, then the next writer: neither starves the other.
//! - A reader that is let in is woken, and counted when it is polled and comes in. Until then it keeps nobody out: the next
//!   writer waits for those whom the last one let in, but not for ever ([`GRACE`]).
//! - In a forked child, where the mutex may have been another thread's, what waits or leaves does not come here.

use std::{
    collections::BTreeMap,
    mem,
    panic::Location,
    ptr::{self, NonNull},
    sync::Arc,
    task::{Context, Poll, Waker},
};

#[cfg(not(loom))]
use super::timer::Timer;
use super::{
    held::{self, Entry, Holder},
    stripe,
    turn::{GRACE, Turn},
};
use crate::{
    sys::{
        fork,
        panics::{self, Guarded, wake_all},
        sync::{Mutex, is_send_and_sync, lock},
    },
    watch::record::now,
};

pub type Stripe = stripe::Stripe<Shared>;

/// A reference to a stripe that somebody holds.
#[derive(Clone, Copy)]
pub struct Pointer(pub NonNull<Stripe>);

const _: () = is_send_and_sync::<Stripe>();
// A record keeps flags in the low bits of its address.
const _: () = assert!(align_of::<Shared>() > held::FLAGS);

// SAFETY: a `Stripe` is `Send` and `Sync`, and whoever has the pointer holds a reference of its count.
unsafe impl Send for Pointer {}

pub struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Every stripe, as long as the lock lives, with the lock's reference.
    stripes: Vec<Pointer>,
    /// The readers that wait, and those let in that were not polled since, in the order in which they are let past.
    readers: BTreeMap<i64, Reader>,
    /// The writers that wait.
    writers: BTreeMap<i64, Waker>,
    /// The number of the last who came to the end of the line, and of the last who came to its front.
    last: i64,
    front: i64,
    writing: Option<Writing>,
    /// How many readers the last writer let in that were not polled since, and when it left.
    owed: usize,
    owed_since: u64,
    /// Of the writers that wait.
    turn: Turn,
    /// Where the line ended when the round began in which one is let past at a time,
    round_ends: i64,
    /// and how many readers were in when the last of them came in.
    in_before: usize,
    /// Fires when the queue is to be looked at again.
    #[cfg(not(loom))]
    timer: Option<Timer>,
}

struct Reader {
    /// Of `Holder::current()` who that is.
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

/// What those wait for who wait.
#[cfg(not(loom))]
pub enum Waits {
    Nobody,
    ForWriter(Writing),
    ForReaders,
}

/// Who holds the write lock.
#[derive(Clone, Copy)]
pub struct Writing {
    pub thread: u64,
    pub place: &'static Location<'static>,
}

impl State {
    /// How many readers are in.
    fn readers_in(&self) -> usize {
        // SAFETY: the list goes before the lock gives its references back.
        self.stripes.iter().map(|stripe| unsafe { stripe.0.as_ref() }.readers()).sum()
    }

    /// Whether readers must come here.
    fn gated(&self) -> bool {
        self.writing.is_some() || !self.writers.is_empty()
    }

    fn set_gated(&self, gated: bool) {
        // SAFETY: as above.
        self.stripes.iter().for_each(|stripe| unsafe { stripe.0.as_ref() }.set_gated(gated));
    }

    /// Lets in all readers that wait; their wakers are to be woken when the mutex is free.
    fn let_in(&mut self, owed: bool) -> Vec<Waker> {
        // Who was let in before, and not polled since, has had its turn.
        let woken: Vec<_> = self.readers.values_mut().filter_map(|reader| reader.let_in(owed)).collect();
        if owed {
            self.owed += woken.len();
        }
        woken
    }

    /// Lets those past the waiting writer whose turn it is.
    fn let_past(&mut self, now: u64) -> Vec<Waker> {
        if !self.turn.one_at_a_time() {
            self.turn.round(now);
            return self.let_in(false);
        }
        let first = self.readers.iter_mut().find_map(|(number, reader)| Some((*number, reader.let_in(false)?)));
        let Some((number, waker)) = first else { return Vec::new() };
        if number > self.round_ends {
            self.turn.round(now);
            self.round_ends = self.last;
        } else {
            self.turn.go_on(now);
        }
        vec![waker]
    }

    /// The place in the line of a reader that comes to wait.
    fn place(&mut self) -> i64 {
        if self.turn.one_at_a_time() && !self.writers.is_empty() && self.readers_in() > self.in_before {
            self.front -= 1;
            self.front
        } else {
            self.number()
        }
    }

    /// How the reader comes in that was let past, and is `number`.
    fn comes_past(&mut self, lock: usize, number: i64) -> Entry {
        let since = now();
        self.turn.came_in(since);
        let holder = self.readers[&number].holder;
        let reads = held::waited(lock, holder, since);
        let mut others = self.readers.iter().filter(|(other, reader)| **other != number && reader.holder == holder);
        let alone = self.turn.one_at_a_time() && (reads || others.next().is_some());
        self.in_before = self.readers_in();
        Entry::LetPast { since, alone }
    }

    /// A writer is gone, in or not: the readers that waited for it go first.
    fn after_writer(&mut self, now: u64) -> Vec<Waker> {
        if self.gated() {
            self.turn.begin(now);
        } else {
            self.set_gated(false);
        }
        self.owed_since = now;
        self.let_in(true)
    }

    /// The next writer waits no longer for those that were let in and not polled.
    fn forget_owed(&mut self) {
        self.owed = 0;
        for reader in self.readers.values_mut() {
            if let Stage::LetIn { owed } = &mut reader.stage {
                *owed = false;
            }
        }
    }

    /// A reader is not what it was: let in, or waiting.
    fn was(&mut self, reader: Option<&Reader>) {
        if let Some(Reader { stage: Stage::LetIn { owed: true }, .. }) = reader {
            self.owed -= 1;
        }
    }

    /// Whether a writer may come in.
    fn is_free(&self) -> bool {
        self.writing.is_none() && self.owed == 0 && self.readers_in() == 0
    }

    /// Those to be told that a writer may come in. All, for the one that takes it first may be one that gives up.
    fn free_for_writers(&self) -> Vec<Waker> {
        if self.writers.is_empty() || !self.is_free() { Vec::new() } else { self.writers.values().cloned().collect() }
    }

    /// When to look again, if nothing comes here before.
    fn due(&self) -> Option<u64> {
        if self.writers.is_empty() || self.writing.is_some() {
            return None;
        }
        if self.owed > 0 {
            return Some(self.owed_since.saturating_add(GRACE));
        }
        let waits = self.readers.values().any(|reader| matches!(reader.stage, Stage::Waits(_)));
        waits.then(|| self.turn.due())
    }

    fn number(&mut self) -> i64 {
        self.last += 1;
        self.last
    }
}

impl Reader {
    /// Lets it in, if it waits: its waker.
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

    /// Makes a stripe, or says that another thread did meanwhile.
    pub fn add_stripe(self: &Arc<Self>, publish: impl FnOnce(NonNull<Stripe>) -> bool) {
        let mut state = lock(&self.state);
        let stripe = Stripe::allocate(Arc::clone(self), state.gated());
        if publish(stripe) {
            state.stripes.push(Pointer(stripe));
        } else {
            // SAFETY: nobody else has seen it.
            unsafe { Stripe::release(stripe) };
        }
    }

    /// The lock goes. Readers that are in keep their stripes.
    pub fn end(&self) {
        if fork::is_child() {
            return;
        }
        let stripes = mem::take(&mut lock(&self.state).stripes);
        for stripe in stripes {
            // SAFETY: the lock's reference, which is out of the list.
            unsafe { Stripe::release(stripe.0) };
        }
    }

    /// Polls for a read lock, counted on `stripe`; `number` is the waiting reader's, once it has one.
    pub fn poll_read(
        self: &Arc<Self>,
        number: &mut Option<i64>,
        stripe: NonNull<Stripe>,
        cx: &mut Context<'_>,
        refuse: impl FnOnce(Writing),
    ) -> Poll<Entry> {
        // Cloning and dropping it is the user's code, which may come here: both happen outside the mutex.
        let new_waker = Guarded::new(cx.waker().clone());
        let address = ptr::from_ref(&**self).addr();
        let again = number.is_none() && held::reads_again(address);
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
            (None, None) if again => Some(Entry::Again),
            (None, None) => None,
        };
        let (old, unused);
        if entry.is_some() {
            // SAFETY: the caller's lock holds a reference.
            unsafe { stripe.as_ref() }.enter();
            old = number.take().and_then(|number| state.readers.remove(&number));
            unused = Some(new_waker);
        } else {
            let mine = *number.get_or_insert_with(|| state.place());
            let waits = Reader { holder: Holder::who(Holder::current()), stage: Stage::Waits(new_waker.into_inner()) };
            old = state.readers.insert(mine, waits);
            unused = None;
        }
        state.was(old.as_ref());
        self.arm(&mut state);
        drop(state);
        let Some(entry) = entry else {
            drop(old);
            return Poll::Pending;
        };
        // It is in, and who polls must hear of it, or it never leaves: whatever the wakers' destructors do.
        panics::discard(old);
        panics::discard(unused);
        Poll::Ready(entry)
    }

    /// A reader that waited, or was let in and not polled since, gives up.
    pub fn cancel_read(&self, number: i64) {
        if fork::is_child() {
            return;
        }
        let mut state = lock(&self.state);
        let old = state.readers.remove(&number);
        state.was(old.as_ref());
        let writers = state.free_for_writers();
        drop(state);
        let mut panicked = None;
        panics::catch(&mut panicked, || drop(old));
        panics::catch(&mut panicked, || wake_all(writers));
        panics::raise(panicked);
    }

    /// Polls for the write lock on behalf of `writing`; `number` is the waiting writer's, once it has one. `refuse` is
    /// asked, before it waits, what it thinks of waiting for readers or, if given, for another writer.
    pub fn poll_write(
        self: &Arc<Self>,
        number: &mut Option<i64>,
        writing: Writing,
        cx: &mut Context<'_>,
        refuse: impl FnOnce(Option<Writing>),
    ) -> Poll<()> {
        fork::forbid_at("GraphLock::write", writing.place);
        // A writer's waker is ours.
        let mut state = lock(&self.state);
        let now = now();
        if number.is_none() {
            // First, so that whoever leaves from now on comes here.
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
            state.turn.begin(now);
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
            // It may panic: the caller's drop then gives the place back.
            refuse(other);
        }
        Poll::Pending
    }

    /// A writer that waited gives up.
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

    /// The writer leaves: readers that waited go first.
    pub fn end_write(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        state.writing = None;
        let mut woken = state.after_writer(now());
        woken.extend(state.free_for_writers());
        self.arm(&mut state);
        drop(state);
        wake_all(woken);
    }

    /// A reader left that had come in so, while a writer was about.
    pub fn left(&self, entry: Entry) {
        let mut state = lock(&self.state);
        match entry {
            Entry::Free => state.turn.left(None, now()),
            Entry::LetPast { since, .. } => state.turn.left(Some(since), now()),
            Entry::Again => {}
        }
        let writers = state.free_for_writers();
        drop(state);
        wake_all(writers);
    }

    /// Sees to it that `look` comes when it is due.
    fn arm(self: &Arc<Self>, state: &mut State) {
        // A model has no timer.
        #[cfg(loom)]
        let _ = state.due();
        #[cfg(not(loom))]
        match state.due() {
            None => state.timer = None,
            // One that fires too soon arms another.
            Some(due) if state.timer.as_ref().is_none_or(|timer| timer.due > due) => {
                let number = state.number();
                let shared = Arc::downgrade(self);
                let look = move || shared.upgrade().into_iter().for_each(|shared| shared.look(number));
                state.timer = Some(Timer::start(look, number, now(), due));
            }
            Some(_) => {}
        }
    }

    /// The timer of that number fired.
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
                woken = state.let_past(now);
            }
        }
        self.arm(&mut state);
        drop(state);
        wake_all(woken);
    }

    /// What a timer brings otherwise: the readers that wait are let past the writer that waits.
    #[cfg(loom)]
    pub fn let_through(&self) {
        let mut state = lock(&self.state);
        let woken = if state.writing.is_none() { state.let_past(now()) } else { Vec::new() };
        drop(state);
        wake_all(woken);
    }

    /// The same: the next writer waits no longer for those that the last one let in.
    #[cfg(loom)]
    pub fn end_grace(&self) {
        let mut state = lock(&self.state);
        state.forget_owed();
        let woken = state.free_for_writers();
        drop(state);
        wake_all(woken);
    }

    /// Enters beside a reader that is in, past whoever waits; the stripe on which it is counted.
    pub fn share(&self) -> Option<NonNull<Stripe>> {
        let state = lock(&self.state);
        // SAFETY: as in `has_readers`.
        state.stripes.iter().find(|stripe| unsafe { stripe.0.as_ref() }.try_share()).map(|stripe| stripe.0)
    }

    /// Who holds the write lock, if anybody waits for it, and else whether a writer waits.
    #[cfg(not(loom))]
    pub fn waits(&self) -> Waits {
        let state = lock(&self.state);
        match state.writing {
            Some(writing) if !state.writers.is_empty() || !state.readers.is_empty() => Waits::ForWriter(writing),
            None if !state.writers.is_empty() => Waits::ForReaders,
            _ => Waits::Nobody,
        }
    }

    /// Who holds the write lock.
    pub fn writing(&self) -> Option<Writing> {
        lock(&self.state).writing
    }
}
