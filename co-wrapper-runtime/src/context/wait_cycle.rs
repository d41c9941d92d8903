//! Which contexts each thread waits for, and cycles of threads that wait for each other.
//!
//! A nested wait holds back what was never polled, and a temporary home never starts another caller's call. But what
//! this thread waits for, through any chain of waits, may itself wait for something that is held back here: then neither
//! goes on before that has run. So each thread publishes the contexts for which its code waits, and a nested wait runs
//! the following at once:
//!
//! - a received call whose caller this thread waits for, before its first poll and after it;
//! - a new task, or the body of a `no_co_wrapper`, that is awaited on such a thread.
//!
//! Published are blocking calls in other contexts, and from their first poll that is pending `JoinHandle`s of tasks that
//! were spawned in another thread's context and the futures of `no_co_wrapper`s. A wait whose publication closes a cycle
//! wakes all threads in it.
//!
//! The chains are those of threads: whoever waits for a task or call of a context counts as waiting for all that its home
//! thread waits for. What else a future may wait for, such as a channel or a thread of another runtime's, is not known.

use std::{
    collections::{BTreeMap, BTreeSet},
    ptr,
    sync::Arc,
};

use crate::{
    scheduler::Scheduler,
    sys::{
        fork,
        park::here,
        sync::{Mutex, lock},
    },
    tasks::{
        queue::{Through, Work},
        task::Identity,
    },
};

/// What each thread waits for, by the thread's number. An empty list stays for the thread's next wait, which then allocates
/// less, unless there are [`MANY`] lists.
type Waiting = BTreeMap<u64, Vec<Wait>>;

const MANY: usize = 64;

/// All that code of one thread waits for in one context: a thread may join many tasks at once.
struct Wait {
    target: Arc<Scheduler>,
    count: usize,
    /// The tasks that it awaits there.
    tasks: BTreeSet<Identity>,
}

#[cfg(not(loom))]
static WAITING: Mutex<Waiting> = Mutex::new(BTreeMap::new());
#[cfg(loom)]
loom::lazy_static! { static ref WAITING: Mutex<Waiting> = Mutex::new(BTreeMap::new()); }

/// Code of one thread waits for something in another context while this lives.
pub struct WaitsFor {
    thread: u64,
    /// Only compared: `WAITING` keeps it alive.
    target: *const Scheduler,
    task: Option<Identity>,
}

// SAFETY: the pointer is only compared.
unsafe impl Send for WaitsFor {}

impl WaitsFor {
    /// This thread waits for something in `target`: for `task`, if that is given.
    pub fn new(target: &Arc<Scheduler>, task: Option<Identity>) -> Self {
        let this = Self { thread: here(), target: Arc::as_ptr(target), task };
        // Another of the parent's threads may hold the lock.
        if fork::is_child() {
            return this;
        }
        let mut waiting = lock(&WAITING);
        let waits = waiting.entry(this.thread).or_default();
        let at = waits.iter().position(|wait| this.is_for(wait)).unwrap_or_else(|| {
            waits.push(Wait { target: Arc::clone(target), count: 0, tasks: BTreeSet::new() });
            waits.len() - 1
        });
        waits[at].count += 1;
        waits[at].tasks.extend(task);
        // Usual case: whoever is waited for waits for nobody.
        let next = target.home_number().and_then(|home| waiting.get(&home));
        if next.is_none_or(Vec::is_empty) {
            return this;
        }
        let threads = reached(&waiting);
        let mut cycle = Vec::new();
        if threads.contains(&this.thread) {
            let targets = threads.iter().filter_map(|thread| waiting.get(thread)).flatten().map(|wait| &wait.target);
            cycle.extend(targets.filter(|target| target.home_number() != Some(this.thread)).cloned());
        }
        drop(waiting);
        cycle.iter().for_each(|scheduler| scheduler.ring());
        this
    }

    fn is_for(&self, wait: &Wait) -> bool {
        ptr::eq(Arc::as_ptr(&wait.target), self.target)
    }
}

impl Drop for WaitsFor {
    fn drop(&mut self) {
        // As above.
        if fork::is_child() {
            return;
        }
        let mut waiting = lock(&WAITING);
        let Some(waits) = waiting.get_mut(&self.thread) else { return };
        let Some(at) = waits.iter().position(|wait| self.is_for(wait)) else { return };
        waits[at].count -= 1;
        if let Some(task) = &self.task {
            waits[at].tasks.remove(task);
        }
        let ended = if waits[at].count == 0 { Some(waits.swap_remove(at)) } else { None };
        if waits.is_empty() && waiting.len() > MANY {
            waiting.remove(&self.thread);
        }
        drop(waiting);
        drop(ended);
    }
}

