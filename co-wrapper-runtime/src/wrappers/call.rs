//! A blocking call into another context: the packed arguments are sent there, the future is made and polled there, and
//! the caller serves its own contexts until the result is back. (QEMU's `AIO_WAIT_WHILE` over a coroutine in another
//! `AioContext`.)
//!
//! The arguments and the result stay in the caller's frame, which waits. The target reaches them through one pointer,
//! and the store that says it is done is its last use of it.

use std::{
    any::Any,
    cell::UnsafeCell,
    panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind},
    pin::Pin,
    process,
    sync::Arc,
    task::{Context, Poll, Wake, ready},
    time::{Duration, Instant},
};

use super::{
    Elapsed,
    frame::{Frame, Kind},
    poll_co::{Wrapper, deadline},
};
use crate::{
    context::{AioContext, EnterGuard, home::Stay, serve::Ended},
    fork,
    park::{WakeSlot, here},
    sync::{AtomicBool, Ordering},
    tasks::task::{self, Caller},
    trace::Span,
};

/// An argument that is sent to another context.
#[derive(Debug)]
pub struct Sent<T>(pub T);

/// Marks an argument as sent, so that one which is not `Send` is an error at that argument.
pub fn arg<T: Send>(value: T) -> Sent<T> {
    Sent(value)
}

/// As `poll_co`, with the future made and polled in `context`. At home there it is `poll_co`; a thread that finds nobody
/// at home is home for the length of the call.
///
/// # Panics
///
/// As `poll_co`, and if the context is closed before the call is done. A panic of the future goes to the caller.
#[track_caller]
pub fn poll_co_in<S, E, Fut>(wrapper: &'static Wrapper, context: &AioContext, args: S, entry: E) -> Fut::Output
where
    S: Send,
    E: FnOnce(S) -> Fut + Send,
    Fut: Future<Output: Send>,
{
    match call_in(wrapper, Location::caller(), context, None, args, entry) {
        Ok(output) => output,
        Err(Ended::Ready | Ended::Elapsed) => unreachable!("a call without a deadline ends when it is done"),
    }
}

/// The same, for `timeout` at most. On expiry the call has been taken back from the context, and its future dropped
/// there, before this returns: so it may take as long as the context takes to look.
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
    call_in(wrapper, Location::caller(), context, deadline(timeout), args, entry).map_err(|_| Elapsed::new(timeout))
}

#[track_caller]
fn call_in<S, E, Fut>(
    wrapper: &'static Wrapper,
    site: &'static Location<'static>,
    context: &AioContext,
    deadline: Option<Instant>,
    args: S,
    entry: E,
) -> Result<Fut::Output, Ended>
where
    S: Send,
    E: FnOnce(S) -> Fut + Send,
    Fut: Future<Output: Send>,
{
    let frame = Frame::enter(Kind::Wrapper(wrapper), site);
    // At home, or home for the length of the call.
    if let Ok(_home) = EnterGuard::try_new(context, Stay::Passing) {
        return frame.block_on_until(deadline, || entry(args));
    }

    let call = Shared::<S, E, Fut::Output> {
        stage: UnsafeCell::new(Stage::Packed(args, entry)),
        done: AtomicBool::new(false),
    };
    let abort = AbortOnUnwind;
    let caller = Caller { thread: here(), wakes: Arc::clone(frame.wakes()) };
    let remote = Remote {
        call: &raw const call,
        wakes: Arc::clone(frame.wakes()),
        span: frame.span().clone(),
        future: None::<Fut>,
    };
    // SAFETY: `call` lives until the wait below has seen `done`, which is the remote's last use of it; the wait is not
    // left otherwise, and does not unwind but through the abort. `Remote` may be sent before its first poll: it holds the
    // pointer to a `Shared` of `Send` things, and no future yet.
    let sent = unsafe { task::send_call(context.mailbox(), caller, remote) };
    let mut sent = Some(sent);
    let mut home = None;
    let mut ended = Ended::Ready;
    let mut until = deadline;
    // The first panic of what ran meanwhile waits for the call too, so that nothing is raised before `done`.
    let mut panicked: Option<Box<dyn Any + Send>> = None;
    let mut is_done = || {
        // Its home may have been a passing one, and have left: whoever waits longest is the next. Asked once after the
        // call was queued, for a home that left before that woke nobody.
        if home.is_none() && context.mailbox().home().is_none() {
            home = EnterGuard::try_new(context, Stay::Passing).ok();
        }
        call.done.load(Ordering::Acquire)
    };
    while !is_done() {
        let waited = catch_unwind(AssertUnwindSafe(|| frame.wait(Some(context), until, &mut is_done)));
        match waited {
            Ok(Ended::Ready) => {}
            Ok(Ended::Elapsed) => {
                // Cancelled by its drop; the context drops the future and says so.
                (ended, until) = (Ended::Elapsed, None);
                drop(sent.take());
            }
            Err(payload) if fork::is_child() => {
                // The thread that has the call is the parent's: here nobody will touch it any more.
                std::mem::forget((abort, sent, home));
                resume_unwind(payload);
            }
            Err(payload) => {
                panicked.get_or_insert(payload);
            }
        }
    }
    std::mem::forget(abort);
    if let Some(sent) = sent {
        sent.detach();
    }
    drop(home);
    if let Some(payload) = panicked {
        resume_unwind(payload);
    }
    match call.stage.into_inner() {
        Stage::Done(output) => Ok(output),
        Stage::Panicked(payload) => resume_unwind(payload),
        Stage::Packed(..) | Stage::Begun if ended == Ended::Elapsed => Err(Ended::Elapsed),
        Stage::Packed(..) | Stage::Begun => panic!(
            "{}: {context} was closed, or its home thread left it, before the call at {site} was done; close a context \
             when nobody calls into it any more",
            wrapper.name
        ),
    }
}

