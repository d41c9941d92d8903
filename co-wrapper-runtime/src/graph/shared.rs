//! The part of a graph lock that its guards share: the queue of waiting readers and writers, behind a mutex. It is entered
//! only while a writer waits or holds the lock. Who may come in when is decided in `queue.rs`.
//!
//! - A waker is cloned, woken and dropped outside the mutex, because that runs users' code, which may come here.
//! - After each change of the queue a timer is armed for the time when it must be looked at again.
//! - In a forked child nothing here takes the mutex, because another of the parent's threads may hold it.

use std::{
    mem, ptr,
    sync::Arc,
    task::{Context, Poll},
};

#[cfg(not(loom))]
use super::timer::Timer;
use super::{
    held::{self, Entry, Holder},
    queue::{Queue, Writing},
    stripe,
};
#[cfg(not(loom))]
use crate::sys::sync::plain_lock;
use crate::{
    sys::{
        fork,
        panics::{self, Guarded, wake_all},
        sync::{Mutex, lock},
    },
    watch::record::now,
};

pub type Stripe = stripe::Stripe<Shared>;

// A record keeps flags in the low bits of the address of its lock's `Shared`.
const _: () = assert!(align_of::<Shared>() > held::FLAGS);

/// The stripes that no lock has. In a model none is used again, because what loom models ends with the model's run.
#[cfg(not(loom))]
static SPARE: std::sync::Mutex<Vec<&'static Stripe>> = std::sync::Mutex::new(Vec::new());

/// Gives back a reference to a stripe, a reader's or the lock's.
pub fn release(stripe: &'static Stripe) {
    let ended = stripe.release();
    #[cfg(not(loom))]
    if ended.is_some() {
        plain_lock(&SPARE).push(stripe);
    }
    drop(ended);
}

pub struct Shared {
    queue: Mutex<Queue<Self>>,
}

/// What the waiting readers and writers wait for.
#[cfg(not(loom))]
pub enum Waits {
    Nobody,
    ForWriter(Writing),
    ForReaders,
}

impl Shared {
    pub fn new() -> Self {
        Self { queue: Mutex::new(Queue::new()) }
    }

