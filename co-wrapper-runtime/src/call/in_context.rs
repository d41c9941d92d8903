//! A blocking call into another context: the packed arguments are sent there, the future is made and polled there, and
//! the caller serves its own contexts until the result is back. (QEMU's `AIO_WAIT_WHILE` over a coroutine in another
//! `AioContext`.)
//!
//! Invariant: the arguments stay in the caller's frame until the call is started, and the frame is not left before the
//! call is done (`completion.rs`). If the frame were unwound earlier, the process would be aborted instead.

use std::{
    any::type_name,
    panic::Location,
    process,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use super::{
    callee::{Callee, Wrapper},
    completion::{self, Packed},
    frame::Frame,
    large::{self, Large},
};
use crate::{
    context::AioContext,
    poll_loop::poll::try_home_for_call,
    reactor::Entered,
    scheduler::Scheduler,
    sys::{
        elapsed::{Elapsed, deadline},
        fork,
        interrupts::Interrupted,
        panics::{self, Payload},
        park::here,
    },
    tasks::{outcome::Outcome, sent::Sent as Task},
    thread::{
        EnterGuard,
        waiting::{Ended, InFlight, Limits},
    },
};

/// An argument that is sent to another context.
#[derive(Debug)]
pub struct Sent<T>(T);

// SAFETY: the field is private, and only [`sent_to_ctx`] and [`arg`] fill it, with a `T: Send`; a coerced `Sent` holds
// the same value. Every `Sent` is `Send` so that a `T` which is not is reported only once, not again at the call.
unsafe impl<T> Send for Sent<T> {}

impl<T> Sent<T> {
    /// The argument, after it has arrived.
    pub fn into_inner(self) -> T {
        self.0
    }
}

/// Marks an argument of a call with `ctx` as sent, so that one which is not `Send` is an error at that argument. The
/// error shows this function's name.
pub fn sent_to_ctx<T: Send>(value: T) -> Sent<T> {
    Sent(value)
}

/// Like [`sent_to_ctx`], for arguments that are sent to the main context, and for results.
pub fn arg<T: Send>(value: T) -> Sent<T> {
    Sent(value)
}

/// Like `poll_co`, with the future made and polled in `context`. On the context's home thread it is `poll_co`. If the
/// context has no home, this thread becomes its temporary home, for the length of the call; a temporary home never
/// starts another caller's call, unless the two would wait for each other.
///
/// # Panics
///
/// The same as `poll_co`. Also if the context is closed before the call is done; its future has been dropped by then. A
/// panic of the future goes to the caller.
#[track_caller]
pub fn poll_co_in<S, E, Fut>(wrapper: &'static Wrapper, context: &AioContext, args: S, entry: E) -> Fut::Output
where
    S: Send,
    E: FnOnce(S) -> Fut + Send,
    Fut: Future<Output: Send>,
{
    let site = Location::caller();
    let ended = if const { large::is_large::<Fut>() } {
        call_in(wrapper, type_name::<S>(), site, context, None, Box::new(args), |args| Large::make(|| entry(*args)))
            .map(|output| *output)
    } else {
        call_in(wrapper, type_name::<S>(), site, context, None, args, entry)
    };
    match ended {
        Ok(output) => output,
        Err(Ended::Closed) => refuse_closed(wrapper, context, site),
        Err(Ended::Ready | Ended::Elapsed | Ended::Interrupted | Ended::Forked) => {
            unreachable!("a call without a deadline ends when it is done")
        }
    }
}

/// Like [`poll_co_in`], for `timeout` at most. On expiry the call is cancelled in the context, and its future dropped
/// there, before this returns, so that may take as long as the context takes to look. A call that was not started is
/// cancelled at the next look of the home thread, even if that holds calls back.
#[track_caller]
pub fn poll_co_in_timeout<S, E, Fut>(
    wrapper: &'static Wrapper,
    context: &AioContext,
    timeout: Duration,
    args: S,
    entry: E,
) -> Result<Fut::Output, Elapsed>
where
    S: Send,
    E: FnOnce(S) -> Fut + Send,
    Fut: Future<Output: Send>,
{
    poll_co_in_until(wrapper, context, deadline(timeout).into(), args, entry).map_err(|_| Elapsed::new(timeout))
}

/// Like [`poll_co_in`], until it is interrupted. Then the call is cancelled in the context as when a timeout expires.
/// If it is done there nevertheless, its result is returned, and the interrupt stays pending.
#[track_caller]
pub fn poll_co_in_interruptible<S, E, Fut>(
    wrapper: &'static Wrapper,
    context: &AioContext,
    args: S,
    entry: E,
) -> Result<Fut::Output, Interrupted>
where
    S: Send,
    E: FnOnce(S) -> Fut + Send,
    Fut: Future<Output: Send>,
{
    poll_co_in_until(wrapper, context, Limits::INTERRUPTIBLE, args, entry).map_err(|_| Interrupted)
}

/// Like [`poll_co_in`], within `limits`.
#[track_caller]
fn poll_co_in_until<S, E, Fut>(
    wrapper: &'static Wrapper,
    context: &AioContext,
    limits: Limits,
    args: S,
    entry: E,
) -> Result<Fut::Output, Ended>
where
    S: Send,
    E: FnOnce(S) -> Fut + Send,
    Fut: Future<Output: Send>,
{
    let site = Location::caller();
    let ended = if const { large::is_large::<Fut>() } {
        call_in(wrapper, type_name::<S>(), site, context, limits, Box::new(args), |args| Large::make(|| entry(*args)))
            .map(|output| *output)
    } else {
        call_in(wrapper, type_name::<S>(), site, context, limits, args, entry)
    };
    match ended {
        Err(Ended::Closed) => refuse_closed(wrapper, context, site),
        ended => ended,
    }
}

/// Like [`poll_co_in`], shown as a call at `site`, within `limits`, for futures of any size but on the stack. If
/// the context is closed before the call is done, the arguments or the future have been dropped, and this returns
/// [`Ended::Closed`].
#[track_caller]
pub(crate) fn call_in<S, E, Fut>(
    wrapper: &'static Wrapper,
    args_type: &'static str,
    site: &'static Location<'static>,
    context: &AioContext,
    limits: impl Into<Limits>,
    args: S,
    entry: E,
) -> Result<Fut::Output, Ended>
where
    S: Send,
    E: FnOnce(S) -> Fut + Send,
    Fut: Future<Output: Send>,
{
    let limits = limits.into();
    let _guard;
    let frame = Frame::begin(Callee::Wrapper(wrapper, args_type), site);
    if frame.needs_guard() {
        _guard = Entered::guard();
    }
    // This thread is the home, or becomes the temporary home.
    let elsewhere = context.scheduler().home_number().is_some_and(|home| home != here());
    if !elsewhere && let Ok(_home) = try_home_for_call(context, wrapper.name, site) {
        if context.scheduler().is_closed() {
            return Err(Ended::Closed);
        }
        return frame.block_on_until(limits, Some(context), || entry(args));
    }

    // Cloned before anything is sent, because a subscriber may panic.
    let span = frame.span().clone();
    let packed = Packed::new(args, entry);
    let abort = AbortOnUnwind { name: wrapper.name, site };
    // SAFETY: `packed` lives until the loop below has seen that the call is done. The loop is not left otherwise, and
    // if it unwinds, `abort` ends the process.
    let sent = unsafe { completion::send(context.scheduler(), &packed, frame.wakes(), span) };
    let mut elsewhere = Elsewhere {
        name: wrapper.name,
        site,
        context,
        waker: Waker::from(Arc::clone(frame.wakes())),
        sent,
        outcome: None,
        home: None,
        ended: Ended::Ready,
    };
    // The first panic of what ran meanwhile waits for the call too, so that nothing is raised before it is done.
    let mut panicked: Option<Payload> = None;
    while !elsewhere.poll() {
        let limits = if elsewhere.ended == Ended::Ready { limits } else { Limits::default() };
        let waited = Payload::of(|| frame.wait(Some(context), None, limits, &mut elsewhere));
        match waited {
            Ok(Ended::Ready | Ended::Closed | Ended::Forked) => {}
            Ok(why @ (Ended::Elapsed | Ended::Interrupted)) => _ = elsewhere.give_up(why),
            Err(payload) if fork::is_child() => {
                // The thread that runs the call belongs to the parent: in this process nothing will use it again.
                std::mem::forget((abort, elsewhere));
                payload.resume();
            }
            Err(payload) => {
                // The coroutine that the call suspended was dropped: nobody wants its result.
                #[cfg(feature = "coroutine")]
                if payload.is::<crate::suspend::Cancelled>() {
                    elsewhere.give_up(Ended::Elapsed);
                }
                panicked.get_or_insert(payload);
            }
        }
    }
    elsewhere.keep_home();
    let Elsewhere { outcome, home, ended, .. } = elsewhere;
    std::mem::forget(abort);
    // It may have been cancelled before.
    frame.wakes().set_started();
    panics::catch(&mut panicked, || drop(home));
    if ended == Ended::Interrupted && !matches!(outcome, Some(Some(Outcome::Aborted)) | Some(None)) {
        frame.put_interrupt_back();
    }
    if let Some(payload) = panicked {
        // Only one panic is raised: the call's own panic, its result or its arguments are dropped.
        panics::discard(packed);
        panics::discard(outcome);
        payload.resume();
    }
    match outcome.flatten() {
        Some(Outcome::Done(output)) => Ok(output),
        Some(Outcome::Panicked(payload)) => {
            // They are still there if a subscriber panicked before they were taken.
            panics::discard(packed);
            payload.resume()
        }
        Some(Outcome::Aborted) | None => {
            // First, because the arguments' destructors may panic.
            drop(packed);
            Err(if ended == Ended::Ready { Ended::Closed } else { ended })
        }
    }
}

/// A call in another context, while its caller waits.
struct Elsewhere<'a, R> {
    name: &'static str,
    site: &'static Location<'static>,
    context: &'a AioContext,
    /// Wakes the caller.
    waker: Waker,
    sent: Task<'a, R, Scheduler>,
    /// How the call ended, once it is done.
    outcome: Option<Option<Outcome<R>>>,
    home: Option<EnterGuard>,
    /// Why it was cancelled; `Ready` if it was not.
    ended: Ended,
}

impl<R> Elsewhere<'_, R> {
    /// This thread may be the home for this call, although another call has made it that: one nested in this one's
    /// wait, which has started this call and was done first. Then this one has to leave.
    fn keep_home(&mut self) {
        if self.home.is_none() && self.context.scheduler().is_home_here() {
            self.home = try_home_for_call(self.context, self.name, self.site).ok();
        }
    }
}

