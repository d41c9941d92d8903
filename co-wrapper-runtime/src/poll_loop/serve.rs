//! The poll loop: how a thread that waits serves the contexts that it is home to. (QEMU's `aio_poll` and
//! `AIO_WAIT_WHILE`.)
//!
//! A *frame* is a blocking call on the thread's stack. A call that is made inside it is *nested* in it, and the frame
//! is an *outer* one of that call. (Hang reports say that an outer call is "lower on its stack".) A loop *moves* when a
//! round runs something, or polls a future that was woken.
//!
//! # Nesting stays bounded
//!
//! A blocking call made inside a task waits in a nested loop, and what that loop runs may block in turn. Without a
//! rule, a thousand tasks with one short blocking call each nest a thousand deep, and the first is the last to finish.
//! So a nested loop holds back:
//!
//! - tasks and received calls that were never polled, always;
//! - bottom halves, while a bottom half or handler waits in an outer frame;
//! - everything, once [`DEEP`] frames are on the stack.
//!
//! The call may wait for something that is held back. So when nothing else has moved for a while ([`patience`]), the
//! loop takes the oldest held-back item, and then one after the other until something moves. If something moves all the
//! time, such as a task with a periodic timer, the loop takes held-back items after a longer time ([`BUSY`]).
//!
//! All of this also applies to the handler of a ready descriptor: it is a bottom half, which the round that finds the
//! descriptor ready queues. While the handler waits for its turn, its descriptor is not watched, so waiting costs no
//! processor time. A handler whose descriptor stays ready whatever it does costs none either: while a loop takes
//! held-back items, it looks for no more handlers.
//!
//! A received call is a call with `ctx` that another thread has sent. It is not held back if the thread waits, through
//! any chain of waits, for its caller (`context/wait_cycle.rs`): neither before its first poll nor, past [`DEEP`] frames,
//! after it. Up to [`DEEP`] frames the same holds for a new task or a `no_co_wrapper`'s body that such a caller awaits.
//! A temporary home starts no other received call at all. Those wait for the next home.
//!
//! # Outer calls
//!
//! The future of an outer call may be what completes the call that a loop waits for. So each loop also polls the
//! futures of waiting outer calls when they are woken (`thread/waiting.rs`). Past [`DEEP`] frames it holds them back
//! like everything else.

use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

