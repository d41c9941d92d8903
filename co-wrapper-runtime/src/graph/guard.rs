//! The guards. A read guard is a count on a stripe and a record of its holder; a write guard marks its thread as
//! writing.

use std::{fmt, marker::PhantomData, panic::Location, sync::Arc};

use super::{
    held::{Entry, Record},
    refuse,
    shared::{Shared, Stripe, release},
};
use crate::sys::fork;

/// The graph cannot change while this lives. Dropping it, on any thread, unlocks.
///
/// It only holds the lock; the protected data is the user's. It may outlive the [`GraphLock`](crate::graph::GraphLock).
///
/// # Examples
///
/// See [the module](crate::graph).
#[must_use = "dropping it unlocks"]
pub struct GraphRead {
    stripe: &'static Stripe,
    record: &'static Record,
}

impl GraphRead {
    /// The guard of a reader that was counted on `stripe` and came in as `entry` says.
    #[inline]
    pub(super) fn new(stripe: &'static Stripe, entry: Entry, place: &'static Location<'static>) -> Self {
        Self { stripe, record: Record::new(stripe.address(), entry, place) }
    }

    /// Gives the guard to another task or thread, which the lock cannot see by itself. Without it, taking the write
    /// lock where the guard was taken panics, because that would wait for itself.
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

    /// Makes the caller the guard's holder.
    pub(super) fn adopt(self) -> Self {
        self.record.adopt();
        self
    }
}

impl Drop for GraphRead {
    fn drop(&mut self) {
        let (entry, holder) = self.record.end();
        // In a forked child another of the parent's threads may hold the mutex.
        if self.stripe.try_leave() || fork::is_child() {
            return;
        }
        let shared = self.stripe.shared();
        release(self.stripe);
        shared.left(entry, holder);
    }
}

impl fmt::Debug for GraphRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GraphRead")
    }
}

/// Nobody reads the graph while this lives, and its holder may change it. Dropping it unlocks. It stays on its thread.
///
/// # Examples
///
/// See [the module](crate::graph).
#[must_use = "dropping it unlocks"]
pub struct GraphWrite {
    shared: Arc<Shared>,
    place: &'static Location<'static>,
    /// Not `Send`: reads inside the section are recognised by their thread.
    _here: PhantomData<*const ()>,
}

impl GraphWrite {
    /// The guard of a writer that has the lock.
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
