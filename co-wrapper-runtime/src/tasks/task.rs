//! Tasks: async-task's cell with our queue behind it, and the handle that waits for one.
//!
//! A task is *begun* once it was polled; the nesting rule of `context/serve.rs` asks. A `!Send` task has an owner, the
//! thread that spawned it, and is polled and dropped there alone.

use std::{
    cell::Cell,
    fmt,
    future::Future,
    mem::{self, ManuallyDrop},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    ptr,
    sync::{Arc, atomic},
    task::{Context, Poll, ready},
};

use super::{
    coroutine::{self, Mark},
    mailbox::Mailbox,
    unit::Unit,
};
use crate::{
    fork,
    park::{WakeSlot, here},
    sync::{AtomicBool, AtomicU64, Mutex, Ordering, lock},
};

/// A task that is to be polled once, or dropped: wherever it is dropped, unwinding too, a `!Send` future off its thread
/// is forgotten instead.
pub struct Runnable(ManuallyDrop<async_task::Runnable<Meta>>);

impl Runnable {
    fn new(runnable: async_task::Runnable<Meta>) -> Self {
        Self(ManuallyDrop::new(runnable))
    }

    pub fn metadata(&self) -> &Meta {
        self.0.metadata()
    }

    fn into_inner(self) -> async_task::Runnable<Meta> {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: taken once, for `this` is not dropped.
        unsafe { ManuallyDrop::take(&mut this.0) }
    }
}

