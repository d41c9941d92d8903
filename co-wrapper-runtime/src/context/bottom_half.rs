//! The handle of a reusable bottom half.

use std::{fmt, sync::Arc};

use crate::{
    scheduler::Scheduler,
    sys::fork,
    tasks::bottom_half::{Queued, Reusable},
};

/// A callback that can be scheduled repeatedly. Made by [`AioContext::bh`](crate::AioContext::bh).
///
/// Dropping the handle cancels it for good, even from within its own callback.
///
/// # Examples
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicUsize, Ordering}};
///
/// let ctx = co_wrapper::AioContext::new()?;
/// let runs = Arc::new(AtomicUsize::new(0));
/// let counter = Arc::clone(&runs);
/// let bh = ctx.bh(move || { counter.fetch_add(1, Ordering::Relaxed); });
/// bh.schedule();
/// bh.schedule(); // it waits already
/// ctx.poll(false);
/// assert_eq!(runs.load(Ordering::Relaxed), 1);
/// bh.schedule();
/// bh.cancel();
/// assert!(!ctx.poll(false));
/// # std::io::Result::Ok(())
/// ```
#[doc(alias = "QEMUBH")]
pub struct BottomHalf {
    reusable: Arc<Reusable>,
    scheduler: Arc<Scheduler>,
}

impl BottomHalf {
    pub(crate) fn new(scheduler: &Arc<Scheduler>, callback: impl FnMut() + Send + 'static) -> Self {
        Self { reusable: Reusable::new(None, Box::new(callback)), scheduler: Arc::clone(scheduler) }
    }

    /// A bottom half that runs only if `condition` holds when its turn comes.
    #[cfg(all(feature = "tokio", unix))]
    pub(crate) fn only_if(
        scheduler: &Arc<Scheduler>,
        condition: impl Fn() -> bool + Send + Sync + 'static,
        callback: impl FnMut() + Send + 'static,
    ) -> Self {
        Self {
            reusable: Reusable::new(Some(Box::new(condition)), Box::new(callback)),
            scheduler: Arc::clone(scheduler),
        }
    }

    /// Whether it is neither scheduled nor running, and not deleted.
    #[cfg(all(feature = "tokio", unix))]
    pub(crate) fn is_idle(&self) -> bool {
        self.reusable.is_idle()
    }

    /// Prevents further runs, and drops the callback, now or when the current run has returned.
    #[cfg(all(feature = "tokio", unix))]
    pub(crate) fn delete(&self) {
        self.reusable.delete();
    }

    /// Schedules one run on the home thread, outside any coroutine, in the next poll. From any thread. If it is
    /// scheduled again before it ran, it still runs once. If it is scheduled while it runs, it runs again after it has
    /// returned, never nested, even if the callback polls: an `FnMut` cannot be entered twice.
    ///
    /// # Examples
    ///
    /// See [`BottomHalf`].
    #[doc(alias = "qemu_bh_schedule")]
    pub fn schedule(&self) {
        if !fork::is_child() && self.reusable.schedule() {
            // A closed context drops it.
            drop(self.scheduler.push_bottom_half(Queued::Again(Arc::clone(&self.reusable))));
        }
    }

    /// Cancels a scheduled run that has not begun; does not wait for one that has. If it is scheduled again before the
    /// next poll, it keeps its old place in the queue.
    ///
    /// # Examples
    ///
    /// See [`BottomHalf`].
    #[doc(alias = "qemu_bh_cancel")]
    pub fn cancel(&self) {
        if !fork::is_child() {
            self.reusable.unschedule();
        }
    }
}

impl Drop for BottomHalf {
    fn drop(&mut self) {
        if !fork::is_child() {
            self.reusable.delete();
        }
    }
}

impl fmt::Debug for BottomHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BottomHalf").field("scheduled", &self.reusable.is_scheduled()).finish()
    }
}
