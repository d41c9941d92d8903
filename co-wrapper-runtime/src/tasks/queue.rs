//! What waits in a context, in the order in which it came, and the list of the context's live tasks.
//!
//! This is plain data: it takes no lock and runs no users' code. `scheduler/mod.rs` says who may touch it.

use std::{
    collections::{BTreeSet, VecDeque},
    mem,
    task::Waker,
};

use slab::Slab;

use super::{
    bottom_half::Queued,
    task::{Identity, Meta, OwnedTask, Runnable},
};

/// One item to run.
pub enum Work<S> {
    /// Runs outside coroutine context.
    BottomHalf(Queued),
    /// Runs in coroutine context.
    Task(Runnable<S>),
}

/// Which kinds of work a loop may take now. A nested wait holds some back, see `poll_loop/serve.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// Bottom halves.
    pub bottom_halves: bool,
    /// Tasks that were polled before.
    pub started: bool,
    /// Tasks and received calls that were never polled.
    pub new: bool,
}

impl Allowed {
    /// Every kind.
    pub const ALL: Self = Self { bottom_halves: true, started: true, new: true };
}

/// The queues of one context. Items are numbered as they come, across all queues, so that the oldest can be found and a
/// batch's end can be named.
pub struct Queue<S> {
    /// The last number given.
    last: u64,
    /// How many items wait.
    len: usize,
    bottom_halves: VecDeque<(u64, Queued)>,
    started: VecDeque<(u64, Runnable<S>)>,
    new: VecDeque<(u64, Runnable<S>)>,
    /// Calls from other threads, started or not.
    calls: VecDeque<(u64, Runnable<S>)>,
    /// Every live task or call, that is, one whose future has not been dropped, whether it is queued or not.
    tasks: Slab<OwnedTask<S>>,
    /// How many of them have an owner.
    owned: usize,
}

/// The queue that an item is in, and for a call its index there.
enum Source {
    BottomHalf,
    Started,
    New,
    Call(usize),
}

impl<S> Default for Queue<S> {
    fn default() -> Self {
        Self {
            last: 0,
            len: 0,
            bottom_halves: VecDeque::new(),
            started: VecDeque::new(),
            new: VecDeque::new(),
            calls: VecDeque::new(),
            tasks: Slab::new(),
            owned: 0,
        }
    }
}

/// Something that is waited for, by its number. What is older and of the same kind has to run before it.
#[derive(Clone, Copy)]
pub enum Through {
    Nothing,
    BottomHalf(u64),
    /// A task that was never polled.
    New(u64),
}

/// The number of the oldest item for which `which` is true.
fn number_of<T>(queue: &VecDeque<(u64, T)>, which: impl Fn(&T) -> bool) -> Option<u64> {
    queue.iter().find(|(_, item)| which(item)).map(|(number, _)| *number)
}

/// Takes the oldest item out for which `which` is true.
fn take_first<T>(queue: &mut VecDeque<(u64, T)>, which: impl Fn(&T) -> bool) -> Option<T> {
    let at = queue.iter().position(|(_, item)| which(item))?;
    queue.remove(at).map(|(_, item)| item)
}

impl<S> Queue<S> {
    /// Counts a new item and returns its number.
    fn number(&mut self) -> u64 {
        self.len += 1;
        self.last += 1;
        self.last
    }

    /// The number of the newest item. (It may have run already.)
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Queues a bottom half.
    pub fn push_bottom_half(&mut self, bottom_half: Queued) {
        let number = self.number();
        self.bottom_halves.push_back((number, bottom_half));
    }

    /// Queues a task, and lists it if it is not listed.
    pub fn push_task(&mut self, runnable: Runnable<S>) {
        let task = runnable.metadata();
        if task.key().is_none() {
            self.owned += usize::from(task.owner().is_some());
            task.set_key(Some(self.tasks.insert(runnable.owned())));
        }
        let number = self.number();
        let queue = match task {
            _ if task.caller().is_some() => &mut self.calls,
            _ if task.is_started() => &mut self.started,
            _ => &mut self.new,
        };
        queue.push_back((number, runnable));
    }

