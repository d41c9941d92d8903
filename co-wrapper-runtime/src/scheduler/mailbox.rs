//! The wake half of a context: what waits to be run there, and how its home thread learns of it.
//!
//! Everything that may outlive a context (task wakers, handles of other threads) holds its mailbox, never the context
//! itself. Running what is in it is the poll loop's work (`poll_loop/serve.rs`).
//!
//! # Whose the queue is
//!
//! Only the home thread touches the queue, or, while nobody is at home, whoever holds the lock of `home`. The home thread
//! holds the queue by value ([`Held`]): moving in takes it out from under the lock, leaving puts it back. So the home takes
//! no lock for what it schedules and runs. User code never runs while a queue is touched or a lock is held.
//!
//! Other threads put theirs into the injected queue. The home thread takes that over before it looks, and before it queues
//! something itself: so what was put in before, as far as anybody can tell, runs before.

use std::{
    collections::BTreeSet,
    mem,
    sync::Arc,
    task::{Wake, Waker},
    thread::{self, LocalKey},
};

use super::held::{self, Held};
use crate::{
    sys::{
        fork,
        panics::{self, Payload},
        park::{Unparker, WakeSlot, here},
        sync::{AtomicBool, AtomicUsize, Mutex, Ordering, lock},
    },
    tasks::{
        bottom_half::Queued,
        queue::{Allowed, Queue, Work},
        task::{Meta, PushedHere, Runnable, Running, Schedule},
        timers::Timers,
    },
};

/// Who polls a context.
#[derive(Clone, Debug)]
pub struct Home {
    /// Its number, as `here()` gives it.
    pub thread: u64,
    /// How messages name it.
    pub thread_name: String,
    /// What wakes it.
    pub unparker: Unparker,
    /// Home only for the length of a call, because the context had none. It begins no other caller's call.
    pub passing: bool,
}

impl Home {
    /// How a message names a thread.
    pub fn name_of(thread: &thread::Thread) -> String {
        thread.name().map_or_else(|| format!("{:?}", thread.id()), |name| format!("`{name}`"))
    }
}

/// What waits to be run in one context, and its bell.
pub struct Mailbox {
    /// Set when something came in since the home thread last looked. Only the setter that turns it on rings, so a burst
    /// costs one wake; the home thread turns it off before it looks a last time and sleeps.
    notified: AtomicBool,
    /// The same by the home thread itself, which is awake: no locked instruction. Its own alone.
    notified_here: AtomicBool,
    /// A bare `notify`, which ends a blocking `poll` though nothing ran.
    kicked: AtomicBool,
    /// The index at which its home thread holds the queue. Means nothing elsewhere.
    held_at: AtomicUsize,
    /// Whether that is a passing home. Exact on the home thread itself.
    passing: AtomicBool,
    /// Set by `close`, for the home thread to clear out.
    closing: AtomicBool,
    timers: Timers,
    home: Mutex<Polled>,
    /// How many items wait in the queue, and how many tasks and calls are in its list. Written by who touches it.
    waiting: AtomicUsize,
    live: AtomicUsize,
    injected: Mutex<Injected>,
    /// How much was injected, so that a look need not take the lock. What must be seen was told of in an order of its own,
    /// by the bell or by the user.
    arrived: AtomicUsize,
}

/// Who polls a context, and with that where its queue is.
enum Polled {
    /// Nobody: the queue lies here.
    ByNobody(Queue<Mailbox>),
    /// That thread, which holds the queue.
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
thread_local! { static HELD: Held<Mailbox> = const { Held::nothing() } }
#[cfg(loom)]
loom::thread_local! { static HELD: Held<Mailbox> = Held::nothing() }

/// At a thread's end, when it has left everything.
pub fn free_held() {
    held::free(&HELD);
}

/// In a forked child: this thread is home to nothing any more. No more than a fork's handler may do.
pub fn forget_held() {
    held::forget(&HELD);
}

/// What came from elsewhere since the home thread last looked.
#[derive(Default)]
struct Injected {
    closed: bool,
    items: Vec<Item>,
    /// How many of them are tasks that are not in the queue's list.
    new: usize,
    /// How many are about to take out all that is queued.
    clearing: usize,
}

enum Item {
    BottomHalf(Queued),
    Task(Runnable<Mailbox>),
    /// A task ended while its thread was not at home any more: its key, and whether it had an owner.
    Ended(usize, bool),
}

// Items are dropped only after the lock is let go, or the queue: a task's destructor is the user's and may schedule. A
// forked child does nothing here, for a thread that it does not have may hold the locks.
impl Mailbox {
    /// An empty one without a home.
    pub fn new() -> Self {
        Self {
            notified: AtomicBool::new(false),
            notified_here: AtomicBool::new(false),
            kicked: AtomicBool::new(false),
            held_at: AtomicUsize::new(0),
            passing: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            timers: Timers::new(),
            home: Mutex::new(Polled::ByNobody(Queue::default())),
            waiting: AtomicUsize::new(0),
            live: AtomicUsize::new(0),
            injected: Mutex::new(Injected::default()),
            arrived: AtomicUsize::new(0),
        }
    }

