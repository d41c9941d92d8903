//! Tasks: async-task's allocation, queued by whatever implements [`Schedule`] (a context's scheduler).
//!
//! A task is *started* once it was polled; the nesting rule of `poll_loop/serve.rs` depends on that. A `!Send` task has
//! an *owner*, the thread that spawned it, and is polled and dropped only there. A *call* is a task that a thread, its
//! *caller*, has sent and waits for (`sent.rs`). The thread that polls a call first becomes its owner.
//!
//! # What this file relies on in async-task
//!
//! Its documentation promises less than this, so its minor version is pinned. As of 4.7 (`raw.rs`, `task.rs`,
//! `runnable.rs`):
//!
//! - A `Runnable` of a `!Send` future may be stored, asked for its metadata and waker, and forgotten on any thread.
//!   Only its `run` and its drop touch the future.
//! - Only whoever runs or drops its `Runnable` drops a future. The last waker, or a `Task` that cancels, makes a
//!   `Runnable` and hands it to `schedule` instead.
//! - Whoever drops a future holds a reference to the task until the destructor has returned. It takes the awaiter out
//!   after the destructor and before it gives up the reference. So `Listed` may use the metadata in its destructor;
//!   when the awaiter is woken, the future has been dropped; and what the awaiter then does may free the task.
//! - The metadata lives as long as any waker does, and the output is stored after the future was dropped.
//!
//! async-task ends the process if a user's destructor or waker panics inside it. So each piece of user code that it is
//! given is wrapped: the future in [`Listed`], its outcome in [`Output`] (`outcome.rs`), the joiner's waker in `Joiner`
//! (`context/join.rs`).

use std::{
    cell::{Cell, UnsafeCell},
    future::Future,
    mem::{self, ManuallyDrop},
    panic::{RefUnwindSafe, UnwindSafe},
    pin::Pin,
    ptr::{self, NonNull},
    sync::{Arc, atomic},
    task::{Context, Poll, Waker},
    thread::LocalKey,
};

use super::{
    activation::{self, Activation},
    outcome::{Outcome, Output},
    unit::Unit,
};
use crate::sys::{
    fork,
    panics::Payload,
    park::{WakeSlot, here},
    sync::{AtomicBool, AtomicU32, AtomicU64, Ordering, is_send_and_sync},
};

/// What became of an item that was to be queued on the home thread.
pub enum PushedHere<T> {
    Queued,
    /// The context is closed and accepts no new item.
    Refused(T),
    /// This thread is not the home.
    NotHome(T),
}

/// Where tasks wait to be polled: a context's scheduler.
pub trait Schedule: Sized + Send + Sync + 'static {
    /// Calls [`Runnable::queue`]. A function of the scheduler, so that it is compiled once, in this crate, and not
    /// wherever users spawn.
    fn schedule(runnable: Runnable<Self>);
    /// Queues a task, from a thread that is not the home. Gives a new one back if the scheduler is closed.
    fn push_task(self: &Arc<Self>, runnable: Runnable<Self>) -> Result<(), Runnable<Self>>;
    /// The same, if this is the home thread.
    fn push_task_here(&self, runnable: Runnable<Self>) -> PushedHere<Runnable<Self>>;
    /// Called when a task has ended or moves to another scheduler.
    fn remove(&self, task: &Meta<Self>);
    /// Called on the home thread when it begins a call.
    fn adopt(&self);
    /// What this thread keeps of the task that it polls.
    fn running() -> &'static LocalKey<Running<Self>>;
}

/// What a thread keeps of the innermost task that it polls, in addition to the activation (`activation.rs`).
pub struct Running<S> {
    /// The scheduler to which it has asked to move. `ManuallyDrop`, so that thread-local destructors can use it. It is
    /// empty whenever no task is being polled, so nothing leaks.
    wanted: ManuallyDrop<Cell<Option<Arc<S>>>>,
}

impl<S> Running<S> {
    /// Nothing is polled.
    pub const fn nothing() -> Self {
        Self { wanted: ManuallyDrop::new(Cell::new(None)) }
    }
}

/// A task that is to be polled once, or dropped. If a task that another thread owns is dropped here, it is leaked
/// instead, even while unwinding: its `!Send` future may not be touched.
pub struct Runnable<S>(ManuallyDrop<async_task::Runnable<Meta<S>>>);

impl<S> Runnable<S> {
    fn new(runnable: async_task::Runnable<Meta<S>>) -> Self {
        Self(ManuallyDrop::new(runnable))
    }

