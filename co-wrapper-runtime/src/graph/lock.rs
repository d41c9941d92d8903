//! `GraphLock`, the public interface of the lock, and the futures that wait for it. The waiting itself is in
//! `shared.rs`.

use std::{
    borrow::Borrow,
    fmt,
    future::Future,
    panic::Location,
    pin::Pin,
    ptr,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

#[cfg(not(loom))]
use super::tell;
use super::{
    guard::{GraphRead, GraphWrite},
    held::Entry,
    queue::Writing,
    refuse,
    shared::{Shared, Stripe},
    stripe::{STRIPES, index},
};
use crate::{
    call::{block_on::done, callee::Callee, frame::Frame},
    sys::{
        elapsed::{Elapsed, deadline},
        fork,
        park::here,
        sync::{AtomicPtr, Ordering},
    },
    thread::waiting::Ended,
};

/// A handle of a graph lock; clones are the same lock.
///
/// It allows many readers or one writer. Taking and releasing the read lock costs a few nanoseconds while no writer
/// waits or holds the lock, and threads that do so share no cache line (up to 256 threads; beyond that some do).
///
/// A waiting writer holds new readers back, but a reader that reads again takes the lock at once. A reader that holds
/// the lock may also wait for a reader that is held back, and the lock cannot know that. So the waiting readers are let
/// past the writer when no section has begun or ended for a while: 10 ms at first, and longer if sections take longer
/// or if this happens often. (A *section* lasts from taking a guard to dropping it.) So the writer gets its turn after
/// a few sections of each reader, however long the sections are and however often the readers read again.
///
/// # Examples
///
/// ```
/// use co_wrapper::{AioContext, graph::GraphLock};
///
/// let lock = GraphLock::new();
/// AioContext::current().block_on(async {
///     let guard = lock.read().await;
///     let another = lock.share();
///     drop((guard, another));
/// });
/// ```
#[derive(Clone)]
#[doc(alias = "BdrvGraphLock")]
pub struct GraphLock(Arc<Handle>);

struct Handle {
    /// One per thread, made when the thread first reads.
    stripes: [AtomicPtr<Stripe>; STRIPES],
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.end();
    }
}

