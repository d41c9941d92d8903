//! The calls of one thread that wait, each in its own loop. A loop polls not only its own call but also the outer calls
//! on the stack, each with its activation current, because its own call may wait for them.
//!
//! An outer call cannot return before the frames nested inside it have returned. So its output waits in its frame, and
//! so does a panic of its future, which is raised there. Its own loop then proceeds as if it had polled the future
//! itself: its slot is woken, and its next poll returns how the wait ended.
//!
//! A future is never polled within its own poll, nor after it has ended or panicked: [`Waiting::busy`] and
//! [`Waiting::ended`] ensure that.

use std::{cell::Cell, marker::PhantomData, mem, ptr::NonNull, task::Wake, time::Instant};

use crate::{
    context::AioContext,
    sys::panics::Payload,
    tasks::activation::{Activation, Mark},
    watch::record::Slot,
};

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Ready,
    Elapsed,
    Interrupted,
    /// The context was closed during the call.
    Closed,
    /// Something that ran meanwhile forked, and this process is the child.
    Forked,
}

/// What gives a call up before its future is ready.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    pub deadline: Option<Instant>,
    /// Whether an interrupt of the thread, or of the coroutine that the call suspends, does.
    pub interruptible: bool,
}

impl Limits {
    pub const INTERRUPTIBLE: Self = Self { deadline: None, interruptible: true };

    /// Whether anything gives the call up.
    #[cfg(feature = "coroutine")]
    #[inline]
    pub fn are_some(self) -> bool {
        self.deadline.is_some() || self.interruptible
    }
}

impl From<Option<Instant>> for Limits {
    #[inline]
    fn from(deadline: Option<Instant>) -> Self {
        Self { deadline, interruptible: false }
    }
}

/// A call in flight, in its frame.
pub trait InFlight {
    /// Whether its output is of use only to its caller, so that nested loops leave the call alone.
    fn is_for_caller(&self) -> bool;

    /// Polls the call, because it was woken. Returns whether it is done.
    fn poll(&mut self) -> bool;

    /// Drops what is left of a finished call before its frame is left.
    fn release(&mut self);

    /// Gives the call up for the reason `why`, before its frame is left. Returns whether the wait is over.
    fn give_up(&mut self, why: Ended) -> bool;
}

/// The wait of one call, on the stack.
pub struct Waiting<'a> {
    slot: &'a Slot,
    /// Used only by this value, one method at a time.
    call: NonNull<dyn InFlight + 'a>,
    _call: PhantomData<&'a mut dyn InFlight>,
    /// How many calls are on the stack up to and including this one.
    depth: usize,
    /// The activation of its polls.
    polled: Activation,
    /// The caller's mark, for the destructors of a call that is given up.
    caller: Mark,
    /// The number of the last context entry when the wait began. It determines which context is current in the call's
    /// polls.
    entry: Cell<u64>,
    /// When to give the call up.
    deadline: Cell<Option<Instant>>,
    /// The context whose closing gives the call up.
    called_in: Option<&'a AioContext>,
    /// The call is being polled or given up, or has panicked.
    busy: Cell<bool>,
    /// How the wait ended, if a nested loop ended it.
    ended: Cell<Option<Ended>>,
    panicked: Cell<Option<Payload>>,
    /// The next outer call that waits.
    below: Cell<Link>,
}

type Link = Option<NonNull<Waiting<'static>>>;

/// What is to be done with an outer call.
#[derive(Clone, Copy)]
pub enum Due {
    Poll,
    GiveUp(Ended),
}

/// Which outer calls a loop polls.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Polls {
    /// Those that were woken.
    Woken,
    /// All, because an outer scheduler may keep their wakes back.
    All,
    /// None; those that are due to be given up still are.
    None,
}

impl<'a> Waiting<'a> {
    /// The wait of the innermost of `depth` calls. `caller` is the caller's mark, `entry` the last context entry.
    #[inline]
    pub fn new(
        depth: usize,
        entry: u64,
        slot: &'a Slot,
        call: &'a mut (dyn InFlight + 'a),
        caller: Mark,
        deadline: Option<Instant>,
        called_in: Option<&'a AioContext>,
    ) -> Self {
        Self {
            slot,
            call: NonNull::from(call),
            _call: PhantomData,
            depth,
            polled: Activation::current(),
            caller,
            entry: Cell::new(entry),
            deadline: Cell::new(deadline),
            called_in,
            busy: Cell::new(false),
            ended: Cell::new(None),
            panicked: Cell::new(None),
            below: Cell::new(None),
        }
    }

    pub fn slot(&self) -> &'a Slot {
        self.slot
    }

    /// For the call's own loop, when the slot was woken: polls the call, unless a nested loop has finished it. Returns
    /// how the wait ended, if it has.
    pub fn poll(&self) -> Option<Ended> {
        let Some(ended) = self.ended.get() else { return self.poll_call().then_some(Ended::Ready) };
        if let Some(payload) = self.panicked.take() {
            payload.resume();
        }
        Some(ended)
    }

    /// Whether a nested loop has ended the wait; [`poll`](Self::poll) says how.
    pub fn is_over(&self) -> bool {
        self.ended.get().is_some()
    }

    /// When the call must be given up.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline.get()
    }

    /// Why the call must be given up now, if it must.
    pub fn is_to_give_up(&self) -> Option<Ended> {
        if self.deadline.get().is_some_and(|deadline| Instant::now() >= deadline) {
            return Some(Ended::Elapsed);
        }
        self.called_in.is_some_and(|context| context.scheduler().is_closed()).then_some(Ended::Closed)
    }

    /// The outer calls that wait.
    #[inline]
    pub fn outer(&self) -> Calls<'_> {
        Calls { next: self.below.get(), _lives: PhantomData }
    }

    /// Runs `what`; if that panics, nothing is run again.
    #[inline]
    fn alone<R>(&self, what: impl FnOnce(&mut dyn InFlight) -> R) -> R {
        debug_assert!(!self.busy.get(), "polled within its own poll");
        self.busy.set(true);
        // SAFETY: this is the unique reference that `new` was given, which nothing else uses while this value lives.
        // `busy` is checked before each use and was not set, so no other use is in progress.
        let result = what(unsafe { &mut *self.call.as_ptr() });
        self.busy.set(false);
        result
    }

    fn poll_call(&self) -> bool {
        self.alone(|call| self.slot.record.poll(|| call.poll()))
    }
}

