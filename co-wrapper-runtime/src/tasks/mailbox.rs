//! The wake half of a context: what waits to be run there, and how its home thread learns of it.
//!
//! Everything that may outlive a context (task wakers, handles of other threads) holds its mailbox, never the context
//! itself. Running what is in it is the poll loop's work (`context/serve.rs`).

use std::{collections::VecDeque, mem, sync::Arc, task::Waker, thread};

use slab::Slab;

use super::task::{Runnable, discard};
use crate::{
    park::{Unparker, here},
    sync::{AtomicBool, AtomicU64, AtomicUsize, Mutex, Ordering, lock},
};

/// A one-shot bottom half.
pub type BottomHalf = Box<dyn FnOnce() + Send>;

/// One item to run.
pub enum Work {
    /// Outside coroutine context.
    BottomHalf(BottomHalf),
    /// In coroutine context.
    Task(Runnable),
}

/// Which kinds of work a loop may take now. A nested wait holds some back, see `context/serve.rs`.
#[derive(Clone, Copy, Debug)]
pub struct Allowed {
    /// Bottom halves.
    pub bottom_halves: bool,
    /// Tasks that were polled before.
    pub begun: bool,
    /// Tasks that were not.
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
    /// A bare `notify`, which ends a blocking `poll` though nothing ran.
    kicked: AtomicBool,
    /// How many items wait, so that an idle loop need not take the lock.
    len: AtomicUsize,
    /// The home thread's number, 0 for none. Exact on the home thread itself, a hint elsewhere.
    home_thread: AtomicU64,
    home: Mutex<Option<Home>>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    closed: bool,
    /// The number that the next item gets. Numbers order the three queues among each other and mark a batch's end.
    next: u64,
    bottom_halves: VecDeque<(u64, BottomHalf)>,
    begun: VecDeque<(u64, Runnable)>,
    fresh: VecDeque<(u64, Runnable)>,
    /// Every task that is not finished, queued or not.
    tasks: Slab<Registered>,
}

/// A live task's entry.
struct Registered {
    waker: Waker,
    /// The thread that a `!Send` task belongs to.
    owner: Option<u64>,
}

impl Queue {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn len(&self) -> usize {
        self.bottom_halves.len() + self.begun.len() + self.fresh.len()
    }

    /// The oldest allowed item, if it came before `end`.
    fn pop(&mut self, end: u64, allowed: Allowed) -> Option<Work> {
        let front = |allowed: bool, number: Option<u64>| number.filter(|_| allowed).unwrap_or(u64::MAX);
        let bottom_half = front(allowed.bottom_halves, self.bottom_halves.front().map(|item| item.0));
        let begun = front(allowed.begun, self.begun.front().map(|item| item.0));
        let fresh = front(allowed.fresh, self.fresh.front().map(|item| item.0));
        let oldest = bottom_half.min(begun).min(fresh);
        if oldest > end {
            return None;
        }
        if oldest == bottom_half {
            self.bottom_halves.pop_front().map(|item| Work::BottomHalf(item.1))
        } else if oldest == begun {
            self.begun.pop_front().map(|item| Work::Task(item.1))
        } else {
            self.fresh.pop_front().map(|item| Work::Task(item.1))
        }
    }

    /// Takes out the queued tasks that `which` names.
    fn take_tasks(&mut self, which: impl Fn(&Runnable) -> bool) -> Vec<Runnable> {
        let mut taken = Vec::new();
        for queue in [&mut self.begun, &mut self.fresh] {
            let (out, kept) = mem::take(queue).into_iter().partition(|item| which(&item.1));
            *queue = kept;
            taken.extend(VecDeque::into_iter(out).map(|item| item.1));
        }
        taken
    }
}

// Items are dropped only after the lock is let go: a task's destructor is the user's and may schedule.
impl Mailbox {
    /// An empty one without a home.
    pub fn new() -> Self {
        Self {
            notified: AtomicBool::new(false),
            kicked: AtomicBool::new(false),
            len: AtomicUsize::new(0),
            home_thread: AtomicU64::new(0),
            home: Mutex::new(None),
            queue: Mutex::new(Queue::default()),
        }
    }

    /// Queues a bottom half; gives it back when the context is closed.
    pub fn push_bottom_half(&self, bottom_half: BottomHalf) -> Result<(), BottomHalf> {
        let mut queue = lock(&self.queue);
        if queue.closed {
            return Err(bottom_half);
        }
        let number = queue.number();
        queue.bottom_halves.push_back((number, bottom_half));
        self.len.store(queue.len(), Ordering::Release);
        drop(queue);
        self.wake();
        Ok(())
    }

    /// Queues a task that was woken; gives it back when the context is closed.
    pub fn push_task(&self, runnable: Runnable) -> Result<(), Runnable> {
        let mut queue = lock(&self.queue);
        if queue.closed {
            return Err(runnable);
        }
        let number = queue.number();
        let begun = runnable.metadata().begun();
        if begun { &mut queue.begun } else { &mut queue.fresh }.push_back((number, runnable));
        self.len.store(queue.len(), Ordering::Release);
        drop(queue);
        self.wake();
        Ok(())
    }