impl Drop for Runnable {
    fn drop(&mut self) {
        if self.metadata().may_be_touched_here() {
            // SAFETY: dropped here and, after `into_inner`, nowhere else.
            unsafe { ManuallyDrop::drop(&mut self.0) };
        } else {
            LEAKED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What the queue knows of a task.
pub struct Meta {
    begun: AtomicBool,
    /// The thread that a `!Send` task or a begun call belongs to, 0 for none.
    owner: AtomicU64,
    /// Who waits for it, if it is a call from another thread.
    caller: Option<Caller>,
    /// Whether `place` holds anything.
    moved: AtomicBool,
    /// Where the task went by `reschedule_self`.
    place: Mutex<Option<Arc<Mailbox>>>,
}

/// The blocked caller of a call in another context.
pub struct Caller {
    /// Its thread's number.
    pub thread: u64,
    /// Where it waits.
    pub wakes: Arc<WakeSlot>,
}

impl Meta {
    fn new(owner: u64, caller: Option<Caller>) -> Self {
        Self {
            begun: AtomicBool::new(false),
            owner: AtomicU64::new(owner),
            caller,
            moved: AtomicBool::new(false),
            place: Mutex::new(None),
        }
    }

    /// Whether the task was polled. Written by the home thread; the queue's lock orders it for the others.
    pub fn begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// The thread that the task belongs to, if any.
    pub fn owner(&self) -> Option<u64> {
        // Written before the task was queued first, or by the owner itself; the queue's lock orders it for the others.
        Some(self.owner.load(Ordering::Relaxed)).filter(|owner| *owner != 0)
    }

    /// The thread that waits for this call, if it is one.
    pub fn caller(&self) -> Option<u64> {
        self.caller.as_ref().map(|caller| caller.thread)
    }

    /// What wakes that thread's call.
    pub fn caller_waker(&self) -> Option<Arc<WakeSlot>> {
        self.caller.as_ref().map(|caller| Arc::clone(&caller.wakes))
    }

    /// Whether the task may go to another thread between two polls.
    pub fn is_send(&self) -> bool {
        self.owner().is_none() && self.caller.is_none()
    }

    fn may_be_touched_here(&self) -> bool {
        self.owner().is_none_or(|owner| owner == here())
    }
}

/// Polls a task once, or drops its future if it was cancelled. A call that is begun belongs to this thread from now on:
/// its future is made here, and need not be `Send`.
pub fn run(runnable: Runnable) {
    let task = runnable.metadata();
    if !task.may_be_touched_here() {
        return;
    }
    if task.caller.is_some() {
        task.owner.store(here(), Ordering::Relaxed);
    }
    task.begun.store(true, Ordering::Relaxed);
    runnable.into_inner().run();
    // A task that was cancelled while it moved does not schedule itself.
    MOVING.with(|moving| moving.set(None));
}

static LEAKED: atomic::AtomicUsize = atomic::AtomicUsize::new(0);

/// How many `!Send` tasks of this process were forgotten because only another thread could have dropped them.
pub fn leaked() -> usize {
    LEAKED.load(Ordering::Relaxed)
}

/// Which task moves, by the address of its waker's data, and where to.
type Move = (*const (), Arc<Mailbox>);

thread_local! {
    /// The mailbox of the task that is being polled here, innermost.
    static RUNNING_IN: Cell<*const Mailbox> = const { Cell::new(ptr::null()) };
    /// Where the task that is being polled wants to go on. `ManuallyDrop`, here and below, to be had in thread-local
    /// destructors; they are empty whenever no task is being polled.
    static WANTED: ManuallyDrop<Cell<Option<Arc<Mailbox>>>> = const { ManuallyDrop::new(Cell::new(None)) };
    /// Where the task that was just polled goes on: for its `schedule`, which follows on this thread. With its waker's
    /// data, for if it was cancelled meanwhile its destructors come first, and wake others.
    static MOVING: ManuallyDrop<Cell<Option<Move>>> = const { ManuallyDrop::new(Cell::new(None)) };
}

/// Asks that the task which is being polled go on in `target`. False if it runs there.
pub fn move_to(target: &Arc<Mailbox>) -> bool {
    if runs_in(target) {
        return false;
    }
    WANTED.with(|wanted| wanted.set(Some(Arc::clone(target))));
    true
}

/// Whether the task that is being polled, innermost, lives in `mailbox`.
pub fn runs_in(mailbox: &Arc<Mailbox>) -> bool {
    ptr::eq(RUNNING_IN.get(), Arc::as_ptr(mailbox))
}

/// Queues a woken task where it is at home.
fn schedule(origin: &Arc<Mailbox>, runnable: Runnable) {
    if fork::is_child() {
        // Its parent's, like the queue.
        return mem::forget(runnable);
    }
    let task = runnable.metadata();
    match MOVING.with(|moving| moving.take()) {
        Some((moving, target)) if moving == runnable.0.waker().data() => {
            *lock(&task.place) = Some(target);
            task.moved.store(true, Ordering::Release);
        }
        another => MOVING.with(|moving| moving.set(another)),
    }
    let place = task.moved.load(Ordering::Acquire).then(|| lock(&task.place).clone()).flatten();
    // A closed context refuses a new one, which drops it.
    drop(place.as_ref().unwrap_or(origin).push_task(runnable));
}

/// Spawns a task that may run on any thread.
pub fn spawn<F>(mailbox: &Arc<Mailbox>, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    // SAFETY: the future is `Send` and `'static`.
    let task = unsafe { spawn_for(mailbox, 0, None, future) };
    JoinHandle { task: Some(task) }
}

/// Spawns a task that belongs to this thread.
pub fn spawn_local<F>(mailbox: &Arc<Mailbox>, future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    // SAFETY: this thread is named as the owner, and the future is `'static`.
    let task = unsafe { spawn_for(mailbox, here(), None, future) };
    JoinHandle { task: Some(task) }
}

/// Sends a call. Dropping what is returned cancels it.
///
/// # Safety
///
/// Until `future` is dropped everything that it borrows must live. It must be sound to send it before its first poll.
pub unsafe fn send_call<F: Future<Output = ()>>(mailbox: &Arc<Mailbox>, caller: Caller, future: F) -> Sent {
    // SAFETY: a call is owned by the thread that polls it first, `run` sees to that, and is `Send` before, as the caller
    // promises. So is how long its borrows live.
    unsafe { spawn_for(mailbox, 0, Some(caller), future) }
}

/// A call sent to another context.
pub type Sent = async_task::FallibleTask<(), Meta>;

/// # Safety
///
/// `F` is `Send`, or `owner` is this thread, or there is a caller and `F` is sound to send before its first poll. What it
/// borrows outlives it.
unsafe fn spawn_for<F: Future>(
    mailbox: &Arc<Mailbox>,
    owner: u64,
    caller: Option<Caller>,
    future: F,
) -> async_task::FallibleTask<F::Output, Meta> {
    let registered_owner = (owner != 0).then_some(owner);
    let (runnable, task) = mailbox.register(registered_owner, |key| {
        let listed = Listed {
            future: ManuallyDrop::new(future),
            entry: Entry { mailbox: Arc::clone(mailbox), key, unadopted: true },
            caller: caller.as_ref().map(|caller| caller.thread),
            unit: Unit::new(),
        };
        let origin = Arc::clone(mailbox);
        let schedule = move |runnable| schedule(&origin, Runnable::new(runnable));
        let builder = async_task::Builder::new().propagate_panic(true).metadata(Meta::new(owner, caller));
        // SAFETY: `spawn_unchecked` asks for four things. A future that is not `Send` is run and dropped on one thread:
        // both happen through its `Runnable` alone, which looks at the owner in `run` and in its drop (the task's other
        // references hand the future to `schedule`, so to them, when they are the last). What the future borrows
        // outlives it, by this function's contract. `schedule` is `Send + Sync`, for a mailbox is, and `'static`.
        let (runnable, task) = unsafe { builder.spawn_unchecked(|_| listed, schedule) };
        (runnable.waker(), (runnable, task))
    });
    runnable.schedule();
    task.fallible()
}

/// A task's future together with its place in the list of the living.
struct Listed<F> {
    future: ManuallyDrop<F>,
    entry: Entry,
    /// The thread that waits for it, if it is a call.
    caller: Option<u64>,
    unit: Unit,
}

impl<F> Drop for Listed<F> {
    fn drop(&mut self) {
        // async-task aborts the process if this panics. The hook has printed the message; the task is gone as asked.
        let dropped = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: dropped here and nowhere else, where it was pinned.
            unsafe { ManuallyDrop::drop(&mut self.future) };
        }));
        if let Err(payload) = dropped {
            // Its destructor may panic in turn.
            mem::forget(payload);
        }
    }
}

