//! What a stackful coroutine does instead of blocking: it suspends itself until it is woken.
//!
//! A call suspends the coroutine if the coroutine's outermost code made it. Otherwise the call blocks the thread, as it
//! does in a task, because frames that do not expect it would be suspended too: an executor's, those of a future in the
//! middle of its poll, or those of one of our loops. There are three more cases in which a call blocks:
//!
//! - The coroutine is unwinding, because Rust counts panics per thread. (If the thread was unwinding when the coroutine was
//!   resumed, it is in a destructor that waits, and the coroutine goes on and is suspended within that.)
//! - Another tokio handle than ours is current, or was made current on the coroutine's stack before a guard of a context
//!   made ours current again, because tokio requires that handles are left in reverse order. (Nothing tells of tokio's
//!   `block_on` and `enter` of our own handle.)
//! - The coroutine was dropped, and is being unwound.

use std::{
    future::Future,
    mem::ManuallyDrop,
    pin::Pin,
    ptr,
    task::{Context, Waker},
    thread,
    time::Instant,
};

use crate::{
    context::{AioContext, Sleep},
    reactor::{Alarm, Entered},
    scheduler::Seen,
    sys::{
        fork,
        interrupts::{Heeds, Wakes},
        panics::Payload,
    },
    tasks::activation::Mark,
    thread::{
        coroutine::Own,
        homes::served,
        state::{Place, Thread},
        waiting::{Ended, InFlight, Limits},
    },
    watch::board::Runs,
};

/// The panic with which a coroutine that is dropped is unwound.
pub struct Cancelled;

/// The coroutine that a call suspends, if it suspends one. `caller` is the mark of the code that makes the call.
#[inline]
pub fn suspends<'a>(thread: &'a Thread, caller: Mark, entered: &Entered) -> Option<&'a Own> {
    let own = if caller.is_root() { thread.coroutine()? } else { return None };
    let unwinds = thread::panicking() && !own.was_resumed_unwinding();
    (entered.is_ours() && own.may_be_suspended() && !unwinds).then_some(own)
}

/// Suspends the coroutine `own`, which runs, until it is resumed. Then [`resumed`] is to be called.
#[inline(always)]
pub fn suspend(own: &Own) {
    #[cfg(co_wrapper_tsan)]
    own.leave_fiber();
    // SAFETY: the coroutine runs, so its closure has stored the yielder, which is there until that closure returns. The
    // caller is on the coroutine's stack: only its outermost code, or a call made there, gets here.
    unsafe { &*own.yielder.get() }.suspend(());
}

/// After the coroutine `own` was resumed.
///
/// # Panics
///
/// With [`Cancelled`] if the coroutine was dropped.
#[inline(always)]
fn resumed(own: &Own) {
    if own.is_cancelled() {
        Payload::new(Cancelled).resume();
    }
}

/// A call's record is shown while this lives.
pub struct Shown<'a>(pub &'a Place);

impl Drop for Shown<'_> {
    #[inline(never)]
    fn drop(&mut self) {
        self.0.slot().record.hide();
    }
}

/// After the coroutine `own` was resumed, polls the call at `place`, for which it was suspended. If the call is done, it is
/// not shown any more.
///
/// # Panics
///
/// With [`Cancelled`] if the coroutine was dropped; in a forked child.
#[cold]
#[inline(never)]
#[track_caller]
pub fn poll(own: &Own, place: &Place, call: &mut dyn InFlight) -> bool {
    resumed(own);
    let slot = place.slot();
    if fork::is_child()
        && let Some(site) = slot.site()
    {
        fork::forbid_at(slot.name(), site);
    }
    let ready = slot.record.poll(|| call.poll());
    if ready {
        slot.record.hide();
    }
    ready
}