    /// Enters a task, which `make` builds around its key, into the list of the living.
    pub fn register<T>(&self, owner: Option<u64>, make: impl FnOnce(usize) -> (Waker, T)) -> T {
        let mut queue = lock(&self.queue);
        let entry = queue.tasks.vacant_entry();
        let (waker, made) = make(entry.key());
        entry.insert(Registered { waker, owner });
        made
    }

    /// Strikes a task that ended from the list.
    pub fn unregister(&self, key: usize) {
        let entry = lock(&self.queue).tasks.try_remove(key);
        drop(entry);
    }

    /// The mark behind which nothing of the present batch lies.
    pub fn batch_end(&self) -> u64 {
        if self.is_empty() { 0 } else { lock(&self.queue).next }
    }

    /// Whether nothing waits to be run.
    pub fn is_empty(&self) -> bool {
        self.len.load(Ordering::Acquire) == 0
    }

    /// The oldest item that came no later than `end`, of the kinds allowed.
    pub fn pop(&self, end: u64, allowed: Allowed) -> Option<Work> {
        if self.is_empty() {
            return None;
        }
        let mut queue = lock(&self.queue);
        let work = queue.pop(end, allowed);
        self.len.store(queue.len(), Ordering::Release);
        work
    }

    /// Wakes the home thread, from any thread. (QEMU's `aio_notify`.)
    pub fn notify(&self) {
        self.kicked.store(true, Ordering::Release);
        self.wake();
    }

    /// Whether `notify` was called since this was last asked.
    pub fn take_kick(&self) -> bool {
        self.kicked.load(Ordering::Relaxed) && self.kicked.swap(false, Ordering::AcqRel)
    }

    /// To be asked before the home thread sleeps: true if something came in since, so look again.
    pub fn take_notified(&self) -> bool {
        self.notified.load(Ordering::Relaxed) && self.notified.swap(false, Ordering::AcqRel)
    }

    fn wake(&self) {
        if self.notified.swap(true, Ordering::AcqRel) {
            return;
        }
        // The home thread itself is awake and asks `take_notified` before it sleeps.
        if self.home_thread.load(Ordering::Relaxed) == here() {
            return;
        }
        if let Some(home) = &*lock(&self.home) {
            home.unparker.unpark();
        }
    }

    /// Makes `home` the home. Someone who notified before it could be rung has left `notified` set, and the lock orders
    /// that before the new home's first look. Fails with the present home, another thread's.
    pub fn move_in(&self, new: Home) -> Result<(), Home> {
        let mut home = lock(&self.home);
        if let Some(other) = &*home {
            return Err(other.clone());
        }
        self.home_thread.store(new.thread, Ordering::Relaxed);
        *home = Some(new);
        Ok(())
    }

    /// Leaves home: what waits, waits for the next one.
    pub fn move_out(&self) {
        self.home_thread.store(0, Ordering::Relaxed);
        *lock(&self.home) = None;
    }

    /// Who is at home.
    pub fn home(&self) -> Option<Home> {
        lock(&self.home).clone()
    }

    /// Wakes every task, woken or not: for a loop below which a scheduler keeps wakes back.
    pub fn wake_all(&self) {
        let wakers: Vec<Waker> = lock(&self.queue).tasks.iter().map(|(_, task)| task.waker.clone()).collect();
        wakers.iter().for_each(Waker::wake_by_ref);
    }

    /// One round of dropping the `!Send` tasks of the thread `owner`, which calls this: wakes them, so that they are
    /// queued, and takes out what is. Returns how many still live: those whose wake another thread is just carrying to
    /// the queue, or whose destructor spawned.
    pub fn drop_local_tasks(&self, owner: u64) -> usize {
        let local = |task: &Registered| task.owner == Some(owner);
        let wakers: Vec<Waker> = lock(&self.queue)
            .tasks
            .iter()
            .filter(|(_, task)| local(task))
            .map(|(_, task)| task.waker.clone())
            .collect();
        wakers.iter().for_each(Waker::wake_by_ref);
        drop(wakers);
        let mut queue = lock(&self.queue);
        let runnables = queue.take_tasks(|runnable| runnable.metadata().owner() == Some(owner));
        self.len.store(queue.len(), Ordering::Release);
        drop(queue);
        drop(runnables);
        lock(&self.queue).tasks.iter().filter(|(_, task)| local(task)).count()
    }

    /// Drops all that waits here and takes nothing more. Called when no thread can poll the context any longer; the
    /// `!Send` tasks went with the home thread.
    pub fn close(self: &Arc<Self>) {
        let mut queue = lock(&self.queue);
        queue.closed = true;
        let wakers: Vec<Waker> = queue.tasks.drain().map(|task| task.waker).collect();
        let bottom_halves = mem::take(&mut queue.bottom_halves);
        let runnables = queue.take_tasks(|_| true);
        self.len.store(0, Ordering::Release);
        drop(queue);
        drop(bottom_halves);
        runnables.into_iter().for_each(discard);
        // A woken task schedules itself, finds the queue closed and is dropped.
        wakers.into_iter().for_each(Waker::wake);
    }
}
