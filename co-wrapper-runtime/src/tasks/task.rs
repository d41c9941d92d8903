//! Tasks: async-task's cell, queued by whatever [`Schedule`] is behind it.
//!
//! A task is *begun* once it was polled; the nesting rule of `poll_loop/serve.rs` asks. A `!Send` task has an owner, the
//! thread that spawned it, and is polled and dropped there alone.
//!
//! # What is relied on in async-task
//!
//! Its documentation promises less than this, so its minor version is pinned. As of 4.7 (`raw.rs`, `task.rs`, `runnable.rs`):
//!
//! - A `Runnable` of a `!Send` future may be stored, asked for its metadata and waker, and forgotten on any thread. Only
//!   its `run` and its drop touch the future.
//! - A future is dropped by nobody but who runs or drops its `Runnable`. The last waker, or a `Task` that cancels, makes a
//!   `Runnable` and hands it to `schedule` instead.
//! - Whoever drops a future holds a reference to the task until the destructor has returned, and takes the awaiter out
//!   only after that and before it gives the reference up: so `Listed` may use the metadata in its destructor, who awaits
//!   a task finds its future dropped, and what the awaiter does when it is woken may free the task.
//! - The metadata lives as long as any waker does, and the output is stored after the future was dropped.
//!
//! async-task ends the process where a user's destructor or waker panics inside it. So what it gets of the user's is wrapped:
//! the future in [`Listed`], what comes of it in [`Output`], the waker of who joins in `Joiner` (`context/join.rs`).

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
    unit::Unit,
};
use crate::sys::{
    fork,
    panics::{self, Payload},
    park::{WakeSlot, here},
    sync::{AtomicBool, AtomicU32, AtomicU64, Ordering, is_send_and_sync},
};

/// What became of an item that the home thread was to queue.
pub enum PushedHere<T> {
    Queued,
    /// The context is closed, and takes nothing new.
    Refused(T),
    /// This thread is not the home.
    NotHome(T),
}

/// Where tasks wait to be polled: a context's scheduler.
pub trait Schedule: Sized + Send + Sync + 'static {
    /// [`Runnable::queue`], as a function of the scheduler's own: compiled with the rest of it, and not where users spawn.
    fn schedule(runnable: Runnable<Self>);
    /// Queues a task, from any thread. Gives a new one back if it takes nothing in any more.
    fn push_task(self: &Arc<Self>, runnable: Runnable<Self>) -> Result<(), Runnable<Self>>;
    /// The same if this is the home thread.
    fn push_task_here(&self, runnable: Runnable<Self>) -> PushedHere<Runnable<Self>>;
    /// A task has ended, or goes elsewhere.
    fn remove(&self, task: &Meta<Self>);
    /// A call is begun here, on the home thread.
    fn adopt(&self);
    /// What this thread polls.
    fn running() -> &'static LocalKey<Running<Self>>;
}

/// What a thread keeps of the task that it polls, the innermost, beside what `activation.rs` does.
pub struct Running<S> {
    /// Where it wants to go on. `ManuallyDrop`, so that this can be had in thread-local destructors; it is empty whenever no
    /// task is being polled.
    wanted: ManuallyDrop<Cell<Option<Arc<S>>>>,
}

impl<S> Running<S> {
    /// Nothing is polled.
    pub const fn nothing() -> Self {
        Self { wanted: ManuallyDrop::new(Cell::new(None)) }
    }
}

/// A task that is to be polled once, or dropped: wherever it is dropped, unwinding too, a `!Send` future off its thread
/// is forgotten instead.
pub struct Runnable<S>(ManuallyDrop<async_task::Runnable<Meta<S>>>);

impl<S> Runnable<S> {
    fn new(runnable: async_task::Runnable<Meta<S>>) -> Self {
        Self(ManuallyDrop::new(runnable))
    }

    pub fn metadata(&self) -> &Meta<S> {
        self.0.metadata()
    }

    /// Its entry for the list of the living.
    pub fn alive(&self) -> Alive<S> {
        let alive = Alive { waker: self.0.waker(), meta: NonNull::from(self.metadata()) };
        if !self.metadata().is_lent() {
            // SAFETY: this has not happened, so the task is being spawned, see `lent`.
            unsafe { *self.metadata().lent.get() = Some(ManuallyDrop::new(ptr::read(&raw const alive.waker))) };
        }
        alive
    }

