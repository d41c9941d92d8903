//! What waits in a context, in the order in which it came, and the list of the tasks that live there. Plain data: whose
//! it is to touch is the mailbox's concern.

use std::{
    collections::{BTreeSet, VecDeque},
    mem,
    task::Waker,
};

use slab::Slab;

use super::{
    bottom_half::Queued,
    task::{Alive, Meta, Runnable},
};

/// One item to run.
pub enum Work<S> {
    /// Outside coroutine context.
    BottomHalf(Queued),
    /// In coroutine context.
    Task(Runnable<S>),
}

/// Which kinds of work a loop may take now. A nested wait holds some back, see `poll_loop/serve.rs`.
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

/// The queues of one context. Each item has a number, which orders the queues among each other and marks a batch's end.
pub struct Queue<S> {
    /// The number that was given last.
    last: u64,
    /// How many items wait.
    len: usize,
    bottom_halves: VecDeque<(u64, Queued)>,
    begun: VecDeque<(u64, Runnable<S>)>,
    fresh: VecDeque<(u64, Runnable<S>)>,
    /// Calls from other threads, not begun.
    calls: VecDeque<(u64, Runnable<S>)>,
    /// Every task that is not finished, queued or not.
    tasks: Slab<Alive<S>>,
    /// How many of them have an owner.
    owned: usize,
}

/// One of the queues.
enum Place {
    BottomHalf,
    Begun,
    Fresh,
    Call(usize),
}

impl<S> Default for Queue<S> {
    fn default() -> Self {
        Self {
            last: 0,
            len: 0,
            bottom_halves: VecDeque::new(),
            begun: VecDeque::new(),
            fresh: VecDeque::new(),
            calls: VecDeque::new(),
            tasks: Slab::new(),
            owned: 0,
        }
    }
}

impl<S> Queue<S> {
    /// The number of one more item.
    fn number(&mut self) -> u64 {
        self.len += 1;
        self.last += 1;
        self.last
    }

    /// The number behind which nothing lies that waits now.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Queues a bottom half.
    pub fn push_bottom_half(&mut self, bottom_half: Queued) {
        let number = self.number();
        self.bottom_halves.push_back((number, bottom_half));
    }

    /// Queues a task, and lists it if it is not.
    pub fn push_task(&mut self, runnable: Runnable<S>) {
        let task = runnable.metadata();
        if task.key().is_none() {
            self.owned += usize::from(task.owner().is_some());
            task.set_key(Some(self.tasks.insert(runnable.alive())));
        }
        let number = self.number();
        let queue = match task {
            _ if task.begun() => &mut self.begun,
            _ if task.caller().is_some() => &mut self.calls,
            _ => &mut self.fresh,
        };
        queue.push_back((number, runnable));
    }