    pub fn metadata(&self) -> &Meta<S> {
        self.0.metadata()
    }

    /// The task's entry for the list of live tasks.
    pub fn owned(&self) -> OwnedTask<S> {
        let alive = OwnedTask { waker: self.0.waker(), meta: NonNull::from(self.metadata()) };
        if !self.metadata().is_lent() {
            // SAFETY: `lent` is not set, so the task is being spawned and no other thread reads it, see `lent`.
            unsafe { *self.metadata().lent.get() = Some(ManuallyDrop::new(ptr::read(&raw const alive.waker))) };
        }
        alive
    }

    /// Queues the task, which is new or was woken, in its scheduler, or in the one that it moves to.
    pub fn queue(self)
    where
        S: Schedule,
    {
        if fork::is_child() {
            // The task is its parent's, like the queue.
            return mem::forget(self);
        }
        // SAFETY: this thread holds the `Runnable`.
        let scheduler = unsafe {
            self.metadata().move_on();
            Arc::as_ptr(self.metadata().scheduler())
        };
        // SAFETY: the task keeps its scheduler alive, and is not run before this returns: it is given back, or queued
        // by its home, which is this thread then.
        match unsafe { (*scheduler).push_task_here(self) } {
            PushedHere::Queued => {}
            PushedHere::Refused(runnable) => drop(runnable),
            PushedHere::NotHome(runnable) => runnable.queue_elsewhere(),
        }
    }

    /// The same, if this thread is not the home.
    fn queue_elsewhere(self)
    where
        S: Schedule,
    {
        // Sets `lent` before another thread sees the task. A call needs none, because no handle reads it.
        if !self.metadata().is_lent() && self.metadata().caller.is_none() {
            drop(self.owned());
        }
        // SAFETY: this thread holds the `Runnable`.
        let scheduler = Arc::clone(unsafe { self.metadata().scheduler() });
        // A closed context refuses a new task, which is then dropped here.
        drop(scheduler.push_task(self));
    }

    fn into_inner(self) -> async_task::Runnable<Meta<S>> {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: taken once, because `this` is not dropped.
        unsafe { ManuallyDrop::take(&mut this.0) }
    }
}

