//! The poll loop: how a thread that waits serves the contexts that it is home to. (QEMU's `aio_poll` and
//! `AIO_WAIT_WHILE`.)
//!
//! # Nesting stays bounded
//!
//! A blocking call made inside a task waits in a nested loop, and what that loop runs may block in turn. Without a rule
//! a thousand tasks with one short blocking call each nest a thousand deep, and the first is the last to finish. So a
//! nested loop holds work back:
//!
//! - tasks and received calls that were never polled, always;
//! - bottom halves, while one of them waits in a frame further down;
//! - everything, once [`DEEP`] frames are on the stack.
//!
//! What the call waits for may be the very thing held back. So when nothing else has moved for a while ([`patience`]),
//! the loop takes one such item, the oldest, and then one after the other until something moves. Where something
//! always moves, a ticking task say, it does so after a longer while ([`BUSY`]).
//!
//! The handler of a descriptor that is ready is a bottom half, queued by the round that finds it ready, and so all of this
//! goes for it too. While it waits for its turn nobody looks at its descriptor: it costs no processor time. Nor does one
//! whose descriptor stays ready whatever it does: a loop that takes what it holds back does not look for more handlers
//! meanwhile, so such a one is held back anew, for as long.
//!
//! Another caller's call is never begun by a passing home, but where nobody would go on without (`circle.rs`).

use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{circle, sleep::Sleeper};
use crate::{
    context::AioContext,
    reactor::{self, Below, Entered},
    scheduler::mailbox::Mailbox,
    sys::{
        fork,
        panics::{Payload, catch},
    },
    tasks::{
        bottom_half::Queued,
        coroutine::{self, Mark},
        queue::{Allowed, Work},
        task,
    },
    thread::{
        homes::{AsCurrent, served},
        state::{Slot, Thread},
    },
    watch::board::Runs,
};

/// From this many frames on a nested loop runs nothing of its own accord. Up to it begun tasks run freely: they are what
/// a call usually waits for.
const DEEP: usize = 16;

/// How long nothing has to move before a nested loop takes what it holds back, when `taken` such items are on the stack.
///
/// It grows, because items taken nest: were it the same everywhere, a thousand tasks with a blocking call longer than
/// it would nest without end. As the square, so that a chain of 128 tasks, each waiting for the next, still ends in
/// seconds.
fn patience(taken: u32) -> Duration {
    const FIRST: Duration = Duration::from_millis(5);
    FIRST + FIRST * taken.pow(2) / 256
}

/// How many times longer than an idle loop's is a busy one's patience.
const BUSY: u32 = 8;

/// What a dispatch runs as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum As {
    /// A coroutine, if it is polled rather than dropped. Whether it may move to another thread between two polls.
    Task { send: bool },
    /// A bottom half, a descriptor's handler among them; a timer's waker, destructors.
    Callback,
}

impl As {
    fn runs(self) -> Runs {
        match self {
            Self::Task { .. } => Runs::Task,
            Self::Callback => Runs::Callback,
        }
    }
}

/// Runs `what` on this stack with the thread's marks set for it, and restored after it, panic or not.
#[inline]
fn dispatch(thread: &Thread, as_: As, what: impl FnOnce()) {
    struct Restore<'a> {
        thread: &'a Thread,
        outer: Mark,
        dispatched: usize,
        callbacks: usize,
        ran: usize,
    }
    impl Drop for Restore<'_> {
        #[inline]
        fn drop(&mut self) {
            self.thread.board.end_run(self.ran);
            coroutine::mark(self.outer);
            self.thread.dispatched.set(self.dispatched);
            self.thread.callbacks.set(self.callbacks);
        }
    }

    let (dispatched, callbacks) = (thread.dispatched.get(), thread.callbacks.get());
    let _restore = Restore {
        thread,
        dispatched,
        callbacks,
        ran: thread.board.begin_run(as_.runs(), dispatched + 1, thread.depth()),
        // A task marks its own polling.
        outer: coroutine::mark(if as_ == (As::Task { send: true }) { Mark::SEND_TASK } else { Mark::NONE }),
    };
    let _dispatched = thread.suspended.dispatch(thread.depth());
    thread.dispatched.set(dispatched + 1);
    thread.callbacks.set(callbacks + usize::from(as_ == As::Callback));
    what();
}

/// Runs one item, as what it is.
// Left to itself the compiler calls it, which costs a bottom half a tenth more.
#[inline(always)]
fn run(thread: &Thread, mailbox: &Mailbox, work: Work<Mailbox>) {
    match work {
        Work::BottomHalf(bottom_half) => dispatch(thread, As::Callback, || {
            bottom_half.run(|again| requeue(mailbox, again));
        }),
        Work::Task(runnable) => {
            let send = runnable.metadata().is_send();
            dispatch(thread, As::Task { send }, || task::run(runnable));
        }
    }
}

#[cold]
fn requeue(mailbox: &Mailbox, again: Queued) {
    // A closed context drops it.
    drop(mailbox.push_bottom_half(again));
}