    /// Lets `touch` at the queue, with all that has arrived in it, if this thread is at home. `touch` runs nobody's code.
    #[inline]
    fn at_home<R>(&self, touch: impl FnOnce(&mut Queue<Self>) -> R) -> Option<R> {
        self.at_home_with((), |queue, ()| touch(queue)).ok()
    }

    /// The same with an item, which is given back if this thread is not at home.
    #[inline]
    fn at_home_with<T, R>(&self, item: T, touch: impl FnOnce(&mut Queue<Self>, T) -> R) -> Result<R, T> {
        let at = self.held_at.load(Ordering::Relaxed);
        held::with(&HELD, at, self, item, |queue, item| self.touch(queue, |queue| touch(queue, item)))
    }

    /// The same where nobody is at home, by whoever holds that lock; nothing if somebody is.
    fn at_nobody_s<R>(&self, home: &mut Polled, touch: impl FnOnce(&mut Queue<Self>) -> R) -> Option<R> {
        match home {
            Polled::ByNobody(queue) => Some(self.touch(queue, touch)),
            Polled::By(_) => None,
        }
    }

    #[inline]
    fn touch<R>(&self, queue: &mut Queue<Self>, touch: impl FnOnce(&mut Queue<Self>) -> R) -> R {
        if self.arrived.load(Ordering::Relaxed) > 0 {
            self.take_over(queue);
        }
        let result = touch(queue);
        self.waiting.store(queue.len(), Ordering::Relaxed);
        self.live.store(queue.live(), Ordering::Relaxed);
        result
    }

    #[cold]
    fn take_over(&self, queue: &mut Queue<Self>) {
        let mut injected = lock(&self.injected);
        // Together, for whoever adds up the two.
        self.live.store(queue.live() + mem::take(&mut injected.new), Ordering::Relaxed);
        self.arrived.store(0, Ordering::Relaxed);
        for item in injected.items.drain(..) {
            match item {
                Item::BottomHalf(bottom_half) => queue.push_bottom_half(bottom_half),
                Item::Task(runnable) => queue.push_task(runnable),
                Item::Ended(key, owned) => queue.remove(key, owned),
            }
        }
    }

    /// Injects an item; to be rung for after the lock is let go.
    fn put(&self, injected: &mut Injected, item: Item) {
        injected.items.push(item);
        self.arrived.store(injected.items.len(), Ordering::Relaxed);
    }

    /// Queues a bottom half; gives it back when the context is closed.
    pub fn push_bottom_half(&self, bottom_half: Queued) -> Result<(), Queued> {
        let bottom_half = match self.push_here(bottom_half, true, Queue::push_bottom_half) {
            PushedHere::Queued => return Ok(()),
            PushedHere::Refused(bottom_half) => return Err(bottom_half),
            PushedHere::NotHome(bottom_half) => bottom_half,
        };
        let mut injected = lock(&self.injected);
        if injected.closed {
            return Err(bottom_half);
        }
        self.put(&mut injected, Item::BottomHalf(bottom_half));
        drop(injected);
        self.ring();
        Ok(())
    }

