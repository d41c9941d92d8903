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
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    scheduler::Scheduler,
    sys::{fork, park::here, sync::plain_lock},
    tasks::task::Identity,
};

/// What each thread waits for, by the thread's number.
type Waiting = BTreeMap<u64, Vec<Wait>>;

struct Wait {
    number: u64,
    target: Arc<Scheduler>,
    /// The task in it that is awaited, if it is one.
    task: Option<Identity>,
}

static WAITING: std::sync::Mutex<Waiting> = std::sync::Mutex::new(BTreeMap::new());

/// Code of one thread waits for something in another context while this lives.
pub struct WaitsFor {
    thread: u64,
    number: u64,
}

impl WaitsFor {
    /// This thread waits for something in `target`: for `task`, if that is given.
    pub fn new(target: &Arc<Scheduler>, task: Option<Identity>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);

        let this = Self { thread: here(), number: NEXT.fetch_add(1, Ordering::Relaxed) };
        // Another of the parent's threads may hold the lock.
        if fork::is_child() {
            return this;
        }
        let mut waiting = plain_lock(&WAITING);
        let wait = Wait { number: this.number, target: Arc::clone(target), task };
        waiting.entry(this.thread).or_default().push(wait);
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
}

impl Drop for WaitsFor {
    fn drop(&mut self) {
        // As above.
        if fork::is_child() {
            return;
        }
        let mut waiting = plain_lock(&WAITING);
        let Some(waits) = waiting.get_mut(&self.thread) else { return };
        let at = waits.iter().rposition(|wait| wait.number == self.number);
        let ended = at.map(|at| waits.swap_remove(at));
        if waits.is_empty() {
            waiting.remove(&self.thread);
        }
        drop(waiting);
        drop(ended);
    }
}

/// What this thread waits for, through any chain of waits.
pub struct WaitedFor {
    /// Contains this thread if there is a cycle.
    pub threads: BTreeSet<u64>,
    /// The tasks that code of these threads awaits.
    pub tasks: BTreeSet<Identity>,
}

impl WaitedFor {
    /// What this thread waits for now.
    pub fn now() -> Self {
        let waiting = plain_lock(&WAITING);
        let threads = reached(&waiting);
        let others = threads.iter().filter(|thread| **thread != here());
        let waits = others.filter_map(|thread| waiting.get(thread)).flatten();
        let tasks = waits.filter_map(|wait| wait.task).collect();
        drop(waiting);
        Self { threads, tasks }
    }
}

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
        let home = Home {
            thread: here(),
            thread_name: String::new(),
            unparker: Parker::new().unparker(),
            temporary: false,
            call: None,
        };
        scheduler.move_in(home).expect("it has no home");
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
                    waits.send((WaitsFor::new(&target, None), WaitedFor::now().threads, here())).unwrap();
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
        let waiting = plain_lock(&WAITING);
        assert!(numbers.iter().all(|number| !waiting.contains_key(number)));
    }
}
