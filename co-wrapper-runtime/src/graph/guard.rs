//! The guards: who holds the lock.

use std::{fmt, marker::PhantomData, panic::Location, ptr::NonNull, sync::Arc};

use super::{
    held::{Entry, Record},
    queue::{Shared, Stripe},
    refuse,
};
use crate::sys::{fork, sync::is_send_and_sync};

/// The graph cannot change while this lives. Dropping it, on any thread, unlocks.
///
/// It holds the lock only; what it protects is the user's. It may outlive the [`GraphLock`](crate::graph::GraphLock).
///
/// # Examples
///
/// See [the module](crate::graph).
#[must_use = "dropping it unlocks"]
pub struct GraphRead {
    stripe: NonNull<Stripe>,
    record: &'static Record,
}

const _: () = {
    is_send_and_sync::<Stripe>();
    is_send_and_sync::<&'static Record>();
};

// SAFETY: a `Stripe` is `Send` and `Sync`, and the guard holds a reference of its count. So is a `Record`.
unsafe impl Send for GraphRead {}
// SAFETY: as above; a shared guard gives access to nothing.
unsafe impl Sync for GraphRead {}

impl GraphRead {
    /// Of a reader that was counted on `stripe`, and came in so.
    #[inline]
    pub(super) fn new(stripe: NonNull<Stripe>, entry: Entry, place: &'static Location<'static>) -> Self {
        // SAFETY: the reader's reference.
        let lock = Arc::as_ptr(unsafe { stripe.as_ref() }.shared()).addr();
        Self { stripe, record: Record::new(lock, entry, place) }
    }

    /// Says that another task or thread holds the guard from now on, for one that is sent to it: the lock cannot see that.
    /// Else taking the write lock where the guard was taken panics, because it would wait for itself.
    ///
    /// # Examples
    ///
    /// ```
    /// use co_wrapper::{AioContext, graph};
    ///
    /// let main = AioContext::main();
    /// let _home = main.enter();
    /// let guard = main.block_on(graph::read()).hand_over();
    /// let other = std::thread::spawn(move || drop(guard));
    /// drop(graph::write()); // waits for that thread
    /// other.join().unwrap();
    /// ```
    pub fn hand_over(self) -> Self {
        self.record.disown();
        self
    }

    /// The caller holds the guard from now on.
    pub(super) fn adopt(self) -> Self {
        self.record.adopt();
        self
    }
}

impl Drop for GraphRead {
    fn drop(&mut self) {
        let entry = self.record.end();
        // SAFETY: the guard's reference, and the last use of it where this says true.
        if unsafe { Stripe::try_leave(self.stripe) } {
            return;
        }
        if fork::is_child() {
            // The mutex may have been another thread's.
            return;
        }
        // Kept for what comes after the stripe may be gone.
        // SAFETY: the guard's reference.
        let shared = Arc::clone(unsafe { self.stripe.as_ref() }.shared());
        // SAFETY: the guard's reference, given back once.
        unsafe { Stripe::release(self.stripe) };
        shared.left(entry);
    }
}

impl fmt::Debug for GraphRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GraphRead")
    }
}

/// Nobody reads the graph while this lives, and its holder may change it. Dropping it unlocks; it stays on its thread.
///
/// # Examples
///
/// See [the module](crate::graph).
#[must_use = "dropping it unlocks"]
pub struct GraphWrite {
    shared: Arc<Shared>,
    place: &'static Location<'static>,
    /// Not `Send`: what reads below it is told by the thread.
    _here: PhantomData<*const ()>,
}

impl GraphWrite {
    /// Of a writer that is in.
    pub(super) fn new(shared: Arc<Shared>, place: &'static Location<'static>) -> Self {
        refuse::write_begins(place);
        Self { shared, place, _here: PhantomData }
    }
}

impl Drop for GraphWrite {
    fn drop(&mut self) {
        refuse::write_ends(self.place);
        if !fork::is_child() {
            self.shared.end_write();
        }
    }
}

impl fmt::Debug for GraphWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GraphWrite")
    }
}