/// One look at `context`: fires its timers, queues its handlers whose descriptors are ready if it is to look for them, and
/// hands to `each` what its queue holds now, not what comes meanwhile, until that says to stop. True if anything ran. A
/// round within a round first finishes the outer one's batch, for it takes from the front of the same queue.
fn round_of(
    thread: &Thread,
    context: &AioContext,
    allowed: Allowed,
    looks: bool,
    mut each: impl FnMut(&mut dyn FnMut()) -> ControlFlow<()>,
) -> bool {
    // Forked in what ran before: the next sleep says so.
    if fork::is_child() {
        return false;
    }
    let mailbox = context.mailbox();
    let _current = AsCurrent::new(&thread.homes, context);
    if mailbox.has_to_close() && each(&mut || dispatch(thread, As::Callback, || mailbox.clear_out())).is_break() {
        return false;
    }
    let mut ran = false;
    if let Some(now) = mailbox.timers().due() {
        while let Some((waker, counts)) = mailbox.timers().pop(now) {
            ran |= counts;
            let mut waker = Some(waker);
            if each(&mut || dispatch(thread, As::Callback, || waker.take().expect("called once").wake())).is_break() {
                return true;
            }
        }
    }
    if looks {
        context.handlers().queue_ready();
    }
    let end = mailbox.batch_end();
    while let Some(work) = mailbox.pop(end, allowed) {
        ran = true;
        let mut work = Some(work);
        if each(&mut || run(thread, mailbox, work.take().expect("called once"))).is_break() {
            break;
        }
    }
    ran
}

/// Runs everything that `context` holds now. Panics go to the caller at once; what is left stays queued.
pub fn run_all(thread: &Thread, context: &AioContext) -> bool {
    round_of(thread, context, Allowed::ALL, true, |work| {
        work();
        ControlFlow::Continue(())
    })
}

/// One blocking call's wait: serves the thread's contexts until its future is ready.
pub struct Wait<'a> {
    thread: &'a Thread,
    slot: &'a Slot,
    allowed: Allowed,
    /// When to give up.
    deadline: Option<Instant>,
    /// What gives the call up when it is closed.
    called_in: Option<&'a AioContext>,
    /// The first panic of what the loop ran. It may not end the call, which is in flight.
    panicked: Option<Payload>,
    held_back: HeldBack,
    /// If it may be in a circle of such waits.
    waits: Option<circle::Waits>,
}

/// Since when a loop has been holding work back.
#[derive(Default)]
struct HeldBack {
    first: Option<Instant>,
    /// Since when nothing else has moved.
    idle: Option<Instant>,
    /// While it takes what it holds back: when it looks for handlers again.
    looks_from: Option<Instant>,
}

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

/// When to take what is held back.
enum Take {
    Now,
    At(Instant),
    Nothing,
}

enum Round {
    Done(Ended),
    Moved,
    Idle,
}

impl<'a> Wait<'a> {
    /// The wait of the frame `slot`, the innermost, until `deadline` at most, or until `called_in`, one that the thread
    /// serves, is closed. `outer_callback_waits` says that a bottom half or handler waits in a frame further down; a call in
    /// another context names that, `target`.
    #[inline]
    pub fn new(
        thread: &'a Thread,
        slot: &'a Slot,
        target: Option<&AioContext>,
        outer_callback_waits: bool,
        deadline: Option<Instant>,
        called_in: Option<&'a AioContext>,
    ) -> Self {
        let depth = thread.depth();
        let nested = depth > 1 || thread.dispatched.get() > 0;
        let allowed = if nested {
            let shallow = depth <= DEEP;
            Allowed { bottom_halves: shallow && !outer_callback_waits, begun: shallow, fresh: false }
        } else {
            Allowed::ALL
        };
        if let Some(current) = thread.homes.borrow().current() {
            current.counters().deepest.at_least(depth as u64);
        }
        let waits = target.and_then(|target| circle::Waits::new(thread, target.mailbox()));
        Self { thread, slot, allowed, deadline, called_in, panicked: None, held_back: HeldBack::default(), waits }
    }

    /// Waits until `poll`, which polls the call's future, says that it is ready. Returns how it ended and the first
    /// panic of what ran meanwhile.
    pub fn run(mut self, entered: &Entered, poll: &mut dyn FnMut() -> bool) -> (Ended, Option<Payload>) {
        // What needs no sleep does not ask what stands above either.
        let ended = reactor::unconstrained(|| {
            loop {
                match self.round(poll) {
                    Round::Done(ended) => return Some(ended),
                    Round::Moved => _ = self.attend_to_held_back(true),
                    Round::Idle => return None,
                }
            }
        });
        let ended = ended.unwrap_or_else(|| {
            self.thread.stamp_shown();
            entered.gate(|below, shown| {
                self.slot.record.set_below(shown);
                if let Some(site) = self.slot.site() {
                    reactor::warn_of_current_thread(below, self.slot.name(), site);
                }
                reactor::unconstrained(|| self.sleep_between_rounds(below, poll))
            })
        });
        (ended, self.panicked)
    }

