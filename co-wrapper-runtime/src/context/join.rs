//! Who waits for a spawned task, or ends it: the two handles.

use std::{
    fmt,
    future::{Future, poll_fn},
    panic::{Location, RefUnwindSafe, UnwindSafe},
    pin::Pin,
    ptr::NonNull,
    sync::Arc,
    task::{Context, Poll, Wake, Waker, ready},
};

use crate::{
    scheduler::mailbox::Mailbox,
    sys::{
        panics::{self, Payload},
        park::here,
        sync::{Mutex, is_send, lock},
    },
    tasks::task::{self, Alive, Meta, Outcome, Output},
};

/// Spawns a task that may run on any thread.
#[track_caller]
pub fn spawn<F>(mailbox: &Arc<Mailbox>, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    // SAFETY: the future is `Send` and `'static`.
    let task = unsafe { task::spawn_for(mailbox, 0, None, future) };
    JoinHandle::new(task, Location::caller())
}

/// Spawns a task that belongs to this thread.
#[track_caller]
pub fn spawn_local<F>(mailbox: &Arc<Mailbox>, future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    // SAFETY: this thread is named as the owner, and the future is `'static`.
    let task = unsafe { task::spawn_for(mailbox, here(), None, future) };
    JoinHandle::new(task, Location::caller())
}

/// Waits for a spawned task: a future of its result.
///
/// Dropping the handle lets the task run on, detached.
///
/// # Panics
///
/// Awaiting it raises the panic of a task that panicked, and panics if the task was dropped before it finished: because it
/// was [aborted](AbortHandle::abort), its context was closed, or its `!Send` future's thread left home.
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
    /// Gone when it gave its result.
    task: Option<async_task::FallibleTask<Output<T>, Meta<Mailbox>>>,
    /// The task's, which `task` keeps.
    meta: NonNull<Meta<Mailbox>>,
    /// Made when it is first polled and the task has not ended.
    joiner: Option<Arc<Joiner>>,
    /// Where it was spawned.
    site: &'static Location<'static>,
}

const _: () = is_send::<JoinHandle<()>>();

// SAFETY: as the task that it has, whose `Meta` threads share anyway.
unsafe impl<T: Send> Send for JoinHandle<T> where Meta<Mailbox>: Sync {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for JoinHandle<T> where Meta<Mailbox>: Sync {}

// As the task that it has.
impl<T> UnwindSafe for JoinHandle<T> {}
impl<T> RefUnwindSafe for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    fn new(task: async_task::Task<Output<T>, Meta<Mailbox>>, site: &'static Location<'static>) -> Self {
        Self { meta: NonNull::from(task.metadata()), task: Some(task.fallible()), joiner: None, site }
    }

    /// What aborts the task, unless it is gone.
    fn with_alive<R>(&self, with: impl FnOnce(&Alive<Mailbox>) -> R) -> Option<R> {
        self.task.as_ref()?;
        // SAFETY: the task is there.
        unsafe { self.meta.as_ref() }.alive().map(|alive| with(&alive))
    }

    /// Cancels the task: now, whatever becomes of the future that this returns. The task is not polled again, unless it is
    /// just being polled and finishes with that. Its own future is dropped, outside coroutine context, on its context's home
    /// thread, when that next polls; the returned future waits for it, and gives the result if the task had finished before.
    ///
    /// # Panics
    ///
    /// The returned future raises the panic of a task that had panicked.
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
        self.with_alive(Alive::abort);
        async move {
            self.task.as_ref()?;
            match poll_fn(|cx| self.poll_outcome(cx)).await {
                Some(Outcome::Done(output)) => Some(output),
                Some(Outcome::Panicked(payload)) => payload.resume(),
                Some(Outcome::Aborted) | None => None,
            }
        }
    }

    /// A handle that cancels the task and leaves the result to this one.
    ///
    /// # Examples
    ///
    /// See [`AbortHandle`].
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle(self.with_alive(Alive::clone))
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

    /// What came of the task, or nothing if its future was dropped by others than who aborts it.
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
            polled = Pin::new(task).poll(&mut Context::from_waker(&waker));
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
    /// Drops the result of a task that has ended, and the waker of who began to wait. The panic of one of these is the
    /// caller's.
    #[cold]
    fn drop_users(&mut self, task: &mut async_task::FallibleTask<Output<T>, Meta<Mailbox>>) -> Option<Payload> {
        let mut panicked = None;
        if let Poll::Ready(Some(output)) = Pin::new(task).poll(&mut Context::from_waker(Waker::noop())) {
            panics::catch(&mut panicked, || drop(output.into_inner()));
        }
        panics::catch(&mut panicked, || drop(self.joiner.as_ref().and_then(|joiner| joiner.take())));
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

/// Cancels a spawned task, from any thread. Made by [`JoinHandle::abort_handle`]; clones abort the same task. (Tokio's
/// `AbortHandle`.)
///
/// It keeps the memory of its task, but not the task's future or its result.
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
    /// Nothing if the task was gone by then.
    Option<Alive<Mailbox>>,
);

impl AbortHandle {
    /// Cancels the task, as [`JoinHandle::cancel`] does: its future is dropped on its context's home thread when that next
    /// polls. Who then awaits the task's [`JoinHandle`] gets a panic that says so. Nothing happens to a task that has
    /// finished, and a task that aborts itself runs on until it next waits.
    ///
    /// # Examples
    ///
    /// See [`AbortHandle`].
    pub fn abort(&self) {
        self.0.iter().for_each(Alive::abort);
    }

    /// Whether the task has ended, in whichever way: its future was dropped.
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

/// What async-task wakes when the task ends. It holds the user's waker, which may panic, come back to the handle or drop it.
#[derive(Default)]
struct Joiner {
    waker: Mutex<Option<Waker>>,
}

impl Joiner {
    /// Has `waker` woken from now on. Cloned and dropped outside the mutex, for that is the user's code.
    fn set(&self, waker: &Waker) {
        if lock(&self.waker).as_ref().is_some_and(|old| old.will_wake(waker)) {
            return;
        }
        let new = waker.clone();
        let old = lock(&self.waker).replace(new);
        drop(old);
    }

    fn take(&self) -> Option<Waker> {
        lock(&self.waker).take()
    }
}

impl Wake for Joiner {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(waker) = self.take() {
            // The task has ended, and the hook has printed it.
            drop(Payload::of(|| waker.wake()));
        }
    }
}

impl Drop for Joiner {
    fn drop(&mut self) {
        panics::discard(self.take());
    }
}
