//! The handles of a spawned task: `JoinHandle` waits for it, `AbortHandle` cancels it.
//!
//! Invariant: no user's waker is given to async-task itself, because async-task would end the process if the waker
//! panicked. [`Joiner`] wraps it.

use std::{
    fmt,
    future::{Future, poll_fn},
    mem,
    panic::{Location, RefUnwindSafe, UnwindSafe},
    pin::Pin,
    ptr::NonNull,
    sync::Arc,
    task::{Context, Poll, Wake, Waker, ready},
};

use super::wait_cycle::WaitsFor;
use crate::{
    scheduler::Scheduler,
    sys::{
        panics::{self, Payload},
        park::here,
        sync::{Mutex, lock},
    },
    tasks::{
        outcome::{Outcome, Output},
        task::{self, Meta, OwnedTask},
    },
};

/// Spawns a task that may run on any thread.
#[track_caller]
pub fn spawn<F>(scheduler: &Arc<Scheduler>, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    // SAFETY: the future is `Send` and `'static`.
    let task = unsafe { task::spawn_for(scheduler, 0, None, future) };
    JoinHandle::new(task, Location::caller())
}

/// Spawns a task that only this thread may poll and drop.
#[track_caller]
pub fn spawn_local<F>(scheduler: &Arc<Scheduler>, future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    // SAFETY: this thread is named as the task's owner, and the future is `'static`.
    let task = unsafe { task::spawn_for(scheduler, here(), None, future) };
    JoinHandle::new(task, Location::caller())
}