#[cfg(feature = "coroutine")]
use super::ran::tell;
use super::{ran::Items, sleep::Sleeper};
use crate::{
    context::{
        AioContext,
        wait_cycle::{self, WaitsFor},
    },
    reactor::{self, Entered, Stopped},
    scheduler::Scheduler,
    sys::{
        fork,
        interrupts::Heeds,
        panics::{Payload, catch},
    },
    tasks::{
        activation::Mark,
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

/// With more frames than this, a nested loop holds everything back. With at most this many, tasks that were polled
/// before are not held back, because a call usually waits for one of them.
const DEEP: usize = 16;

/// How long a nested loop waits without moving before it takes an item that it holds back. `taken` is how many such
/// items are on the stack already.
///
/// It grows because the items taken nest: with a constant patience, a thousand tasks with a blocking call longer than
/// that would nest without end. It grows with the square of `taken`, so that a chain of 128 tasks, each waiting for the
/// next, still ends in seconds.
fn patience(taken: u32) -> Duration {
    const FIRST: Duration = Duration::from_millis(5);
    FIRST + FIRST * taken.pow(2) / 256
}

/// The patience of a busy loop, as a multiple of an idle loop's.
const BUSY: u32 = 8;

/// What a dispatched item runs as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum As {
    /// A task: a coroutine if it is polled, none if its future is only dropped. `send`: it may move to another thread
    /// between two polls.
    Task { send: bool },
    /// A bottom half or a descriptor's handler, a timer's waker, destructors.
    Callback,
}

/// Runs `what` as `as_`, nested inside all that is on the stack.
#[inline(always)]
fn dispatch(thread: &Thread, as_: As, what: impl FnOnce()) {
    let (runs, mark) = match as_ {
        // The task itself marks its poll as a coroutine (`tasks/task.rs`).
        As::Task { send: true } => (Runs::Task, Mark::SEND_TASK),
        As::Task { send: false } => (Runs::Task, Mark::NONE),
        As::Callback => (Runs::Callback, Mark::NONE),
    };
    thread.stack.dispatch(runs, mark, what);
}

/// Lets outer calls that wait go on, as `polls` says, and gives up those that are due to be given up. A future in the
/// middle of its poll is left alone. Returns whether there was anything to do.
#[cold]
pub fn poll_outer(thread: &Thread, calls: Calls<'_>, polls: Polls) -> bool {
    let mut any = false;
    #[cfg(feature = "coroutine")]
    let mut other = false;
    for call in calls {
        // If a poll forked, the next sleep reports it.
        if fork::is_child() {
            break;
        }
        if let Some(due) = call.due(polls) {
            any = true;
            #[cfg(feature = "coroutine")]
            thread.stack.waited_again.set(false);
            dispatch_outer(thread, call, due);
            #[cfg(feature = "coroutine")]
            {
                other |= !thread.stack.waited_again.replace(false);
            }
        }
    }
    // Here such a poll counts as a task.
    #[cfg(feature = "coroutine")]
    if any && thread.stack.watching.get() > 0 {
        served(&thread.homes, |context| tell(|| context.scheduler().watchers().ran(other)));
    }
    any
}

/// Does what is due with an outer call that waits, with its activation current. A panic in it belongs to the call.
fn dispatch_outer(thread: &Thread, call: &Waiting<'_>, due: Due) {
    let entered = thread.homes.borrow().entry();
    {
        let _current = AsCurrent::at(&thread.homes, call.entry().get(), || thread.own());
        thread.stack.dispatch_outer(call.depth(), call.activation(due), || {
            let long = call.is_expected_long().then(|| thread.stack.board.expect_long(true));
            call.go_on(due);
            long.into_iter().for_each(|outer| thread.stack.board.end_expect_long(outer));
        });
    }
    let last = thread.homes.borrow().entry();
    if last > entered {
        // A context was entered in that poll and not left.
        call.entry().set(last);
    }
}

/// Runs one item.
// Inlined by force: as a call it makes a bottom half a tenth slower, and then the compiler does not inline tasks.
#[inline(always)]
fn run(thread: &Thread, scheduler: &Scheduler, work: Work<Scheduler>) {
    match work {
        Work::BottomHalf(bottom_half) => dispatch(thread, As::Callback, || {
            bottom_half.run(|again| requeue(scheduler, again));
        }),
        Work::Task(runnable) => run_task(thread, runnable),
    }
}

#[inline(never)]
fn run_task(thread: &Thread, runnable: Runnable<Scheduler>) {
    let send = runnable.metadata().is_send();
    #[cfg(feature = "coroutine")]
    thread.stack.waited_again.set(false);
    dispatch(thread, As::Task { send }, || task::run(runnable));
    #[cfg(feature = "coroutine")]
    if thread.stack.waited_again.get() {
        thread.stack.count_waited();
    }
}

#[cold]
fn requeue(scheduler: &Scheduler, again: Queued) {
    // A closed context drops it.
    drop(scheduler.push_bottom_half(again));
}

/// One round of `context`: fires its timers, queues the handlers whose descriptors are ready (if `looks`), and passes
/// to `each` what its queue holds now, not what arrives meanwhile, until `each` says to stop. Returns whether anything
/// ran. A round within a round first finishes the outer one's batch, because it takes from the front of the same queue.
fn round_of(
    thread: &Thread,
    context: &AioContext,
    allowed: Allowed,
    looks: bool,
    mut each: impl FnMut(&mut dyn FnMut()) -> ControlFlow<()>,
) -> bool {
    // If something forked before, the next sleep reports it.
    if fork::is_child() {
        return false;
    }
    let scheduler = context.scheduler();
    let _current = AsCurrent::new(&thread.homes, context);
    if scheduler.has_to_close() && each(&mut || dispatch(thread, As::Callback, || scheduler.clear_out())).is_break() {
        return false;
    }
    let (mut ran, mut count) = (false, 0);
    let items = Items::begin(thread, scheduler);
    'round: {
        if let Some(now) = scheduler.timers().due() {
            while let Some((waker, counts)) = scheduler.timers().pop(now) {
                ran |= counts;
                count += usize::from(counts);
                let mut waker = Some(waker);
                let wake = &mut || dispatch(thread, As::Callback, || waker.take().expect("called once").wake());
                if each(wake).is_break() {
                    // Also when the timer does not count: the call that it has woken comes first.
                    ran = true;
                    break 'round;
                }
            }
        }
        if looks {
            context.handlers().queue_ready();
        }
        let end = scheduler.batch_end();
        while let Some(work) = scheduler.pop(end, allowed) {
            (ran, count) = (true, count + 1);
            let mut work = Some(work);
            if each(&mut || run(thread, scheduler, work.take().expect("called once"))).is_break() {
                break;
            }
        }
    }
    items.end(count);
    ran
}