/// For nested loops.
impl Waiting<'_> {
    fn can_go_on(&self) -> bool {
        // SAFETY: as in `alone`; this only reads, and while no other use is in progress.
        !self.busy.get() && self.ended.get().is_none() && !unsafe { self.call.as_ref() }.is_for_caller()
    }

    /// What a loop that polls outer calls as `polls` says must do with this call, if anything.
    pub fn due(&self, polls: Polls) -> Option<Due> {
        if !self.can_go_on() {
            return None;
        }
        match polls {
            Polls::Woken if self.slot.wakes.take_woken() => Some(Due::Poll),
            Polls::All => {
                self.slot.wakes.take_woken();
                Some(Due::Poll)
            }
            Polls::Woken | Polls::None => self.is_to_give_up().map(Due::GiveUp),
        }
    }

    /// How many calls are on the stack up to and including this one.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The activation in which to do what is due.
    pub fn activation(&self, due: Due) -> Activation {
        match due {
            Due::Poll => self.polled,
            Due::GiveUp(_) => self.polled.marked(self.caller),
        }
    }

    /// The number of the last context entry when the wait began, or in the call's polls since. (See `homes.rs`.)
    pub fn entry(&self) -> &Cell<u64> {
        &self.entry
    }

    /// Whether the call is meant to wait long.
    pub fn is_expected_long(&self) -> bool {
        self.slot.record.is_expected_long()
    }

    /// Does what is due. The caller has made [`activation(due)`](Self::activation) current. A panic is kept for the
    /// call.
    pub fn go_on(&self, due: Due) {
        let ended = Payload::of(|| match due {
            Due::Poll => {
                let ready = self.poll_call();
                if ready {
                    self.ended.set(Some(Ended::Ready));
                    self.alone(|call| call.release());
                }
                ready
            }
            Due::GiveUp(why) => {
                self.deadline.set(None);
                let over = self.alone(|call| call.give_up(why));
                if over {
                    self.ended.set(Some(why));
                }
                over
            }
        });
        match ended {
            Ok(false) => return,
            Ok(true) => {}
            Err(payload) => {
                self.ended.set(Some(Ended::Ready));
                self.panicked.set(Some(payload));
            }
        }
        // Makes its own loop check.
        self.slot.wakes.wake_by_ref();
    }
}

/// The calls of one thread that wait, innermost first.
#[derive(Default)]
pub struct List(Cell<Link>);

impl List {
    /// Lists `waiting` until the guard is dropped. Guards are dropped in reverse order.
    #[inline]
    pub fn push<'w>(&'w self, waiting: &'w Waiting<'_>) -> Listed<'w> {
        waiting.below.set(self.0.get());
        // SAFETY: the two types differ only in their lifetimes. The link is used only while it is in the list, which
        // ends when the returned guard is dropped, and the guard borrows `waiting`.
        let link = unsafe { mem::transmute::<NonNull<Waiting<'_>>, NonNull<Waiting<'static>>>(NonNull::from(waiting)) };
        let below = self.0.replace(Some(link));
        Listed { list: self, below }
    }

    /// All of them, for a loop that waits for no call.
    #[inline]
    pub fn all(&self) -> Calls<'_> {
        Calls { next: self.0.get(), _lives: PhantomData }
    }
}

/// A wait is in the list while this lives.
pub struct Listed<'w> {
    list: &'w List,
    below: Link,
}

impl Drop for Listed<'_> {
    #[inline]
    fn drop(&mut self) {
        self.list.0.set(self.below);
    }
}

/// The waits from some frame outwards, innermost first. For code that is nested inside them, which returns before they
/// do.
#[derive(Clone, Copy)]
pub struct Calls<'a> {
    next: Link,
    _lives: PhantomData<&'a ()>,
}

impl Calls<'_> {
    #[inline]
    pub fn is_empty(self) -> bool {
        self.next.is_none()
    }

    /// Whether the call at this depth can go on.
    #[cfg(feature = "graph")]
    pub fn can_go_on(mut self, depth: usize) -> bool {
        self.any(|call| call.depth == depth && call.can_go_on())
    }

    /// Whether one was woken and can go on. Leaves its flag as it is.
    pub fn any_woken(mut self) -> bool {
        self.any(|call| call.can_go_on() && call.slot.wakes.is_woken())
    }

    /// The earliest deadline of those that can go on.
    pub fn deadline(self) -> Option<Instant> {
        self.filter(|call| call.can_go_on()).filter_map(|call| call.deadline.get()).min()
    }
}

impl<'a> Iterator for Calls<'a> {
    type Item = &'a Waiting<'static>;

    fn next(&mut self) -> Option<Self::Item> {
        // SAFETY: a wait is in the list while its frame is on the stack. The code that uses this `Calls` is nested
        // inside that frame, so it runs only while the frame is there. The same holds for the outer waits that are
        // reached through this one.
        let waiting = unsafe { self.next?.as_ref() };
        self.next = waiting.below.get();
        Some(waiting)
    }
}
