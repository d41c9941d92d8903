//! The wake half of a context: what waits to be run there, and how its home thread learns of it.
//!
//! Everything that may outlive a context (task wakers, handles of other threads) holds its mailbox, never the context
//! itself. Running what is in it is the poll loop's work (`context/serve.rs`).

use std::{
    collections::VecDeque,
    mem,
    sync::Arc,
    task::{Wake, Waker},
    thread,
};

use slab::Slab;

use super::{bottom_half::Queued, task::Runnable, timers::Timers};
use crate::{
    fork,
    park::{Unparker, here},
    sync::{AtomicBool, AtomicU64, AtomicUsize, Mutex, Ordering, lock},
};

/// One item to run.
pub enum Work {
    /// Outside coroutine context.
    BottomHalf(Queued),
    /// In coroutine context.
    Task(Runnable),
}

/// Which kinds of work a loop may take now. A nested wait holds some back, see `context/serve.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// Bottom halves.
    pub bottom_halves: bool,
    /// Tasks that were polled before.
    pub begun: bool,
    /// Tasks and received calls that were not.
    pub fresh: bool,
}

impl Allowed {
    /// Every kind.
    pub const ALL: Self = Self { bottom_halves: true, begun: true, fresh: true };
}

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
    /// How many items wait, so that an idle loop need not take the lock.
    len: AtomicUsize,
    /// The home thread's number, 0 for none. Exact on the home thread itself, a hint elsewhere.
    home_thread: AtomicU64,
    /// Whether that is a passing home. Exact on the home thread itself.
    passing: AtomicBool,
    /// Set by `close`, for the home thread to clear out.
    closing: AtomicBool,
    timers: Timers,
    home: Mutex<Option<Home>>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    closed: bool,
    /// The number that the next item gets. Numbers order the three queues among each other and mark a batch's end.
    next: u64,
    bottom_halves: VecDeque<(u64, Queued)>,
    begun: VecDeque<(u64, Runnable)>,
    fresh: VecDeque<(u64, Runnable)>,
    /// Calls from other threads, not begun.
    calls: VecDeque<(u64, Runnable)>,
    /// Every task that is not finished, queued or not.
    tasks: Slab<Registered>,
    /// How many of them have an owner.
    owned: usize,
    /// How many are about to take out all that is queued.
    clearing: usize,
}

/// As a waker it makes the home thread look.
impl Wake for Mailbox {
    fn wake(self: Arc<Self>) {
        self.ring();
    }
}

/// One of the queues.
enum Place {
    BottomHalf,
    Begun,
    Fresh,
    Call(usize),
}

/// A live task's entry.
struct Registered {
    waker: Waker,
    /// The thread that a `!Send` task or a begun call belongs to.
    owner: Option<u64>,
    /// Whether it is a begun call of that very thread, whose frame waits further down its stack.
    own_call: bool,
}

impl Queue {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn len(&self) -> usize {
        self.bottom_halves.len() + self.begun.len() + self.fresh.len() + self.calls.len()
    }

    /// Where the oldest allowed item is, and its number. Of the calls only those of the thread `of`, if given.
    fn oldest(&self, allowed: Allowed, of: Option<u64>) -> Option<(Place, u64)> {
        let mut oldest = None;
        let mut older = |place, number: Option<u64>| {
            if let Some(number) = number
                && oldest.as_ref().is_none_or(|(_, than)| number < *than)
            {
                oldest = Some((place, number));
            }
        };
        if allowed.bottom_halves {
            older(Place::BottomHalf, self.bottom_halves.front().map(|item| item.0));
        }
        if allowed.begun {
            older(Place::Begun, self.begun.front().map(|item| item.0));
        }
        if allowed.fresh {
            older(Place::Fresh, self.fresh.front().map(|item| item.0));
            if let Some(at) = self.calls.iter().position(|(_, call)| of.is_none() || call.metadata().caller() == of) {
                older(Place::Call(at), Some(self.calls[at].0));
            }
        }
        oldest
    }

