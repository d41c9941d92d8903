//! The calls of one thread that wait, each in a loop of its own. A loop polls not only its own call but also those lower on
//! the stack, with the activation of each current: what it waits for may be theirs to do.
//!
//! A lower call cannot return before what is above it has returned. So its output waits in its frame, and so does the panic
//! of its future, which is raised there. What its loop does then is the same as if it had polled the future itself: its
//! slot is woken, and its next poll says how the wait ended.
//!
//! A future is never polled within its own poll, nor when it has ended or panicked: [`Waiting::busy`] and
//! [`Waiting::ended`] say so.

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
    /// The context was closed under the call.
    Closed,
    /// What ran meanwhile has forked, and this is the child.
    Forked,
}

/// A call in flight, in its frame.
pub trait InFlight {
    /// Whether it is of use to its caller alone, so that loops above it leave it alone.
    fn is_for_caller(&self) -> bool;

    /// Goes on, because it was woken. Says whether it is done.
    fn poll(&mut self) -> bool;

    /// Drops what is left of a call that is done, before its frame is left.
    fn release(&mut self);

    /// Gives up, for that reason, before its frame is left. Says whether the wait is over.
    fn give_up(&mut self, why: Ended) -> bool;
}

/// The wait of one call, on the stack.
pub struct Waiting<'a> {
    slot: &'a Slot,
    /// Called by this alone, one method at a time.
    call: NonNull<dyn InFlight + 'a>,
    _call: PhantomData<&'a mut dyn InFlight>,
    /// How many calls are on the stack up to this one.
    depth: usize,
    /// What runs in its polls.
    polled: Activation,
    /// What the caller runs as, and so the destructors of a call that is given up.
    caller: Mark,
    /// What was entered last when it began to wait, which says what is current in its polls.
    stay: Cell<u64>,
    /// When to give up.
    deadline: Cell<Option<Instant>>,
    /// What gives the call up when it is closed.
    called_in: Option<&'a AioContext>,
    /// It is being polled or given up, or has panicked.
    busy: Cell<bool>,
    /// How the wait ended while something above ran.
    ended: Cell<Option<Ended>>,
    panicked: Cell<Option<Payload>>,
    /// The next one down the stack.
    below: Cell<Link>,
}

type Link = Option<NonNull<Waiting<'static>>>;

/// What is to be done with a lower call.
#[derive(Clone, Copy)]
pub enum Due {
    Poll,
    GiveUp(Ended),
}

/// Which lower calls a loop polls.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Polls {
    /// Those that were woken.
    Woken,
    /// All, for their wakes may be kept back.
    All,
    /// None; but it has them given up when their time has come.
    None,
}

impl<'a> Waiting<'a> {
    /// Of the innermost of `depth` calls, whose caller runs as `caller`; `stay` is what was entered last.
    #[inline]
    pub fn new(
        depth: usize,
        stay: u64,
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
            stay: Cell::new(stay),
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

    /// For its own loop, when the slot was woken: polls the call, unless a loop above has done that to its end. Says how the
    /// wait ended, if it has.
    pub fn poll(&self) -> Option<Ended> {
        let Some(ended) = self.ended.get() else { return self.poll_call().then_some(Ended::Ready) };
        if let Some(payload) = self.panicked.take() {
            payload.resume();
        }
        Some(ended)
    }

    /// When its own loop is to give up.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline.get()
    }

    /// Why the call is to be given up now, if it is.
    pub fn is_to_give_up(&self) -> Option<Ended> {
        if self.deadline.get().is_some_and(|deadline| Instant::now() >= deadline) {
            return Some(Ended::Elapsed);
        }
        self.called_in.is_some_and(|context| context.mailbox().is_closed()).then_some(Ended::Closed)
    }

    /// Those lower on the stack.
    #[inline]
    pub fn lower(&self) -> Calls<'_> {
        Calls { next: self.below.get(), _lives: PhantomData }
    }

    /// Runs `what`, for the last time if that panics.
    #[inline]
    fn alone<R>(&self, what: impl FnOnce(&mut dyn InFlight) -> R) -> R {
        debug_assert!(!self.busy.get(), "polled within its own poll");
        self.busy.set(true);
        // SAFETY: the unique reference that `new` was given, which nobody else uses while this lives. `busy` was not set, and
        // is looked at before each use, so no other use of it is going on.
        let result = what(unsafe { &mut *self.call.as_ptr() });
        self.busy.set(false);
        result
    }

    fn poll_call(&self) -> bool {
        self.alone(|call| self.slot.record.poll(|| call.poll()))
    }
}

/// For loops above.
impl Waiting<'_> {
    fn can_go_on(&self) -> bool {
        // SAFETY: as in `alone`; this only looks, and within no other use of it.
        !self.busy.get() && self.ended.get().is_none() && !unsafe { self.call.as_ref() }.is_for_caller()
    }

    /// What is to be done with the call, if anything, by a loop that polls such calls as `polls` says.
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

    /// How many calls are on the stack up to this one.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// What runs when that is done.
    pub fn activation(&self, due: Due) -> Activation {
        match due {
            Due::Poll => self.polled,
            Due::GiveUp(_) => self.polled.marked(self.caller),
        }
    }

    /// What was entered last when it began to wait, or in its polls since.
    pub fn stay(&self) -> &Cell<u64> {
        &self.stay
    }

    /// Whether it is meant to wait for long.
    pub fn is_expected_long(&self) -> bool {
        self.slot.record.is_expected_long()
    }

    /// Does what is due, with that activation current. A panic is the call's.
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
        // Its own loop looks then.
        self.slot.wakes.wake_by_ref();
    }
}

/// The calls of one thread that wait, innermost first.
#[derive(Default)]
pub struct List(Cell<Link>);

impl List {
    /// `waiting` is among them until the guard is dropped: a scope, in stack order.
    #[inline]
    pub fn push<'w>(&'w self, waiting: &'w Waiting<'_>) -> Listed<'w> {
        waiting.below.set(self.0.get());
        // SAFETY: the two types differ in their lifetimes alone. What is in the list is used as long as it is in there, which
        // ends with what this returns, and that borrows `waiting`.
        let link = unsafe { mem::transmute::<NonNull<Waiting<'_>>, NonNull<Waiting<'static>>>(NonNull::from(waiting)) };
        let below = self.0.replace(Some(link));
        Listed { list: self, below }
    }

    /// All of them, for a loop that is none's own.
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

/// The waits from one on down the stack. For what runs above them, and returns before they do.
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

    /// Whether the call up to which there are so many can go on.
    #[cfg(feature = "graph")]
    pub fn can_go_on(mut self, depth: usize) -> bool {
        self.any(|call| call.depth == depth && call.can_go_on())
    }

    /// Whether one was woken and can go on. Left as it is.
    pub fn any_woken(mut self) -> bool {
        self.any(|call| call.can_go_on() && call.slot.wakes.is_woken())
    }

    /// When the first of them that can is to give up.
    pub fn deadline(self) -> Option<Instant> {
        self.filter(|call| call.can_go_on()).filter_map(|call| call.deadline.get()).min()
    }
}

impl<'a> Iterator for Calls<'a> {
    type Item = &'a Waiting<'static>;

    fn next(&mut self) -> Option<Self::Item> {
        // SAFETY: in the list while its frame is on the stack, below whoever has this, for whom it cannot be left: the next
        // ones down are reached through it while that is so.
        let waiting = unsafe { self.next?.as_ref() };
        self.next = waiting.below.get();
        Some(waiting)
    }
}