/// Waits for the call at `place` without blocking its thread, if something may give the call up or it was sent to another
/// context. (Other calls are suspended in their wrappers, which is faster.) The parameters are those of
/// [`Frame::wait`](crate::call::frame::Frame::wait): `target` is the context that the call was sent to, and closing
/// `called_in` gives the call up. Returns the panic
/// of the interrupts' hook, if there was one. Not inlined, so that calls that block do not pay for its frame.
#[inline(never)]
pub fn wait(
    own: &Own,
    place: &Place,
    target: Option<&AioContext>,
    called_in: Option<&AioContext>,
    limits: Limits,
    call: &mut dyn InFlight,
) -> (Ended, Option<Payload>) {
    let (thread, slot) = (place.thread(), place.slot());
    thread.show_suspended(slot, target);
    let _shown = Shown(place);
    let Limits { deadline, interruptible } = limits;
    let mut timer = deadline.map(|deadline| Timer::new(thread, deadline));
    let mut heeds = interruptible.then(|| Heeds::new(own.interrupts(), Wakes::Coroutine(own.waker().clone())));
    let run_hook = |hook: &mut dyn FnMut()| thread.stack.dispatch(Runs::Callback, Mark::NONE, hook);
    let mut panicked = None;
    loop {
        let waker = own.waker();
        if let Some(heeds) = &heeds {
            heeds.wake_with(waker);
        }
        let _watches = called_in.map(|context| Watches::until_closed(context, waker));
        let elapsed = timer.as_mut().is_some_and(|timer| timer.poll(waker));
        let closed = called_in.is_some_and(|context| context.scheduler().is_closed());
        let why = if elapsed {
            Some(Ended::Elapsed)
        } else if closed {
            Some(Ended::Closed)
        } else {
            let asked = heeds.as_ref().is_some_and(|heeds| heeds.take() || heeds.ask(&mut panicked, run_hook));
            asked.then_some(Ended::Interrupted)
        };
        if let Some(why) = why {
            (timer, heeds) = (None, None);
            if call.give_up(why) {
                return (why, panicked);
            }
        }
        let mut ask = heeds.as_ref().and_then(Heeds::ask_at).map(|at| Timer::new(thread, at));
        if ask.as_mut().is_some_and(|timer| timer.poll(waker)) {
            continue;
        }
        if target.is_some() {
            slot.wakes.resume_with(Some(waker.clone()));
        }
        if target.is_none() || !slot.wakes.take_woken() {
            suspend(own);
            resumed(own);
        }
        if fork::is_child() {
            return (Ended::Forked, panicked);
        }
        if slot.record.poll(|| call.poll()) {
            if target.is_some() {
                slot.wakes.resume_with(None);
            }
            return (Ended::Ready, panicked);
        }
    }
}

/// What a blocking `poll` does in a coroutine: like [`until_ran`], and a notification that came before ends it too. Returns
/// whether something ran.
pub fn poll_context(own: &Own, context: &AioContext, deadline: Option<Instant>) -> bool {
    let watchers = context.scheduler().watchers();
    let _lasts = Lasts::new(own.thread(), context);
    let mut seen = watchers.seen_by_polls();
    loop {
        // Nobody knows what the code has done since its last poll. Usually it has looked at what it waits for.
        let now = until_ran(own, context, seen, deadline, true);
        // A call that is polled is not something that runs in the context.
        if now.calls != seen.calls && (Seen { calls: seen.calls, ..now }) == seen {
            seen = now;
            continue;
        }
        watchers.poll_ends(now);
        return now.rounds != seen.rounds;
    }
}

/// Like [`until_ran`], and shows the call at `place` as waiting.
pub fn until_ran_shown(
    own: &Own,
    place: &Place,
    context: &AioContext,
    seen: Seen,
    deadline: Option<Instant>,
    again: bool,
) {
    place.thread().show_suspended(place.slot(), Some(context));
    let _shown = Shown(place);
    until_ran(own, context, seen, deadline, again);
}

/// A call that waits for a context again and again. What runs there meanwhile counts for it.
pub struct Lasts<'a>(&'a Thread, &'a AioContext);

impl<'a> Lasts<'a> {
    pub fn new(thread: &'a Thread, context: &'a AioContext) -> Self {
        context.scheduler().watchers().lasts();
        thread.stack.watching.update(|n| n + 1);
        Self(thread, context)
    }
}

impl Drop for Lasts<'_> {
    fn drop(&mut self) {
        self.0.stack.watching.update(|n| n - 1);
        self.1.scheduler().watchers().lasts_no_more();
    }
}