    /// The oldest allowed item, if it came no later than `end`.
    fn pop(&mut self, end: u64, allowed: Allowed, of: Option<u64>) -> Option<Work> {
        // Nothing else waits, so nothing is compared.
        if allowed.bottom_halves && self.len() == self.bottom_halves.len() {
            self.bottom_halves.front().filter(|item| item.0 <= end)?;
            return self.bottom_halves.pop_front().map(|item| Work::BottomHalf(item.1));
        }
        let (place, _) = self.oldest(allowed, of).filter(|(_, number)| *number <= end)?;
        match place {
            Place::BottomHalf => self.bottom_halves.pop_front().map(|item| Work::BottomHalf(item.1)),
            Place::Begun => self.begun.pop_front().map(|item| Work::Task(item.1)),
            Place::Fresh => self.fresh.pop_front().map(|item| Work::Task(item.1)),
            Place::Call(at) => self.calls.remove(at).map(|item| Work::Task(item.1)),
        }
    }

    /// Takes out the queued tasks that `which` names.
    fn take_tasks(&mut self, which: impl Fn(&Runnable) -> bool) -> Vec<Runnable> {
        let mut taken = Vec::new();
        for queue in [&mut self.begun, &mut self.fresh, &mut self.calls] {
            let (out, kept) = mem::take(queue).into_iter().partition(|item| which(&item.1));
            *queue = kept;
            taken.extend(VecDeque::into_iter(out).map(|item| item.1));
        }
        taken
    }
}

// Items are dropped only after the lock is let go: a task's destructor is the user's and may schedule. A forked child does
// nothing here, for a thread that it does not have may hold the locks.
impl Mailbox {
    /// An empty one without a home.
    pub fn new() -> Self {
        Self {
            notified: AtomicBool::new(false),
            notified_here: AtomicBool::new(false),
            kicked: AtomicBool::new(false),
            len: AtomicUsize::new(0),
            home_thread: AtomicU64::new(0),
            passing: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            timers: Timers::new(),
            home: Mutex::new(None),
            queue: Mutex::new(Queue::default()),
        }
    }

    /// Queues a bottom half; gives it back when the context is closed.
    pub fn push_bottom_half(&self, bottom_half: Queued) -> Result<(), Queued> {
        let mut queue = lock(&self.queue);
        if queue.closed {
            return Err(bottom_half);
        }
        let number = queue.number();
        queue.bottom_halves.push_back((number, bottom_half));
        self.len.store(queue.len(), Ordering::Release);
        drop(queue);
        self.ring();
        Ok(())
    }

    /// Queues a task. Gives a new one back when the context is closed; one that was polled is queued all the same, for
    /// this may be called within a wake, whose caller may hold a lock that the task's destructor takes.
    pub fn push_task(self: &Arc<Self>, runnable: Runnable) -> Result<(), Runnable> {
        let begun = runnable.metadata().begun();
        let mut queue = lock(&self.queue);
        // One that another thread owns is queued too, for that thread to drop: it may be dropped nowhere else.
        if queue.closed && !begun && runnable.metadata().owner().is_none_or(|owner| owner == here()) {
            return Err(runnable);
        }
        let number = queue.number();
        let place = match runnable.metadata() {
            _ if begun => &mut queue.begun,
            task if task.caller().is_some() => &mut queue.calls,
            _ => &mut queue.fresh,
        };
        place.push_back((number, runnable));
        self.len.store(queue.len(), Ordering::Release);
        let abandoned = queue.closed && queue.clearing == 0;
        drop(queue);
        self.ring();
        // With a home it is dropped there: by the next round, or by leaving.
        if abandoned && self.home_number().is_none() {
            self.clear_out_elsewhere();
        }
        Ok(())
    }

    /// Enters a task, which `make` builds around its key, into the list of the living.
    pub fn register<T>(&self, owner: Option<u64>, make: impl FnOnce(usize) -> (Waker, T)) -> T {
        let mut queue = lock(&self.queue);
        let entry = queue.tasks.vacant_entry();
        let (waker, made) = make(entry.key());
        entry.insert(Registered { waker, owner, own_call: false });
        queue.owned += usize::from(owner.is_some());
        made
    }

    /// Strikes a task that ended from the list.
    pub fn unregister(&self, key: usize) {
        if fork::is_child() {
            return;
        }
        let mut queue = lock(&self.queue);
        let entry = queue.tasks.remove(key);
        queue.owned -= usize::from(entry.owner.is_some());
        drop(queue);
        drop(entry);
    }

