//! Coroutines that another executor than our loop polls, such as tokio's `LocalSet`.
//!
//! A blocking call serves the contexts of its thread while it waits. A call that suspends its coroutine leaves this to
//! the loop that polls the coroutine. But another executor's loop knows nothing of our contexts. So when it polls a
//! coroutine that stays suspended, that poll serves them. And whatever would end a sleep of our own loop wakes the
//! suspended coroutines: an item that this or another thread puts into a context, a timer, and a descriptor that has a
//! handler (`descriptors.rs`).

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex},
    task::{Wake, Waker},
    time::Instant,
};

use super::descriptors::{self, LOOKS_EVERY};
use crate::{
    context::handlers::Watch,
    poll_loop::serve::run_all,
    reactor::{self, Alarm, Entered},
    sys::{
        fork,
        panics::{self, Payload},
        park::EndSleep,
        sync::plain_lock,
    },
    thread::{homes::served, state::Thread},
};

/// The suspended coroutines of one thread that other executors poll.
#[derive(Default)]
pub struct Suspended(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    wakers: BTreeMap<u64, Waker>,
    /// When they are woken for a timer, and what does it. At most one, however many timers there are: each that is
    /// earlier replaces it, and when it has fired, the next poll starts the next one.
    timer: Option<(Instant, Alarm)>,
    /// How many were started so far.
    timers: u64,
    /// How many there are, woken or not.
    guests: usize,
    /// Whether descriptors are watched for them.
    watches: bool,
}

thread_local! {
    static SUSPENDED: OfThread = OfThread::default();
}

/// Those of the current thread, which it forgets when it ends.
#[derive(Default)]
struct OfThread(Arc<Suspended>);

impl Drop for OfThread {
    fn drop(&mut self) {
        if !fork::is_child() {
            let timer = plain_lock(&self.0.0).timer.take();
            drop(timer);
        }
    }
}

/// A coroutine is woken for the contexts while this lives.
pub struct Guest {
    all: Arc<Suspended>,
    number: u64,
}

impl Drop for Guest {
    fn drop(&mut self) {
        if fork::is_child() {
            return;
        }
        let mut waiting = plain_lock(&self.all.0);
        let removed = waiting.wakers.remove(&self.number);
        waiting.guests -= 1;
        let was_last = waiting.guests == 0 && mem::take(&mut waiting.watches);
        drop(waiting);
        if was_last {
            descriptors::end(&(Arc::clone(&self.all) as Arc<dyn EndSleep>));
        }
        panics::drop_one(removed);
    }
}

impl Suspended {
    /// Wakes all: any of them serves the contexts, and which of them its executor polls is not known.
    fn wake_all(&self) {
        if !fork::is_child() {
            let woken = mem::take(&mut plain_lock(&self.0).wakers);
            // Whoever has put something into a context must not get the panic of another's waker.
            drop(Payload::of(|| panics::wake_all(woken.into_values())));
        }
    }

    /// Wakes all at `next`, if no timer does so before.
    fn wake_at(self: &Arc<Self>, next: Instant) {
        let mut waiting = plain_lock(&self.0);
        if waiting.timer.as_ref().is_some_and(|(at, _)| *at <= next) {
            return;
        }
        waiting.timers += 1;
        let wait = next.saturating_duration_since(Instant::now());
        let fires = Fires(Arc::clone(self), waiting.timers);
        // Under the lock, so that it is listed when it fires.
        let replaced = waiting.timer.replace((next, Alarm::new(wait, Waker::from(Arc::new(fires)))));
        drop(waiting);
        drop(replaced);
    }
}

impl EndSleep for Suspended {
    fn end_sleep(&self) {
        self.wake_all();
    }
}

/// The wake of the timer of this number.
struct Fires(Arc<Suspended>, u64);

impl Wake for Fires {
    fn wake(self: Arc<Self>) {
        let Self(all, number) = &*self;
        let mut waiting = plain_lock(&all.0);
        // Another one may have replaced it just before.
        let fired = if waiting.timers == *number { waiting.timer.take() } else { None };
        drop(waiting);
        drop(fired);
        all.wake_all();
    }
}

/// Serves the thread's contexts once, after another executor has polled the coroutine `number` with `waker`. `None` in a
/// thread-local destructor, where the thread may have no contexts any more.
pub fn serve(thread: &Thread, number: u64, waker: &Waker) -> Option<Guest> {
    let all = SUSPENDED.try_with(|all| Arc::clone(&all.0)).ok()?;
    served(&thread.homes, |context| context.scheduler().set_outside(false));
    if !thread.homes.borrow().are_quiet() {
        let _guard;
        let entered = Entered::look("Coroutine");
        if entered.needs_guard() {
            _guard = Entered::guard();
        }
        // The hook has printed a panic. It is neither the coroutine's nor its executor's.
        served(&thread.homes, |context| {
            drop(Payload::of(|| reactor::unconstrained(|| run_all(thread, context))));
        });
    }
    // The order matters. First the coroutine is listed, then wakes are directed to it, and then the contexts are
    // checked a last time. So nothing that comes in meanwhile is missed.
    let waker = waker.clone();
    let mut waiting = plain_lock(&all.0);
    let old = waiting.wakers.insert(number, waker);
    waiting.guests += 1;
    drop(waiting);
    drop(old);
    let guest = Guest { all, number };
    let ends_sleep = Arc::clone(&guest.all) as Arc<dyn EndSleep>;
    let mut looks_again = thread.parker.ends_with(Arc::clone(&ends_sleep));
    let (mut next, mut watch): (Option<Instant>, _) = (None, Watch::default());
    served(&thread.homes, |context| {
        let scheduler = context.scheduler();
        scheduler.set_outside(true);
        scheduler.take_notified();
        looks_again |= scheduler.has_work() || scheduler.has_to_close();
        next = [next, scheduler.timers().next()].into_iter().flatten().min();
        watch.add(context.handlers());
    });
    let watched = watch.into_descriptors();
    let watches = !watched.is_empty();
    if mem::replace(&mut plain_lock(&guest.all.0).watches, watches) && !watches {
        descriptors::end(&ends_sleep);
    }
    if watches && descriptors::watch(&ends_sleep, watched).is_err() {
        let soon = Instant::now() + LOOKS_EVERY;
        next = Some(next.map_or(soon, |next| next.min(soon)));
    }
    if let Some(next) = next {
        guest.all.wake_at(next);
    }
    if looks_again {
        guest.all.wake_all();
    }
    Some(guest)
}
