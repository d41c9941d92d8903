//! Calls out of coroutines into blocking functions: a bottom half of the main context runs one, and the coroutine
//! awaits the result. (QEMU's `no_co_wrapper`.)

use std::{
    future::Future,
    mem,
    panic::Location,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use super::{callee::Wrapper, in_context::Sent};
use crate::{
    context::{AioContext, wait_cycle::WaitsFor},
    scheduler::Scheduler,
    sys::{
        fork,
        panics::{self, Guarded, Payload},
        park::here,
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
    in_main(wrapper, Location::caller(), || (), async move { body(args) })
}

/// Like [`no_co`], for any `work`, such as a body that a lock comes before: the bottom half polls it until it is ready.
/// `check` may panic to refuse the call when it is first polled.
pub(crate) fn in_main<R: 'static>(
    wrapper: &'static Wrapper,
    site: &'static Location<'static>,
    check: impl FnOnce() + Send + Unpin + 'static,
    work: impl Future<Output = Sent<R>> + Send + 'static,
) -> impl Future<Output = R> + Send + 'static {
    let main = Arc::clone(AioContext::main().scheduler());
    let stage = Mutex::new(Stage::Packed { work: Box::pin(work), waiter: None });
    NoCo {
        wrapper,
        site,
        check: Some(check),
        call: Arc::new(Call { main, awaited_by: AtomicU64::new(0), stage }),
        waits: None,
    }
}

/// What the bottom half and the coroutine share.
struct Call<R> {
    main: Arc<Scheduler>,
    /// The thread that has polled the coroutine first.
    awaited_by: AtomicU64,
    stage: Mutex<Stage<R>>,
}

enum Stage<R> {
    /// Not started, or waits to be polled again.
    Packed {
        work: Pin<Box<dyn Future<Output = Sent<R>> + Send>>,
        waiter: Option<Waker>,
    },
    /// The bottom half has taken the work, and polls it.
    Taken {
        waiter: Option<Waker>,
    },
    Finished(Result<Sent<R>, Payload>),
    /// The bottom half was dropped before it ran.
    Closed,
    /// The result was taken, or the future dropped.
    Over,
}

impl<R: 'static> Call<R> {
    fn schedule(self: Arc<Self>) {
        let main = Arc::clone(&self.main);
        let by = self.awaited_by.load(Ordering::Relaxed);
        let run = Run(Some(self));
        // A closed context drops it, which tells the waiter.
        drop(main.push_bottom_half(Queued::awaited(by, move || run.run())));
    }

    /// Stores `stage` and wakes the waiter; if the call is over, returns `stage` instead.
    fn leave(&self, stage: Stage<R>) -> Option<Stage<R>> {
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

    /// In the bottom half: polls the work.
    fn run(self: &Arc<Self>) {
        let mut place = lock(&self.stage);
        let mut work = match mem::replace(&mut *place, Stage::Over) {
            Stage::Packed { work, waiter } => {
                *place = Stage::Taken { waiter };
                work
            }
            other => return *place = other,
        };
        drop(place);
        let waker = Waker::from(Arc::clone(self));
        let result = match Payload::of(|| work.as_mut().poll(&mut Context::from_waker(&waker))) {
            Ok(Poll::Ready(result)) => Ok(result),
            Ok(Poll::Pending) => {
                let mut place = lock(&self.stage);
                if let Stage::Taken { waiter } = &mut *place {
                    *place = Stage::Packed { work, waiter: waiter.take() };
                }
                // Otherwise it was cancelled meanwhile, and `work` is dropped here.
                return;
            }
            Err(payload) => Err(payload),
        };
        if let Some(unheard) = self.leave(Stage::Finished(result)) {
            // Dropped like the result of a detached task.
            panics::discard(unheard);
        }
    }
}

/// The waker of the work: schedules the bottom half again.
impl<R: 'static> Wake for Call<R> {
    fn wake(self: Arc<Self>) {
        self.schedule();
    }
}

/// The bottom half.
struct Run<R: 'static>(Option<Arc<Call<R>>>);

impl<R: 'static> Run<R> {
    fn run(mut self) {
        if let Some(call) = self.0.take() {
            call.run();
        }
    }
}

impl<R: 'static> Drop for Run<R> {
    fn drop(&mut self) {
        if let Some(call) = self.0.take() {
            call.leave(Stage::Closed);
        }
    }
}

/// The coroutine's side.
struct NoCo<C, R> {
    wrapper: &'static Wrapper,
    site: &'static Location<'static>,
    /// `None` after the first poll.
    check: Option<C>,
    call: Arc<Call<R>>,
    /// From the first poll on, until the result is there.
    waits: Option<WaitsFor>,
}

impl<C: FnOnce() + Unpin, R: 'static> Future for NoCo<C, R> {
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
                    self.waits = None;
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
            self.call.awaited_by.store(here(), Ordering::Relaxed);
            Arc::clone(&self.call).schedule();
            let main = &self.call.main;
            self.waits = if main.is_home_here() { None } else { Some(WaitsFor::new(main, None)) };
        }
        Poll::Pending
    }
}

impl<C, R> Drop for NoCo<C, R> {
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

#[cfg(all(test, not(loom)))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    /// Catches: a panic of what is polled before the body, such as a lock, that leaves the awaiter waiting for ever.
    #[test]
    fn a_panic_before_the_body_reaches_the_awaiter() {
        static WRAPPER: Wrapper = Wrapper { name: "co_body", target: "body", mixed: false };
        let main = AioContext::main();
        let _home = main.enter();
        let work = async { panic!("no lock") };
        let call = in_main::<()>(&WRAPPER, Location::caller(), || (), work);
        let panicked = catch_unwind(AssertUnwindSafe(|| main.block_on(call))).unwrap_err();
        assert_eq!(panicked.downcast_ref::<&str>(), Some(&"no lock"));
    }
}