impl<S> Drop for Runnable<S> {
    fn drop(&mut self) {
        if self.metadata().may_be_touched_here() {
            // SAFETY: dropped here only: `into_inner` takes it out of a value that is never dropped.
            unsafe { ManuallyDrop::drop(&mut self.0) };
        } else {
            LEAKED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What the queue knows of a task. Small, so that together with a future of a few words it fits into malloc's fastest
/// size.
///
/// Only one thread at a time polls a task or holds its [`Runnable`], and async-task's state orders these threads. Only
/// that thread writes here, apart from `aborted`.
pub struct Meta<S> {
    /// The scheduler in which the task was spawned.
    spawned_in: Arc<S>,
    /// Set once it has asked to move to another.
    moves: UnsafeCell<Option<Box<Moves<S>>>>,
    /// One more than its index in the list of live tasks; 0 if it is not listed.
    key: AtomicU32,
    /// The thread that owns a `!Send` task or a started call; 0 if there is none, [`FIRST`] if the first that polls it
    /// will.
    owner: AtomicU64,
    started: AtomicBool,
    /// A copy of the task's waker for whoever has the `async_task::Task`, which keeps the memory. It holds no
    /// reference, because counting one costs as much as the rest of a handle. Written once, by whoever holds the
    /// `Runnable`; for a task that has a handle, before spawning returns or another thread sees the task. `None` if the
    /// task was dropped before it was queued.
    lent: UnsafeCell<Option<ManuallyDrop<Waker>>>,
    /// Whether its future is to be dropped instead of polled.
    aborted: AtomicBool,
    /// Whether the future was dropped.
    ended: AtomicBool,
    /// What wakes the blocked caller, if this is a call.
    caller: Option<Arc<WakeSlot>>,
}

const _: () = {
    is_send_and_sync::<Arc<WakeSlot>>();
};

// SAFETY: only the thread that polls the task or holds its `Runnable` touches `moves`. `lent` is written
// before any other thread reads it, see there. The rest is atomic or never changes.
unsafe impl<S> Sync for Meta<S> where Arc<S>: Send + Sync {}

/// Where a task is that has asked to move (`reschedule_self`).
struct Moves<S> {
    /// The scheduler that it belongs to; `None` if that is still the first one.
    present: Option<Arc<S>>,
    /// The scheduler to which it moves when it is queued next.
    wanted: Option<Arc<S>>,
}

/// Tells a live task from others: its address, which is compared and never dereferenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity(usize);

/// Stands for the thread that will poll the task first. No thread has this number.
pub const FIRST: u64 = u64::MAX;

impl<S> Meta<S> {
    fn new(scheduler: Arc<S>, owner: u64, caller: Option<Arc<WakeSlot>>) -> Self {
        Self {
            spawned_in: scheduler,
            moves: UnsafeCell::new(None),
            key: AtomicU32::new(0),
            owner: AtomicU64::new(owner),
            started: AtomicBool::new(false),
            lent: UnsafeCell::new(None),
            aborted: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            caller,
        }
    }

    /// The scheduler in which the task was spawned.
    pub fn spawned_in(&self) -> &Arc<S> {
        &self.spawned_in
    }

    /// Tells this task from others while it lives.
    pub fn identity(&self) -> Identity {
        Identity(ptr::from_ref(self).addr())
    }

    /// Whether the task was polled.
    pub fn is_started(&self) -> bool {
        self.started.load(Ordering::Relaxed)
    }

    /// Whether it is a call that its caller has taken back. Then it may be dropped at any time, whatever the loop holds
    /// back.
    pub fn is_cancelled(&self) -> bool {
        self.caller.as_ref().is_some_and(|caller| caller.is_cancelled())
    }

    /// The thread that the task belongs to, if any.
    pub fn owner(&self) -> Option<u64> {
        Some(self.owner.load(Ordering::Relaxed)).filter(|owner| *owner != 0 && *owner != FIRST)
    }

    /// The thread that waits for this call, if it is one.
    pub fn caller(&self) -> Option<u64> {
        self.caller.as_ref().map(|caller| caller.thread())
    }

    /// What wakes that thread's call.
    pub fn caller_waker(&self) -> Option<Arc<WakeSlot>> {
        self.caller.clone()
    }

    /// Its index in the scheduler's list of live tasks, if it is listed.
    pub fn key(&self) -> Option<usize> {
        self.key.load(Ordering::Relaxed).checked_sub(1).map(|key| key as usize)
    }

    pub fn set_key(&self, key: Option<usize>) {
        let key = key.map_or(0, |key| u32::try_from(key + 1).expect("memory ends before the numbers do"));
        self.key.store(key, Ordering::Relaxed);
    }

    fn is_lent(&self) -> bool {
        // SAFETY: nobody writes it meanwhile, see the field.
        unsafe { (*self.lent.get()).is_some() }
    }

    /// What aborts the task. `None` if the task was dropped before it was queued. It holds no reference: the caller's
    /// `async_task::Task` keeps the task.
    pub fn owned(&self) -> Option<ManuallyDrop<OwnedTask<S>>> {
        // SAFETY: written before any other thread saw the task. The copy is never dropped, and is used only while
        // `self` is borrowed. Its clones hold references of their own.
        let waker = unsafe { (*self.lent.get()).as_ref().map(|waker| ptr::read(waker)) }?;
        Some(ManuallyDrop::new(OwnedTask { waker: ManuallyDrop::into_inner(waker), meta: NonNull::from(self) }))
    }

    /// Whether the future was dropped.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Whether the task may move to another thread between two polls.
    pub fn is_send(&self) -> bool {
        self.owner.load(Ordering::Relaxed) == 0 && self.caller.is_none()
    }

    /// Whether a closed context may give the task back, to be dropped here: it is new, and no other thread owns it.
    pub fn may_be_refused(&self) -> bool {
        !self.is_started() && self.may_be_touched_here()
    }

    fn may_be_touched_here(&self) -> bool {
        self.owner().is_none_or(|owner| owner == here())
    }

    /// The scheduler that the task belongs to. It is queued there when it is woken.
    ///
    /// # Safety
    ///
    /// This thread polls the task or holds its `Runnable` for as long as the result is used.
    unsafe fn scheduler(&self) -> &Arc<S> {
        // SAFETY: only this thread uses the cell, by this function's contract, and `move_on`, which writes it, is not
        // called meanwhile.
        let moves = unsafe { &*self.moves.get() };
        moves.as_ref().and_then(|moves| moves.present.as_ref()).unwrap_or(&self.spawned_in)
    }

    /// # Safety
    ///
    /// This thread polls the task or holds its `Runnable`, and uses neither a result of this nor of
    /// [`scheduler`](Self::scheduler) for as long as the result is used.
    #[cold]
    #[expect(clippy::mut_from_ref, reason = "the caller is the only user of the cell")]
    unsafe fn moves_mut(&self) -> &mut Moves<S> {
        // SAFETY: only this thread uses the cell, and only through this reference, by this function's contract.
        let moves = unsafe { &mut *self.moves.get() };
        moves.get_or_insert_with(|| Box::new(Moves { present: None, wanted: None }))
    }

    /// Moves the task to the scheduler that it has asked for, if it has.
    ///
    /// # Safety
    ///
    /// This thread holds the task's `Runnable`, and uses no result of [`scheduler`](Self::scheduler) any more.
    unsafe fn move_on(&self)
    where
        S: Schedule,
    {
        // SAFETY: only this thread uses the cell, by this function's contract.
        let wanted = unsafe { (*self.moves.get()).as_mut().and_then(|moves| moves.wanted.take()) };
        if let Some(target) = wanted {
            // SAFETY: as above; the result is not used after this statement.
            unsafe { self.scheduler() }.remove(self);
            // SAFETY: as above.
            unsafe { self.moves_mut() }.present = Some(target);
        }
    }
}

/// A live task: an entry in its scheduler's list until it ends, or a handle that may abort it.
pub struct OwnedTask<S> {
    waker: Waker,
    /// In the task's allocation, which the waker keeps.
    meta: NonNull<Meta<S>>,
}

const _: () = is_send_and_sync::<Waker>();

// SAFETY: a waker may be sent and shared. The pointer's target is `Sync`, and lives as long as the waker.
unsafe impl<S> Send for OwnedTask<S> where Meta<S>: Sync {}
// SAFETY: as above.
unsafe impl<S> Sync for OwnedTask<S> where Meta<S>: Sync {}

// Our own code does not panic while it changes a task, so nobody sees one half changed.
impl<S> UnwindSafe for OwnedTask<S> {}
impl<S> RefUnwindSafe for OwnedTask<S> {}

impl<S> Clone for OwnedTask<S> {
    fn clone(&self) -> Self {
        Self { waker: self.waker.clone(), meta: self.meta }
    }
}

impl<S> OwnedTask<S> {
    /// Wakes the task, and has its future dropped instead of polled.
    pub fn abort(&self) {
        if !fork::is_child() {
            self.metadata().aborted.store(true, Ordering::Release);
            self.waker.wake_by_ref();
        }
    }

    /// What wakes it.
    pub fn waker(&self) -> &Waker {
        &self.waker
    }

    /// What the queue knows of the task. Another thread may hold its `Runnable`.
    pub fn metadata(&self) -> &Meta<S> {
        // SAFETY: in the task's allocation, which lives as long as one of its wakers.
        unsafe { self.meta.as_ref() }
    }
}

/// Polls a task once, or drops its future if it was cancelled. If this begins a call, this thread owns the call from
/// now on: its future is made here, and need not be `Send`.
pub fn run<S: Schedule>(runnable: Runnable<S>) {
    let task = runnable.metadata();
    if !task.may_be_touched_here() {
        return;
    }
    if let Some(caller) = &task.caller
        && !task.is_started()
    {
        if caller.is_cancelled() {
            return;
        }
        caller.set_started();
        task.owner.store(here(), Ordering::Relaxed);
        // SAFETY: this thread holds the `Runnable`.
        unsafe { task.scheduler() }.adopt();
    }
    #[cfg(feature = "coroutine")]
    if task.owner.load(Ordering::Relaxed) == FIRST {
        task.owner.store(here(), Ordering::Relaxed);
        // SAFETY: this thread holds the `Runnable`.
        unsafe { task.scheduler() }.adopt();
    }
    task.started.store(true, Ordering::Relaxed);
    runnable.into_inner().run();
}

static LEAKED: atomic::AtomicUsize = atomic::AtomicUsize::new(0);

/// How many `!Send` tasks of this process were leaked because only another thread could have dropped them.
pub fn leaked() -> usize {
    LEAKED.load(Ordering::Relaxed)
}

/// Asks that the task that is being polled move to `target`. False if it is there already.
pub fn move_to<S: Schedule>(target: &Arc<S>) -> bool {
    if runs_in(target) {
        return false;
    }
    S::running().with(|running| running.wanted.set(Some(Arc::clone(target))));
    true
}

/// Whether the innermost task that is being polled belongs to `scheduler`.
pub fn runs_in<S: Schedule>(scheduler: &Arc<S>) -> bool {
    activation::runs_in(Arc::as_ptr(scheduler))
}

/// Spawns a task that this thread owns, if `owner` is its number; that the thread which first polls it owns from then
/// on, with [`FIRST`] or a caller; and that nobody owns with 0.
///
/// # Safety
///
/// `F` is `Send`; or `owner` is this thread; or sending `F` is sound before its first poll, and `owner` is [`FIRST`] or
/// there is a caller. What `F` borrows outlives it.
pub unsafe fn spawn_for<S: Schedule, F: Future>(
    scheduler: &Arc<S>,
    owner: u64,
    caller: Option<Arc<WakeSlot>>,
    future: F,
) -> async_task::Task<Output<F::Output>, Meta<S>> {
    let listed = |meta| Listed { future: ManuallyDrop::new(future), meta, unit: Unit::new() };
    let schedule = |runnable| S::schedule(Runnable::new(runnable));
    let builder = async_task::Builder::new().metadata(Meta::new(Arc::clone(scheduler), owner, caller));
    // SAFETY: `spawn_unchecked` asks for four things, and the head of this file says what is relied on. A future that
    // is not `Send` is run and dropped on one thread: both happen only through its `Runnable`, and `run` and the drop
    // of `Runnable` check the owner. (If another reference to the task is the last one, it hands the future to
    // `schedule`, so to a `Runnable`.) What the future borrows outlives it, by this function's contract, and the
    // metadata is the task's own. `schedule` is `Send`, `Sync` and `'static`, because it captures nothing.
    let (runnable, task) = unsafe { builder.spawn_unchecked(listed, schedule) };
    runnable.schedule();
    task
}

/// A task's future. Its drop removes the task from the list of live tasks.
struct Listed<'a, F, S: Schedule> {
    future: ManuallyDrop<F>,
    meta: &'a Meta<S>,
    unit: Unit,
}

impl<F, S: Schedule> Drop for Listed<'_, F, S> {
    fn drop(&mut self) {
        // async-task would abort the process if this panicked. The panic hook has printed the message, and the task is
        // gone as asked.
        let dropped = Payload::of(|| {
            // SAFETY: dropped here and nowhere else, where it was pinned.
            unsafe { ManuallyDrop::drop(&mut self.future) };
        });
        drop(dropped);
        self.meta.ended.store(true, Ordering::Release);
        // SAFETY: whoever drops a task's future polls it or holds its `Runnable`.
        unsafe { self.meta.scheduler() }.remove(self.meta);
    }
}

impl<F: Future, S: Schedule> Future for Listed<'_, F, S> {
    type Output = Output<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        struct Restore<S: Schedule>(Activation, Option<Arc<S>>);
        impl<S: Schedule> Drop for Restore<S> {
            fn drop(&mut self) {
                self.0.set();
                S::running().with(|running| running.wanted.set(self.1.take()));
            }
        }

