//! The scheduler of a context: what waits to be run there, and how its home thread learns of it.
//!
//! Everything that may outlive a context (task wakers, other threads' handles) holds its scheduler, never the context
//! itself. The poll loop runs what is in it (`poll_loop/serve.rs`).
//!
//! # Who may touch the queue
//!
//! Only the home thread touches the queue, or, while nobody is home, whoever holds the lock `home`. User code never
//! runs while a queue is touched or a lock is held.
//!
//! The home thread holds the queue by value ([`Held`]): becoming the home takes it out from under the lock, and leaving
//! puts it back. So the home thread takes no lock for what it schedules and runs.
//!
//! Other threads inject what they queue (`injected.rs`) and then notify the home thread (`notified.rs`).

mod held;
mod injected;
mod notified;
#[cfg(feature = "coroutine")]
mod watchers;

use std::{
    collections::BTreeSet,
    mem,
    panic::Location,
    sync::Arc,
    task::{Wake, Waker},
    thread::{self, LocalKey},
};

#[cfg(feature = "coroutine")]
pub use self::watchers::Seen;
#[cfg(feature = "coroutine")]
use self::watchers::Watchers;
use self::{held::Held, injected::Injected, notified::Notified};
use crate::{
    sys::{
        fork,
        panics::{self, Payload},
        park::{Unparker, WakeSlot, here},
        sync::{AtomicBool, AtomicUsize, Mutex, Ordering, lock},
    },
    tasks::{
        bottom_half::Queued,
        queue::{Allowed, Queue, Through, Work},
        task::{Identity, Meta, PushedHere, Runnable, Running, Schedule},
        timers::Timers,
    },
};

/// Who polls a context.
#[derive(Clone)]
pub struct Home {
    /// The thread's number, as `here()` gives it.
    pub thread: u64,
    /// How messages name it.
    pub thread_name: String,
    /// What wakes the thread.
    pub unparker: Unparker,
    /// The function that made it the home for the length of a call, and where that was called.
    pub call: Option<(&'static str, &'static Location<'static>)>,
}

impl Home {
    /// How a message names a thread.
    pub fn name_of(thread: &thread::Thread) -> String {
        thread.name().map_or_else(|| format!("{:?}", thread.id()), |name| format!("`{name}`"))
    }
}

/// What waits to be run in one context, and who is to run it.
pub struct Scheduler {
    notified: Notified,
    /// The index at which the home thread holds the queue. Means nothing on other threads.
    held_at: AtomicUsize,
    /// Whether this is a temporary home: the thread is home only for the length of a call, because the context had no
    /// home. A temporary home starts no other caller's call, unless the two threads would wait for each other
    /// (`context/wait_cycle.rs`). Written by the home thread.
    temporary: AtomicBool,
    /// Set by `close`. The home thread then drops what is left.
    closing: AtomicBool,
    timers: Timers,
    #[cfg(feature = "coroutine")]
    watchers: Watchers,
    home: Mutex<Polled>,
    /// How many items wait in the queue, and how many tasks and calls are in its list. Written by whoever touches the
    /// queue.
    waiting: AtomicUsize,
    live: AtomicUsize,
    injected: Injected<Self>,
}

/// Who polls a context, which also says where its queue is.
enum Polled {
    /// Nobody: the queue is here.
    ByNobody(Queue<Scheduler>),
    /// This thread, which holds the queue.
    By(Home),
}

impl Polled {
    fn home(&self) -> Option<&Home> {
        match self {
            Self::ByNobody(_) => None,
            Self::By(home) => Some(home),
        }
    }
}

#[cfg(not(loom))]
thread_local! { static HELD: Held<Scheduler> = const { Held::nothing() } }
#[cfg(loom)]
loom::thread_local! { static HELD: Held<Scheduler> = Held::nothing() }

/// For a thread's end, when it has left all its contexts: frees what is left of the table of queues.
pub fn free_held() {
    held::free(&HELD);
}

/// For a forked child: this thread is no longer home to anything. Does only what a fork handler may do.
pub fn forget_held() {
    held::forget(&HELD);
}

// Items are dropped only after the lock and the queue are released, because a task's destructor is user code and may
// schedule. A forked child does nothing here, because a thread that it does not have may hold the locks.
impl Scheduler {
    /// An empty one without a home.
    pub fn new() -> Self {
        Self {
            notified: Notified::new(),
            held_at: AtomicUsize::new(0),
            temporary: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            timers: Timers::new(),
            #[cfg(feature = "coroutine")]
            watchers: Watchers::default(),
            home: Mutex::new(Polled::ByNobody(Queue::default())),
            waiting: AtomicUsize::new(0),
            live: AtomicUsize::new(0),
            injected: Injected::new(),
        }
    }

