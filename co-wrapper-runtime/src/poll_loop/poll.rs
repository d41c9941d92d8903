//! `poll` and `poll_while`: polling a context by hand; and the temporary home, for the length of a call.
//!
//! Invariants: only the home of a context polls it. If the context has no home, the caller becomes a temporary one, and
//! before it leaves it finishes every call that it has started for another caller. Unlike a nested call's wait
//! (`serve.rs`), `poll` holds no task or bottom half back, and a panic of what it runs goes to its caller at once.

use std::{
    mem,
    panic::Location,
    time::{Duration, Instant},
};

use super::{
    serve::{poll_outer, run_all},
    sleep::Sleeper,
};
use crate::{
    context::AioContext,
    reactor::{self, Entered},
    scheduler::Home,
    sys::{
        elapsed::{Elapsed, deadline},
        fork,
        panics::{Payload, catch},
    },
    thread::{
        enter::{EnterGuard, refuse},
        homes::served,
        state::{MOST_NESTED, Thread},
        waiting::Polls,
    },
    watch::board::POLL_WHILE,
};
#[cfg(feature = "coroutine")]
use crate::{suspend, tasks::activation, thread::state::Place};

impl AioContext {
    /// Runs the bottom halves and tasks that are ready in this context when it is called, in the order in which they
    /// came. Returns whether anything ran.
    ///
    /// With `blocking`, and if there is nothing to run, waits until something was run or [`notify`](Self::notify) was
    /// called, and serves the other contexts of this thread meanwhile. A thread that polls a context without a home is
    /// its home for the length of the call, and starts no blocking call of another thread: [`enter`](Self::enter) it
    /// first, if other threads call into it.
    ///
    /// May be called within a task or bottom half. It then runs the rest of the outer batch first, then its own, and
    /// polls the outer blocking calls on the stack when they are woken, each of which counts as a task. On the thread
    /// of a tokio current-thread runtime, tasks are also polled from time to time without being woken, and that counts
    /// as having run.
    ///
    /// # Panics
    ///
    /// If another thread is the context's home, or if 256 callbacks that poll are on the stack already. A panic in a
    /// bottom half goes to the caller; what was left of the batch stays queued.
    ///
    /// # Examples
    ///
    /// ```
    /// use co_wrapper::AioContext;
    ///
    /// let ctx = AioContext::new()?;
    /// ctx.schedule_bh(|| println!("run"));
    /// assert!(ctx.poll(false));
    /// assert!(!ctx.poll(false));
    /// # std::io::Result::Ok(())
    /// ```
    #[doc(alias = "aio_poll")]
    #[track_caller]
    pub fn poll(&self, blocking: bool) -> bool {
        let home = home_for_call(self, "AioContext::poll");
        poll(home.thread(), home.entered(), self, blocking, None)
    }

    /// Polls, blocking, while `condition` holds. The condition is evaluated before the first poll and after each. A
    /// thread that makes it false must [`notify`](Self::notify) afterwards.
    ///
    /// # Panics
    ///
    /// The same as [`poll`](Self::poll).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::{Arc, atomic::{AtomicBool, Ordering}};
    ///
    /// let ctx = co_wrapper::AioContext::new()?;
    /// let done = Arc::new(AtomicBool::new(false));
    /// let (other, setter) = (ctx.clone(), Arc::clone(&done));
    /// std::thread::spawn(move || {
    ///     setter.store(true, Ordering::Release);
    ///     other.notify();
    /// });
    /// ctx.poll_while(|| !done.load(Ordering::Acquire));
    /// # std::io::Result::Ok(())
    /// ```
    #[doc(alias = "AIO_WAIT_WHILE")]
    #[doc(alias = "BDRV_POLL_WHILE")]
    #[track_caller]
    pub fn poll_while(&self, condition: impl FnMut() -> bool) {
        self.poll_while_until("AioContext::poll_while", condition, None);
    }

    /// Like [`poll_while`](Self::poll_while), for `timeout` at most. When the time is up, what is ready is run once
    /// more, without waiting, and the condition is evaluated a last time; so it is with a timeout of zero.
    ///
    /// # Errors
    ///
    /// The condition still held when the time was up. What was polled goes on when it is polled again.
    ///
    /// # Panics
    ///
    /// The same as [`poll`](Self::poll).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::{cell::Cell, time::Duration};
    ///
    /// let ctx = co_wrapper::AioContext::new()?;
    /// assert!(ctx.poll_while_timeout(|| true, Duration::from_millis(1)).is_err());
    /// assert!(ctx.poll_while_timeout(|| false, Duration::ZERO).is_ok());
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn poll_while_timeout(&self, condition: impl FnMut() -> bool, timeout: Duration) -> Result<(), Elapsed> {
        let holds = self.poll_while_until("AioContext::poll_while_timeout", condition, deadline(timeout));
        if holds { Err(Elapsed::new(timeout)) } else { Ok(()) }
    }

