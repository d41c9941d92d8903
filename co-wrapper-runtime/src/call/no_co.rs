//! Calls out of coroutines into blocking functions: a bottom half of the main context runs one, and the coroutine awaits
//! the result. (QEMU's `no_co_wrapper`.)

use std::{
    future::{Future, ready},
    mem,
    panic::Location,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Wake, Waker},
};

use super::{frame::Wrapper, in_context::Sent};
use crate::{
    context::AioContext,
    scheduler::Scheduler,
    sys::{
        fork,
        panics::{self, Guarded, Payload},
        sync::plain_lock as lock,
    },
    tasks::bottom_half::Queued,
};

/// Runs `body(args)` as a bottom half of [`AioContext::main`], when the returned future is first polled.
///
/// Dropped before the bottom half starts, the future cancels it; dropped later, the body runs on and its result is
/// dropped. The drop never waits.
///
/// The body returns its result as a [`Sent`], so that a result which is not `Send` is an error where the body makes it.
///
/// # Panics
///
/// Awaiting it panics if the main context is closed or has no home, and with the panic of the body.
#[track_caller]
pub fn no_co<S, R>(
    wrapper: &'static Wrapper,
    args: S,
    body: impl FnOnce(S) -> Sent<R> + Send + 'static,
) -> impl Future<Output = R> + Send + 'static
where
    S: Send + 'static,
    R: 'static,
{
    in_main(wrapper, Location::caller(), || (), ready(()), move |()| body(args))
}

/// As [`no_co`], with a future to complete first, such as a lock: the bottom half polls `first` until it is ready and
/// passes its output to the body. `check` may panic to refuse the call when it is first polled.
pub(crate) fn in_main<A, R>(
    wrapper: &'static Wrapper,
    site: &'static Location<'static>,
    check: impl FnOnce() + Send + Unpin + 'static,
    first: A,
    body: impl FnOnce(A::Output) -> Sent<R> + Send + 'static,
) -> impl Future<Output = R> + Send + 'static
where
    A: Future + Send + Unpin + 'static,
    R: 'static,
{
    let call = Call {
        main: Arc::clone(AioContext::main().scheduler()),
        stage: Mutex::new(Stage::Packed { first, body, waiter: None }),
    };
    NoCo { wrapper, site, check: Some(check), call: Arc::new(call) }
}

/// What the bottom half and the coroutine share.
struct Call<A, B, R> {
    main: Arc<Scheduler>,
    stage: Mutex<Stage<A, B, R>>,
}

enum Stage<A, B, R> {
    /// Not started.
    Packed {
        first: A,
        body: B,
        waiter: Option<Waker>,
    },
    /// The bottom half has taken the packed parts: it polls `first`, or runs the body.
    Taken {
        waiter: Option<Waker>,
    },
    Finished(Result<Sent<R>, Payload>),
    /// The bottom half was dropped before it ran.
    Closed,
    /// The result was taken, or the future dropped.
    Over,
}

impl<A, B, R> Call<A, B, R>
where
    A: Future + Send + Unpin + 'static,
    B: FnOnce(A::Output) -> Sent<R> + Send + 'static,
    R: 'static,
{
    fn schedule(self: Arc<Self>) {
        let main = Arc::clone(&self.main);
        let run = Run(Some(self));
        // A closed context drops it, which tells the waiter.
        drop(main.push_bottom_half(Queued::once(move || run.run())));
    }

    /// Stores `stage` and wakes the waiter; if the call is over, returns `stage` instead.
    fn leave(&self, stage: Stage<A, B, R>) -> Option<Stage<A, B, R>> {
        let mut place = lock(&self.stage);
        let (Stage::Taken { waiter } | Stage::Packed { waiter, .. }) = &mut *place else { return Some(stage) };
        let waiter = waiter.take();
        let old = mem::replace(&mut *place, stage);
        drop(place);
        // The arguments' destructors may panic; the waiter is woken nevertheless.
        let mut panicked = None;
        panics::catch(&mut panicked, || drop(old));
        panics::catch(&mut panicked, || waiter.into_iter().for_each(Waker::wake));
        panics::raise(panicked);
        None
    }

    /// In the bottom half: runs the body if `first` is ready.
    fn run(self: &Arc<Self>) {
        let mut place = lock(&self.stage);
        let (mut first, body) = match mem::replace(&mut *place, Stage::Over) {
            Stage::Packed { first, body, waiter } => {
                *place = Stage::Taken { waiter };
                (first, body)
            }
            other => return *place = other,
        };
        drop(place);
        let waker = Waker::from(Arc::clone(self));
        let had = match Pin::new(&mut first).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(had) => had,
            Poll::Pending => {
                let mut place = lock(&self.stage);
                if let Stage::Taken { waiter } = &mut *place {
                    *place = Stage::Packed { first, body, waiter: waiter.take() };
                }
                // Otherwise it was cancelled meanwhile, and `first` and `body` are dropped here.
                return;
            }
        };
        drop(first);
        if matches!(*lock(&self.stage), Stage::Over) {
            return;
        }
        let result = Payload::of(|| body(had));
        if let Some(unheard) = self.leave(Stage::Finished(result)) {
            // Dropped like the result of a detached task.
            panics::discard(unheard);
        }
    }
}

