//! Who waits for the lock, and who goes first: the part of it that is behind a mutex, entered only while a writer waits
//! or holds the lock.
//!
//! - A waiting writer holds new readers back, so that it gets its turn, but for [`HOLD_BACK`] at most: one of them may be
//!   what a reader that is in waits for.
//! - When a writer leaves, the readers that waited go first, then the next writer: neither starves the other.
//! - In a forked child, where the mutex may have been another thread's, what waits or leaves does not come here.
//! - A reader that is let in is counted at once, on its own stripe; it learns of it when it is polled next.

use std::{
    collections::BTreeMap,
    mem,
    panic::Location,
    ptr::NonNull,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use super::stripe::Stripe;
use crate::{
    fork,
    sync::{Mutex, lock},
};

/// How long a waiting writer holds a new reader back, at most.
#[cfg(not(loom))]
const HOLD_BACK: std::time::Duration = std::time::Duration::from_millis(10);

/// A reference to a stripe that somebody holds.
#[derive(Clone, Copy)]
pub struct Pointer(pub NonNull<Stripe>);

// SAFETY: a `Stripe` is `Send` and `Sync`, and whoever has the pointer holds a reference of its count.
unsafe impl Send for Pointer {}

pub struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Every stripe, as long as the lock lives, with the lock's reference.
    stripes: Vec<Pointer>,
    /// The readers that wait, and those let in that do not know it yet, in the order in which they came.
    readers: BTreeMap<u64, Reader>,
    /// The writers that wait.
    writers: BTreeMap<u64, Waker>,
    /// The number of the next who waits.
    next: u64,
    writing: Option<Writing>,
    /// Runs while a reader is held back by a waiting writer; letting all in ends it.
    #[cfg(not(loom))]
    hold_back: Option<hold_back::Timer>,
}

struct Reader {
    /// Where it is to be counted. The lock, which the waiting reader borrows or owns a handle of, holds a reference.
    stripe: Pointer,
    /// None once it was let in.
    waker: Option<Waker>,
}

/// Who holds the write lock.
#[derive(Clone, Copy)]
pub struct Writing {
    pub thread: u64,
    pub place: &'static Location<'static>,
}