        // SAFETY: `future` is pinned whenever `Listed` is: it is never moved out, and dropped in place. The other
        // fields are not pinned.
        let (future, meta, unit) = unsafe {
            let listed = self.get_unchecked_mut();
            (Pin::new_unchecked(&mut *listed.future), listed.meta, listed.unit)
        };
        if meta.aborted.load(Ordering::Acquire) {
            // async-task drops the future now, outside coroutine context.
            return Poll::Ready(Output::new(Outcome::Aborted));
        }
        // SAFETY: this thread polls the task.
        let scheduler = Arc::as_ptr(unsafe { meta.scheduler() });
        // An outer task may have asked to move, in one branch of a `join!`, and wait here in another branch.
        let outer_wanted = S::running().with(|running| running.wanted.take());
        let outer = Activation::current();
        outer.polled(unit, scheduler).set();
        let _restore = Restore(outer, outer_wanted);
        let outcome = match Payload::of(|| future.poll(cx)) {
            Ok(Poll::Ready(output)) => Outcome::Done(output),
            Ok(Poll::Pending) => {
                if let Some(target) = S::running().with(|running| running.wanted.take()) {
                    // SAFETY: this thread polls the task.
                    unsafe { meta.moves_mut() }.wanted = Some(target);
                }
                return Poll::Pending;
            }
            Err(payload) => Outcome::Panicked(payload),
        };
        Poll::Ready(Output::new(outcome))
    }
}