/// The waker of `first`: schedules the bottom half again.
impl<A, B, R> Wake for Call<A, B, R>
where
    A: Future + Send + Unpin + 'static,
    B: FnOnce(A::Output) -> Sent<R> + Send + 'static,
    R: 'static,
{
    fn wake(self: Arc<Self>) {
        self.schedule();
    }
}

/// The bottom half.
struct Run<A, B, R>(Option<Arc<Call<A, B, R>>>)
where
    A: Future + Send + Unpin + 'static,
    B: FnOnce(A::Output) -> Sent<R> + Send + 'static,
    R: 'static;

impl<A, B, R> Run<A, B, R>
where
    A: Future + Send + Unpin + 'static,
    B: FnOnce(A::Output) -> Sent<R> + Send + 'static,
    R: 'static,
{
    fn run(mut self) {
        if let Some(call) = self.0.take() {
            call.run();
        }
    }
}

impl<A, B, R> Drop for Run<A, B, R>
where
    A: Future + Send + Unpin + 'static,
    B: FnOnce(A::Output) -> Sent<R> + Send + 'static,
    R: 'static,
{
    fn drop(&mut self) {
        if let Some(call) = self.0.take() {
            call.leave(Stage::Closed);
        }
    }
}

/// The coroutine's side.
struct NoCo<C, A, B, R> {
    wrapper: &'static Wrapper,
    site: &'static Location<'static>,
    /// `None` after the first poll.
    check: Option<C>,
    call: Arc<Call<A, B, R>>,
}

impl<C, A, B, R> Future for NoCo<C, A, B, R>
where
    C: FnOnce() + Unpin,
    A: Future + Send + Unpin + 'static,
    B: FnOnce(A::Output) -> Sent<R> + Send + 'static,
    R: 'static,
{
    type Output = R;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        // First, because cloning runs users' code and may panic, and what follows must happen only once.
        let waker = Guarded::new(cx.waker().clone());
        let name = self.wrapper.name;
        let first_poll = self.check.take();
        let send = first_poll.is_some();
        fork::forbid_at(name, self.site);
        if let Some(check) = first_poll {
            check();
            assert!(
                self.call.main.home().is_some() || self.call.main.is_closed(),
                "{name}: called at {}, and no thread is home to AioContext `main`, which is to run `{}`; enter \
                 AioContext::main() on the thread of the main loop",
                self.site,
                self.wrapper.target
            );
        }
        let mut place = lock(&self.call.stage);
        match &mut *place {
            Stage::Packed { waiter, .. } | Stage::Taken { waiter } => {
                let old = waiter.replace(waker.into_inner());
                drop(place);
                drop(old);
            }
            _ => match mem::replace(&mut *place, Stage::Over) {
                Stage::Finished(result) => {
                    drop(place);
                    // The result exists only once; a panic of a waker's destructor must not lose it.
                    panics::discard(waker);
                    return Poll::Ready(result.unwrap_or_else(|payload| payload.resume()).into_inner());
                }
                Stage::Closed => {
                    drop(place);
                    panic!(
                        "{name}: AioContext `main` was closed before the call at {} was done; close it when nobody \
                         calls into it any more",
                        self.site
                    );
                }
                _ => {
                    panic!("{name}: called at {}, and awaited again after it gave its result; await it once", self.site)
                }
            },
        }
        if send {
            Arc::clone(&self.call).schedule();
        }
        Poll::Pending
    }
}

impl<C, A, B, R> Drop for NoCo<C, A, B, R> {
    fn drop(&mut self) {
        if fork::is_child() {
            // The bottom half belongs to the parent, and one of its threads may hold the mutex.
            return;
        }
        let mut place = lock(&self.call.stage);
        let old = mem::replace(&mut *place, Stage::Over);
        drop(place);
        panics::drop_one(old);
    }
}