/// The caller's half of a call.
struct Shared<S, E, R> {
    /// The target's until it sets `done`, then the caller's.
    stage: UnsafeCell<Stage<S, E, R>>,
    done: AtomicBool,
}

enum Stage<S, E, R> {
    Packed(S, E),
    Begun,
    Done(R),
    Panicked(Box<dyn Any + Send>),
}

/// The target's half: a task's future.
struct Remote<S, E, R, Fut> {
    /// Dangling once `done` was set.
    call: *const Shared<S, E, R>,
    wakes: Arc<WakeSlot>,
    span: Span,
    /// Made by the first poll.
    future: Option<Fut>,
}

impl<S, E, R, Fut> Remote<S, E, R, Fut> {
    /// Leaves `stage` to the caller, if given, and wakes it.
    ///
    /// # Safety
    ///
    /// `done` was not set, and the future is gone, with everything that it borrowed through the arguments.
    unsafe fn finish(&mut self, stage: Option<Stage<S, E, R>>) {
        // SAFETY: `done` was not set, so the caller waits and `stage` is ours.
        unsafe {
            if let Some(stage) = stage {
                *(*self.call).stage.get() = stage;
            }
            (*self.call).done.store(true, Ordering::Release);
        }
        self.call = std::ptr::null();
        // Through our own reference: the caller's frame may be gone by now.
        Arc::clone(&self.wakes).wake();
    }
}

impl<S, E, Fut> Future for Remote<S, E, Fut::Output, Fut>
where
    E: FnOnce(S) -> Fut,
    Fut: Future,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // SAFETY: `future` is pinned with `self`: made in place, never moved, dropped by assignment. Nothing else in
        // `Remote` is pinned.
        let this = unsafe { self.get_unchecked_mut() };
        let span = this.span.clone();
        let polled = catch_unwind(AssertUnwindSafe(|| {
            span.in_scope(|| {
                if this.future.is_none() {
                    // SAFETY: `done` is not set before `finish`, so the caller waits and `stage` is ours.
                    let packed = unsafe { std::mem::replace(&mut *(*this.call).stage.get(), Stage::Begun) };
                    let Stage::Packed(args, entry) = packed else { unreachable!("begun once") };
                    this.future = Some(entry(args));
                }
                let future = this.future.as_mut().expect("made above");
                // SAFETY: as above.
                unsafe { Pin::new_unchecked(future) }.poll(cx)
            })
        }));
        let stage = match polled {
            Ok(polled) => Stage::Done(ready!(polled)),
            Err(payload) => Stage::Panicked(payload),
        };
        // What the future's destructor panics with is lost behind a result: it may not keep the caller waiting.
        let dropped = catch_unwind(AssertUnwindSafe(|| this.future = None));
        if dropped.is_err() {
            std::mem::forget(dropped);
        }
        // SAFETY: the task ends with this poll, so `done` was not set before; the future is gone.
        unsafe { this.finish(Some(stage)) };
        Poll::Ready(())
    }
}

impl<S, E, R, Fut> Drop for Remote<S, E, R, Fut> {
    fn drop(&mut self) {
        if !self.call.is_null() {
            // Cancelled, closed, or its home thread left.
            let dropped = catch_unwind(AssertUnwindSafe(|| self.future = None));
            // SAFETY: `call` is not null, so `done` was not set; the future is gone.
            unsafe { self.finish(None) };
            if let Err(payload) = dropped
                && !std::thread::panicking()
            {
                resume_unwind(payload);
            }
        }
    }
}

/// Ends the process if the frame that others point into is unwound.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        eprintln!("co_wrapper: a call in flight is being unwound");
        process::abort();
    }
}