impl State {
    fn has_readers(&self) -> bool {
        // SAFETY: the list goes before the lock gives its references back.
        self.stripes.iter().any(|stripe| unsafe { stripe.0.as_ref() }.has_readers())
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
    fn let_in(&mut self) -> Vec<Waker> {
        #[cfg(not(loom))]
        drop(self.hold_back.take());
        let waiting = self.readers.values_mut().filter_map(|reader| Some((reader.waker.take()?, reader.stripe)));
        waiting
            .map(|(waker, stripe)| {
                // SAFETY: the reader waits, so the lock is there.
                unsafe { stripe.0.as_ref() }.enter();
                waker
            })
            .collect()
    }

    /// A waiting writer gave up.
    fn after_writer(&mut self) -> Vec<Waker> {
        if self.gated() {
            return Vec::new();
        }
        self.set_gated(false);
        self.let_in()
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

fn wake(wakers: Vec<Waker>) {
    wakers.into_iter().for_each(Waker::wake);
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
        number: &mut Option<u64>,
        stripe: NonNull<Stripe>,
        cx: &mut Context<'_>,
        refuse: impl FnOnce(Writing),
    ) -> Poll<()> {
        fork::forbid("GraphLock::read");
        // Cloning and dropping it is the user's code, which may come here: both happen outside the mutex.
        let new_waker = cx.waker().clone();
        let mut state = lock(&self.state);
        if let Some(waiting) = *number {
            let reader = state.readers.get_mut(&waiting).expect("a waiting reader is listed");
            let Some(waker) = &mut reader.waker else {
                state.readers.remove(&waiting);
                *number = None;
                return Poll::Ready(());
            };
            let old = mem::replace(waker, new_waker);
            drop(state);
            drop(old);
            return Poll::Pending;
        }
        if !state.gated() {
            // SAFETY: the caller's lock holds a reference.
            unsafe { stripe.as_ref() }.enter();
            return Poll::Ready(());
        }
        if let Some(writing) = state.writing {
            drop(state);
            refuse(writing);
            state = lock(&self.state);
            if !state.gated() {
                // SAFETY: as above.
                unsafe { stripe.as_ref() }.enter();
                return Poll::Ready(());
            }
        }
        let new = state.number();
        *number = Some(new);
        state.readers.insert(new, Reader { stripe: Pointer(stripe), waker: Some(new_waker) });
        #[cfg(not(loom))]
        if state.writing.is_none() && state.hold_back.is_none() {
            state.hold_back = Some(hold_back::Timer::start(self, new));
        }
        Poll::Pending
    }

    /// A reader that waited, or was let in and does not know it, gives up.
    pub fn cancel_read(&self, number: u64) {
        if fork::is_child() {
            return;
        }
        let mut state = lock(&self.state);
        let Some(reader) = state.readers.remove(&number) else { return };
        if reader.waker.is_some() {
            drop(state);
            drop(reader);
            return;
        }
        // SAFETY: the reader's reference, which it was given when it was let in; the lock holds another.
        unsafe { Stripe::release(reader.stripe.0) };
        let writers = Self::free_for_writers(&state);
        drop(state);
        wake(writers);
    }

    /// Polls for the write lock on behalf of `writing`; `number` is the waiting writer's, once it has one. `refuse` is
    /// asked, before it waits, what it thinks of waiting for readers or, if given, for another writer.
    pub fn poll_write(
        &self,
        number: &mut Option<u64>,
        writing: Writing,
        cx: &mut Context<'_>,
        refuse: impl FnOnce(Option<Writing>),
    ) -> Poll<()> {
        fork::forbid("GraphLock::write");
        // A writer's waker is ours.
        let mut state = lock(&self.state);
        if number.is_none() {
            // First, so that whoever leaves from now on comes here.
            state.set_gated(true);
        }
        if state.writing.is_none() && !state.has_readers() {
            let waker = number.take().and_then(|number| state.writers.remove(&number));
            state.writing = Some(writing);
            drop(state);
            drop(waker);
            return Poll::Ready(());
        }
        let mine = number.unwrap_or_else(|| state.number());
        let first = number.is_none();
        *number = Some(mine);
        let old = state.writers.insert(mine, cx.waker().clone());
        let other = state.writing;
        drop(state);
        drop(old);
        if first {
            // It may panic: the caller's drop then gives the place back.
            refuse(other);
        }
        Poll::Pending
    }

    /// A writer that waited gives up.
    pub fn cancel_write(&self, number: u64) {
        if fork::is_child() {
            return;
        }
        let mut state = lock(&self.state);
        let removed = state.writers.remove(&number);
        let readers = state.after_writer();
        drop(state);
        drop(removed);
        wake(readers);
    }

    /// The writer leaves: readers that waited go first.
    pub fn end_write(&self) {
        let mut state = lock(&self.state);
        state.writing = None;
        if !state.gated() {
            state.set_gated(false);
        }
        let mut woken = state.let_in();
        woken.extend(Self::free_for_writers(&state));
        drop(state);
        wake(woken);
    }

    /// A reader left while a writer was about.
    pub fn left(&self) {
        let state = lock(&self.state);
        let writers = Self::free_for_writers(&state);
        drop(state);
        wake(writers);
    }

    /// Those to be told that nobody is in. All, for the one that takes it first may be one that gives up.
    fn free_for_writers(state: &State) -> Vec<Waker> {
        if state.writers.is_empty() || state.writing.is_some() || state.has_readers() {
            return Vec::new();
        }
        state.writers.values().cloned().collect()
    }

    /// Lets in the readers that a waiting writer has held back for long enough: since the reader `first` came, unless they
    /// were let in meanwhile and others came. A model has no timer.
    pub fn let_through(&self, #[cfg(not(loom))] first: u64) {
        let mut state = lock(&self.state);
        #[cfg(not(loom))]
        if state.hold_back.as_ref().is_none_or(|timer| timer.first != first) {
            return;
        }
        // Behind a writer that is in they wait until it leaves.
        let readers = if state.writing.is_none() { state.let_in() } else { Vec::new() };
        drop(state);
        wake(readers);
    }

    /// Enters beside a reader that is in, past whoever waits; the stripe on which it is counted.
    pub fn share(&self) -> Option<NonNull<Stripe>> {
        let state = lock(&self.state);
        // SAFETY: as in `has_readers`.
        state.stripes.iter().find(|stripe| unsafe { stripe.0.as_ref() }.try_share()).map(|stripe| stripe.0)
    }

    /// Who holds the write lock.
    pub fn writing(&self) -> Option<Writing> {
        lock(&self.state).writing
    }
}

#[cfg(not(loom))]
mod hold_back {
    //! The end of holding back: by a timer of the main context, fired by whatever loop its thread runs; and by the
    //! reactor, for the main loop may not be polled just now.

    use std::{
        pin::Pin,
        sync::{Arc, Weak},
        task::{Context, Wake, Waker},
    };

    use super::{HOLD_BACK, Shared};
    use crate::{context::AioContext, reactor, tasks::timers::Sleep};

    /// Dropping it takes the main context's timer back. The reactor's then fires for nothing: were it to let in whoever
    /// waits by that time, each that was dropped would bring forth another, and all of them together leave the writer no
    /// time.
    pub struct Timer {
        /// The number of the reader that it was started for.
        pub first: u64,
        #[expect(dead_code, reason = "held for its drop")]
        sleep: Sleep,
    }

    struct LetThrough {
        shared: Weak<Shared>,
        first: u64,
    }

    impl Wake for LetThrough {
        fn wake(self: Arc<Self>) {
            if let Some(shared) = self.shared.upgrade() {
                shared.let_through(self.first);
            }
        }
    }

    impl Timer {
        pub fn start(shared: &Arc<Shared>, first: u64) -> Self {
            let waker = Waker::from(Arc::new(LetThrough { shared: Arc::downgrade(shared), first }));
            let mut sleep = Sleep::internal(Arc::clone(AioContext::main().mailbox()), HOLD_BACK);
            let _ = Pin::new(&mut sleep).poll(&mut Context::from_waker(&waker));
            reactor::wake_after(HOLD_BACK, waker);
            Self { first, sleep }
        }
    }
}
