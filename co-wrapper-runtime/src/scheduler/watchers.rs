//! The stackful coroutines that wait for a context: until something has run in it, or it is notified or closed. (A
//! thread that waits for this polls the context instead.)
//!
//! Such a coroutine is resumed after a round of the context, and often waits again at once. If its own resumption counted
//! as something that ran, it would be woken after every round for ever. So a task in which nothing happened, as far as is
//! known, but that such a coroutine waits again, is no reason to wake them. But if the coroutine is one of several futures
//! of that task, or one of several such tasks, another of them may have done something after the coroutine has looked. Nobody
//! can tell. So after such tasks all are woken once more; and should only such tasks run then, a few more times at growing
//! intervals, so that the thread is idle nevertheless. That begins anew when something else has run.
//!
//! No wake is lost: a coroutine is added before it looks whether it has to wait, and what it waits for is written before
//! [`Watchers::wake`] looks whether there are any. A fence on either side, between the write and the look, sees to it that
//! one of the two sees what the other has written (`tests/loom_watchers.rs`).

use std::{
    sync::Arc,
    task::{Wake, Waker},
    time::{Duration, Instant},
};

use crate::{
    reactor::Alarm,
    sys::{
        fork, panics,
        sync::{AtomicU32, AtomicU64, AtomicUsize, Mutex, Ordering, fence, lock},
    },
};

/// How often all are woken at growing intervals: after 1, 2, 4, … 512 ms.
const LATER: u32 = 10;

#[derive(Default)]
pub struct Watchers {
    /// How many there are, and how many calls of `poll_while` last, so that a round without any takes no lock.
    len: AtomicUsize,
    waiting: Mutex<Waiting>,
    /// How many rounds have run something that any of them waits for, and how often the context was notified.
    rounds: AtomicU64,
    notifies: AtomicU64,
    /// How many polls of waiting calls may have done what any of them waits for.
    calls: AtomicU64,
    /// Which of these notifications has ended a coroutine's blocking `poll`. Written by the home thread.
    taken: AtomicU64,
    /// How often they were woken after tasks in which coroutines only waited again, since something else has run. Written by
    /// the home thread.
    again: AtomicU32,
    /// The last of these wakes that was put off, and when it is due.
    later: Mutex<Option<(Instant, Alarm)>>,
}

/// Coroutines that are woken later.
struct All(Vec<Waker>);

impl Wake for All {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        panics::wake_all(self.0.iter().cloned());
    }
}

/// What has happened in a context.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// How many rounds have run something.
    pub rounds: u64,
    /// How often it was notified.
    pub notifies: u64,
    /// How many polls there were of calls that wait on its home thread, where a condition may depend on them.
    pub calls: u64,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    wakers: Vec<(u64, Waker)>,
    /// Those that wait for the context's close alone.
    until_closed: Vec<(u64, Waker)>,
    /// How many calls last that wait for the context again and again. What runs between two waits counts for them too: the
    /// condition of `poll_while` may suspend the coroutine.
    lasting: usize,
}

impl Waiting {
    fn len(&self) -> usize {
        self.wakers.len() + self.lasting
    }
}

impl Watchers {
    /// Adds one, and returns its number. It looks only after this whether it has to wait.
    pub fn add(&self, waker: Waker) -> u64 {
        let mut waiting = lock(&self.waiting);
        waiting.next += 1;
        let number = waiting.next;
        waiting.wakers.push((number, waker));
        self.len.store(waiting.len(), Ordering::Relaxed);
        drop(waiting);
        fence(Ordering::SeqCst);
        number
    }

    /// Adds one that waits for the context's close alone: it makes its calls somewhere in this context, and nothing that
    /// runs here is for it. It looks only after this whether the context is closed.
    pub fn add_until_closed(&self, waker: Waker) -> u64 {
        let mut waiting = lock(&self.waiting);
        waiting.next += 1;
        let number = waiting.next;
        waiting.until_closed.push((number, waker));
        number
    }

    /// Removes one. Returns whether it was woken.
    pub fn remove(&self, number: u64) -> bool {
        if fork::is_child() {
            return false;
        }
        let mut waiting = lock(&self.waiting);
        let Waiting { wakers, until_closed, .. } = &mut *waiting;
        let take = |from: &mut Vec<(u64, Waker)>| {
            let at = from.iter().position(|waker| waker.0 == number)?;
            Some(from.swap_remove(at))
        };
        let removed = take(wakers).or_else(|| take(until_closed));
        self.len.store(waiting.len(), Ordering::Relaxed);
        drop(waiting);
        removed.is_none()
    }