/// Runs everything that `context` holds now. A panic goes to the caller at once; what is left stays queued.
pub fn run_all(thread: &Thread, context: &AioContext) -> bool {
    #[cfg(feature = "coroutine")]
    let unwinds = Unwinds(Items::begin(thread, context.scheduler()));
    let ran = round_of(thread, context, Allowed::ALL, true, |work| {
        work();
        ControlFlow::Continue(())
    });
    #[cfg(feature = "coroutine")]
    std::mem::forget(unwinds);
    ran
}

/// Tells the coroutines that wait for the context what ran before a panic.
#[cfg(feature = "coroutine")]
struct Unwinds<'a>(Items<'a>);

#[cfg(feature = "coroutine")]
impl Drop for Unwinds<'_> {
    // So that its fields need no place in memory unless it is dropped.
    #[inline(always)]
    fn drop(&mut self) {
        self.0.panicked();
    }
}

/// One blocking call's wait: serves the thread's contexts until its future is ready.
pub struct Wait<'a> {
    thread: &'a Thread,
    call: &'a Waiting<'a>,
    /// Of an interruptible call.
    heeds: Option<&'a Heeds>,
    allowed: Allowed,
    /// The first panic of what the loop ran. It must not end the call, which is in flight.
    panicked: Option<Payload>,
    held_back: HeldBack,
    /// Set for a nested wait for a call in another context.
    waits: Option<WaitsFor>,
}

/// Since when a loop has been holding work back.
#[derive(Default)]
struct HeldBack {
    first: Option<Instant>,
    /// Since when nothing else has moved.
    idle: Option<Instant>,
    /// While it takes what it holds back: when to look for handlers again.
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
    /// The wait of `call`, the innermost. `outer_callback_waits`: a bottom half or handler waits in an outer frame.
    /// `heeds` is there for an interruptible one, and `target` is the context that the call was sent to, if it was.
    #[inline]
    pub fn new(
        thread: &'a Thread,
        call: &'a Waiting<'a>,
        heeds: Option<&'a Heeds>,
        target: Option<&AioContext>,
        outer_callback_waits: bool,
    ) -> Self {
        let depth = thread.depth();
        let nested = depth > 1 || thread.is_dispatched();
        let allowed = if nested {
            let shallow = depth <= DEEP;
            Allowed { bottom_halves: shallow && !outer_callback_waits, started: shallow, new: false }
        } else {
            Allowed::ALL
        };
        if let Some(current) = thread.homes.borrow().current() {
            current.counters().deepest.at_least(depth as u64);
        }
        let waits = target.filter(|_| nested).map(|target| WaitsFor::new(target.scheduler(), None));
        Self { thread, call, heeds, allowed, panicked: None, held_back: HeldBack::default(), waits }
    }