    /// Queues a task. Gives a new one back when the context is closed; one that was polled is queued all the same, for
    /// this may be called within a wake, whose caller may hold a lock that the task's destructor takes.
    pub fn push_task(self: &Arc<Self>, runnable: Runnable<Self>) -> Result<(), Runnable<Self>> {
        let runnable = match self.push_task_here(runnable) {
            PushedHere::Queued => return Ok(()),
            PushedHere::Refused(runnable) => return Err(runnable),
            PushedHere::NotHome(runnable) => runnable,
        };
        let mut injected = lock(&self.injected);
        if injected.closed && runnable.metadata().may_be_refused() {
            return Err(runnable);
        }
        injected.new += usize::from(runnable.metadata().key().is_none());
        self.put(&mut injected, Item::Task(runnable));
        let abandoned = injected.closed && injected.clearing == 0;
        drop(injected);
        self.ring();
        // With a home it is dropped there: by the next round, or by leaving.
        if abandoned && self.home_number().is_none() {
            self.clear_out_elsewhere();
        }
        Ok(())
    }

    /// Queues an item if this thread is at home. A closed context refuses, on any thread, what may be refused.
    #[inline]
    fn push_here<T>(&self, item: T, may_be_refused: bool, push: impl FnOnce(&mut Queue<Self>, T)) -> PushedHere<T> {
        if may_be_refused && self.is_closed() {
            return PushedHere::Refused(item);
        }
        match self.at_home_with(item, push) {
            Ok(()) => {
                // The home thread itself is awake and asks `take_notified` before it sleeps.
                self.notified_here.store(true, Ordering::Relaxed);
                PushedHere::Queued
            }
            Err(item) => PushedHere::NotHome(item),
        }
    }

    /// The mark behind which nothing of the present batch lies.
    pub fn batch_end(&self) -> u64 {
        if self.is_empty() { 0 } else { self.at_home(|queue| queue.last()).unwrap_or(0) }
    }

    /// Whether nothing waits to be run. Exact on the home thread itself.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.arrived.load(Ordering::Relaxed) == 0 && self.waiting.load(Ordering::Relaxed) == 0
    }

    /// Whether a round would find nothing to look at, neither items nor timers nor a close.
    #[inline]
    pub fn is_quiet(&self) -> bool {
        self.is_empty() && self.timers.is_empty() && !self.is_closed()
    }

    /// The oldest item that came no later than `end`, of the kinds allowed.
    pub fn pop(&self, end: u64, allowed: Allowed) -> Option<Work<Self>> {
        loop {
            // What runs may have left home within its own batch, or forked, or closed the context: then the next round
            // clears it out.
            if self.is_empty() || self.is_closed() {
                return None;
            }
            match self.at_home(|queue| queue.pop(end, allowed, self.only_calls_of()))?? {
                Work::BottomHalf(queued) => {
                    if let Some(settled) = queued.settle() {
                        return Some(Work::BottomHalf(settled));
                    }
                }
                task @ Work::Task(_) => return Some(task),
            }
        }
    }

    /// Whether there is anything that the home thread may run, held back or not.
    pub fn has_work(&self) -> bool {
        !self.is_empty() && self.at_home(|queue| queue.has(Allowed::ALL, self.only_calls_of())).unwrap_or(false)
    }

    fn only_calls_of(&self) -> Option<u64> {
        self.passing.load(Ordering::Relaxed).then(here)
    }

    /// Whether this thread, the home, has begun a call of its own here that is not done.
    pub fn has_own_call(&self) -> bool {
        self.at_home(|queue| queue.has_own_call(here())).unwrap_or(false)
    }

    /// Whether this thread, the home, has begun another caller's call here that is not done.
    pub fn has_received(&self) -> bool {
        self.at_home(|queue| queue.has_received(here())).unwrap_or(false)
    }

    /// Whether calls from other threads wait here, not begun. For the home thread.
    pub fn has_calls(&self) -> bool {
        !self.is_empty() && self.at_home(|queue| queue.calls().next().is_some()).unwrap_or(false)
    }

    /// The oldest call of one of the threads `callers` that waits here, not begun.
    pub fn pop_call_of(&self, callers: &BTreeSet<u64>) -> Option<Work<Self>> {
        if self.is_closed() { None } else { self.at_home(|queue| queue.pop_call_of(callers))? }
    }

    /// The timers that its home thread fires.
    pub fn timers(&self) -> &Timers {
        &self.timers
    }

    /// How many tasks and calls live here.
    pub fn live(&self) -> usize {
        if fork::is_child() {
            return 0;
        }
        let injected = lock(&self.injected);
        self.live.load(Ordering::Relaxed) + injected.new
    }

    /// Wakes the home thread, from any thread. (QEMU's `aio_notify`.)
    pub fn notify(&self) {
        self.kicked.store(true, Ordering::Release);
        self.ring();
    }