    /// A call begins to wait again and again. It ends with [`lasts_no_more`](Self::lasts_no_more).
    pub fn lasts(&self) {
        let mut waiting = lock(&self.waiting);
        waiting.lasting += 1;
        self.len.store(waiting.len(), Ordering::Relaxed);
    }

    pub fn lasts_no_more(&self) {
        if !fork::is_child() {
            let mut waiting = lock(&self.waiting);
            waiting.lasting -= 1;
            self.len.store(waiting.len(), Ordering::Relaxed);
        }
    }

    /// Wakes all. What they wait for was written before this.
    pub fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.len.load(Ordering::Relaxed) == 0 || fork::is_child() {
            return;
        }
        let mut waiting = lock(&self.waiting);
        let woken = std::mem::take(&mut waiting.wakers);
        self.len.store(waiting.len(), Ordering::Relaxed);
        drop(waiting);
        panics::wake_all(woken.into_iter().map(|waker| waker.1));
    }

    /// The context was closed, as those can see that this wakes.
    pub fn closed(&self) {
        if fork::is_child() {
            return;
        }
        let mut waiting = lock(&self.waiting);
        let mut woken = std::mem::take(&mut waiting.wakers);
        woken.append(&mut waiting.until_closed);
        self.len.store(waiting.len(), Ordering::Relaxed);
        drop(waiting);
        panics::wake_all(woken.into_iter().map(|waker| waker.1));
    }

    /// What has happened so far.
    pub fn seen(&self) -> Seen {
        Seen {
            rounds: self.rounds.load(Ordering::Relaxed),
            notifies: self.notifies.load(Ordering::Acquire),
            calls: self.calls.load(Ordering::Relaxed),
        }
    }

    /// What a coroutine's blocking `poll` has seen when it begins: a notification that came before ends it. A thread's
    /// `poll` takes no notification from coroutines, nor these from it.
    pub fn seen_by_polls(&self) -> Seen {
        Seen { notifies: self.taken.load(Ordering::Relaxed), ..self.seen() }
    }

    /// A coroutine's blocking `poll` ends, which has seen this. For the home thread.
    pub fn poll_ends(&self, seen: Seen) {
        self.taken.store(seen.notifies, Ordering::Relaxed);
    }

    /// The context was notified. From any thread.
    pub fn notified(&self) {
        // All see it, while a flag would be for the first alone.
        self.notifies.fetch_add(1, Ordering::Release);
        self.wake();
    }

    /// Whether there are any. For the home thread.
    #[inline]
    pub fn are_some(&self) -> bool {
        self.len.load(Ordering::Relaxed) > 0
    }

    /// Something has run in the context. `other`: not only tasks in which coroutines waited again. For the home thread.
    pub fn ran(&self, other: bool) {
        self.tell(other, &self.rounds);
    }

    /// A call that waits on the home thread was polled. `other`: not only for coroutines in it that waited again.
    pub fn call_polled(&self, other: bool) {
        self.tell(other, &self.calls);
    }

    fn tell(&self, other: bool, count: &AtomicU64) {
        let again = if other { 0 } else { self.again.load(Ordering::Relaxed) + 1 };
        if again > 1 {
            return self.tell_later(again, count);
        }
        self.again.store(again, Ordering::Relaxed);
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.wake();
    }

    /// What [`tell`](Self::tell) does, put off. Whoever looks before that sees that something may have happened.
    #[cold]
    fn tell_later(&self, again: u32, count: &AtomicU64) {
        if again > LATER + 1 || fork::is_child() {
            return;
        }
        let wakers: Vec<_> = lock(&self.waiting).wakers.iter().map(|waker| waker.1.clone()).collect();
        let mut later = lock(&self.later);
        let now = Instant::now();
        if wakers.is_empty() || later.as_ref().is_some_and(|later| now < later.0) {
            return;
        }
        self.again.store(again, Ordering::Relaxed);
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        let after = Duration::from_millis(1 << (again - 2));
        let ended = later.replace((now + after, Alarm::new(after, Waker::from(Arc::new(All(wakers))))));
        drop(later);
        drop(ended);
    }
}