impl GraphLock {
    /// A new lock, independent of [`GRAPH`](super::GRAPH).
    ///
    /// # Examples
    ///
    /// See [`GraphLock`].
    pub fn new() -> Self {
        let stripes = std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut()));
        let shared = Arc::new(Shared::new());
        #[cfg(not(loom))]
        tell::register(&shared);
        Self(Arc::new(Handle { stripes, shared }))
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    /// This thread's stripe. It lives as long as the lock.
    #[track_caller]
    fn stripe(&self, caller: &str, place: &Location<'_>) -> &'static Stripe {
        // Checked here, because every read and every share needs the stripe.
        fork::forbid_at(caller, place);
        let place = &self.0.stripes[index()];
        loop {
            // SAFETY: null, or the address of a stripe, which is never freed.
            if let Some(stripe) = unsafe { place.load(Ordering::Acquire).as_ref() } {
                return stripe;
            }
            self.0.shared.add_stripe(|new| {
                let new = ptr::from_ref(new).cast_mut();
                place.compare_exchange(ptr::null_mut(), new, Ordering::AcqRel, Ordering::Acquire).is_ok()
            });
        }
    }

    /// Takes the read lock, for the function `name`, unless a writer waits or holds the lock.
    #[track_caller]
    pub(super) fn try_read(&self, name: &str, place: &'static Location<'static>) -> Option<GraphRead> {
        let stripe = self.stripe(name, place);
        stripe.try_enter().then(|| GraphRead::new(stripe, Entry::Free, place))
    }

    /// Waits for the read lock: in a task, in a blocking call's future or in another executor's task. The lock is taken
    /// when the future is polled. So a future that is kept but not polled keeps no writer out, and one that is dropped
    /// while it waits leaves no trace.
    ///
    /// Reading again while already reading is legal and never waits for a waiting writer. This holds within one task of
    /// a context or of tokio, and in blocking calls that the task makes, as long as the first guard lives. A guard that
    /// was taken while another one existed does not count as the first. So if the first is dropped and only the second
    /// is kept, the next read counts as a new reader's.
    ///
    /// A reader may also wait for something else that reads: a branch of its own task, another task, a call in another
    /// context. Such readers are let past a waiting writer after a while, and of the branches of one task only one at a
    /// time; see [`GraphLock`].
    ///
    /// # Panics
    ///
    /// In a blocking call within one's own write-locked section, which would wait for ever. The message names both
    /// places.
    ///
    /// # Examples
    ///
    /// See [`GraphLock`].
    #[doc(alias = "bdrv_graph_co_rdlock")]
    #[track_caller]
    pub fn read(&self) -> impl Future<Output = GraphRead> + Send {
        Reading::new(self, "GraphLock::read", Location::caller(), true)
    }

    /// Another read guard if the read lock is held: at once, past waiting writers. For code that runs on behalf of a
    /// holder of the lock.
    ///
    /// # Panics
    ///
    /// If nobody holds the read lock.
    ///
    /// # Examples
    ///
    /// See [`GraphLock`].
    #[track_caller]
    pub fn share(&self) -> GraphRead {
        self.share_for("GraphLock::share", Location::caller())
    }

    /// Like [`share`](Self::share), for the function `name`.
    #[track_caller]
    pub(super) fn share_for(&self, name: &str, place: &'static Location<'static>) -> GraphRead {
        match self.try_share(name, place) {
            Some(guard) => guard,
            None => refuse::nothing_to_share(name, place),
        }
    }

    /// Another read guard, if the read lock is held.
    #[track_caller]
    pub(super) fn try_share(&self, name: &str, place: &'static Location<'static>) -> Option<GraphRead> {
        let mine = self.stripe(name, place);
        let stripe = if mine.try_share() { mine } else { self.shared().share()? };
        Some(GraphRead::new(stripe, Entry::Again, place))
    }

    /// Takes the write lock, on the main loop: polls, serving the thread's contexts, until no reader holds the lock. It
    /// is not taken while a callback that this loop runs has not returned.
    ///
    /// # Panics
    ///
    /// On any thread but the home of [`AioContext::main`](crate::AioContext::main). In coroutine context. Within a
    /// write-locked section, or while the caller, or an outer frame of its stack, holds a read guard: that would wait
    /// for ever, and the message names both places. Like every blocking call, with the first panic of a bottom half
    /// that ran meanwhile, once it has the lock.
    ///
    /// # Examples
    ///
    /// See [the module](super).
    #[doc(alias = "bdrv_graph_wrlock")]
    #[track_caller]
    pub fn write(&self) -> GraphWrite {
        done(self.write_until(&"GraphLock::write", Location::caller(), None))
    }

    /// Like [`write`](Self::write), for `timeout` at most. A lock that nobody holds is never taken too late.
    ///
    /// # Errors
    ///
    /// A reader still held the lock when the time was up. Nothing remains of the attempt: the readers that it held back
    /// go on.
    ///
    /// # Panics
    ///
    /// The same as [`write`](Self::write).
    ///
    /// # Examples
    ///
    /// ```
    /// use co_wrapper::{AioContext, graph::GraphLock};
    /// use std::time::Duration;
    ///
    /// let main = AioContext::main();
    /// let _home = main.enter();
    /// let lock = GraphLock::new();
    /// let readers = lock.clone();
    /// let reader = main.spawn(async move {
    ///     let _graph = readers.read().await;
    ///     AioContext::main().sleep(Duration::from_millis(50)).await;
    /// });
    /// main.poll(false);
    /// assert!(lock.write_timeout(Duration::from_millis(1)).is_err());
    /// main.block_on(reader);
    /// assert!(lock.write_timeout(Duration::ZERO).is_ok());
    /// ```
    #[track_caller]
    pub fn write_timeout(&self, timeout: Duration) -> Result<GraphWrite, Elapsed> {
        self.write_until(&"GraphLock::write_timeout", Location::caller(), deadline(timeout))
            .map_err(|_| Elapsed::new(timeout))
    }

    #[track_caller]
    fn write_until(
        &self,
        name: &'static &'static str,
        place: &'static Location<'static>,
        deadline: Option<Instant>,
    ) -> Result<GraphWrite, Ended> {
        fork::forbid_at(name, place);
        refuse::wait_for_self(name, self.shared(), self.shared().writing(), place, true);
        refuse::write_here(name, place);
        let mut writing = TakeWrite::new(self.clone(), place, Some(name));
        let frame = Frame::enter(Callee::Own(name), place);
        let taken = frame
            .block_on_for_caller_until(deadline, || std::future::poll_fn(move |cx| Pin::new(&mut writing).poll(cx)));
        taken.or_else(|ended| {
            // A coroutine's time may be up when it has let others run. Nobody need hold the lock then.
            let mut at_once = TakeWrite::new(self.clone(), place, None);
            at_once.lets_run = false;
            match Pin::new(&mut at_once).poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(guard) => Ok(guard),
                Poll::Pending => Err(ended),
            }
        })
    }
}