impl<'a, R: 'a> InFlight for Elsewhere<'a, R> {
    fn is_for_caller(&self) -> bool {
        false
    }

    fn poll(&mut self) -> bool {
        if self.outcome.is_some() {
            return true;
        }
        if let Poll::Ready(outcome) = self.sent.poll(&mut Context::from_waker(&self.waker)) {
            self.outcome = Some(outcome);
            return true;
        }
        // The context may have had a temporary home that has left: then the caller that has waited longest is the next
        // home. This is checked once after the call was queued, because a home that left before that woke nobody. Or
        // the home is this thread, which started the call as a home nested inside this frame; the call keeps it there.
        if self.home.is_none() && self.context.scheduler().home_number().is_none_or(|home| home == here()) {
            self.home = try_home_for_call(self.context, self.name, self.site).ok();
        }
        false
    }

    /// The result stays where it is. A temporary home leaves, because another caller may wait for that, and frames
    /// nested inside this call may wait for that caller. If one of these frames runs in that home, the home stays, and
    /// from then on serves all callers.
    fn release(&mut self) {
        self.keep_home();
        match &self.home {
            Some(home) if home.is_innermost() => self.home = None,
            Some(_) => self.context.scheduler().set_temporary(false),
            None => {}
        }
    }

    fn give_up(&mut self, why: Ended) -> bool {
        self.ended = why;
        if self.outcome.is_none() {
            if let Poll::Ready(outcome) = self.sent.cancel(&mut Context::from_waker(&self.waker)) {
                self.outcome = Some(outcome);
                self.waker.wake_by_ref();
            }
            self.context.scheduler().ring();
        }
        // It is over when the context has dropped the future.
        false
    }
}

#[cold]
#[track_caller]
pub(crate) fn refuse_closed(wrapper: &Wrapper, context: &AioContext, site: &Location<'_>) -> ! {
    panic!(
        "{}: {context} was closed, or its home thread left it, before the call at {site} was done; close a context when \
         nobody calls into it any more",
        wrapper.name
    )
}

/// Ends the process if the frame is unwound while the other context has pointers into it.
struct AbortOnUnwind {
    name: &'static str,
    site: &'static Location<'static>,
}

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        let Self { name, site } = self;
        eprintln!(
            "co_wrapper: {name}: called at {site}, in flight in another context and being unwound, which would free what \
             that context uses: the process is aborted; mend what panicked above, a tracing subscriber as a rule"
        );
        process::abort();
    }
}