    /// Whether `notify` was called since this was last asked.
    pub fn take_kick(&self) -> bool {
        self.kicked.load(Ordering::Relaxed) && self.kicked.swap(false, Ordering::AcqRel)
    }

    /// To be asked before the home thread sleeps: true if something came in since, so look again.
    pub fn take_notified(&self) -> bool {
        let here = self.notified_here.load(Ordering::Relaxed);
        if here {
            self.notified_here.store(false, Ordering::Relaxed);
        }
        let elsewhere = self.notified.load(Ordering::Relaxed) && self.notified.swap(false, Ordering::AcqRel);
        here || elsewhere
    }

    /// To be seen by a spinning home thread.
    pub fn is_notified(&self) -> bool {
        self.notified_here.load(Ordering::Relaxed) || self.notified.load(Ordering::Relaxed)
    }

    /// Makes the home thread look.
    pub fn ring(&self) {
        if fork::is_child() {
            return;
        }
        // The home thread itself is awake and asks `take_notified` before it sleeps. Not by the others' flag, where it
        // would cover another thread's ring, and with it what that publishes.
        if self.is_home_here() {
            return self.notified_here.store(true, Ordering::Relaxed);
        }
        if self.notified.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Some(home) = lock(&self.home).home() {
            home.unparker.unpark();
        }
    }

    /// Makes `new` the home. Someone who notified before it could be rung has left `notified` set, and the lock orders
    /// that before the new home's first look. Fails with the present home, another thread's.
    pub fn move_in(self: &Arc<Self>, new: Home) -> Result<(), Home> {
        let mut home = lock(&self.home);
        let queue = match &mut *home {
            Polled::By(other) => return Err(other.clone()),
            Polled::ByNobody(queue) => mem::take(queue),
        };
        self.held_at.store(held::put(&HELD, self, queue), Ordering::Relaxed);
        self.passing.store(new.passing, Ordering::Relaxed);
        *home = Polled::By(new);
        Ok(())
    }

    /// Turns a passing home into one that stays, or back.
    pub fn set_passing(&self, passing: bool) {
        if let Polled::By(home) = &mut *lock(&self.home) {
            home.passing = passing;
            self.passing.store(passing, Ordering::Relaxed);
        }
    }

    /// Leaves home: what waits, waits for the next one. The callers whose calls wait here are woken, one of them to be
    /// that: all, for the first may be at a wait further up its stack, which serves this context no more.
    pub fn move_out(self: &Arc<Self>) {
        // A forked child holds none, and may not take the lock.
        let at = self.held_at.load(Ordering::Relaxed);
        let queue = held::take(&HELD, at, self, |moved| moved.held_at.store(at, Ordering::Relaxed));
        let Some(mut queue) = queue else { return };
        let mut home = lock(&self.home);
        // A caller that sent its call before is found here; one that sends it now sees that there is no home.
        let callers = |queue: &mut Queue<Self>| queue.calls().filter_map(Meta::caller_waker).collect();
        let callers: Vec<Arc<WakeSlot>> = self.touch(&mut queue, callers);
        *home = Polled::ByNobody(queue);
        drop(home);
        callers.into_iter().for_each(Wake::wake);
        if self.closing.load(Ordering::Acquire) {
            self.clear_out();
        }
    }

    /// Who is at home.
    pub fn home(&self) -> Option<Home> {
        if fork::is_child() { None } else { lock(&self.home).home().cloned() }
    }

    /// Whether this thread is at home.
    #[inline]
    pub fn is_home_here(&self) -> bool {
        held::has(&HELD, self.held_at.load(Ordering::Relaxed), self)
    }

    /// The number of the thread that is at home.
    pub fn home_number(&self) -> Option<u64> {
        if fork::is_child() { None } else { lock(&self.home).home().map(|home| home.thread) }
    }

    /// Wakes every task, woken or not: for a loop below which a scheduler keeps wakes back.
    pub fn wake_all(&self) {
        let wakers = self.at_home(|queue| queue.wakers()).unwrap_or_default();
        wakers.iter().for_each(Waker::wake_by_ref);
    }

    /// Takes out the `!Send` tasks and the begun calls of the thread `owner`, the home, which calls this, and with `calls`
    /// those not begun too; wakes them first, so that they are queued. To be dropped by the caller. The thread's own calls
    /// stay: their frames wait further down its stack.
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