    /// How many items wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Where the oldest allowed item is, and its number. If `of` is given, only that thread's calls may be started. A call
    /// that was taken back is always allowed, because it is only dropped.
    fn oldest(&self, allowed: Allowed, of: Option<u64>) -> Option<(Source, u64)> {
        let mut oldest = None;
        let mut older = |source, number: Option<u64>| {
            if let Some(number) = number
                && oldest.as_ref().is_none_or(|(_, than)| number < *than)
            {
                oldest = Some((source, number));
            }
        };
        if allowed.bottom_halves {
            older(Source::BottomHalf, self.bottom_halves.front().map(|item| item.0));
        }
        if allowed.started {
            older(Source::Started, self.started.front().map(|item| item.0));
        }
        if allowed.new {
            older(Source::New, self.new.front().map(|item| item.0));
        }
        let may_start = |call: &Meta<S>| allowed.new && (of.is_none() || call.caller() == of);
        let may_go = |call: &Meta<S>| match call.is_started() {
            true => allowed.started,
            false => call.is_cancelled() || may_start(call),
        };
        if let Some(at) = self.calls.iter().position(|(_, call)| may_go(call.metadata())) {
            older(Source::Call(at), Some(self.calls[at].0));
        }
        oldest
    }

    /// Whether an allowed item waits.
    pub fn has(&self, allowed: Allowed, of: Option<u64>) -> bool {
        self.oldest(allowed, of).is_some()
    }

    /// The oldest allowed item, if its number is at most `end`.
    // Inlined by force: an item is too large for registers, and each level would copy it.
    #[inline(always)]
    pub fn pop(&mut self, end: u64, allowed: Allowed, of: Option<u64>) -> Option<Work<S>> {
        // Usual case: only one kind waits, so no numbers are compared.
        let alone = |allowed, waiting| allowed && self.len == waiting;
        let (source, number) = if alone(allowed.bottom_halves, self.bottom_halves.len()) {
            (Source::BottomHalf, self.bottom_halves.front()?.0)
        } else if alone(allowed.started, self.started.len()) {
            (Source::Started, self.started.front()?.0)
        } else if alone(allowed.new, self.new.len()) {
            (Source::New, self.new.front()?.0)
        } else {
            self.oldest(allowed, of)?
        };
        if number > end {
            return None;
        }
        self.len -= 1;
        match source {
            Source::BottomHalf => self.bottom_halves.pop_front().map(|item| Work::BottomHalf(item.1)),
            Source::Started => self.started.pop_front().map(|item| Work::Task(item.1)),
            Source::New => self.new.pop_front().map(|item| Work::Task(item.1)),
            Source::Call(at) => self.calls.remove(at).map(|item| Work::Task(item.1)),
        }
    }

    /// Takes out all bottom halves.
    pub fn take_bottom_halves(&mut self) -> VecDeque<(u64, Queued)> {
        self.len -= self.bottom_halves.len();
        mem::take(&mut self.bottom_halves)
    }

    /// Takes out the queued tasks for which `which` is true. They stay listed until they are dropped.
    pub fn take_tasks(&mut self, which: impl Fn(&Meta<S>) -> bool) -> Vec<Runnable<S>> {
        let mut taken = Vec::new();
        for queue in [&mut self.started, &mut self.new, &mut self.calls] {
            let (out, kept) = mem::take(queue).into_iter().partition(|item| which(item.1.metadata()));
            *queue = kept;
            taken.extend(VecDeque::into_iter(out).map(|item| item.1));
        }
        self.len -= taken.len();
        taken
    }

    /// The calls that wait to be started, or to go on.
    pub fn calls(&self) -> impl Iterator<Item = &Meta<S>> {
        self.calls.iter().map(|(_, call)| call.metadata())
    }

    /// How many tasks and calls are alive.
    pub fn live(&self) -> usize {
        self.tasks.len()
    }

    /// Counts a call that was started, and so has an owner now.
    pub fn adopt(&mut self) {
        self.owned += 1;
    }

