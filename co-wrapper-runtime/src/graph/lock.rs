//! The lock's public face.

use std::{
    fmt,
    future::Future,
    panic::Location,
    pin::Pin,
    ptr::{self, NonNull},
    sync::Arc,
    task::{Context, Poll},
};

#[cfg(not(loom))]
use super::tell;
use super::{
    guard::{GraphRead, GraphWrite},
    held::Entry,
    queue::{Shared, Stripe, Writing},
    refuse,
    stripe::{STRIPES, index},
};
use crate::{
    call::frame::{Frame, Kind},
    sys::{
        fork,
        park::here,
        sync::{AtomicPtr, Ordering, is_send_and_sync},
    },
};

/// A graph lock, or rather a handle of it: clones are the same lock.
///
/// Many readers or one writer. Taking the read lock and giving it back costs a few nanoseconds as long as no writer is
/// about, and threads that do so share no cache line (up to 256 threads; more share some).
///
/// A waiting writer holds new readers back. Who reads already reads again at once. But a reader that is in may also wait
/// for one that is held back, in a way of which the lock knows nothing: so those that wait are let past the writer when no
/// section has begun or ended for a while. That is 10 ms at first, and more where sections take longer than that or where
/// it happens often. So the writer gets its turn after a few sections of each reader, however long they are and however
/// often they read again.
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
    /// By thread, made when the thread first reads.
    stripes: [AtomicPtr<Stripe>; STRIPES],
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.end();
    }
}

impl GraphLock {
    /// A lock of its own.
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
    fn stripe(&self, caller: &str, place: &Location<'_>) -> NonNull<Stripe> {
        // Here, for whoever reads or shares comes by.
        fork::forbid_at(caller, place);
        let place = &self.0.stripes[index()];
        loop {
            if let Some(stripe) = NonNull::new(place.load(Ordering::Acquire)) {
                return stripe;
            }
            self.0.shared.add_stripe(|new| {
                place.compare_exchange(ptr::null_mut(), new.as_ptr(), Ordering::AcqRel, Ordering::Acquire).is_ok()
            });
        }
    }

    /// Takes the read lock if no writer is about, for the function `name`.
    #[track_caller]
    pub(super) fn try_read(&self, name: &str, place: &'static Location<'static>) -> Option<GraphRead> {
        let stripe = self.stripe(name, place);
        // SAFETY: it lives as long as the lock, which is borrowed.
        unsafe { stripe.as_ref() }.try_enter().then(|| GraphRead::new(stripe, Entry::Free, place))
    }

    /// Waits for the read lock, in a task, a blocking call's future or another executor's task. A future that is dropped
    /// while it waits leaves no trace; one that is kept and not polled keeps no writer out, for it takes the lock when it is
    /// polled.
    ///
    /// Reading again while one reads is legal, and never waits for a writer that waits: in the same task, of ours or of
    /// tokio's, and in blocking calls that it makes, as long as the guard that was taken first is there. One that was taken
    /// while another was there does not stand for it: whoever drops the first and keeps the second is a new reader when it
    /// reads again. Where a task has branches, which read beside each other, those are let past one at a time once the
    /// writer has waited for a while, and each for itself. What else a reader waits for (another task, a call in another context,
    /// what another executor moves to another thread) is let past such a writer after a while, see [`GraphLock`].
    ///
    /// # Panics
    ///
    /// In a blocking call within one's own write-locked section, naming both places: it would wait for ever.
    ///
    /// # Examples
    ///
    /// See [`GraphLock`].
    #[doc(alias = "bdrv_graph_co_rdlock")]
    #[track_caller]
    pub fn read(&self) -> impl Future<Output = GraphRead> + Send {
        Reading { lock: self, wait: ReadWait::new("GraphLock::read", Location::caller()) }
    }

    /// One more read guard where there is one: at once, past writers that wait. For what runs on behalf of a holder of the
    /// lock.
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

    /// The same for the function `name`.
    #[track_caller]
    pub(super) fn share_for(&self, name: &str, place: &'static Location<'static>) -> GraphRead {
        match self.try_share(name, place) {
            Some(guard) => guard,
            None => refuse::nothing_to_share(name, place),
        }
    }

    /// One more read guard, if there is one.
    #[track_caller]
    pub(super) fn try_share(&self, name: &str, place: &'static Location<'static>) -> Option<GraphRead> {
        let mine = self.stripe(name, place);
        // SAFETY: it lives as long as the lock, which is borrowed.
        let stripe = if unsafe { mine.as_ref() }.try_share() { mine } else { self.shared().share()? };
        Some(GraphRead::new(stripe, Entry::Again, place))
    }

