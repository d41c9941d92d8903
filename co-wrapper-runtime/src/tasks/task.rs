//! Tasks: async-task's cell with our queue behind it, and the handle that waits for one.
//!
//! A task is *begun* once it was polled; the nesting rule of `context/serve.rs` asks. A `!Send` task has an owner, the
//! thread that spawned it, and is polled and dropped there alone.

use std::{
    cell::{Cell, UnsafeCell},
    fmt,
    future::Future,
    mem::{self, ManuallyDrop},
    panic::{AssertUnwindSafe, Location, catch_unwind},
    pin::Pin,
    ptr::{self, NonNull},
    sync::{Arc, atomic},
    task::{Context, Poll, Waker, ready},
};

use super::{
    coroutine::{self, Mark},
    mailbox::Mailbox,
    unit::Unit,
};
use crate::{
    fork,
    park::{WakeSlot, here},
    sync::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
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

    /// Its entry for the list of the living.
    pub fn alive(&self) -> Alive {
        Alive { waker: self.0.waker(), meta: NonNull::from(self.metadata()) }
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
///
/// One thread at a time polls a task or holds its [`Runnable`], and async-task's state orders one after the other: what is
/// written here is that thread's.
pub struct Meta {
    /// Where it lives.
    place: UnsafeCell<Arc<Mailbox>>,
    /// Where it goes when it is queued next, by `reschedule_self`.
    moves_to: UnsafeCell<Option<Arc<Mailbox>>>,
    /// Its place in the list of the living, 0 for none, else one more than it is.
    key: AtomicUsize,
    /// The thread that a `!Send` task or a begun call belongs to, 0 for none.
    owner: AtomicU64,
    begun: AtomicBool,
    /// Whether it is a call that its caller has taken back: it may be dropped at any time, begun or not.
    taken_back: AtomicBool,
    /// What wakes the blocked caller, if it is a call from another context.
    caller: Option<Arc<WakeSlot>>,
}

// SAFETY: the two cells are touched by the thread that polls the task or holds its `Runnable`; the rest is atomic or never
// changes.
unsafe impl Sync for Meta where Arc<Mailbox>: Send + Sync {}

impl Meta {
    fn new(place: Arc<Mailbox>, owner: u64, caller: Option<Arc<WakeSlot>>) -> Self {
        Self {
            place: UnsafeCell::new(place),
            moves_to: UnsafeCell::new(None),
            key: AtomicUsize::new(0),
            owner: AtomicU64::new(owner),
            begun: AtomicBool::new(false),
            taken_back: AtomicBool::new(false),
            caller,
        }
    }

    /// Whether the task was polled.
    pub fn begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// Whether its caller has taken it back.
    pub fn is_taken_back(&self) -> bool {
        self.taken_back.load(Ordering::Relaxed)
    }

    /// The thread that the task belongs to, if any.
    pub fn owner(&self) -> Option<u64> {
        Some(self.owner.load(Ordering::Relaxed)).filter(|owner| *owner != 0)
    }

    /// The thread that waits for this call, if it is one.
    pub fn caller(&self) -> Option<u64> {
        self.caller.as_ref().map(|caller| caller.thread())
    }

    /// What wakes that thread's call.
    pub fn caller_waker(&self) -> Option<Arc<WakeSlot>> {
        self.caller.clone()
    }

    /// Where it is in its mailbox's list of the living, if it is.
    pub fn key(&self) -> Option<usize> {
        self.key.load(Ordering::Relaxed).checked_sub(1)
    }

    pub fn set_key(&self, key: Option<usize>) {
        self.key.store(key.map_or(0, |key| key + 1), Ordering::Relaxed);
    }

    /// Whether the task may go to another thread between two polls.
    pub fn is_send(&self) -> bool {
        self.owner().is_none() && self.caller.is_none()
    }

    /// Whether a closed context may give it back, to be dropped: it is new, and no other thread's, which alone could.
    pub fn may_be_refused(&self) -> bool {
        !self.begun() && self.may_be_touched_here()
    }

    fn may_be_touched_here(&self) -> bool {
        self.owner().is_none_or(|owner| owner == here())
    }

    /// # Safety
    ///
    /// This thread polls the task or holds its `Runnable`, as long as what is returned is used.
    unsafe fn place(&self) -> &Arc<Mailbox> {
        // SAFETY: so nobody else is at it, and what writes it is not called meanwhile.
        unsafe { &*self.place.get() }
    }

    /// Leaves its place for the one that it goes to, if there is one.
    ///
    /// # Safety
    ///
    /// This thread holds the task's `Runnable`, and uses nothing that `place` returned.
    unsafe fn move_on(&self) {
        // SAFETY: nobody else is at the two.
        unsafe {
            if let Some(target) = (*self.moves_to.get()).take() {
                (*self.place.get()).strike(self);
                *self.place.get() = target;
            }
        }
    }
}

/// A task in its mailbox's list, until it ends.
pub struct Alive {
    waker: Waker,
    /// The task's, which the waker keeps.
    meta: NonNull<Meta>,
}

// SAFETY: a waker may be sent, and what is reached through the pointer too, for it is shared by threads anyway.
unsafe impl Send for Alive where Meta: Sync {}

impl Alive {
    /// What wakes it.
    pub fn waker(&self) -> &Waker {
        &self.waker
    }

    /// What the queue knows of it. Another thread may hold its `Runnable`.
    pub fn metadata(&self) -> &Meta {
        // SAFETY: in the task's allocation, which is there as long as one of its wakers is.
        unsafe { self.meta.as_ref() }
    }
}

/// Polls a task once, or drops its future if it was cancelled. A call that is begun belongs to this thread from now on:
/// its future is made here, and need not be `Send`.
pub fn run(runnable: Runnable) {
    let task = runnable.metadata();
    if !task.may_be_touched_here() {
        return;
    }
    if task.caller.is_some() && !task.begun() {
        // Its caller is between marking it and cancelling it, or past that: async-task alone would begin it in between.
        if task.is_taken_back() {
            return;
        }
        task.owner.store(here(), Ordering::Relaxed);
        // SAFETY: its `Runnable` is here.
        unsafe { task.place() }.adopt();
    }
    task.begun.store(true, Ordering::Relaxed);
    runnable.into_inner().run();
}

static LEAKED: atomic::AtomicUsize = atomic::AtomicUsize::new(0);

/// How many `!Send` tasks of this process were forgotten because only another thread could have dropped them.
pub fn leaked() -> usize {
    LEAKED.load(Ordering::Relaxed)
}

thread_local! {
    /// The mailbox of the task that is being polled here, innermost.
    static RUNNING_IN: Cell<*const Mailbox> = const { Cell::new(ptr::null()) };
    /// Where the task that is being polled wants to go on. `ManuallyDrop`, to be had in thread-local destructors; it is
    /// empty whenever no task is being polled.
    static WANTED: ManuallyDrop<Cell<Option<Arc<Mailbox>>>> = const { ManuallyDrop::new(Cell::new(None)) };
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

/// Queues a woken task where it lives, or goes.
fn schedule(runnable: Runnable) {
    if fork::is_child() {
        // Its parent's, like the queue.
        return mem::forget(runnable);
    }
    // SAFETY: its `Runnable` is here.
    let place = unsafe {
        runnable.metadata().move_on();
        runnable.metadata().place()
    };
    // A closed context refuses a new one, which drops it.
    let refused = if place.is_home_here() {
        // SAFETY: nobody else runs the task before this returns, so it keeps its mailbox.
        unsafe { (*Arc::as_ptr(place)).push_task_here(runnable) }
    } else {
        Arc::clone(place).push_task(runnable)
    };
    drop(refused);
}

/// Spawns a task that may run on any thread.
#[track_caller]
pub fn spawn<F>(mailbox: &Arc<Mailbox>, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    // SAFETY: the future is `Send` and `'static`.
    let task = unsafe { spawn_for(mailbox, 0, None, future) };
    JoinHandle { task: Some(task.fallible()), site: Location::caller() }
}

/// Spawns a task that belongs to this thread.
#[track_caller]
pub fn spawn_local<F>(mailbox: &Arc<Mailbox>, future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    // SAFETY: this thread is named as the owner, and the future is `'static`.
    let task = unsafe { spawn_for(mailbox, here(), None, future) };
    JoinHandle { task: Some(task.fallible()), site: Location::caller() }
}

/// Sends a call. Dropping what is returned cancels it.
///
/// # Safety
///
/// Until `future` is dropped everything that it borrows must live. It must be sound to send it before its first poll.
pub unsafe fn send_call<F: Future<Output = ()>>(mailbox: &Arc<Mailbox>, caller: Arc<WakeSlot>, future: F) -> Sent {
    // SAFETY: a call is owned by the thread that polls it first, `run` sees to that, and is `Send` before, as the caller
    // promises. So is how long its borrows live.
    unsafe { spawn_for(mailbox, 0, Some(caller), future) }
}

/// A call sent to another context.
pub type Sent = async_task::Task<(), Meta>;

/// Cancels a call that was sent to `mailbox`, which drops it at its home's next look, whatever that may begin.
pub fn take_back(sent: Sent, mailbox: &Mailbox) {
    sent.metadata().taken_back.store(true, Ordering::Relaxed);
    drop(sent);
    mailbox.ring();
}

/// # Safety
///
/// `F` is `Send`, or `owner` is this thread, or there is a caller and `F` is sound to send before its first poll. What it
/// borrows outlives it.
unsafe fn spawn_for<F: Future>(
    mailbox: &Arc<Mailbox>,
    owner: u64,
    caller: Option<Arc<WakeSlot>>,
    future: F,
) -> async_task::Task<F::Output, Meta> {
    let meta = Meta::new(Arc::clone(mailbox), owner, caller);
    let listed = |meta| Listed { future: ManuallyDrop::new(future), meta, unit: Unit::new() };
    let schedule = |runnable| schedule(Runnable::new(runnable));
    let builder = async_task::Builder::new().propagate_panic(true).metadata(meta);
    // SAFETY: `spawn_unchecked` asks for four things. A future that is not `Send` is run and dropped on one thread: both
    // happen through its `Runnable` alone, which looks at the owner in `run` and in its drop (the task's other references
    // hand the future to `schedule`, so to them, when they are the last). What the future borrows outlives it, by this
    // function's contract, and `meta` is the task's own. `schedule` is `Send + Sync` and `'static`, for it holds nothing.
    let (runnable, task) = unsafe { builder.spawn_unchecked(listed, schedule) };
    runnable.schedule();
    task
}

/// A task's future, and how it leaves the list of the living.
struct Listed<'a, F> {
    future: ManuallyDrop<F>,
    meta: &'a Meta,
    unit: Unit,
}

impl<F> Drop for Listed<'_, F> {
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
        // SAFETY: who drops a task's future polls it or holds its `Runnable`.
        unsafe { self.meta.place() }.strike(self.meta);
    }
}