impl<F: Future> Future for Listed<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        struct Restore(*const Mailbox, Mark, Option<Arc<Mailbox>>);
        impl Drop for Restore {
            fn drop(&mut self) {
                coroutine::mark(self.1);
                RUNNING_IN.set(self.0);
                WANTED.with(|wanted| wanted.set(self.2.take()));
            }
        }

        // SAFETY: `future` is pinned whenever `Listed` is: it is never moved out, and dropped in place. The other fields
        // are not pinned.
        let (future, entry, caller, unit) = unsafe {
            let listed = self.get_unchecked_mut();
            (Pin::new_unchecked(&mut *listed.future), &mut listed.entry, listed.caller, listed.unit)
        };
        if mem::take(&mut entry.unadopted)
            && let Some(caller) = caller
        {
            entry.mailbox.adopt(entry.key, caller);
        }
        let _running = unit.run();
        // The task further down the stack may have asked already, in one branch, and wait here in another.
        let outer_wanted = WANTED.with(|wanted| wanted.take());
        let _restore = Restore(RUNNING_IN.replace(Arc::as_ptr(&entry.mailbox)), coroutine::mark_polled(), outer_wanted);
        let result = future.poll(cx);
        if result.is_pending()
            && let Some(target) = WANTED.with(|wanted| wanted.take())
        {
            let key = target.register(None, |key| (cx.waker().clone(), key));
            // The old entry goes with the assignment.
            *entry = Entry { mailbox: Arc::clone(&target), key, unadopted: false };
            MOVING.with(|moving| moving.set(Some((cx.waker().data(), target))));
        }
        result
    }
}

struct Entry {
    mailbox: Arc<Mailbox>,
    key: usize,
    /// Whether it was not polled yet.
    unadopted: bool,
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
    /// Gone when it gave its result.
    task: Option<async_task::FallibleTask<T, Meta>>,
}

impl<T> JoinHandle<T> {
    /// Cancels the task. Its future is dropped, outside coroutine context, on its context's home thread, when that next polls; the returned future
    /// waits for it and gives the result if the task had finished before. Dropping that future does not undo it.
    ///
    /// # Panics
    ///
    /// The returned future raises the panic of a task that had panicked.
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
        let task = self.task.as_mut().expect("JoinHandle: awaited again after it gave its result; await it once");
        let output = ready!(Pin::new(task).poll(cx));
        self.task = None;
        match output {
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