/// Spawns a task that may be sent until it is first polled, and from then on only that thread may poll and drop.
///
/// # Safety
///
/// Sending `future` must be sound before its first poll.
#[cfg(feature = "coroutine")]
#[track_caller]
pub unsafe fn spawn_pinned<F>(scheduler: &Arc<Scheduler>, future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: Send + 'static,
{
    // SAFETY: as the caller promises; the future is `'static`.
    let task = unsafe { task::spawn_for(scheduler, task::FIRST, None, future) };
    JoinHandle::new(task, Location::caller())
}

/// A future of a spawned task's result.
///
/// Dropping the handle lets the task run on, detached.
///
/// # Panics
///
/// Awaiting it raises the panic of a task that panicked, and panics if the task was dropped before it finished: because
/// it was [aborted](AbortHandle::abort), its context was closed, or its `!Send` future's thread left home.
///
/// # Examples
///
/// ```
/// use co_wrapper::AioContext;
///
/// let ctx = AioContext::new()?;
/// let sum = ctx.spawn(async { 40 + 2 });
/// assert_eq!(ctx.block_on(sum), 42);
/// # std::io::Result::Ok(())
/// ```
pub struct JoinHandle<T> {
    /// `None` after it gave its result.
    task: Option<async_task::FallibleTask<Output<T>, Meta<Scheduler>>>,
    /// The task's metadata, which `task` keeps alive.
    meta: NonNull<Meta<Scheduler>>,
    /// Made when the handle is first polled before the task has ended.
    joiner: Option<Arc<Joiner>>,
    /// Where it was spawned.
    site: &'static Location<'static>,
}

// SAFETY: as for `task`; `meta` points to a `Meta`, which is `Sync`.
unsafe impl<T: Send> Send for JoinHandle<T> where Meta<Scheduler>: Sync {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for JoinHandle<T> where Meta<Scheduler>: Sync {}

// As for `task`.
impl<T> UnwindSafe for JoinHandle<T> {}
impl<T> RefUnwindSafe for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    fn new(task: async_task::Task<Output<T>, Meta<Scheduler>>, site: &'static Location<'static>) -> Self {
        Self { meta: NonNull::from(task.metadata()), task: Some(task.fallible()), joiner: None, site }
    }

    /// Calls `with` with the handle that aborts the task, unless the task is gone.
    fn with_owned<R>(&self, with: impl FnOnce(&OwnedTask<Scheduler>) -> R) -> Option<R> {
        self.task.as_ref()?;
        // SAFETY: `task` is still there, and it keeps `meta` alive.
        unsafe { self.meta.as_ref() }.owned().map(|task| with(&task))
    }

    /// Cancels the task, at once, whether or not the returned future is awaited. The task is not polled again; a poll
    /// that is running may still finish it. The task's future is dropped on its context's home thread when that next
    /// polls, outside coroutine context. The returned future waits for that, and returns the result if the task had
    /// finished before.
    ///
    /// # Panics
    ///
    /// The returned future raises the panic of a task that panicked.
    ///
    /// # Examples
    ///
    /// ```
    /// use co_wrapper::AioContext;
    ///
    /// let ctx = AioContext::new()?;
    /// let never = ctx.spawn(std::future::pending::<()>());
    /// assert_eq!(ctx.block_on(never.cancel()), None);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn cancel(mut self) -> impl Future<Output = Option<T>> {
        self.with_owned(OwnedTask::abort);
        async move {
            self.task.as_ref()?;
            match poll_fn(|cx| self.poll_outcome(cx)).await {
                Some(Outcome::Done(output)) => Some(output),
                Some(Outcome::Panicked(payload)) => payload.resume(),
                Some(Outcome::Aborted) | None => None,
            }
        }
    }

    /// A handle that can cancel the task, while this one still gives its result.
    ///
    /// # Examples
    ///
    /// See [`AbortHandle`].
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle(self.with_owned(OwnedTask::clone))
    }

    /// Whether the task has finished, was cancelled or panicked.
    ///
    /// # Examples
    ///
    /// ```
    /// use co_wrapper::AioContext;
    ///
    /// let ctx = AioContext::new()?;
    /// let task = ctx.spawn(async {});
    /// assert!(!task.is_finished()); // nobody has polled it
    /// ctx.poll(true);
    /// assert!(task.is_finished());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn is_finished(&self) -> bool {
        self.task.as_ref().is_none_or(async_task::FallibleTask::is_finished)
    }

    /// The outcome of the task, or `None` if its future was dropped for another reason than an abort.
    fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<Option<Outcome<T>>> {
        let site = self.site;
        let Some(task) = self.task.as_mut() else {
            panic!(
                "JoinHandle: of the task spawned at {site}, and awaited again after it gave its result; await it once"
            );
        };
        let mut polled = Poll::Pending;
        if self.joiner.is_none() && task.is_finished() {
            polled = Pin::new(&mut *task).poll(&mut Context::from_waker(Waker::noop()));
        }
        if polled.is_pending() {
            let joiner = self.joiner.get_or_insert_default();
            joiner.set(cx.waker());
            let waker = Waker::from(Arc::clone(joiner));
            polled = Pin::new(&mut *task).poll(&mut Context::from_waker(&waker));
            // A task of another thread's; where it has moved since then is not looked for.
            // SAFETY: `task` is still there, and it keeps `meta` alive.
            let meta = unsafe { self.meta.as_ref() };
            if polled.is_pending() && !meta.spawned_in().is_home_here() {
                joiner.waits_for(meta);
            }
        }
        let output = ready!(polled);
        self.task = None;
        self.joiner = None;
        Poll::Ready(output.map(Output::into_inner))
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let site = self.site;
        match ready!(self.poll_outcome(cx)) {
            Some(Outcome::Done(output)) => Poll::Ready(output),
            Some(Outcome::Panicked(payload)) => payload.resume(),
            Some(Outcome::Aborted) => panic!(
                "JoinHandle: the task spawned at {site} was aborted before it finished, by `AbortHandle::abort`; where that may be, await \
                 `cancel()`, which gives an `Option`, or have the task send its result"
            ),
            None => panic!(
                "JoinHandle: the task was dropped before it finished, spawned at {site}: its context was closed, or the thread of a \
                 `spawn_local` left it; join tasks before you leave their context"
            ),
        }
    }
}

impl<T> JoinHandle<T> {
    /// Drops the result of a task that has ended, and the waker that the handle registered. Returns the first panic of
    /// their destructors.
    #[cold]
    fn drop_users(&mut self, task: &mut async_task::FallibleTask<Output<T>, Meta<Scheduler>>) -> Option<Payload> {
        let mut panicked = None;
        if let Poll::Ready(Some(output)) = Pin::new(task).poll(&mut Context::from_waker(Waker::noop())) {
            panics::catch(&mut panicked, || drop(output.into_inner()));
        }
        panics::catch(&mut panicked, || drop(self.joiner.as_ref().map(|joiner| joiner.take())));
        panicked
    }
}