    /// Calls `touch` with the queue, injected items included, if this thread is the home. `touch` runs no user code.
    #[inline]
    fn at_home<R>(&self, touch: impl FnOnce(&mut Queue<Self>) -> R) -> Option<R> {
        self.at_home_with((), |queue, ()| touch(queue)).ok()
    }

    /// Like [`at_home`](Self::at_home), with an item, which is given back if this thread is not the home.
    #[inline]
    fn at_home_with<T, R>(&self, item: T, touch: impl FnOnce(&mut Queue<Self>, T) -> R) -> Result<R, T> {
        let at = self.held_at.load(Ordering::Relaxed);
        held::with(&HELD, at, self, item, |queue, item| self.touch(queue, |queue| touch(queue, item)))
    }

    /// Like [`at_home`](Self::at_home) while nobody is home, for whoever holds the lock `home`. `None` if some thread
    /// is home.
    fn without_home<R>(&self, home: &mut Polled, touch: impl FnOnce(&mut Queue<Self>) -> R) -> Option<R> {
        match home {
            Polled::ByNobody(queue) => Some(self.touch(queue, touch)),
            Polled::By(_) => None,
        }
    }

    #[inline]
    fn touch<R>(&self, queue: &mut Queue<Self>, touch: impl FnOnce(&mut Queue<Self>) -> R) -> R {
        if !self.injected.is_empty() {
            self.injected.take_into(queue, &self.live);
        }
        let result = touch(queue);
        self.waiting.store(queue.len(), Ordering::Relaxed);
        self.live.store(queue.live(), Ordering::Relaxed);
        result
    }

    /// Queues a bottom half. Gives it back if the context is closed.
    pub fn push_bottom_half(&self, bottom_half: Queued) -> Result<(), Queued> {
        let bottom_half = match self.push_here(bottom_half, |_| true, Queue::push_bottom_half) {
            PushedHere::Queued => return Ok(()),
            PushedHere::Refused(bottom_half) => return Err(bottom_half),
            PushedHere::NotHome(bottom_half) => bottom_half,
        };
        self.injected.push_bottom_half(bottom_half)?;
        self.ring();
        Ok(())
    }

    /// Queues an item if this thread is the home. If the context is closed, an item that may be refused is refused on
    /// any thread.
    #[inline]
    fn push_here<T>(
        &self,
        item: T,
        may_be_refused: impl FnOnce(&T) -> bool,
        push: impl FnOnce(&mut Queue<Self>, T),
    ) -> PushedHere<T> {
        if self.is_closed() && may_be_refused(&item) {
            return PushedHere::Refused(item);
        }
        match self.at_home_with(item, push) {
            Ok(()) => {
                self.notify_here();
                PushedHere::Queued
            }
            Err(item) => PushedHere::NotHome(item),
        }
    }

    /// Called by the home thread itself when it has something.
    #[inline]
    fn notify_here(&self) {
        if self.notified.set_here() {
            self.unpark_home();
        }
    }

    /// Outside the lock, because where a coroutine of another executor is suspended there, this runs users' wakers. Out of
    /// line, so that what the home thread itself queues does not pay for it.
    #[inline(never)]
    fn unpark_home(&self) {
        let unparker = lock(&self.home).home().map(|home| home.unparker.clone());
        unparker.into_iter().for_each(|unparker| unparker.unpark());
    }

    /// Records whether the home thread runs code that is not ours. For the home thread.
    #[cfg(feature = "coroutine")]
    pub fn set_outside(&self, outside: bool) {
        self.notified.set_outside(outside);
    }

    /// The number of the current batch's last item.
    pub fn batch_end(&self) -> u64 {
        if self.is_empty() { 0 } else { self.at_home(|queue| queue.last()).unwrap_or(0) }
    }

    /// Whether no item waits to be run. Exact on the home thread itself.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.injected.is_empty() && self.waiting.load(Ordering::Relaxed) == 0
    }

    /// Whether a round would find nothing to do: no item, timer or close.
    #[inline]
    pub fn is_quiet(&self) -> bool {
        self.is_empty() && self.timers.is_empty() && !self.is_closed()
    }