/// Waits, without blocking the thread, until something has run in `context` since `seen`, the context was notified, or
/// `deadline` has passed. Returns what has happened by then. `again`: as far as is known, the coroutine has done nothing since
/// it last waited for this.
fn until_ran(own: &Own, context: &AioContext, seen: Seen, deadline: Option<Instant>, mut again: bool) -> Seen {
    let mut timer = deadline.map(|deadline| Timer::new(own.thread(), deadline));
    loop {
        let watches = Watches::new(context, own.waker());
        let now = context.scheduler().watchers().seen();
        if now != seen || timer.as_mut().is_some_and(|timer| timer.poll(own.waker())) {
            return now;
        }
        if again {
            own.thread().stack.waited_again.set(true);
        }
        suspend(own);
        resumed(own);
        fork::forbid("AioContext::poll");
        // If it was not, whatever polls it was woken for something else, which it may do after this has waited again.
        again = watches.end();
    }
}

/// Resumes a suspended coroutine at a time.
///
/// The thread has it in each context that it serves, because nobody knows which of them will be polled: `poll(false)` polls
/// one alone, and the thread may leave any of them while the coroutine is suspended, but its own. In a thread-local's
/// destructor the thread may serve none, so there the reactor has it.
struct Timer<'a> {
    thread: &'a Thread,
    at: Instant,
    sleeps: Vec<Sleep>,
    alarm: Option<Alarm>,
}

impl<'a> Timer<'a> {
    fn new(thread: &'a Thread, at: Instant) -> Self {
        Self { thread, at, sleeps: Vec::new(), alarm: None }
    }

    /// Whether it is time. If not, `waker` will be woken then.
    fn poll(&mut self, waker: &Waker) -> bool {
        let Self { thread, at, sleeps, alarm } = self;
        if Thread::ends() {
            *alarm = Some(Alarm::new(at.saturating_duration_since(Instant::now()), waker.clone()));
        } else {
            // Made if need be, and served from then on.
            drop(thread.own());
        }
        served(&thread.homes, |context| {
            if !sleeps.iter().any(|sleep| sleep.is_in(context.scheduler())) {
                sleeps.push(Sleep::until(context.scheduler().clone(), *at));
            }
        });
        let mut cx = Context::from_waker(waker);
        sleeps.iter_mut().for_each(|sleep| _ = Pin::new(sleep).poll(&mut cx));
        Instant::now() >= *at
    }
}

/// A coroutine is woken when something has run in a context, and when that is notified or closed, while this lives.
struct Watches<'a>(&'a AioContext, u64);

impl<'a> Watches<'a> {
    fn new(context: &'a AioContext, waker: &Waker) -> Self {
        Self(context, context.scheduler().watchers().add(waker.clone()))
    }

    /// It is woken when the context is closed, and for nothing else that happens there.
    fn until_closed(context: &'a AioContext, waker: &Waker) -> Self {
        Self(context, context.scheduler().watchers().add_until_closed(waker.clone()))
    }
}

impl Watches<'_> {
    /// Returns whether the coroutine was woken.
    fn end(self) -> bool {
        let this = ManuallyDrop::new(self);
        this.0.scheduler().watchers().remove(this.1)
    }
}

impl Drop for Watches<'_> {
    fn drop(&mut self) {
        self.0.scheduler().watchers().remove(self.1);
    }
}

/// Makes a coroutine's slot wake the thread instead of the coroutine while this lives: for a call that blocks.
pub struct Blocks<'a> {
    own: Option<&'a Own>,
    outer: *const Waker,
}

impl<'a> Blocks<'a> {
    /// For a call of the innermost coroutine, to whose slot `waker` belongs.
    pub fn new(thread: &'a Thread, waker: &Waker) -> Self {
        let own = thread.coroutine();
        Self { own, outer: own.map_or(ptr::null(), |own| own.exchange_waker(waker)) }
    }
}

impl Drop for Blocks<'_> {
    fn drop(&mut self) {
        self.own.into_iter().for_each(|own| _ = own.exchange_waker(self.outer));
    }
}
