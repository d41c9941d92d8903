//! The poll loop: how a thread that waits serves the contexts that it is home to. (QEMU's `aio_poll` and
//! `AIO_WAIT_WHILE`.)
//!
//! # Nesting stays bounded
//!
//! A blocking call made inside a task waits in a nested loop, and what that loop runs may block in turn. Without a rule
//! a thousand tasks with one short blocking call each nest a thousand deep, and the first is the last to finish. So a
//! nested loop holds work back:
//!
//! - tasks that were never polled, always;
//! - bottom halves, while one of them waits in a frame further down;
//! - everything, once [`DEEP`] frames are on the stack.
//!
//! What the call waits for may be the very thing held back. So when nothing else has moved for a while, the loop takes
//! one such item, the oldest, and again after another while ([`patience`]).

use std::{
    any::Any,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use super::{
    AioContext,
    thread::{Slot, Thread},
};
use crate::{
    reactor::{self, Above, Entered},
    tasks::{
        mailbox::{Allowed, Mailbox, Work},
        task,
    },
};

/// What a panic left, to be raised later.
pub type Payload = Box<dyn Any + Send>;

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

/// How often a future is polled unasked under a scheduler that keeps wakes back: first and at most.
const REPOLL_FIRST: Duration = Duration::from_micros(50);
const REPOLL_MOST: Duration = Duration::from_millis(1);

/// Runs one item, as what it is: a coroutine or not.
fn run(thread: &Thread, work: Work) {
    struct Restore<'a>(&'a Thread, bool, bool);
    impl Drop for Restore<'_> {
        fn drop(&mut self) {
            let Self(thread, in_coroutine, bottom_half) = *self;
            thread.in_coroutine.set(in_coroutine);
            thread.dispatched.update(|n| n - 1);
            thread.bottom_halves.update(|n| n - usize::from(bottom_half));
        }
    }

    let bottom_half = matches!(work, Work::BottomHalf(_));
    let _restore = Restore(thread, thread.in_coroutine.replace(!bottom_half), bottom_half);
    thread.dispatched.update(|n| n + 1);
    thread.bottom_halves.update(|n| n + usize::from(bottom_half));
    match work {
        Work::BottomHalf(bottom_half) => bottom_half(),
        Work::Task(runnable) => task::run(runnable),
    }
}

/// Hands to `run` what `mailbox` holds now, not what comes meanwhile, until that says to stop; true if anything ran. A
/// batch begun within a batch first finishes the outer one's, for it takes from the front of the same queue.
fn run_batch(mailbox: &Mailbox, allowed: Allowed, mut run: impl FnMut(Work) -> ControlFlow<()>) -> bool {
    let end = mailbox.batch_end();
    let mut ran = false;
    while let Some(work) = mailbox.pop(end, allowed) {
        ran = true;
        if run(work).is_break() {
            break;
        }
    }
    ran
}

/// Calls `visit` with each context that the thread serves. It may enter and leave contexts.
fn served(thread: &Thread, mut visit: impl FnMut(&AioContext)) {
    let mut index = 0;
    while let Some(context) = { thread.homes.borrow().served(index) } {
        visit(&context);
        index += 1;
    }
}

/// Whether something came in for any context served since the last look.
fn take_notified(thread: &Thread) -> bool {
    let mut any = false;
    served(thread, |context| any |= context.mailbox().take_notified());
    any
}

/// `ctx.poll()`: runs what `context` holds, and if that is nothing and `blocking`, waits for something. Panics of what
/// runs go to the caller at once; what is left of the batch stays queued.
pub fn poll(thread: &Thread, entered: &Entered, context: &AioContext, blocking: bool) -> bool {
    let mailbox = context.mailbox();
    let run_all = |mailbox: &Mailbox| {
        run_batch(mailbox, Allowed::ALL, |work| {
            run(thread, work);
            ControlFlow::Continue(())
        })
    };
    let round = || {
        let ran = run_all(mailbox);
        let kicked = mailbox.take_kick();
        (ran || kicked || !blocking).then_some(ran)
    };
    reactor::unconstrained(|| {
        if let Some(ran) = round() {
            return ran;
        }
        let above = entered.above();
        reactor::gate(above, || {
            let mut repoll = Repoll::new(above);
            loop {
                served(thread, |other| {
                    if other != context && run_all(other.mailbox()) {
                        repoll.reset();
                    }
                });
                if let Some(ran) = round() {
                    return ran;
                }
                if !take_notified(thread) {
                    thread.parker.park(repoll.deadline());
                    repoll.tick(thread);
                }
            }
        })
    })
}

/// One blocking call's wait: serves the thread's contexts until its future is ready.
pub struct Wait<'a> {
    thread: &'a Thread,
    slot: &'a Slot,
    allowed: Allowed,
    /// The first panic of what the loop ran. It may not end the call, which is in flight.
    panicked: Option<Payload>,
}

enum Round {
    Done,
    Moved,
    Idle,
}