    /// How many items wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Where the oldest allowed item is, and its number. Of the calls only those of the thread `of`, if given, and those
    /// taken back, which are but dropped.
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
        }
        let may_go = |call: &Meta<S>| call.is_taken_back() || allowed.fresh && (of.is_none() || call.caller() == of);
        if let Some(at) = self.calls.iter().position(|(_, call)| may_go(call.metadata())) {
            older(Place::Call(at), Some(self.calls[at].0));
        }
        oldest
    }

    /// Whether an allowed item waits.
    pub fn has(&self, allowed: Allowed, of: Option<u64>) -> bool {
        self.oldest(allowed, of).is_some()
    }

    /// The oldest allowed item, if it came no later than `end`.
    pub fn pop(&mut self, end: u64, allowed: Allowed, of: Option<u64>) -> Option<Work<S>> {
        // Nothing else waits, so nothing is compared.
        let alone = |allowed, waiting| allowed && self.len == waiting;
        let (place, number) = if alone(allowed.bottom_halves, self.bottom_halves.len()) {
            (Place::BottomHalf, self.bottom_halves.front()?.0)
        } else if alone(allowed.begun, self.begun.len()) {
            (Place::Begun, self.begun.front()?.0)
        } else if alone(allowed.fresh, self.fresh.len()) {
            (Place::Fresh, self.fresh.front()?.0)
        } else {
            self.oldest(allowed, of)?
        };
        if number > end {
            return None;
        }
        self.len -= 1;
        match place {
            Place::BottomHalf => self.bottom_halves.pop_front().map(|item| Work::BottomHalf(item.1)),
            Place::Begun => self.begun.pop_front().map(|item| Work::Task(item.1)),
            Place::Fresh => self.fresh.pop_front().map(|item| Work::Task(item.1)),
            Place::Call(at) => self.calls.remove(at).map(|item| Work::Task(item.1)),
        }
    }

    /// Takes out all bottom halves.
    pub fn take_bottom_halves(&mut self) -> VecDeque<(u64, Queued)> {
        self.len -= self.bottom_halves.len();
        mem::take(&mut self.bottom_halves)
    }

    /// Takes out the queued tasks that `which` names. They stay in the list until they are dropped.
    pub fn take_tasks(&mut self, which: impl Fn(&Meta<S>) -> bool) -> Vec<Runnable<S>> {
        let mut taken = Vec::new();
        for queue in [&mut self.begun, &mut self.fresh, &mut self.calls] {
            let (out, kept) = mem::take(queue).into_iter().partition(|item| which(item.1.metadata()));
            *queue = kept;
            taken.extend(VecDeque::into_iter(out).map(|item| item.1));
        }
        self.len -= taken.len();
        taken
    }

    /// The calls that wait, not begun.
    pub fn calls(&self) -> impl Iterator<Item = &Meta<S>> {
        self.calls.iter().map(|(_, call)| call.metadata())
    }

    /// How many tasks and calls live here.
    pub fn live(&self) -> usize {
        self.tasks.len()
    }

    /// A call was begun, and has an owner now.
    pub fn adopt(&mut self) {
        self.owned += 1;
    }

    /// Removes a task from the list, by its key there.
    pub fn remove(&mut self, key: usize, owned: bool) {
        self.owned -= usize::from(owned);
        // Its reference is not the last, or else only memory is left of the task.
        drop(self.tasks.remove(key));
    }

    /// Whether tasks with an owner live here, or calls wait.
    pub fn has_owned(&self) -> bool {
        self.owned > 0 || !self.calls.is_empty()
    }

    /// The tasks that belong to a thread, `owner`, but not the calls of its own that it has begun: their frames wait
    /// further down its stack.
    pub fn local(&self, owner: u64) -> impl Iterator<Item = &Alive<S>> {
        let owned = if self.owned > 0 { Some(&self.tasks) } else { None };
        owned.into_iter().flatten().map(|(_, task)| task).filter(move |task| {
            let meta = task.metadata();
            meta.owner() == Some(owner) && meta.caller() != Some(owner)
        })
    }

    /// Whether `owner` has begun a call of its own here that is not done.
    pub fn has_own_call(&self, owner: u64) -> bool {
        let own = |task: &Meta<S>| task.owner() == Some(owner) && task.caller() == Some(owner);
        self.owned > 0 && self.tasks.iter().any(|(_, task)| own(task.metadata()))
    }

    /// Whether `owner` has begun another caller's call here that is not done.
    pub fn has_received(&self, owner: u64) -> bool {
        let received =
            |task: &Meta<S>| task.owner() == Some(owner) && task.caller().is_some_and(|caller| caller != owner);
        self.owned > 0 && self.tasks.iter().any(|(_, task)| received(task.metadata()))
    }

    /// The oldest call of one of the threads `callers` that waits, not begun.
    pub fn pop_call_of(&mut self, callers: &BTreeSet<u64>) -> Option<Work<S>> {
        let at = self.calls().position(|call| call.caller().is_some_and(|caller| callers.contains(&caller)))?;
        self.len -= 1;
        self.calls.remove(at).map(|item| Work::Task(item.1))
    }

    /// What wakes each that lives here.
    pub fn wakers(&self) -> Vec<Waker> {
        self.tasks.iter().map(|(_, task)| task.waker().clone()).collect()
    }
}
