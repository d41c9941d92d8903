//! Cycles of threads that wait for calls in each other's contexts.
//!
//! A nested wait holds received calls back, and a temporary home never starts another caller's call. But if, through
//! any chain of calls, this thread waits for the caller of a received call, then neither goes on before that call is
//! done. So each thread publishes the contexts in which it waits for a call, and starts such a received call at once, and
//! polls it again as soon as it is woken. A thread whose wait closes a cycle wakes all threads in the cycle.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    scheduler::Scheduler,
    sys::{fork, park::here, sync::plain_lock},
};

/// The contexts in which each such thread waits for a call, innermost last.
type Waiting = BTreeMap<u64, Vec<Arc<Scheduler>>>;

static WAITING: std::sync::Mutex<Waiting> = std::sync::Mutex::new(BTreeMap::new());

/// This thread waits for a call in another context while this lives.
pub struct Waits(());

impl Waits {
    /// Records a nested wait for a call in `target`.
    pub fn new(target: &Arc<Scheduler>) -> Self {
        let mut waiting = plain_lock(&WAITING);
        waiting.entry(here()).or_default().push(Arc::clone(target));
        let threads = reached(&waiting);
        let mut cycle = Vec::new();
        if threads.contains(&here()) {
            let targets = threads.iter().filter_map(|thread| waiting.get(thread)).flatten();
            cycle.extend(targets.filter(|target| target.home_number() != Some(here())).cloned());
        }
        drop(waiting);
        cycle.iter().for_each(|scheduler| scheduler.ring());
        Self(())
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        // Another of the parent's threads may hold the lock.
        if fork::is_child() {
            return;
        }
        let mut waiting = plain_lock(&WAITING);
        if let Some(targets) = waiting.get_mut(&here()) {
            targets.pop();
            if targets.is_empty() {
                waiting.remove(&here());
            }
        }
    }
}

/// The threads for which this one waits, through any chain of calls. It contains this thread if there is a cycle.
pub fn waited_for() -> BTreeSet<u64> {
    reached(&plain_lock(&WAITING))
}

fn reached(waiting: &Waiting) -> BTreeSet<u64> {
    let (mut threads, mut new) = (BTreeSet::new(), vec![here()]);
    while let Some(thread) = new.pop() {
        let homes = waiting.get(&thread).into_iter().flatten().filter_map(|target| target.home_number());
        new.extend(homes.filter(|home| threads.insert(*home)));
    }
    threads
}