    /// Queues the task, which is new or was woken, where it lives, or goes.
    pub fn queue(self)
    where
        S: Schedule,
    {
        if fork::is_child() {
            // Its parent's, like the queue.
            return mem::forget(self);
        }
        // SAFETY: its `Runnable` is here.
        let place = unsafe {
            self.metadata().move_on();
            Arc::as_ptr(self.metadata().place())
        };
        // SAFETY: it is given back, or queued by its home, which then is this thread. So nobody runs the task before this
        // returns, and it keeps its scheduler.
        match unsafe { (*place).push_task_here(self) } {
            PushedHere::Queued => {}
            PushedHere::Refused(runnable) => drop(runnable),
            PushedHere::NotHome(runnable) => runnable.queue_elsewhere(),
        }
    }

    /// The same where this thread is not the home.
    fn queue_elsewhere(self)
    where
        S: Schedule,
    {
        // Before another thread sees the task. A call has no handle that reads it.
        if !self.metadata().is_lent() && self.metadata().caller.is_none() {
            drop(self.alive());
        }
        // SAFETY: its `Runnable` is here.
        let place = Arc::clone(unsafe { self.metadata().place() });
        // A closed context refuses a new one, which drops it.
        drop(place.push_task(self));
    }

    fn into_inner(self) -> async_task::Runnable<Meta<S>> {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: taken once, for `this` is not dropped.
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

/// What the queue knows of a task. Small: a task of a few words and this fit into what malloc gives out fastest.
///
/// One thread at a time polls a task or holds its [`Runnable`], and async-task's state orders one after the other: what is
/// written here is that thread's.
pub struct Meta<S> {
    /// Where it lives.
    place: UnsafeCell<Arc<S>>,
    /// Where it goes when it is queued next, by `reschedule_self`.
    moves_to: UnsafeCell<Option<Arc<S>>>,
    /// Its place in the list of the living, 0 for none, else one more than it is.
    key: AtomicU32,
    /// The thread that a `!Send` task or a begun call belongs to, 0 for none.
    owner: AtomicU64,
    begun: AtomicBool,
    /// Whether it is a call that its caller has taken back: it may be dropped at any time, begun or not.
    taken_back: AtomicBool,
    /// What wakes it, for who has the `async_task::Task`, which keeps the memory: not counted, for counting costs what all
    /// else of a handle does. Written once, by who holds the `Runnable`: of a task that has a handle before spawning
    /// returns or another thread sees it. Nothing if it was dropped before it was queued.
    lent: UnsafeCell<Option<ManuallyDrop<Waker>>>,
    /// Whether its future is to be dropped instead of polled.
    aborted: AtomicBool,
    /// Whether its future was dropped.
    ended: AtomicBool,
    /// What wakes the blocked caller, if it is a call from another context.
    caller: Option<Arc<WakeSlot>>,
}

const _: () = {
    is_send_and_sync::<Arc<WakeSlot>>();
};

// SAFETY: two of the cells are touched by the thread that polls the task or holds its `Runnable`; `lent` is written before
// any other thread reads it, see there; the rest is atomic or never changes.
unsafe impl<S> Sync for Meta<S> where Arc<S>: Send + Sync {}

impl<S> Meta<S> {
    fn new(place: Arc<S>, owner: u64, caller: Option<Arc<WakeSlot>>) -> Self {
        Self {
            place: UnsafeCell::new(place),
            moves_to: UnsafeCell::new(None),
            key: AtomicU32::new(0),
            owner: AtomicU64::new(owner),
            begun: AtomicBool::new(false),
            taken_back: AtomicBool::new(false),
            lent: UnsafeCell::new(None),
            aborted: AtomicBool::new(false),
            ended: AtomicBool::new(false),
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
        self.key.load(Ordering::Relaxed).checked_sub(1).map(|key| key as usize)
    }

    pub fn set_key(&self, key: Option<usize>) {
        let key = key.map_or(0, |key| u32::try_from(key + 1).expect("memory ends before the numbers do"));
        self.key.store(key, Ordering::Relaxed);
    }

    fn is_lent(&self) -> bool {
        // SAFETY: it is written while nobody else reads it.
        unsafe { (*self.lent.get()).is_some() }
    }

    /// What aborts the task, unless it was dropped before it was queued. Not counted: whoever has the task keeps it.
    pub fn alive(&self) -> Option<ManuallyDrop<Alive<S>>> {
        // SAFETY: written before any other thread saw the task. It is never dropped, and used as long as `self` is borrowed,
        // but by its clones, which count.
        let waker = unsafe { (*self.lent.get()).as_ref().map(|waker| ptr::read(waker)) }?;
        Some(ManuallyDrop::new(Alive { waker: ManuallyDrop::into_inner(waker), meta: NonNull::from(self) }))
    }

    /// Whether its future was dropped.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
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
    unsafe fn place(&self) -> &Arc<S> {
        // SAFETY: so nobody else is at it, and what writes it is not called meanwhile.
        unsafe { &*self.place.get() }
    }

    /// Leaves its place for the one that it goes to, if there is one.
    ///
    /// # Safety
    ///
    /// This thread holds the task's `Runnable`, and uses nothing that `place` returned.
    unsafe fn move_on(&self)
    where
        S: Schedule,
    {
        // SAFETY: nobody else is at the two.
        unsafe {
            if let Some(target) = (*self.moves_to.get()).take() {
                (*self.place.get()).remove(self);
                *self.place.get() = target;
            }
        }
    }
}

/// A task in its mailbox's list, until it ends; or for who may abort it.
pub struct Alive<S> {
    waker: Waker,
    /// The task's, which the waker keeps.
    meta: NonNull<Meta<S>>,
}

const _: () = is_send_and_sync::<Waker>();

// SAFETY: a waker may be sent and shared, and what is reached through the pointer too, for it is shared by threads anyway.
unsafe impl<S> Send for Alive<S> where Meta<S>: Sync {}
// SAFETY: as above.
unsafe impl<S> Sync for Alive<S> where Meta<S>: Sync {}

// Nothing of ours panics while it is at a task, so that is whole.
impl<S> UnwindSafe for Alive<S> {}
impl<S> RefUnwindSafe for Alive<S> {}

impl<S> Clone for Alive<S> {
    fn clone(&self) -> Self {
        Self { waker: self.waker.clone(), meta: self.meta }
    }
}

impl<S> Alive<S> {
    /// Has the task's future dropped where it would be polled next, which is soon.
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

    /// What the queue knows of it. Another thread may hold its `Runnable`.
    pub fn metadata(&self) -> &Meta<S> {
        // SAFETY: in the task's allocation, which is there as long as one of its wakers is.
        unsafe { self.meta.as_ref() }
    }
}

/// Polls a task once, or drops its future if it was cancelled. A call that is begun belongs to this thread from now on:
/// its future is made here, and need not be `Send`.
pub fn run<S: Schedule>(runnable: Runnable<S>) {
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

/// Asks that the task which is being polled go on in `target`. False if it runs there.
pub fn move_to<S: Schedule>(target: &Arc<S>) -> bool {
    if runs_in(target) {
        return false;
    }
    S::running().with(|running| running.wanted.set(Some(Arc::clone(target))));
    true
}

/// Whether the task that is being polled, innermost, lives in `place`.
pub fn runs_in<S: Schedule>(place: &Arc<S>) -> bool {
    activation::runs_in(Arc::as_ptr(place))
}

/// Sends a call. Dropping what is returned cancels it.
///
/// # Safety
///
/// Until `future` is dropped everything that it borrows must live. It must be sound to send it before its first poll.
pub unsafe fn send_call<S: Schedule, F: Future<Output = ()>>(
    place: &Arc<S>,
    caller: Arc<WakeSlot>,
    future: F,
) -> Sent<S> {
    // SAFETY: a call is owned by the thread that polls it first, `run` sees to that, and is `Send` before, as the caller
    // promises. So is how long its borrows live.
    unsafe { spawn_for(place, 0, Some(caller), future) }
}

/// A call sent to another context.
pub type Sent<S> = async_task::Task<Output<()>, Meta<S>>;

/// Cancels a call that was sent. Its home drops it at the next look, whatever that may begin.
pub fn take_back<S>(sent: Sent<S>) {
    sent.metadata().taken_back.store(true, Ordering::Relaxed);
}

/// # Safety
///
/// `F` is `Send`, or `owner` is this thread, or there is a caller and `F` is sound to send before its first poll. What it
/// borrows outlives it.
pub unsafe fn spawn_for<S: Schedule, F: Future>(
    place: &Arc<S>,
    owner: u64,
    caller: Option<Arc<WakeSlot>>,
    future: F,
) -> async_task::Task<Output<F::Output>, Meta<S>> {
    let meta = Meta::new(Arc::clone(place), owner, caller);
    let listed = |meta| Listed { future: ManuallyDrop::new(future), meta, unit: Unit::new() };
    let schedule = |runnable| S::schedule(Runnable::new(runnable));
    let builder = async_task::Builder::new().metadata(meta);
    // SAFETY: as the head of this file has it of async-task. `spawn_unchecked` asks for four things. A future that is not
    // `Send` is run and dropped on one thread: both
    // happen through its `Runnable` alone, which looks at the owner in `run` and in its drop (the task's other references
    // hand the future to `schedule`, so to them, when they are the last). What the future borrows outlives it, by this
    // function's contract, and `meta` is the task's own. `schedule` is `Send + Sync` and `'static`, for it holds nothing.
    let (runnable, task) = unsafe { builder.spawn_unchecked(listed, schedule) };
    runnable.schedule();
    task
}

/// What came of a task.
pub enum Outcome<T> {
    Done(T),
    Panicked(Payload),
    Aborted,
}

/// The same as async-task keeps it until it is joined. Dropping it, which async-task does where nobody joins any more, does
/// not panic.
pub struct Output<T>(ManuallyDrop<Outcome<T>>);

impl<T> Output<T> {
    fn new(outcome: Outcome<T>) -> Self {
        Self(ManuallyDrop::new(outcome))
    }

    pub fn into_inner(self) -> Outcome<T> {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: taken once, for `this` is not dropped.
        unsafe { ManuallyDrop::take(&mut this.0) }
    }
}

impl<T> Drop for Output<T> {
    fn drop(&mut self) {
        // SAFETY: dropped here only: `into_inner` takes it out of a value that is never dropped.
        panics::discard(unsafe { ManuallyDrop::take(&mut self.0) });
    }
}

/// A task's future, and how it leaves the list of the living.
struct Listed<'a, F, S: Schedule> {
    future: ManuallyDrop<F>,
    meta: &'a Meta<S>,
    unit: Unit,
}

impl<F, S: Schedule> Drop for Listed<'_, F, S> {
    fn drop(&mut self) {
        // async-task aborts the process if this panics. The hook has printed the message; the task is gone as asked.
        let dropped = Payload::of(|| {
            // SAFETY: dropped here and nowhere else, where it was pinned.
            unsafe { ManuallyDrop::drop(&mut self.future) };
        });
        drop(dropped);
        self.meta.ended.store(true, Ordering::Release);
        // SAFETY: who drops a task's future polls it or holds its `Runnable`.
        unsafe { self.meta.place() }.remove(self.meta);
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

        // SAFETY: `future` is pinned whenever `Listed` is: it is never moved out, and dropped in place. The other fields
        // are not pinned.
        let (future, meta, unit) = unsafe {
            let listed = self.get_unchecked_mut();
            (Pin::new_unchecked(&mut *listed.future), listed.meta, listed.unit)
        };
        if meta.aborted.load(Ordering::Acquire) {
            // async-task drops the future now, outside coroutine context.
            return Poll::Ready(Output::new(Outcome::Aborted));
        }
        // SAFETY: this polls it.
        let place = Arc::as_ptr(unsafe { meta.place() });
        // The task further down the stack may have asked already, in one branch, and wait here in another.
        let outer_wanted = S::running().with(|running| running.wanted.take());
        let outer = Activation::current();
        outer.polled(unit, place).set();
        let _restore = Restore(outer, outer_wanted);
        let outcome = match Payload::of(|| future.poll(cx)) {
            Ok(Poll::Ready(output)) => Outcome::Done(output),
            Ok(Poll::Pending) => {
                if let Some(target) = S::running().with(|running| running.wanted.take()) {
                    // SAFETY: this polls it.
                    unsafe { *meta.moves_to.get() = Some(target) };
                }
                return Poll::Pending;
            }
            Err(payload) => Outcome::Panicked(payload),
        };
        Poll::Ready(Output::new(outcome))
    }
}