    /// The mark behind which nothing of the present batch lies.
    pub fn batch_end(&self) -> u64 {
        if self.is_empty() || fork::is_child() { 0 } else { lock(&self.queue).next }
    }

    /// Whether nothing waits to be run.
    pub fn is_empty(&self) -> bool {
        self.len.load(Ordering::Acquire) == 0
    }

    /// Whether a round would find nothing to look at, neither items nor timers nor a close.
    #[inline]
    pub fn is_quiet(&self) -> bool {
        self.is_empty() && self.timers.is_empty() && !self.is_closed()
    }

    /// The oldest item that came no later than `end`, of the kinds allowed.
    pub fn pop(&self, end: u64, allowed: Allowed) -> Option<Work> {
        loop {
            // What runs may have left home within its own batch, or forked, or closed the context: then the next round
            // clears it out.
            if self.is_empty() || fork::is_child() || self.is_closed() || !self.is_home_here() {
                return None;
            }
            let mut queue = lock(&self.queue);
            let work = queue.pop(end, allowed, self.only_calls_of());
            self.len.store(queue.len(), Ordering::Release);
            drop(queue);
            match work? {
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
        !self.is_empty() && !fork::is_child() && lock(&self.queue).oldest(Allowed::ALL, self.only_calls_of()).is_some()
    }

    fn only_calls_of(&self) -> Option<u64> {
        self.passing.load(Ordering::Relaxed).then(here)
    }

    /// Marks a call of the thread `caller` as begun by this one, which alone may touch it from now on.
    pub fn adopt(&self, key: usize, caller: u64) {
        let queue = &mut *lock(&self.queue);
        queue.owned += 1;
        let call = &mut queue.tasks[key];
        (call.owner, call.own_call) = (Some(here()), caller == here());
    }

    /// Whether this thread, the home, has begun a call of its own here that is not done.
    pub fn has_own_call(&self) -> bool {
        if fork::is_child() {
            return false;
        }
        let queue = lock(&self.queue);
        queue.owned > 0 && queue.tasks.iter().any(|(_, task)| task.own_call && task.owner == Some(here()))
    }

    /// The timers that its home thread fires.
    pub fn timers(&self) -> &Timers {
        &self.timers
    }

    /// How many tasks and calls live here.
    pub fn live(&self) -> usize {
        if fork::is_child() { 0 } else { lock(&self.queue).tasks.len() }
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
        if let Some(home) = &*lock(&self.home) {
            home.unparker.unpark();
        }
    }

    /// Makes `new` the home. Someone who notified before it could be rung has left `notified` set, and the lock orders
    /// that before the new home's first look. Fails with the present home, another thread's.
    pub fn move_in(&self, new: Home) -> Result<(), Home> {
        let mut home = lock(&self.home);
        if let Some(other) = &*home {
            return Err(other.clone());
        }
        self.home_thread.store(new.thread, Ordering::Relaxed);
        self.passing.store(new.passing, Ordering::Relaxed);
        *home = Some(new);
        Ok(())
    }

    /// Turns a passing home into one that stays, or back.
    pub fn set_passing(&self, passing: bool) {
        if let Some(home) = &mut *lock(&self.home) {
            home.passing = passing;
            self.passing.store(passing, Ordering::Relaxed);
        }
    }

    /// Leaves home: what waits, waits for the next one. The callers whose calls wait here are woken, one of them to be
    /// that: all, for the first may be at a wait further up its stack, which serves this context no more.
    pub fn move_out(self: &Arc<Self>) {
        self.home_thread.store(0, Ordering::Relaxed);
        *lock(&self.home) = None;
        // After the lock: a caller that queued its call before saw a home, and is found here; one that queues it now
        // sees none.
        let callers: Vec<_> =
            lock(&self.queue).calls.iter().filter_map(|(_, call)| call.metadata().caller_waker()).collect();
        callers.into_iter().for_each(Wake::wake);
        if self.closing.load(Ordering::Acquire) {
            self.clear_out();
        }
    }

    /// Who is at home.
    pub fn home(&self) -> Option<Home> {
        if fork::is_child() { None } else { lock(&self.home).clone() }
    }

    /// Whether this thread is at home.
    pub fn is_home_here(&self) -> bool {
        !fork::is_child() && self.home_thread.load(Ordering::Relaxed) == here()
    }

    /// The number of the thread that is at home.
    pub fn home_number(&self) -> Option<u64> {
        if fork::is_child() { None } else { lock(&self.home).as_ref().map(|home| home.thread) }
    }

    /// Wakes every task, woken or not: for a loop below which a scheduler keeps wakes back.
    pub fn wake_all(&self) {
        let wakers: Vec<Waker> = lock(&self.queue).tasks.iter().map(|(_, task)| task.waker.clone()).collect();
        wakers.iter().for_each(Waker::wake_by_ref);
    }

    /// Takes out the `!Send` tasks and the begun calls of the thread `owner`, which calls this, and with `calls` those
    /// not begun too; wakes them first, so that they are queued. To be dropped by the caller. The thread's own calls stay:
    /// their frames wait further down its stack.
    pub fn take_local(&self, owner: u64, calls: bool) -> Vec<Runnable> {
        let wakers = self.local_wakers(owner);
        wakers.iter().for_each(Waker::wake_by_ref);
        let mut queue = lock(&self.queue);
        if queue.owned == 0 && queue.calls.is_empty() {
            return Vec::new();
        }
        let runnables = queue.take_tasks(|runnable| {
            let task = runnable.metadata();
            task.caller() != Some(owner) && (task.owner() == Some(owner) || (calls && task.caller().is_some()))
        });
        self.len.store(queue.len(), Ordering::Release);
        runnables
    }

    /// Whether tasks of `owner` live: those whose wake another thread is just carrying to the queue, those that run, and
    /// those that destructors spawn.
    pub fn has_local(&self, owner: u64) -> bool {
        !self.local_wakers(owner).is_empty()
    }

    fn local_wakers(&self, owner: u64) -> Vec<Waker> {
        let queue = lock(&self.queue);
        if queue.owned == 0 {
            return Vec::new();
        }
        let local = queue.tasks.iter().filter(|(_, task)| task.owner == Some(owner) && !task.own_call);
        local.map(|(_, task)| task.waker.clone()).collect()
    }

    /// Closes the context: nothing is taken in any more, and what is here is dropped, by the home thread if there is
    /// one, here if that is us or there is none.
    pub fn close(self: &Arc<Self>) {
        if fork::is_child() {
            return;
        }
        lock(&self.queue).closed = true;
        self.closing.store(true, Ordering::Release);
        // Whoever moves in or out after this sees `closing`.
        if self.home_number().is_some_and(|home| home != here()) {
            self.ring();
        } else {
            self.clear_out();
        }
    }

    /// Whether the context was closed.
    pub fn is_closed(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// On the home thread, in each round of its loop: clears out what a `close` elsewhere left to it.
    pub fn obey_close(self: &Arc<Self>) {
        if self.is_closed() && (!self.is_empty() || self.live() > 0) {
            self.clear_out();
        }
    }

    /// Drops all that waits here, but for what the home thread alone may touch, if that is another: it was rung, and
    /// drops that. What runs just now is dropped when it has returned.
    fn clear_out(self: &Arc<Self>) {
        loop {
            let mut queue = lock(&self.queue);
            let wakers: Vec<Waker> = queue.tasks.iter().map(|(_, task)| task.waker.clone()).collect();
            queue.clearing += 1;
            drop(queue);
            // A woken task queues itself.
            wakers.into_iter().for_each(Waker::wake);
            // Asked after `closing` was set, so whoever moves in later sees that, and begins nothing.
            let elsewhere = self.home_number().filter(|home| *home != here());
            let mut queue = lock(&self.queue);
            queue.clearing -= 1;
            let bottom_halves = mem::take(&mut queue.bottom_halves);
            let runnables = queue.take_tasks(|task| elsewhere.is_none() || task.metadata().owner() != elsewhere);
            self.len.store(queue.len(), Ordering::Release);
            drop(queue);
            if bottom_halves.is_empty() && runnables.is_empty() {
                return;
            }
            drop(bottom_halves);
            drop(runnables);
        }
    }

    /// The same on a thread of its own: for a wake that came while somebody closed a context without a home.
    #[cold]
    fn clear_out_elsewhere(self: &Arc<Self>) {
        let this = Arc::clone(self);
        let thread = thread::Builder::new().name("co-wrapper-close".to_owned()).spawn(move || this.clear_out());
        if thread.is_err() {
            self.clear_out();
        }
    }
}