impl<'a> Wait<'a> {
    /// The wait of the frame `slot`, the innermost. `outer_bottom_half_waits` says that a bottom half waits in a frame
    /// further down.
    pub fn new(thread: &'a Thread, slot: &'a Slot, outer_bottom_half_waits: bool) -> Self {
        let depth = thread.depth();
        let nested = depth > 1 || thread.dispatched.get() > 0;
        let allowed = if nested {
            let shallow = depth <= DEEP;
            Allowed { bottom_halves: shallow && !outer_bottom_half_waits, begun: shallow, fresh: false }
        } else {
            Allowed::ALL
        };
        Self { thread, slot, allowed, panicked: None }
    }

    /// Waits until `poll`, which polls the call's future, says that it is ready. Returns the first panic of what ran
    /// meanwhile.
    pub fn run(mut self, entered: &Entered, poll: &mut dyn FnMut() -> bool) -> Option<Payload> {
        reactor::unconstrained(|| {
            // What needs no sleep does not ask what stands above either.
            loop {
                match self.round(poll) {
                    Round::Done => return,
                    Round::Moved => {}
                    Round::Idle => break,
                }
            }
            let above = entered.above();
            reactor::gate(above, || self.sleep_between_rounds(above, poll));
        });
        self.panicked
    }

    /// Runs what is ready, then polls the future if it was woken.
    fn round(&mut self, poll: &mut dyn FnMut() -> bool) -> Round {
        let mut moved = self.run_batches();
        if self.slot.wakes.take_woken() {
            if poll() {
                return Round::Done;
            }
            moved = true;
        }
        if moved { Round::Moved } else { Round::Idle }
    }

    fn sleep_between_rounds(&mut self, above: Above, poll: &mut dyn FnMut() -> bool) {
        let mut repoll = Repoll::new(above);
        // When it was first seen that only held-back work is left, and nothing has moved since.
        let mut stuck: Option<Instant> = None;
        loop {
            match self.round(poll) {
                Round::Done => return,
                Round::Moved => {
                    stuck = None;
                    repoll.reset();
                    continue;
                }
                Round::Idle => {}
            }
            let mut wake_up = repoll.deadline();
            if self.holds_back() {
                let now = Instant::now();
                let take = *stuck.get_or_insert(now) + patience(self.thread.taken.get());
                if now >= take {
                    stuck = None;
                    self.take_held_back();
                    continue;
                }
                wake_up = Some(wake_up.map_or(take, |repoll| repoll.min(take)));
            }
            if take_notified(self.thread) {
                continue;
            }
            self.thread.parker.park(wake_up);
            if repoll.tick(self.thread) && poll() {
                return;
            }
        }
    }

    /// One batch of each context, broken off when the future is woken: when it is ready everything further down can go
    /// on, and were the batch finished first, whatever blocks in it would keep the call waiting that it was made in.
    fn run_batches(&mut self) -> bool {
        let mut moved = false;
        let Self { thread, slot, allowed, panicked } = self;
        served(thread, |context| {
            moved |= run_batch(context.mailbox(), *allowed, |work| {
                catch(panicked, || run(thread, work));
                if slot.wakes.is_woken() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
        });
        moved
    }

    /// Whether a context holds work that this loop may not take; asked when it took all that it may.
    fn holds_back(&self) -> bool {
        let mut any = false;
        served(self.thread, |context| any |= !context.mailbox().is_empty());
        any
    }

    /// Takes the oldest held-back item of each context.
    fn take_held_back(&mut self) {
        let Self { thread, panicked, .. } = self;
        thread.taken.update(|n| n + 1);
        served(thread, |context| {
            if let Some(work) = context.mailbox().pop(u64::MAX - 1, Allowed::ALL) {
                catch(panicked, || run(thread, work));
            }
        });
        thread.taken.update(|n| n - 1);
    }
}

/// Keeps the first panic.
fn catch(panicked: &mut Option<Payload>, run: impl FnOnce()) {
    // What ran is dropped by its panic, and what it shared with others is theirs to guard, as across threads.
    if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
        panicked.get_or_insert(payload);
    }
}

/// Polls unasked, where a scheduler above keeps wakes back until we return, which we would wait for.
struct Repoll {
    /// Until the next such poll, growing while none comes to anything.
    every: Option<Duration>,
    next: Option<Instant>,
}

impl Repoll {
    fn new(above: Above) -> Self {
        let mut repoll = Self { every: above.defers_wakes().then_some(REPOLL_FIRST), next: None };
        repoll.reset();
        repoll
    }

    /// Starts over: something moved.
    fn reset(&mut self) {
        if let Some(every) = &mut self.every {
            *every = REPOLL_FIRST;
            self.next = Some(Instant::now() + REPOLL_FIRST);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// After a sleep: if it is time, wakes the tasks of the contexts served, whose wakes may have been kept back too,
    /// and says that the future is due.
    fn tick(&mut self, thread: &Thread) -> bool {
        let (Some(every), Some(next)) = (&mut self.every, self.next) else { return false };
        let now = Instant::now();
        if now < next {
            return false;
        }
        *every = (*every * 2).min(REPOLL_MOST);
        self.next = Some(now + *every);
        served(thread, |context| context.mailbox().wake_all());
        true
    }
}