    /// The oldest item of an allowed kind whose number is at most `end`.
    pub fn pop(&self, end: u64, allowed: Allowed) -> Option<Work<Self>> {
        loop {
            // The item that ran last may have left home in the middle of the batch, or forked, or closed the context.
            // The next round after a close drops what is left.
            if self.is_empty() || self.is_closed() {
                return None;
            }
            let work = self.at_home(|queue| queue.pop(end, allowed, self.only_calls_of()))??;
            match &work {
                Work::BottomHalf(bottom_half) if !bottom_half.settle() => {}
                _ => return Some(work),
            }
        }
    }

    /// Whether anything waits that the home thread may run, held back or not.
    pub fn has_work(&self) -> bool {
        !self.is_empty() && self.at_home(|queue| queue.has(Allowed::ALL, self.only_calls_of())).unwrap_or(false)
    }

    /// The thread whose calls alone [`pop`](Self::pop) may return, if there is such a thread: for a temporary home,
    /// itself.
    fn only_calls_of(&self) -> Option<u64> {
        self.is_temporary().then(here)
    }

    /// Whether this thread, the home, has started a call of its own here that is not done.
    pub fn has_own_call(&self) -> bool {
        self.at_home(|queue| queue.has_own_call(here())).unwrap_or(false)
    }

    /// Whether this thread, the home, has started another caller's call here that is not done.
    pub fn has_received(&self) -> bool {
        self.at_home(|queue| queue.has_received(here())).unwrap_or(false)
    }

    /// Whether anything waits here that other threads may wait for: calls from them, to be started or to go on, and
    /// with `others` also bottom halves and new tasks. For the home thread.
    pub fn may_be_waited_for(&self, others: bool) -> bool {
        !self.is_empty() && self.at_home(|queue| queue.may_be_waited_for(others)).unwrap_or(false)
    }

    /// What waits here for one of the `threads`, see [`Queue::pop_waited_for`].
    pub fn pop_waited_for(
        &self,
        threads: &BTreeSet<u64>,
        bottom_halves: bool,
        tasks: &[&BTreeSet<Identity>],
    ) -> Option<(Work<Self>, Through)> {
        if self.is_closed() {
            return None;
        }
        let (work, through) = self.at_home(|queue| queue.pop_waited_for(threads, bottom_halves, tasks))??;
        match &work {
            Work::BottomHalf(bottom_half) if !bottom_half.settle() => Some((self.pop_through(through)?, through)),
            _ => Some((work, through)),
        }
    }

    /// What else has to run before the item that [`pop_waited_for`](Self::pop_waited_for) found has run.
    pub fn pop_through(&self, through: Through) -> Option<Work<Self>> {
        loop {
            let work = self.at_home(|queue| queue.pop_through(through))??;
            match &work {
                Work::BottomHalf(bottom_half) if !bottom_half.settle() => {}
                _ => return Some(work),
            }
        }
    }

    /// The timers that the home thread fires.
    pub fn timers(&self) -> &Timers {
        &self.timers
    }

    /// The coroutines that wait for the context.
    #[cfg(feature = "coroutine")]
    #[inline]
    pub fn watchers(&self) -> &Watchers {
        &self.watchers
    }

    /// How many tasks and calls live here.
    pub fn live(&self) -> usize {
        if fork::is_child() { 0 } else { self.injected.live(&self.live) }
    }

    /// Wakes the home thread, from any thread. (QEMU's `aio_notify`.)
    pub fn notify(&self) {
        self.notified.kick();
        self.ring();
        #[cfg(feature = "coroutine")]
        self.watchers.notified();
    }

    /// Whether `notify` was called since this was last asked.
    pub fn take_kick(&self) -> bool {
        self.notified.take_kick()
    }

    /// Called before the home thread sleeps: whether something came in since the last call, so that it must look again.
    pub fn take_notified(&self) -> bool {
        self.notified.take()
    }

    /// Like [`take_notified`](Self::take_notified), for a spinning home thread. Clears nothing.
    pub fn is_notified(&self) -> bool {
        self.notified.is_set()
    }

    /// Makes the home thread check for work: unparks it, unless another thread has done so since it last looked.
    pub fn ring(&self) {
        if fork::is_child() {
            return;
        }
        let unparks = if self.is_home_here() { self.notified.set_here() } else { self.notified.set_elsewhere() };
        if unparks {
            self.unpark_home();
        }
    }