impl Default for GraphLock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for GraphLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GraphLock").field("writing", &self.shared().writing().map(|writing| writing.place)).finish()
    }
}

/// One reader's wait for a lock that it has or borrows. One that borrows leaves the lock's reference count alone.
pub(super) struct Reading<L: Borrow<GraphLock>> {
    lock: L,
    /// The function that was called, and where.
    name: &'static str,
    place: &'static Location<'static>,
    /// The wait blocks the stack that it is on, so it is refused on a writer's own stack. False in a bottom half, which
    /// returns while it waits.
    blocks: bool,
    number: Option<i64>,
    /// The stripe on which the reader will be counted.
    stripe: Option<&'static Stripe>,
}

/// One that has the lock.
pub(super) type TakeRead = Reading<GraphLock>;

impl<L: Borrow<GraphLock>> Reading<L> {
    pub fn new(lock: L, name: &'static str, place: &'static Location<'static>, blocks: bool) -> Self {
        Self { lock, name, place, blocks, number: None, stripe: None }
    }
}

impl<L: Borrow<GraphLock> + Unpin> Future for Reading<L> {
    type Output = GraphRead;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<GraphRead> {
        let Self { lock, name, place, blocks, number, stripe } = &mut *self;
        let (lock, name, place) = (<L as Borrow<GraphLock>>::borrow(lock), *name, *place);
        if number.is_none() {
            if let Some(guard) = lock.try_read(name, place) {
                return Poll::Ready(guard);
            }
            *stripe = Some(lock.stripe(name, place));
        }
        fork::forbid_at(name, place);
        let stripe = stripe.expect("set with the first poll");
        let refuse = |writing| {
            if *blocks {
                refuse::read_below(name, writing, place);
            }
        };
        lock.shared().poll_read(number, stripe, cx, refuse).map(|entry| GraphRead::new(stripe, entry, place))
    }
}

impl<L: Borrow<GraphLock>> Drop for Reading<L> {
    fn drop(&mut self) {
        if let Some(number) = self.number.take() {
            <L as Borrow<GraphLock>>::borrow(&self.lock).shared().cancel_read(number);
        }
    }
}

/// Waits for the write lock. Polled on the main loop's thread.
pub(super) struct TakeWrite {
    lock: GraphLock,
    place: &'static Location<'static>,
    /// The function to name if this would wait for itself; `None` in a bottom half, which returns while it waits.
    blocks: Option<&'static str>,
    /// Lets its loop run something first if a reader was let in and has not been polled since.
    lets_run: bool,
    number: Option<i64>,
}

impl TakeWrite {
    pub fn new(lock: GraphLock, place: &'static Location<'static>, blocks: Option<&'static str>) -> Self {
        Self { lock, place, blocks, lets_run: true, number: None }
    }
}

impl Future for TakeWrite {
    type Output = GraphWrite;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<GraphWrite> {
        let Self { lock, place, blocks, lets_run, number } = &mut *self;
        let writing = Writing { thread: here(), place };
        let refuse = |other| {
            if let Some(name) = blocks {
                refuse::wait_for_self(name, lock.shared(), other, place, true);
            }
        };
        lock.shared()
            .poll_write(number, writing, *lets_run, cx, refuse)
            .map(|()| GraphWrite::new(Arc::clone(lock.shared()), place))
    }
}

impl Drop for TakeWrite {
    fn drop(&mut self) {
        if let Some(number) = self.number.take() {
            self.lock.shared().cancel_write(number);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Catches: a writer that leaves or gives up without reopening the fast path, which no other test would show.
    #[test]
    fn the_fast_path_is_open_again_after_a_writer() {
        let (lock, place) = (GraphLock::new(), Location::caller());
        let is_open = || lock.try_read("GraphLock::read", place).is_some();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(is_open());
        let Poll::Ready(writer) = Pin::new(&mut TakeWrite::new(lock.clone(), place, None)).poll(&mut cx) else {
            panic!("nobody reads");
        };
        assert!(!is_open());
        drop(writer);
        assert!(is_open());
        let reader = lock.try_read("GraphLock::read", place);
        let mut gives_up = TakeWrite::new(lock.clone(), place, None);
        assert!(Pin::new(&mut gives_up).poll(&mut cx).is_pending() && !is_open());
        drop(gives_up);
        assert!(is_open());
        drop(reader);
    }
}