    /// Removes the task with this key from the list.
    pub fn remove(&mut self, key: usize, owned: bool) {
        self.owned -= usize::from(owned);
        // This frees at most the allocation; the future is gone.
        drop(self.tasks.remove(key));
    }

    /// Whether there are live tasks with an owner, or calls that wait.
    pub fn has_owned(&self) -> bool {
        self.owned > 0 || !self.calls.is_empty()
    }

    /// The live tasks that the thread `owner` owns, each with its caller.
    fn owned_by(&self, owner: u64) -> impl Iterator<Item = (&OwnedTask<S>, Option<u64>)> {
        let owned = if self.owned > 0 { Some(&self.tasks) } else { None };
        let owned = owned.into_iter().flatten().map(|(_, task)| task);
        owned.filter(move |task| task.metadata().owner() == Some(owner)).map(|task| (task, task.metadata().caller()))
    }

    /// Those of them that are not its own calls: the frames of these wait on its stack.
    pub fn local(&self, owner: u64) -> impl Iterator<Item = &OwnedTask<S>> {
        self.owned_by(owner).filter(move |(_, caller)| *caller != Some(owner)).map(|(task, _)| task)
    }

    /// Whether `owner` has started a call of its own here that is not done.
    pub fn has_own_call(&self, owner: u64) -> bool {
        self.owned_by(owner).any(|(_, caller)| caller == Some(owner))
    }

    /// Whether `owner` has started another caller's call here that is not done.
    pub fn has_received(&self, owner: u64) -> bool {
        self.owned_by(owner).any(|(_, caller)| caller.is_some_and(|caller| caller != owner))
    }

    /// Whether there are calls or, with `others`, bottom halves or new tasks.
    pub fn may_be_waited_for(&self, others: bool) -> bool {
        !self.calls.is_empty() || others && !(self.bottom_halves.is_empty() && self.new.is_empty())
    }

    /// The oldest call of one of the `threads`. If there is none, what has to run before something that is waited for has
    /// run: with `bottom_halves`, a bottom half that is awaited on one of the threads, or else a new task that is in one of
    /// the sets `tasks`. The rest comes from [`pop_through`](Self::pop_through).
    pub fn pop_waited_for(
        &mut self,
        threads: &BTreeSet<u64>,
        bottom_halves: bool,
        tasks: &[&BTreeSet<Identity>],
    ) -> Option<(Work<S>, Through)> {
        let of = |thread: Option<u64>| thread.is_some_and(|thread| threads.contains(&thread));
        if let Some(call) = take_first(&mut self.calls, |call| of(call.metadata().caller())) {
            self.len -= 1;
            return Some((Work::Task(call), Through::Nothing));
        }
        let awaited = if bottom_halves { number_of(&self.bottom_halves, |item| of(item.awaited_by())) } else { None };
        let through = match awaited {
            Some(number) => Through::BottomHalf(number),
            None if tasks.is_empty() => return None,
            None => Through::New(number_of(&self.new, |task| {
                tasks.iter().any(|tasks| tasks.contains(&task.metadata().identity()))
            })?),
        };
        Some((self.pop_through(through)?, through))
    }

    /// The oldest item of the kind that `through` names, unless that one comes later. So items of one kind keep their order.
    pub fn pop_through(&mut self, through: Through) -> Option<Work<S>> {
        let work = match through {
            Through::Nothing => return None,
            Through::BottomHalf(end) if self.bottom_halves.front()?.0 <= end => {
                Work::BottomHalf(self.bottom_halves.pop_front()?.1)
            }
            Through::New(end) if self.new.front()?.0 <= end => Work::Task(self.new.pop_front()?.1),
            Through::BottomHalf(_) | Through::New(_) => return None,
        };
        self.len -= 1;
        Some(work)
    }

    /// The wakers of all live tasks.
    pub fn wakers(&self) -> Vec<Waker> {
        self.tasks.iter().map(|(_, task)| task.waker().clone()).collect()
    }
}