impl<F: Future> Future for Listed<'_, F> {
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
        let (future, meta, unit) = unsafe {
            let listed = self.get_unchecked_mut();
            (Pin::new_unchecked(&mut *listed.future), listed.meta, listed.unit)
        };
        // SAFETY: this polls it.
        let place = Arc::as_ptr(unsafe { meta.place() });
        let _running = unit.run();
        // The task further down the stack may have asked already, in one branch, and wait here in another.
        let outer_wanted = WANTED.with(|wanted| wanted.take());
        let _restore = Restore(RUNNING_IN.replace(place), coroutine::mark_polled(), outer_wanted);
        let result = future.poll(cx);
        if result.is_pending()
            && let Some(target) = WANTED.with(|wanted| wanted.take())
        {
            // SAFETY: this polls it.
            unsafe { *meta.moves_to.get() = Some(target) };
        }
        result
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
    /// Where it was spawned.
    site: &'static Location<'static>,
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
        let site = self.site;
        let Some(task) = self.task.as_mut() else {
            panic!(
                "JoinHandle: of the task spawned at {site}, and awaited again after it gave its result; await it once"
            );
        };
        let output = ready!(Pin::new(task).poll(cx));
        self.task = None;
        match output {
            Some(output) => Poll::Ready(output),
            None => panic!(
                "JoinHandle: the task was dropped before it finished, spawned at {site}: its context was closed, or the thread of a \
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