    /// Whether tasks of `owner`, the home, live: those whose wake another thread is just carrying to the queue, those that
    /// run, and those that destructors spawn.
    pub fn has_local(&self, owner: u64) -> bool {
        self.at_home(|queue| queue.local(owner).next().is_some()).unwrap_or(false)
    }

    /// Closes the context: nothing is taken in any more, and what is here is dropped, by the home thread if there is
    /// one, here if that is us or there is none.
    pub fn close(self: &Arc<Self>) {
        if fork::is_child() {
            return;
        }
        lock(&self.injected).closed = true;
        self.closing.store(true, Ordering::Release);
        // Whoever moves in or out after this sees `closing`.
        self.clear_out();
    }

    /// Whether the context was closed.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// On the home thread, in each round of its loop: whether it is to clear out what a `close` elsewhere left to it.
    pub fn has_to_close(&self) -> bool {
        self.is_closed() && (!self.is_empty() || self.live() > 0)
    }

    /// Drops all that waits here, if it is ours to drop; else rings the home thread, which does it. What runs just now is
    /// dropped when it has returned.
    ///
    /// The first panic of a destructor is raised when all of it is dropped.
    pub fn clear_out(self: &Arc<Self>) {
        let mut panicked = None;
        loop {
            lock(&self.injected).clearing += 1;
            // A woken task queues itself.
            let wakers = self.at_home_or_nobody_s(|queue| queue.wakers());
            wakers.into_iter().flatten().for_each(Waker::wake);
            // Before the last look: what comes after it sees that nobody will look.
            lock(&self.injected).clearing -= 1;
            let taken = self.at_home_or_nobody_s(|queue| (queue.take_bottom_halves(), queue.take_tasks(|_| true)));
            // Asked after `closing` was set, so whoever moved in since sees that, and begins nothing.
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

    /// Nothing if another thread is at home.
    fn at_home_or_nobody_s<R>(&self, touch: impl FnOnce(&mut Queue<Self>) -> R) -> Option<R> {
        if self.is_home_here() {
            return self.at_home(touch);
        }
        self.at_nobody_s(&mut lock(&self.home), touch)
    }

    /// Clears out on a thread of its own: for a wake that came while somebody closed a context without a home.
    #[cold]
    fn clear_out_elsewhere(self: &Arc<Self>) {
        // Nobody is there to raise a destructor's panic to.
        let clear_out = |this: Arc<Self>| drop(Payload::of(|| this.clear_out()));
        let this = Arc::clone(self);
        // A model has no threads but its own.
        #[cfg(loom)]
        clear_out(this);
        #[cfg(not(loom))]
        if thread::Builder::new().name("co-wrapper-close".to_owned()).spawn(move || clear_out(this)).is_err() {
            clear_out(Arc::clone(self));
        }
    }
}

impl Schedule for Mailbox {
    fn schedule(runnable: Runnable<Self>) {
        runnable.queue();
    }

    fn push_task(self: &Arc<Self>, runnable: Runnable<Self>) -> Result<(), Runnable<Self>> {
        self.push_task(runnable)
    }

    fn push_task_here(&self, runnable: Runnable<Self>) -> PushedHere<Runnable<Self>> {
        let may_be_refused = runnable.metadata().may_be_refused();
        self.push_here(runnable, may_be_refused, Queue::push_task)
    }

    /// Removes a task that ended, or goes elsewhere, from the list of the living.
    fn remove(&self, task: &Meta<Self>) {
        let Some(key) = task.key() else { return };
        task.set_key(None);
        let owned = task.owner().is_some();
        if self.at_home(|queue| queue.remove(key, owned)).is_some() || fork::is_child() {
            return;
        }
        let mut home = lock(&self.home);
        if self.at_nobody_s(&mut home, |queue| queue.remove(key, owned)).is_none() {
            self.put(&mut lock(&self.injected), Item::Ended(key, owned));
            drop(home);
            self.ring();
        }
    }

    /// A call is begun here, by its home, which alone may touch it from now on.
    fn adopt(&self) {
        self.at_home(Queue::adopt);
    }

    #[inline]
    fn running() -> &'static LocalKey<Running<Self>> {
        thread_local! { static RUNNING: Running<Mailbox> = const { Running::nothing() } }
        &RUNNING
    }
}