    /// Takes a stripe and publishes it, unless another thread has published one.
    pub fn add_stripe(self: &Arc<Self>, publish: impl FnOnce(&'static Stripe) -> bool) {
        let mut queue = lock(&self.queue);
        #[cfg(not(loom))]
        let spare = plain_lock(&SPARE).pop();
        #[cfg(loom)]
        let spare = None;
        let stripe: &'static Stripe = spare.unwrap_or_else(|| Box::leak(Box::new(Stripe::new())));
        stripe.begin(Arc::clone(self), queue.gated());
        if publish(stripe) {
            queue.stripes.push(stripe);
        } else {
            release(stripe);
        }
    }

    /// Ends the lock. Readers that hold it keep their stripes.
    pub fn end(&self) {
        if fork::is_child() {
            return;
        }
        let stripes = mem::take(&mut lock(&self.queue).stripes);
        stripes.into_iter().for_each(release);
    }

    /// Polls for a read lock that is counted on `stripe`. `number` is the reader's, once it waits.
    pub fn poll_read(
        self: &Arc<Self>,
        number: &mut Option<i64>,
        stripe: &'static Stripe,
        cx: &mut Context<'_>,
        refuse: impl FnOnce(Writing),
    ) -> Poll<Entry> {
        // Cloning and dropping wakers runs users' code, which may come here, so both happen outside the mutex.
        let new_waker = Guarded::new(cx.waker().clone());
        let address = self.address();
        let new = number.is_none();
        let (again, holder) = (new && held::reads_again(address), Holder::who(Holder::current()));
        let mut queue = lock(&self.queue);
        if number.is_none()
            && let Some(writing) = queue.writing
        {
            drop(queue);
            refuse(writing);
            queue = lock(&self.queue);
        }
        let entry = queue.entry(address, *number, holder, again);
        let (old, unused);
        let mut next = None;
        if entry.is_some() {
            stripe.enter();
            old = number.take().and_then(|number| queue.remove(number));
            unused = Some(new_waker);
        } else {
            let mine = *number.get_or_insert_with(|| queue.place(address, holder));
            old = queue.waits(mine, holder, new_waker.into_inner());
            unused = None;
            if new {
                next = queue.next_branch(address, holder);
            }
        }
        self.arm(&mut queue);
        drop(queue);
        let Some(entry) = entry else {
            let mut panicked = None;
            panics::catch(&mut panicked, || drop(old));
            panics::catch(&mut panicked, || wake_all(next));
            panics::raise(panicked);
            return Poll::Pending;
        };
        // The reader has the lock now, so its owner must get the guard even if a waker's destructor panics; otherwise
        // the lock would never be released.
        panics::discard(old);
        panics::discard(unused);
        Poll::Ready(entry)
    }

    /// Removes a reader that gives up, whether it waits or was let in and not polled since.
    pub fn cancel_read(&self, number: i64) {
        if fork::is_child() {
            return;
        }
        let mut queue = lock(&self.queue);
        let old = queue.remove(number);
        let writers = queue.free_for_writers();
        drop(queue);
        let mut panicked = None;
        panics::catch(&mut panicked, || drop(old));
        panics::catch(&mut panicked, || wake_all(writers));
        panics::raise(panicked);
    }

    /// Polls for the write lock on behalf of `writing`. `number` is the writer's, once it waits. Before its first wait,
    /// `refuse` may panic; it gets the current writer, if there is one. With `lets_run`, the first poll is pending and
    /// wakes if a reader was let in and has not been polled since.
    pub fn poll_write(
        self: &Arc<Self>,
        number: &mut Option<i64>,
        writing: Writing,
        lets_run: bool,
        cx: &mut Context<'_>,
        refuse: impl FnOnce(Option<Writing>),
    ) -> Poll<()> {
        fork::forbid_at("GraphLock::write", writing.place);
        // The waker of a writer is ours, so it may be used under the mutex.
        let mut queue = lock(&self.queue);
        let now = now();
        if number.is_none() {
            // First, so that every reader that leaves from now on comes here.
            queue.set_gated(true);
        }
        queue.end_grace(now);
        // Not at its first poll if a reader has yet to come in. That its time is up does not show that its loop had a turn: a
        // thread that did not run for so long, and then writes again and again, would keep its own tasks out for ever.
        let lets_run = lets_run && number.is_none() && queue.has_let_in();
        if queue.is_free() && !lets_run {
            let waker = number.take().and_then(|number| queue.writers.remove(&number));
            queue.writing = Some(writing);
            self.arm(&mut queue);
            drop(queue);
            drop(waker);
            return Poll::Ready(());
        }
        if !queue.gated() {
            queue.begin_turn(now);
        }
        let mine = number.unwrap_or_else(|| queue.number());
        let first = number.is_none();
        *number = Some(mine);
        let old = queue.writers.insert(mine, cx.waker().clone());
        let other = queue.writing;
        self.arm(&mut queue);
        drop(queue);
        drop(old);
        if first {
            // This may panic; the caller's drop then removes the writer from the queue.
            refuse(other);
        }
        if lets_run {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Removes a writer that gives up.
    pub fn cancel_write(self: &Arc<Self>, number: i64) {
        if fork::is_child() {
            return;
        }
        let mut queue = lock(&self.queue);
        let removed = queue.writers.remove(&number);
        let readers = if queue.gated() { Vec::new() } else { queue.after_writer(now()) };
        self.arm(&mut queue);
        drop(queue);
        drop(removed);
        wake_all(readers);
    }

    /// Ends the writer's section. Readers that waited go first.
    pub fn end_write(self: &Arc<Self>) {
        let mut queue = lock(&self.queue);
        queue.writing = None;
        let mut woken = queue.after_writer(now());
        woken.extend(queue.free_for_writers());
        self.arm(&mut queue);
        drop(queue);
        wake_all(woken);
    }

    /// Ends a reader's section while a writer waits or holds the lock. The reader was `holder`, and came in by `entry`.
    pub fn left(self: &Arc<Self>, entry: Entry, holder: u64) {
        let mut queue = lock(&self.queue);
        queue.left(self.address(), entry, Holder::who(holder));
        let writers = queue.free_for_writers();
        self.arm(&mut queue);
        drop(queue);
        wake_all(writers);
    }

    /// By which `held` knows the lock.
    fn address(&self) -> usize {
        ptr::from_ref(self).addr()
    }

    /// Arms a timer that calls `look` when that is due.
    fn arm(self: &Arc<Self>, queue: &mut Queue<Self>) {
        // Loom has no timers.
        #[cfg(loom)]
        let _ = queue.due();
        #[cfg(not(loom))]
        match queue.due() {
            None => queue.timer = None,
            // A timer that fires too soon arms another.
            Some(due) if queue.timer.as_ref().is_none_or(|timer| timer.due > due) => {
                let number = queue.number();
                let shared = Arc::downgrade(self);
                let look = move || shared.upgrade().into_iter().for_each(|shared| shared.look(number));
                queue.timer = Some(Timer::start(look, number, now(), due));
            }
            Some(_) => {}
        }
    }

    /// Called when timer `number` fires.
    #[cfg(not(loom))]
    pub fn look(self: &Arc<Self>, number: i64) {
        let mut queue = lock(&self.queue);
        if queue.timer.as_ref().is_none_or(|timer| timer.number != number) {
            return;
        }
        queue.timer = None;
        let woken = queue.look(self.address(), now());
        self.arm(&mut queue);
        drop(queue);
        wake_all(woken);
    }

    /// Lets the waiting readers past the waiting writer, which a timer does outside the models.
    #[cfg(loom)]
    pub fn let_through(&self) {
        let mut queue = lock(&self.queue);
        let woken = if queue.writing.is_none() { queue.let_past(self.address(), now()) } else { Vec::new() };
        drop(queue);
        wake_all(woken);
    }

    /// Ends the grace of readers that were let in, which a timer does outside the models.
    #[cfg(loom)]
    pub fn end_grace(&self) {
        let mut queue = lock(&self.queue);
        queue.forget_owed();
        let woken = queue.free_for_writers();
        drop(queue);
        wake_all(woken);
    }

    /// Adds a reader beside one that holds the lock, past all that wait. Returns the stripe on which it is counted.
    pub fn share(&self) -> Option<&'static Stripe> {
        lock(&self.queue).stripes.iter().copied().find(|stripe| stripe.try_share())
    }

    /// What the waiting readers and writers wait for.
    #[cfg(not(loom))]
    pub fn waits(&self) -> Waits {
        let queue = lock(&self.queue);
        match queue.writing {
            Some(writing) if !queue.writers.is_empty() || queue.has_readers() => Waits::ForWriter(writing),
            None if !queue.writers.is_empty() => Waits::ForReaders,
            _ => Waits::Nobody,
        }
    }

    /// The current writer.
    pub fn writing(&self) -> Option<Writing> {
        lock(&self.queue).writing
    }
}