/// Takes an item out of `scheduler`, whose home is this thread, that a thread waits for which this thread waits for: a call of
/// that thread's, to be started or to go on. With `others`, if there is none, a bottom half or a new task that is awaited
/// there, or an older one that has to run before it.
pub fn pop_waited_for(scheduler: &Arc<Scheduler>, others: bool) -> Option<(Work<Scheduler>, Through)> {
    // No users' code runs under this lock, as nothing is dropped.
    let waiting = lock(&WAITING);
    let threads = reached(&waiting);
    let elsewhere = threads.iter().filter(|thread| **thread != here());
    let here = elsewhere.filter_map(|thread| waiting.get(thread)).flatten();
    let here = here.filter(|wait| Arc::ptr_eq(&wait.target, scheduler) && !wait.tasks.is_empty());
    let tasks: Vec<_> = if others { here.map(|wait| &wait.tasks).collect() } else { Vec::new() };
    scheduler.pop_waited_for(&threads, others, &tasks)
}

/// The threads for which this one waits, through any chain of waits. It is one of them if there is a cycle.
fn reached(waiting: &Waiting) -> BTreeSet<u64> {
    let (mut threads, mut new) = (BTreeSet::new(), vec![here()]);
    while let Some(thread) = new.pop() {
        let homes = waiting.get(&thread).into_iter().flatten().filter_map(|wait| wait.target.home_number());
        new.extend(homes.filter(|home| threads.insert(*home)));
    }
    threads
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;
    use crate::{scheduler::Home, sys::park::Parker};

    fn move_in(scheduler: &Arc<Scheduler>) {
        let home = Home { thread: here(), thread_name: String::new(), unparker: Parker::new().unparker(), call: None };
        assert!(scheduler.move_in(home).is_ok());
    }

    /// Three threads, each home to one scheduler. The first two wait for the next one; then the last one waits for the
    /// first one, or for the second one, for so long as it is told.
    ///
    /// Catches: a thread in a cycle that is not woken when another one closes it; one outside it that is; a wait that
    /// stays when it has ended, whichever thread ends it.
    #[test]
    fn x07_whoever_closes_a_cycle_wakes_the_others_in_it() {
        let schedulers = [(); 3].map(|()| Arc::new(Scheduler::new()));
        let [first, second, last] = &schedulers;
        let (next, asked) = mpsc::channel::<Arc<Scheduler>>();
        let (waits, answers) = mpsc::channel();
        let numbers = thread::scope(|scope| {
            let (second_waits, waits_there) = mpsc::channel();
            scope.spawn(move || {
                move_in(last);
                for target in asked {
                    waits.send((WaitsFor::new(&target, None), reached(&lock(&WAITING)), here())).unwrap();
                }
                last.move_out();
            });
            let (over, is_over) = mpsc::channel::<()>();
            scope.spawn(move || {
                move_in(second);
                second_waits.send((WaitsFor::new(last, None), here())).unwrap();
                let _ = is_over.recv();
                second.move_out();
            });
            move_in(first);
            let (second_wait, second_number) = waits_there.recv().unwrap();
            let first_wait = WaitsFor::new(second, None);
            let notified = || [first, second].map(|scheduler| scheduler.take_notified());
            assert_eq!(notified(), [false; 2]);

            next.send(Arc::clone(second)).unwrap();
            let (wait, threads, last_number) = answers.recv().unwrap();
            assert_eq!(notified(), [false, true], "the first one is in no cycle");
            assert_eq!(threads, BTreeSet::from([second_number, last_number]));
            drop(wait);

            next.send(Arc::clone(first)).unwrap();
            let (wait, threads, _) = answers.recv().unwrap();
            assert_eq!(notified(), [true; 2]);
            assert_eq!(threads, BTreeSet::from([here(), second_number, last_number]));
            drop((wait, first_wait));

            next.send(Arc::clone(first)).unwrap();
            let (wait, threads, _) = answers.recv().unwrap();
            assert_eq!(notified(), [false; 2], "the first one waits no more");
            assert_eq!(threads, BTreeSet::from([here()]));
            drop((wait, second_wait, next, over));
            first.move_out();
            [here(), second_number, last_number]
        });
        let waiting = lock(&WAITING);
        assert!(numbers.iter().all(|number| waiting.get(number).is_none_or(Vec::is_empty)));
    }
}