    /// Makes `new` the home. A thread that notified while there was no home has left `notified` set, and the lock
    /// orders that before the new home's first look. Fails with the present home if there is one.
    pub fn move_in(self: &Arc<Self>, new: Home) -> Result<(), Home> {
        let mut home = lock(&self.home);
        let queue = match &mut *home {
            Polled::By(other) => return Err(other.clone()),
            Polled::ByNobody(queue) => mem::take(queue),
        };
        self.held_at.store(held::put(&HELD, self, queue), Ordering::Relaxed);
        self.set_temporary(new.call.is_some());
        *home = Polled::By(new);
        Ok(())
    }

    /// Turns a temporary home into a lasting one, or back. For the home thread.
    pub fn set_temporary(&self, temporary: bool) {
        self.temporary.store(temporary, Ordering::Relaxed);
    }

    /// Whether the home, if there is one, is temporary.
    pub fn is_temporary(&self) -> bool {
        self.temporary.load(Ordering::Relaxed)
    }

    /// Leaves home: what waits here stays for the next home. Wakes every caller whose call waits here, so that one of
    /// them becomes the home. The first of them alone would not do: its thread may run code that does not serve this
    /// context, and waits for another one of them.
    pub fn move_out(self: &Arc<Self>) {
        // A forked child holds no queue, and may not take the lock.
        let at = self.held_at.load(Ordering::Relaxed);
        let queue = held::take(&HELD, at, self, |moved| moved.held_at.store(at, Ordering::Relaxed));
        let Some(mut queue) = queue else { return };
        let mut home = lock(&self.home);
        // A caller that sent its call earlier is found here. One that sends it later sees that there is no home.
        let callers = |queue: &mut Queue<Self>| queue.calls().filter_map(Meta::caller_waker).collect();
        let callers: Vec<Arc<WakeSlot>> = self.touch(&mut queue, callers);
        *home = Polled::ByNobody(queue);
        drop(home);
        callers.into_iter().for_each(Wake::wake);
        if self.closing.load(Ordering::Acquire) {
            self.clear_out();
        }
    }

    /// The home, if there is one.
    pub fn home(&self) -> Option<Home> {
        if fork::is_child() { None } else { lock(&self.home).home().cloned() }
    }

    /// Whether this thread is the home.
    #[inline]
    pub fn is_home_here(&self) -> bool {
        held::has(&HELD, self.held_at.load(Ordering::Relaxed), self)
    }

    /// The number of the home thread.
    pub fn home_number(&self) -> Option<u64> {
        if fork::is_child() { None } else { lock(&self.home).home().map(|home| home.thread) }
    }

    /// Wakes every task. For a loop that stops an outer scheduler, which keeps wakes back.
    pub fn wake_all(&self) {
        let wakers = self.at_home(|queue| queue.wakers()).unwrap_or_default();
        wakers.iter().for_each(Waker::wake_by_ref);
    }

    /// Takes out the `!Send` tasks and the started calls of `owner`, which is this thread, the home; with `calls`, also
    /// the calls that were not started. Wakes them first, so that they are queued. The caller drops them. The thread's
    /// own calls stay, because their frames wait on its stack.
    pub fn take_local(&self, owner: u64, calls: bool) -> Vec<Runnable<Self>> {
        let wakers: Vec<Waker> =
            self.at_home(|queue| queue.local(owner).map(|task| task.waker().clone()).collect()).unwrap_or_default();
        wakers.iter().for_each(Waker::wake_by_ref);
        let taken = self.at_home(|queue| {
            if !queue.has_owned() {
                return Vec::new();
            }
            queue.take_tasks(|task| {
                task.caller() != Some(owner) && (task.owner() == Some(owner) || (calls && task.caller().is_some()))
            })
        });
        taken.unwrap_or_default()
    }

    /// Whether `owner`, the home, still has a live `!Send` task or started call here that
    /// [`take_local`](Self::take_local) would take: it may be running, another thread may be about to queue it, or a
    /// destructor may have spawned it.
    pub fn has_local(&self, owner: u64) -> bool {
        self.at_home(|queue| queue.local(owner).next().is_some()).unwrap_or(false)
    }

    /// Closes the context: nothing is accepted any more, and what is here is dropped, by the home thread if there is
    /// one, else by this thread.
    pub fn close(self: &Arc<Self>) {
        if fork::is_child() {
            return;
        }
        self.injected.close();
        self.closing.store(true, Ordering::Release);
        // A thread that becomes the home or leaves after this sees `closing`.
        let cleared = Payload::of(|| self.clear_out());
        #[cfg(feature = "coroutine")]
        self.watchers.closed();
        panics::raise(cleared.err());
    }