impl<T> Drop for JoinHandle<T> {
    #[inline]
    fn drop(&mut self) {
        let Some(mut task) = self.task.take() else { return };
        if self.joiner.is_none() && !task.is_finished() {
            return task.detach();
        }
        let panicked = self.drop_users(&mut task);
        task.detach();
        panics::raise(panicked);
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("finished", &self.is_finished()).finish()
    }
}

/// Cancels a spawned task, from any thread (tokio's `AbortHandle`). Made by [`JoinHandle::abort_handle`]; all clones
/// abort the same task.
///
/// It keeps the task's allocation alive, but neither its future nor its result.
///
/// # Examples
///
/// ```
/// use co_wrapper::AioContext;
///
/// let ctx = AioContext::new()?;
/// let task = ctx.spawn(std::future::pending::<()>());
/// let handle = task.abort_handle();
/// std::thread::spawn(move || handle.abort()).join().unwrap();
/// let joined = std::panic::catch_unwind(|| ctx.block_on(task));
/// assert!(joined.is_err(), "it says that the task was aborted");
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone)]
pub struct AbortHandle(
    /// `None` if the task was gone when the handle was made.
    Option<OwnedTask<Scheduler>>,
);

impl AbortHandle {
    /// Cancels the task, as [`JoinHandle::cancel`] does: its future is dropped on its context's home thread when that
    /// next polls. Awaiting the task's [`JoinHandle`] then panics and says so. A task that has finished is unaffected,
    /// and a task that aborts itself runs on until it next waits.
    ///
    /// # Examples
    ///
    /// See [`AbortHandle`].
    pub fn abort(&self) {
        self.0.iter().for_each(OwnedTask::abort);
    }

    /// Whether the task has ended in any way: its future was dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// let ctx = co_wrapper::AioContext::new()?;
    /// let task = ctx.spawn(std::future::pending::<()>()).abort_handle();
    /// task.abort();
    /// assert!(!task.is_finished());
    /// ctx.poll(false);
    /// assert!(task.is_finished());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn is_finished(&self) -> bool {
        self.0.as_ref().is_none_or(|alive| alive.metadata().has_ended())
    }
}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbortHandle").field("finished", &self.is_finished()).finish()
    }
}

/// What async-task wakes when the task ends. It wraps the user's waker, which may panic, or may use or drop the handle.
#[derive(Default)]
struct Joiner {
    joining: Mutex<Joining>,
}

#[derive(Default)]
struct Joining {
    waker: Option<Waker>,
    /// Set if the task is another thread's.
    waits: Option<WaitsFor>,
}

impl Joiner {
    /// Registers `waker`. Clones and drops wakers outside the mutex, because that runs users' code.
    fn set(&self, waker: &Waker) {
        if lock(&self.joining).waker.as_ref().is_some_and(|old| old.will_wake(waker)) {
            return;
        }
        let new = waker.clone();
        let old = lock(&self.joining).waker.replace(new);
        drop(old);
    }

    /// Publishes that this thread waits for `task`, which was spawned in another thread's context.
    #[cold]
    fn waits_for(&self, task: &Meta<Scheduler>) {
        if lock(&self.joining).waits.is_some() {
            return;
        }
        // Outside the mutex, because this may wake other threads, and so run users' code.
        let waits = WaitsFor::new(task.spawned_in(), Some(task.identity()));
        let mut joining = lock(&self.joining);
        // Otherwise the task has ended meanwhile.
        if joining.waker.is_some() {
            joining.waits = Some(waits);
        }
    }

    fn take(&self) -> Joining {
        mem::take(&mut *lock(&self.joining))
    }
}

impl Wake for Joiner {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let Joining { waker, waits } = self.take();
        drop(waits);
        if let Some(waker) = waker {
            // The task has ended and nobody can take this panic; the hook has printed it.
            drop(Payload::of(|| waker.wake()));
        }
    }
}

impl Drop for Joiner {
    fn drop(&mut self) {
        panics::discard(self.take());
    }
}
