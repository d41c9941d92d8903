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
//! A received call whose caller is what the thread waits for itself, through any chain of calls, is not held back
//! (`circle.rs`). Another caller's call is never started by a temporary home.
//!
//! # Calls lower on the stack
//!
//! What a loop waits for may be done by the future of a call that waits further down its stack. So each loop polls those
//! too when they are woken (`thread/waiting.rs`). Past [`DEEP`] frames it holds them back as it does everything.

use std::{
    ops::ControlFlow,
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
        activation::{self, Activation, Mark},
        bottom_half::Queued,
        queue::{Allowed, Work},
        task::{self, Runnable},
    },
    thread::{
        homes::{AsCurrent, served},
        state::Thread,
        waiting::{Calls, Due, Ended, Polls, Waiting},
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

/// Runs `what`, as what it is, above all that is on the stack.
#[inline(always)]
fn dispatch(thread: &Thread, as_: As, what: impl FnOnce()) {
    let (runs, mark) = match as_ {
        // A task marks its own polling.
        As::Task { send: true } => (Runs::Task, Mark::SEND_TASK),
        As::Task { send: false } => (Runs::Task, Mark::NONE),
        As::Callback => (Runs::Callback, Mark::NONE),
    };
    let _runs = thread.board.run(runs, thread.depth());
    let dispatched = activation::dispatch(mark);
    let _suspended = thread.suspended.dispatch(dispatched.outer(), thread.depth());
    what();
}

/// Lets the calls go on that wait lower on the stack, as far as `polls` says, and has those given up whose time has come. A
/// future in the middle of its poll is left alone. Returns whether there were any.
#[cold]
pub fn poll_lower(thread: &Thread, calls: Calls<'_>, polls: Polls) -> bool {
    let mut any = false;
    for call in calls {
        // Forked in the poll of one: the next sleep says so.
        if fork::is_child() {
            break;
        }
        if let Some(due) = call.due(polls) {
            any = true;
            dispatch_lower(thread, call, due);
        }
    }
    any
}

/// Does what is due with a call that waits lower on the stack, with its activation current. A panic in it is the call's.
fn dispatch_lower(thread: &Thread, call: &Waiting<'_>, due: Due) {
    let entered = thread.homes.borrow().stay();
    {
        let _current = AsCurrent::at(&thread.homes, call.stay().get(), || thread.own());
        let _runs = thread.board.run(Runs::LowerCall, thread.depth());
        let outer = Activation::current();
        let _suspended = thread.suspended.dispatch(outer.task(), thread.depth());
        let lower = thread.lower.replace(call.depth());
        let long = call.is_expected_long().then(|| thread.board.expect_long());
        call.activation(due).set();
        call.go_on(due);
        outer.set();
        long.into_iter().for_each(|outer| thread.board.end_expect_long(outer));
        thread.lower.set(lower);
    }
    let last = thread.homes.borrow().stay();
    if last > entered {
        // Entered in that poll, for longer.
        call.stay().set(last);
    }
}

/// Runs one item.
// Left to itself the compiler calls it, which costs a bottom half a tenth more; and then it has no room for tasks.
#[inline(always)]
fn run(thread: &Thread, mailbox: &Mailbox, work: Work<Mailbox>) {
    match work {
        Work::BottomHalf(bottom_half) => dispatch(thread, As::Callback, || {
            bottom_half.run(|again| requeue(mailbox, again));
        }),
        Work::Task(runnable) => run_task(thread, runnable),
    }
}

#[inline(never)]
fn run_task(thread: &Thread, runnable: Runnable<Mailbox>) {
    let send = runnable.metadata().is_send();
    dispatch(thread, As::Task { send }, || task::run(runnable));
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
    call: &'a Waiting<'a>,
    allowed: Allowed,
    /// The first panic of what the loop ran. It may not end the call, which is in flight.
    panicked: Option<Payload>,
    held_back: HeldBack,
    /// If it is for a call in another context, and nested.
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
    /// The wait of `call`, the innermost. `outer_callback_waits` says that a bottom half or handler waits in a frame further
    /// down; a call in another context names that, `target`.
    #[inline]
    pub fn new(
        thread: &'a Thread,
        call: &'a Waiting<'a>,
        target: Option<&AioContext>,
        outer_callback_waits: bool,
    ) -> Self {
        let depth = thread.depth();
        let nested = depth > 1 || thread.is_dispatched();
        let allowed = if nested {
            let shallow = depth <= DEEP;
            Allowed { bottom_halves: shallow && !outer_callback_waits, begun: shallow, fresh: false }
        } else {
            Allowed::ALL
        };
        if let Some(current) = thread.homes.borrow().current() {
            current.counters().deepest.at_least(depth as u64);
        }
        let waits = target.filter(|_| nested).map(|target| circle::Waits::new(target.mailbox()));
        Self { thread, call, allowed, panicked: None, held_back: HeldBack::default(), waits }
    }

    /// Waits until the call is done. Returns how it ended and the first panic of what ran meanwhile.
    pub fn run(mut self, entered: &Entered) -> (Ended, Option<Payload>) {
        // What needs no sleep does not ask what stands above either.
        let ended = reactor::unconstrained(|| {
            loop {
                match self.round() {
                    Round::Done(ended) => return Some(ended),
                    Round::Moved => _ = self.attend_to_held_back(true),
                    Round::Idle => return None,
                }
            }
        });
        let ended = ended.unwrap_or_else(|| {
            self.thread.stamp_shown();
            entered.gate(|below, shown| {
                let slot = self.call.slot();
                slot.record.set_below(shown);
                if let Some(site) = slot.site() {
                    reactor::warn_of_current_thread(below, slot.name(), site);
                }
                reactor::unconstrained(|| self.sleep_between_rounds(below))
            })
        });
        (ended, self.panicked)
    }

    /// Runs what is ready, then polls the future if it was woken, and those lower on the stack.
    fn round(&mut self) -> Round {
        let mut moved = self.run_ready();
        if self.call.slot().wakes.take_woken() {
            if let Some(ended) = self.call.poll() {
                return Round::Done(ended);
            }
            moved = true;
        }
        let lower = self.call.lower();
        if !lower.is_empty() {
            moved |= poll_lower(self.thread, lower, if self.polls_lower() { Polls::Woken } else { Polls::None });
        }
        match self.call.is_to_give_up() {
            Some(ended) => Round::Done(ended),
            None if moved => Round::Moved,
            None => Round::Idle,
        }
    }

    /// Whether calls lower on the stack are polled freely, as tasks are that were begun. Else they are held back: what they
    /// call nests.
    fn polls_lower(&self) -> bool {
        self.allowed.begun
    }

    fn sleep_between_rounds(&mut self, below: Below) -> Ended {
        let mut sleeper = Sleeper::new(self.thread, below);
        loop {
            let moved = match self.round() {
                Round::Done(ended) => return ended,
                Round::Moved => true,
                Round::Idle => false,
            };
            let take = self.attend_to_held_back(moved);
            if moved {
                sleeper.moved();
                continue;
            }
            let take = match take {
                Take::Now => continue,
                Take::At(take) => Some(take),
                Take::Nothing => None,
            };
            if fork::is_child() {
                return Ended::Forked;
            }
            let (wakes, lower, polls_lower) = (&self.call.slot().wakes, self.call.lower(), self.polls_lower());
            let wake_up = [take, self.call.deadline(), lower.deadline()].into_iter().flatten().min();
            if sleeper.sleep(wake_up, || wakes.is_woken() || polls_lower && lower.any_woken()) {
                if let Some(ended) = self.call.poll() {
                    return ended;
                }
                if polls_lower {
                    poll_lower(self.thread, lower, Polls::All);
                }
            }
        }
    }

    /// After a round that took all that it may: takes what is held back if it is time, or says when it is.
    fn attend_to_held_back(&mut self, moved: bool) -> Take {
        if self.allowed == Allowed::ALL {
            return Take::Nothing;
        }
        if self.take_callers() {
            return Take::Now;
        }
        // Another home may come to a context in which a call waits, and close a cycle of which nobody tells.
        let in_passing = self.waits.is_some() && self.thread.homes.borrow().is_passing();
        if !in_passing && !self.holds_back() {
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
        let Self { thread, call, allowed, panicked, held_back, .. } = self;
        let looks = allowed.bottom_halves || held_back.looks_from.is_none_or(|from| Instant::now() >= from);
        served(&thread.homes, |context| {
            moved |= round_of(thread, context, *allowed, looks, |work| {
                catch(panicked, work);
                if call.slot().wakes.is_woken() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
        });
        moved
    }

    /// Whether a context holds work that this loop may not take; asked when it took all that it may.
    fn holds_back(&self) -> bool {
        let mut any = !self.polls_lower() && self.call.lower().any_woken();
        served(&self.thread.homes, |context| any |= context.mailbox().has_work());
        any
    }

    /// Starts the oldest call received in each context whose caller is what this thread waits for. Returns whether there was
    /// any.
    fn take_callers(&mut self) -> bool {
        let Self { thread, panicked, .. } = self;
        let (mut waited_for, mut taken) = (None, false);
        served(&thread.homes, |context| {
            let mailbox = context.mailbox();
            if mailbox.has_calls()
                && let Some(work) = mailbox.pop_call_of(waited_for.get_or_insert_with(circle::waited_for))
            {
                taken = true;
                let _current = AsCurrent::new(&thread.homes, context);
                catch(panicked, || run(thread, mailbox, work));
            }
        });
        taken
    }

    /// Takes the oldest held-back item of each context, and the calls lower on the stack. Returns whether there was any.
    #[cold]
    fn take_held_back(&mut self) -> bool {
        let Self { thread, call, panicked, .. } = self;
        thread.taken.update(|n| n + 1);
        let mut taken = poll_lower(thread, call.lower(), Polls::Woken);
        served(&thread.homes, |context| {
            let mailbox = context.mailbox();
            if let Some(work) = mailbox.pop(u64::MAX, Allowed::ALL) {
                taken = true;
                let _current = AsCurrent::new(&thread.homes, context);
                catch(panicked, || run(thread, mailbox, work));
            }
        });
        thread.taken.update(|n| n - 1);
        taken
    }
}