    /// Polls while `condition` holds, at most until `deadline`. Returns whether it still holds.
    #[track_caller]
    fn poll_while_until(
        &self,
        name: &'static str,
        mut condition: impl FnMut() -> bool,
        deadline: Option<Instant>,
    ) -> bool {
        let home = home_for_call(self, name);
        let site = Location::caller();
        #[cfg(feature = "coroutine")]
        if suspend::suspends(home.thread(), activation::current_mark(), home.entered()).is_some() {
            return poll_while_suspended(&home, site, &mut condition, deadline);
        }
        let (thread, mut shown, mut last) = (home.thread(), None, false);
        while thread.stack.board.decide(site, thread.depth(), &mut condition) {
            if last {
                return true;
            }
            shown.get_or_insert_with(|| thread.show_poll(&POLL_WHILE, site, self));
            last = deadline.is_some_and(is_past);
            poll(thread, home.entered(), self, !last, deadline);
        }
        false
    }
}

/// Like `poll_while_until`, in a coroutine, which it suspends. Shown as a call of the coroutine's.
#[cfg(feature = "coroutine")]
#[track_caller]
fn poll_while_suspended(
    home: &EnterGuard,
    site: &'static Location<'static>,
    condition: &mut dyn FnMut() -> bool,
    deadline: Option<Instant>,
) -> bool {
    let (thread, context) = (home.thread(), home.context());
    let _lasts = suspend::Lasts::new(thread, context);
    let (mut last, mut again) = (false, false);
    loop {
        // Before the condition: what happens after it was evaluated ends the wait.
        let seen = context.scheduler().watchers().seen();
        // Not through `Board::decide`, which shows the condition as run by the thread: it may suspend the coroutine.
        if !condition() {
            return false;
        }
        if last {
            return true;
        }
        last = deadline.is_some_and(is_past);
        match suspend::suspends(thread, activation::current_mark(), home.entered()).filter(|_| !last) {
            // The call is on the stack during this wait only, because the condition's own calls suspend the coroutine
            // too, and a coroutine can be suspended in one call at a time.
            Some(own) => {
                suspend::until_ran_shown(own, &Place::push(&POLL_WHILE, site), context, seen, deadline, again);
                again = true;
            }
            None => _ = poll(thread, home.entered(), context, !last, deadline),
        }
    }
}

/// Makes this thread the home of `context`, if it has none, for the length of a call of the function `caller`.
///
/// # Panics
///
/// If another thread is the context's home.
#[track_caller]
pub fn home_for_call(context: &AioContext, caller: &'static str) -> EnterGuard {
    match try_home_for_call(context, caller, Location::caller()) {
        Ok(guard) => guard,
        Err(home) => refuse(context, &home, caller),
    }
}

/// Like [`home_for_call`] with the place of the call, or returns the present home.
#[track_caller]
pub fn try_home_for_call(
    context: &AioContext,
    caller: &'static str,
    site: &'static Location<'static>,
) -> Result<EnterGuard, Home> {
    EnterGuard::new(context, Some(finish_received), caller, site)
}

/// Called before the thread leaves. Serves the context until every call is done that this temporary home has started
/// for another caller to break a cycle (`context/wait_cycle.rs`).
fn finish_received(home: &EnterGuard) -> Option<Payload> {
    let mut panicked = None;
    if home.is_last_stay() {
        while home.context().scheduler().has_received() {
            catch(&mut panicked, || _ = poll(home.thread(), home.entered(), home.context(), true, None));
        }
    }
    panicked
}

fn is_past(deadline: Instant) -> bool {
    Instant::now() >= deadline
}

/// Runs what `context` holds. If that is nothing and `blocking` is set, waits until something runs or `notify` is
/// called, at most until `deadline`. Returns whether anything ran.
#[track_caller]
fn poll(thread: &Thread, entered: &Entered, context: &AioContext, blocking: bool, deadline: Option<Instant>) -> bool {
    let site = Location::caller();
    #[cfg(feature = "coroutine")]
    if blocking && let Some(own) = suspend::suspends(thread, activation::current_mark(), entered) {
        return suspend::poll_context(own, context, deadline);
    }
    assert!(
        thread.stack.board.runs() < MOST_NESTED,
        "AioContext::poll: {context} is polled at {site} within {MOST_NESTED} callbacks that poll on this stack; return from \
         some"
    );
    let outer = thread.stack.waiting.all();
    let round = |polls| {
        context.counters().polls.count();
        // An outer call that goes on counts as a task.
        let ran = run_all(thread, context) | (!outer.is_empty() && poll_outer(thread, outer, polls));
        let kicked = context.scheduler().take_kick();
        (ran || kicked || !blocking).then_some(ran)
    };
    if let Some(ran) = reactor::unconstrained(|| round(Polls::Woken)) {
        return ran;
    }
    entered.gate(|below, _| {
        reactor::warn_of_current_thread(below, "AioContext::poll", site);
        reactor::unconstrained(|| {
            let mut sleeper = Sleeper::new(thread, below);
            let mut polls = Polls::Woken;
            loop {
                let mut moved = false;
                served(&thread.homes, |other| moved |= other != context && run_all(thread, other));
                if let Some(ran) = round(mem::replace(&mut polls, Polls::Woken)) {
                    return ran;
                }
                if moved {
                    sleeper.moved();
                } else {
                    // Something that ran may have forked.
                    fork::forbid_at("AioContext::poll", site);
                    let until = [outer.deadline(), deadline].into_iter().flatten().min();
                    if sleeper.sleep(until, || outer.any_woken()) {
                        polls = Polls::All;
                    }
                }
                if deadline.is_some_and(is_past) {
                    return false;
                }
            }
        })
    })
}