    /// Waits until the call is done. Returns how it ended and the first panic of what ran meanwhile.
    pub fn run(mut self, entered: &Entered) -> (Ended, Option<Payload>) {
        // A wait that needs no sleep need not look for an outer scheduler either.
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
            self.call.slot().record.stamp();
            // For the first poll, before the thread sleeps.
            #[cfg(feature = "coroutine")]
            if self.thread.stack.watching.get() > 0 {
                self.tell_of_poll(true);
            }
            entered.gate(|stopped, shown| {
                let slot = self.call.slot();
                slot.record.set_stopped(shown);
                if let Some(site) = slot.site() {
                    reactor::warn_of_current_thread(stopped, slot.name(), site);
                }
                reactor::unconstrained(|| self.sleep_between_rounds(stopped))
            })
        });
        // Whatever waits again inside this call, the code that made it goes on.
        #[cfg(feature = "coroutine")]
        self.thread.stack.waited_again.set(false);
        (ended, self.panicked)
    }

    /// Runs what is ready, then polls the future if it was woken, and those of outer calls.
    fn round(&mut self) -> Round {
        let mut moved = self.run_ready();
        if self.call.slot().wakes.take_woken() {
            if let Some(ended) = self.poll_call() {
                return Round::Done(ended);
            }
            moved = true;
        }
        let outer = self.call.outer();
        if !outer.is_empty() {
            moved |= poll_outer(self.thread, outer, if self.polls_outer() { Polls::Woken } else { Polls::None });
        }
        match self.call.is_to_give_up().or_else(|| self.is_interrupted()) {
            Some(ended) => Round::Done(ended),
            None if moved => Round::Moved,
            None => Round::Idle,
        }
    }

    /// Polls the future. Coroutines may wait for what it does, also its own ones.
    #[inline]
    fn poll_call(&self) -> Option<Ended> {
        let ended = self.call.poll();
        #[cfg(feature = "coroutine")]
        if ended.is_none() && self.thread.stack.watching.get() > 0 {
            self.tell_of_poll(!self.thread.stack.waited_again.replace(false));
        }
        ended
    }

    /// `other`: not only coroutines in it have waited again.
    #[cfg(feature = "coroutine")]
    #[cold]
    fn tell_of_poll(&self, other: bool) {
        served(&self.thread.homes, |context| tell(|| context.scheduler().watchers().call_polled(other)));
    }

    /// Whether an interrupt ends the call. A result that the call already has is not lost: then the interrupt stays
    /// pending.
    #[inline]
    fn is_interrupted(&mut self) -> Option<Ended> {
        let heeds = self.heeds?;
        self.is_interrupted_by(heeds).then_some(Ended::Interrupted)
    }

    #[cold]
    fn is_interrupted_by(&mut self, heeds: &Heeds) -> bool {
        let Self { thread, call, panicked, .. } = self;
        // A nested loop may have ended the call: just now, or while the hook runs.
        if call.is_over() {
            return false;
        }
        if heeds.take() {
            return true;
        }
        let ends = heeds.ask(panicked, |hook| dispatch(thread, As::Callback, hook));
        if ends && call.is_over() {
            heeds.put_back();
            return false;
        }
        ends
    }

    /// Whether outer calls are polled freely, as tasks that were polled before are. Otherwise they are held back,
    /// because what they call nests.
    fn polls_outer(&self) -> bool {
        self.allowed.started
    }

    fn sleep_between_rounds(&mut self, stopped: Stopped) -> Ended {
        let mut sleeper = Sleeper::new(self.thread, stopped);
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
            let (wakes, outer, polls_outer) = (&self.call.slot().wakes, self.call.outer(), self.polls_outer());
            let ask = self.heeds.and_then(Heeds::ask_at);
            let wake_up = [take, ask, self.call.deadline(), outer.deadline()].into_iter().flatten().min();
            if sleeper.sleep(wake_up, || wakes.is_woken() || polls_outer && outer.any_woken()) {
                if let Some(ended) = self.poll_call() {
                    return ended;
                }
                if polls_outer {
                    poll_outer(self.thread, outer, Polls::All);
                }
            }
        }
    }

    /// After a round that ran all that it may: takes what is held back if it is time, or says when it will be.
    #[inline]
    fn attend_to_held_back(&mut self, moved: bool) -> Take {
        if self.allowed == Allowed::ALL { Take::Nothing } else { self.attend_to_nested(moved) }
    }

    // Out of line, so that a call that is not nested does not pay for this frame.
    #[inline(never)]
    fn attend_to_nested(&mut self, moved: bool) -> Take {
        if self.take_waited_for() {
            return Take::Now;
        }
        // A temporary home checks again after a while, even with nothing held back: the context that its call was sent
        // to may get another home. That may close a cycle of threads that wait for each other, and nothing announces
        // it.
        let is_temporary_home = self.waits.is_some() && self.thread.homes.borrow().is_temporary_home();
        if !is_temporary_home && !self.holds_back() {
            self.held_back = HeldBack::default();
            return Take::Nothing;
        }
        let now = Instant::now();
        let HeldBack { first, idle, looks_from } = &mut self.held_back;
        if moved {
            *idle = None;
        }
        let patience = patience(self.thread.stack.taken.get());
        let at = (*idle.get_or_insert(now) + patience).min(*first.get_or_insert(now) + patience * BUSY);
        if now < at {
            // The thread sleeps next; a handler that becomes ready must end that sleep.
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

    /// One round of each context. Stops when the future is woken, because once that is ready, the outer frames can go
    /// on. If the batch were finished first, whatever blocks in it would delay the call.
    fn run_ready(&mut self) -> bool {
        let homes = self.thread.homes.borrow();
        if let Some(current) = homes.current() {
            current.counters().polls.count();
        }
        // Usual case: nothing is queued, so skip all contexts.
        let quiet = homes.are_quiet();
        drop(homes);
        !quiet && self.run_contexts()
    }

    // Out of line, so that a call that is woken at once does not pay for this frame.
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

    /// Whether a context holds work that this loop may not take. Valid after a round that took all that it may.
    fn holds_back(&self) -> bool {
        let mut any = !self.polls_outer() && self.call.outer().any_woken();
        served(&self.thread.homes, |context| any |= context.scheduler().has_work());
        any
    }

    /// In each context, runs the oldest item for which a thread waits that this one waits for (`wait_cycle.rs`), and before
    /// it what is older and of the same kind, so that these keep their order. Returns whether there was any. A caller has but one call here that it waits for, so calls are taken at any depth. Code that
    /// awaits others may await many of them at once, and these would all nest, so [`DEEP`] is the limit.
    fn take_waited_for(&mut self) -> bool {
        let Self { thread, call, panicked, .. } = self;
        let mut taken = false;
        // What is held back and is being taken, one item after the other, is not searched each time.
        let others = thread.depth() <= DEEP && self.held_back.looks_from.is_none();
        served(&thread.homes, |context| {
            let scheduler = context.scheduler();
            if scheduler.may_be_waited_for(others)
                && let Some((work, through)) = wait_cycle::pop_waited_for(scheduler, others)
            {
                taken = true;
                let _current = AsCurrent::new(&thread.homes, context);
                let (items, mut count) = (Items::begin(thread, scheduler), 1);
                catch(panicked, || run(thread, scheduler, work));
                // A search for each of them would be long if there are many.
                while !call.slot().wakes.is_woken()
                    && let Some(work) = scheduler.pop_through(through)
                {
                    count += 1;
                    catch(panicked, || run(thread, scheduler, work));
                }
                catch(panicked, || items.end(count));
            }
        });
        taken
    }

    /// Takes the oldest held-back item of each context, and polls the outer calls. Returns whether there was anything.
    #[cold]
    fn take_held_back(&mut self) -> bool {
        let Self { thread, call, panicked, .. } = self;
        thread.stack.taken.update(|n| n + 1);
        let mut taken = poll_outer(thread, call.outer(), Polls::Woken);
        served(&thread.homes, |context| {
            let scheduler = context.scheduler();
            if let Some(work) = scheduler.pop(u64::MAX, Allowed::ALL) {
                taken = true;
                context.counters().held_back_runs.count();
                let _current = AsCurrent::new(&thread.homes, context);
                let items = Items::begin(thread, scheduler);
                catch(panicked, || run(thread, scheduler, work));
                catch(panicked, || items.end(1));
            }
        });
        thread.stack.taken.update(|n| n - 1);
        taken
    }
}
