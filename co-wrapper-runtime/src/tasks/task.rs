//! Tasks: async-task's cell with our queue behind it, and the handle that waits for one.
//!
//! A task is *begun* once it was polled; the nesting rule of `context/serve.rs` asks. A `!Send` task has an owner, the
//! thread that spawned it, and is polled and dropped there alone.

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::{Arc, atomic},
    task::{Context, Poll, ready},
};

use super::mailbox::Mailbox;
use crate::{
    park::here,
    sync::{AtomicBool, Ordering},
};

/// A task that is to be polled once.
pub type Runnable = async_task::Runnable<Meta>;

/// What the queue knows of a task.
pub struct Meta {
    begun: AtomicBool,
    owner: Option<u64>,
}

impl Meta {
    /// Whether the task was polled. Written by the home thread; the queue's lock orders it for the others.
    pub fn begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// The thread that a `!Send` task belongs to.
    pub fn owner(&self) -> Option<u64> {
        self.owner
    }

    fn may_be_touched_here(&self) -> bool {
        self.owner.is_none_or(|owner| owner == here())
    }
}

/// Polls a task once, or drops its future if it was cancelled.
pub fn run(runnable: Runnable) {
    if runnable.metadata().may_be_touched_here() {
        runnable.metadata().begun.store(true, Ordering::Relaxed);
        runnable.run();
    } else {
        discard(runnable);
    }
}

/// Drops a task, and its future with it. A `!Send` one off its thread is forgotten instead.
pub fn discard(runnable: Runnable) {
    if runnable.metadata().may_be_touched_here() {
        drop(runnable);
    } else {
        LEAKED.fetch_add(1, Ordering::Relaxed);
        mem::forget(runnable);
    }
}

static LEAKED: atomic::AtomicUsize = atomic::AtomicUsize::new(0);

/// Spawns a task that may run on any thread.
pub fn spawn<F>(mailbox: &Arc<Mailbox>, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    // SAFETY: the future is `Send`.
    unsafe { spawn_for(mailbox, None, future) }
}

/// Spawns a task that belongs to this thread.
pub fn spawn_local<F>(mailbox: &Arc<Mailbox>, future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    // SAFETY: this thread is named as the owner.
    unsafe { spawn_for(mailbox, Some(here()), future) }
}

/// # Safety
///
/// Either `F` is `Send`, or `owner` is this thread.
unsafe fn spawn_for<F>(mailbox: &Arc<Mailbox>, owner: Option<u64>, future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let (runnable, task) = mailbox.register(owner, |key| {
        let listed = Listed { future, _entry: Entry { mailbox: Arc::clone(mailbox), key } };
        let queue = Arc::clone(mailbox);
        let schedule = move |runnable| {
            if let Err(refused) = queue.push_task(runnable) {
                discard(refused);
            }
        };
        let builder =
            async_task::Builder::new().propagate_panic(true).metadata(Meta { begun: AtomicBool::new(false), owner });
        // SAFETY: `spawn_unchecked` asks for four things. A future that is not `Send` is run and dropped on this thread:
        // both happen through its `Runnable` alone, in `run` and `discard`, which look at the owner (the task's other
        // references hand the future to `schedule`, so to them, when they are the last). The future is `'static`.
        // `schedule` is `Send + Sync`, for a mailbox is, and `'static`.
        let (runnable, task) = unsafe { builder.spawn_unchecked(|_| listed, schedule) };
        (runnable.waker(), (runnable, task))
    });
    runnable.schedule();
    JoinHandle { task: Some(task.fallible()) }
}

/// A task's future together with its place in the list of the living.
struct Listed<F> {
    future: F,
    _entry: Entry,
}

impl<F: Future> Future for Listed<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: `future` is pinned whenever `Listed` is: it is never moved out, and `Listed` has no `Drop` of its own.
        unsafe { self.map_unchecked_mut(|listed| &mut listed.future) }.poll(cx)
    }
}

struct Entry {
    mailbox: Arc<Mailbox>,
    key: usize,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.mailbox.unregister(self.key);
    }
}

/// Waits for a spawned task: a future of its result.
///
/// Dropping the handle lets the task run on, detached.
///
/// # Panics
///
/// Awaiting it raises the panic of a task that panicked, and panics if the task was dropped before it finished because
/// its context was closed, or its `!Send` future's thread left home.
///
/// # Examples
///
/// ```
/// use co_wrapper_runtime::AioContext;
///
/// let ctx = AioContext::new()?;
/// let sum = ctx.spawn(async { 40 + 2 });
/// assert_eq!(ctx.block_on(sum), 42);
/// # std::io::Result::Ok(())
/// ```
pub struct JoinHandle<T> {
    /// Taken only by `cancel` and `drop`.
    task: Option<async_task::FallibleTask<T, Meta>>,
}

impl<T> JoinHandle<T> {
    /// Cancels the task. Its future is dropped on its context's home thread, when that next polls; the returned future
    /// waits for it and gives the result if the task had finished before. Dropping that future does not undo it.
    ///
    /// # Examples
    ///
    /// ```
    /// use co_wrapper_runtime::AioContext;
    ///
    /// let ctx = AioContext::new()?;
    /// let never = ctx.spawn(std::future::pending::<()>());
    /// assert_eq!(ctx.block_on(never.cancel()), None);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn cancel(mut self) -> impl Future<Output = Option<T>> {
        // A `FallibleTask` cancels when it is dropped, so the future does so polled or not.
        let task = self.task.take();
        async move { task?.cancel().await }
    }

    /// Whether the task has finished, was cancelled or panicked.
    pub fn is_finished(&self) -> bool {
        self.task.as_ref().is_none_or(async_task::FallibleTask::is_finished)
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let task = self.task.as_mut().expect("a handle that was cancelled is gone");
        match ready!(Pin::new(task).poll(cx)) {
            Some(output) => Poll::Ready(output),
            None => panic!(
                "JoinHandle: the task was dropped before it finished: its context was closed, or the thread of a \
                 `spawn_local` left it; join tasks before you leave their context"
            ),
        }
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.detach();
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("finished", &self.is_finished()).finish()
    }
}