    /// Runs what is ready, then polls the future if it was woken.
    fn round(&mut self, poll: &mut dyn FnMut() -> bool) -> Round {
        let mut moved = self.run_ready();
        if self.slot.wakes.take_woken() {
            if poll() {
                return Round::Done(Ended::Ready);
            }
            moved = true;
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Round::Done(Ended::Elapsed);
        }
        if self.called_in.is_some_and(|context| context.mailbox().is_closed()) {
            return Round::Done(Ended::Closed);
        }
        if moved { Round::Moved } else { Round::Idle }
    }

    fn sleep_between_rounds(&mut self, below: Below, poll: &mut dyn FnMut() -> bool) -> Ended {
        let mut sleeper = Sleeper::new(self.thread, below);
        loop {
            let moved = match self.round(poll) {
                Round::Done(ended) => return ended,
                Round::Moved => true,
                Round::Idle => false,
            };
            let take = self.attend_to_held_back(moved);
            if moved {
                sleeper.moved();
                continue;
            }
            let wake_up = match take {
                Take::Now => continue,
                Take::At(take) => Some(self.deadline.map_or(take, |deadline| deadline.min(take))),
                Take::Nothing => self.deadline,
            };
            if fork::is_child() {
                return Ended::Forked;
            }
            let wakes = &self.slot.wakes;
            if sleeper.sleep(wake_up, || wakes.is_woken()) && poll() {
                return Ended::Ready;
            }
        }
    }

    /// After a round that took all that it may: takes what is held back if it is time, or says when it is.
    fn attend_to_held_back(&mut self, moved: bool) -> Take {
        if self.allowed == Allowed::ALL {
            return Take::Nothing;
        }
        if self.waits.is_none() && !self.holds_back() {
            self.held_back = HeldBack::default();
            return Take::Nothing;
        }
        let now = Instant::now();
        let HeldBack { first, idle, looks_from } = &mut self.held_back;
        if moved {
            *idle = None;
        }
        let patience = patience(self.thread.taken.get());
        let at = (*idle.get_or_insert(now) + patience).min(*first.get_or_insert(now) + patience * BUSY);
        if now < at {
            // A sleep follows, which a handler that is ready ends to be looked at.
            *looks_from = None;
            return Take::At(at);
        }
        if looks_from.is_none_or(|from| now >= from) {
            *looks_from = Some(now + patience);
        }
        if self.take_held_back() {
            return Take::Now;
        }
        self.held_back = HeldBack::default();
        Take::At(now + patience)
    }

    /// One round of each context, broken off when the future is woken: when it is ready everything further down can go
    /// on, and were the batch finished first, whatever blocks in it would keep the call waiting that it was made in.
    fn run_ready(&mut self) -> bool {
        let homes = self.thread.homes.borrow();
        if let Some(current) = homes.current() {
            current.counters().polls.count();
        }
        // The rule for a call that is woken at once: then no context is entered for a look.
        let quiet = homes.are_quiet();
        drop(homes);
        !quiet && self.run_contexts()
    }

    // Out of line, for a call that is woken at once need not pay for its frame.
    #[inline(never)]
    fn run_contexts(&mut self) -> bool {
        let mut moved = false;
        let Self { thread, slot, allowed, panicked, held_back, .. } = self;
        let looks = allowed.bottom_halves || held_back.looks_from.is_none_or(|from| Instant::now() >= from);
        served(&thread.homes, |context| {
            moved |= round_of(thread, context, *allowed, looks, |work| {
                catch(panicked, work);
                if slot.wakes.is_woken() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
        });
        moved
    }

    /// Whether a context holds work that this loop may not take; asked when it took all that it may.
    fn holds_back(&self) -> bool {
        let mut any = false;
        served(&self.thread.homes, |context| any |= context.mailbox().has_work());
        any
    }

    /// Takes the oldest held-back item of each context, and the call that closes a circle which this wait is in. Returns
    /// whether there was any.
    #[cold]
    fn take_held_back(&mut self) -> bool {
        let Self { thread, panicked, waits, .. } = self;
        let closed_by = waits.as_ref().and_then(circle::Waits::closed_by);
        let mut taken = false;
        thread.taken.update(|n| n + 1);
        served(&thread.homes, |context| {
            let mailbox = context.mailbox();
            let closes = closed_by.as_ref().filter(|(_, place)| Arc::ptr_eq(place, mailbox));
            let call = closes.and_then(|(caller, _)| mailbox.pop_call_of(*caller));
            if let Some(work) = call.or_else(|| mailbox.pop(u64::MAX, Allowed::ALL)) {
                taken = true;
                let _current = AsCurrent::new(&thread.homes, context);
                catch(panicked, || run(thread, mailbox, work));
            }
        });
        thread.taken.update(|n| n - 1);
        taken
    }
}