    /// Whether the context was closed.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// For the home thread, in each round: whether it must drop what a `close` on another thread left to it.
    pub fn has_to_close(&self) -> bool {
        self.is_closed() && (!self.is_empty() || self.live() > 0)
    }

    /// Drops everything that waits here, unless another thread is the home; then it rings that thread, which does it. A
    /// task that is running now is dropped when its poll has returned.
    ///
    /// The first panic of a destructor is raised when everything is dropped.
    pub fn clear_out(self: &Arc<Self>) {
        let mut panicked = None;
        loop {
            self.injected.begin_to_clear();
            // A woken task queues itself.
            let wakers = self.at_home_or_without_home(|queue| queue.wakers());
            wakers.into_iter().flatten().for_each(Waker::wake);
            // Before the last look, so that whoever pushes a task after that look knows that nobody will take it out.
            self.injected.end_to_clear();
            let taken = self.at_home_or_without_home(|queue| (queue.take_bottom_halves(), queue.take_tasks(|_| true)));
            // Checked after `closing` was set, so a thread that became the home since then sees that, and starts
            // nothing.
            let Some((bottom_halves, runnables)) = taken else {
                self.ring();
                break;
            };
            if bottom_halves.is_empty() && runnables.is_empty() {
                break;
            }
            panics::catch(&mut panicked, || panics::drop_each(bottom_halves));
            panics::catch(&mut panicked, || panics::drop_each(runnables));
        }
        panics::raise(panicked);
    }

    /// `None` if another thread is the home.
    fn at_home_or_without_home<R>(&self, touch: impl FnOnce(&mut Queue<Self>) -> R) -> Option<R> {
        if self.is_home_here() {
            return self.at_home(touch);
        }
        self.without_home(&mut lock(&self.home), touch)
    }

    /// Clears out on a new thread. For a task that was woken after its context, which has no home, was closed.
    #[cold]
    fn clear_out_elsewhere(self: &Arc<Self>) {
        // Nobody is there to receive a destructor's panic.
        let clear_out = |this: Arc<Self>| drop(Payload::of(|| this.clear_out()));
        let this = Arc::clone(self);
        // A loom model has no threads but those that it starts itself.
        #[cfg(loom)]
        clear_out(this);
        #[cfg(not(loom))]
        if thread::Builder::new().name("co-wrapper-close".to_owned()).spawn(move || clear_out(this)).is_err() {
            clear_out(Arc::clone(self));
        }
    }
}

impl Schedule for Scheduler {
    fn schedule(runnable: Runnable<Self>) {
        runnable.queue();
    }

    /// If the context is closed, a new task is given back. A task that was polled is queued nevertheless: this may be
    /// called within a wake, whose caller may hold a lock that the task's destructor takes.
    fn push_task(self: &Arc<Self>, runnable: Runnable<Self>) -> Result<(), Runnable<Self>> {
        let abandoned = self.injected.push_task(runnable)?;
        self.ring();
        // A home drops the task, in its next round or when it leaves.
        if abandoned && self.home_number().is_none() {
            self.clear_out_elsewhere();
        }
        Ok(())
    }

    fn push_task_here(&self, runnable: Runnable<Self>) -> PushedHere<Runnable<Self>> {
        self.push_here(runnable, |runnable| runnable.metadata().may_be_refused(), Queue::push_task)
    }

    /// Removes a task that ended, or moves to another context, from the list of live tasks.
    fn remove(&self, task: &Meta<Self>) {
        let Some(key) = task.key() else { return };
        task.set_key(None);
        let owned = task.owner().is_some();
        if self.at_home(|queue| queue.remove(key, owned)).is_some() || fork::is_child() {
            return;
        }
        let mut home = lock(&self.home);
        if self.without_home(&mut home, |queue| queue.remove(key, owned)).is_none() {
            self.injected.push_ended(key, owned);
            drop(home);
            self.ring();
        }
    }

    /// Records that a call was started here, by the home thread, which alone may touch it from now on.
    fn adopt(&self) {
        self.at_home(Queue::adopt);
    }

    #[inline]
    fn running() -> &'static LocalKey<Running<Self>> {
        thread_local! { static RUNNING: Running<Scheduler> = const { Running::nothing() } }
        &RUNNING
    }
}