    /// Takes the write lock, on the main loop: it polls, serving the thread's contexts, until no reader is in. What waits in a
    /// callback that its loop runs goes first: the lock is not taken before that has returned.
    ///
    /// # Panics
    ///
    /// On another thread than the home of [`AioContext::main`](crate::AioContext::main); in coroutine context; within a
    /// write-locked section, or where the caller, or something further down its stack, holds a read guard, naming both
    /// places: it would wait for ever. As a blocking call does: once it has the lock, with the first panic of a bottom half
    /// that ran meanwhile.
    ///
    /// # Examples
    ///
    /// See [the module](super).
    #[doc(alias = "bdrv_graph_wrlock")]
    #[track_caller]
    pub fn write(&self) -> GraphWrite {
        let place = Location::caller();
        fork::forbid_at("GraphLock::write", place);
        refuse::wait_for_self("GraphLock::write", self.shared(), self.shared().writing(), place, true);
        refuse::write_here(place);
        let mut writing = TakeWrite::new(self.clone(), place, Some("GraphLock::write"));
        let frame = Frame::enter(Kind::Own(&"GraphLock::write"), place);
        frame.block_on_for_caller(|| std::future::poll_fn(move |cx| Pin::new(&mut writing).poll(cx)))
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

/// The wait of one reader.
struct ReadWait {
    /// The function that was called, and where.
    name: &'static str,
    place: &'static Location<'static>,
    number: Option<i64>,
    /// Where it is to be counted.
    stripe: Option<NonNull<Stripe>>,
}

const _: () = is_send_and_sync::<Stripe>();

// SAFETY: the stripe is `Send` and `Sync`, and lives as long as the lock beside it, see `Reading` and `TakeRead`.
unsafe impl Send for ReadWait {}

impl ReadWait {
    fn new(name: &'static str, place: &'static Location<'static>) -> Self {
        Self { name, place, number: None, stripe: None }
    }

    /// `blocks`: on a writer's own stack it keeps that from going on, and is refused.
    fn poll(&mut self, lock: &GraphLock, blocks: bool, cx: &mut Context<'_>) -> Poll<GraphRead> {
        let (name, place) = (self.name, self.place);
        if self.number.is_none() {
            if let Some(guard) = lock.try_read(name, place) {
                return Poll::Ready(guard);
            }
            self.stripe = Some(lock.stripe(name, place));
        }
        fork::forbid_at(name, place);
        let stripe = self.stripe.expect("set with the first poll");
        let refuse = |writing| {
            if blocks {
                refuse::read_below(name, writing, place);
            }
        };
        lock.shared().poll_read(&mut self.number, stripe, cx, refuse).map(|entry| GraphRead::new(stripe, entry, place))
    }

    fn cancel(&mut self, lock: &GraphLock) {
        if let Some(number) = self.number.take() {
            lock.shared().cancel_read(number);
        }
    }
}

/// Waits for the read lock of a lock that it borrows, so that its shared count is left alone.
struct Reading<'a> {
    lock: &'a GraphLock,
    wait: ReadWait,
}

impl Future for Reading<'_> {
    type Output = GraphRead;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<GraphRead> {
        let Self { lock, wait } = &mut *self;
        wait.poll(lock, true, cx)
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.wait.cancel(self.lock);
    }
}

/// The same with a lock of its own.
pub(super) struct TakeRead {
    lock: GraphLock,
    /// Not in a bottom half, which may come again later.
    blocks: bool,
    wait: ReadWait,
}

impl TakeRead {
    /// For the function `name`.
    pub fn new(lock: GraphLock, name: &'static str, place: &'static Location<'static>, blocks: bool) -> Self {
        Self { lock, blocks, wait: ReadWait::new(name, place) }
    }
}

impl Future for TakeRead {
    type Output = GraphRead;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<GraphRead> {
        let Self { lock, blocks, wait } = &mut *self;
        wait.poll(lock, *blocks, cx)
    }
}

impl Drop for TakeRead {
    fn drop(&mut self) {
        self.wait.cancel(&self.lock);
    }
}

/// Waits for the write lock, to be polled on the main loop's thread.
pub(super) struct TakeWrite {
    lock: GraphLock,
    place: &'static Location<'static>,
    /// Who is named if it would wait for itself; nobody, where it may come again later.
    blocks: Option<&'static str>,
    number: Option<i64>,
}

impl TakeWrite {
    pub fn new(lock: GraphLock, place: &'static Location<'static>, blocks: Option<&'static str>) -> Self {
        Self { lock, place, blocks, number: None }
    }
}

impl Future for TakeWrite {
    type Output = GraphWrite;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<GraphWrite> {
        let Self { lock, place, blocks, number } = &mut *self;
        let writing = Writing { thread: here(), place };
        let refuse = |other| {
            if let Some(name) = blocks {
                refuse::wait_for_self(name, lock.shared(), other, place, true);
            }
        };
        lock.shared()
            .poll_write(number, writing, cx, refuse)
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
    use std::task::Waker;

    use super::*;

    /// Catches: a writer that leaves, or gives up, and leaves the way past the mutex shut: nothing else would show it.
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
