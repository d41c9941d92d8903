//! `Sleep`: a future that a timer of a context completes.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use crate::{
    scheduler::Scheduler,
    sys::{fork, panics::Guarded},
    tasks::timers::{Key, Timer},
};

/// Sleeps until a point in time. Made by [`AioContext::sleep`](crate::AioContext::sleep).
///
/// # Examples
///
/// See [`AioContext::sleep`](crate::AioContext::sleep).
#[must_use = "futures do nothing unless polled"]
pub struct Sleep {
    scheduler: Arc<Scheduler>,
    deadline: Instant,
    counts: bool,
    key: Option<Key>,
}

impl Sleep {
    pub(crate) fn new(scheduler: Arc<Scheduler>, duration: Duration) -> Self {
        let now = Instant::now();
        // A time past the clock's end means never.
        let deadline = now.checked_add(duration).unwrap_or_else(|| now + Duration::from_secs(u32::MAX.into()));
        Self { scheduler, deadline, counts: true, key: None }
    }

    /// Until a point in time, with a timer of our own: a poll that only fires such a timer counts as having done nothing.
    #[cfg(any(feature = "coroutine", all(feature = "graph", not(loom))))]
    pub(crate) fn until(scheduler: Arc<Scheduler>, deadline: Instant) -> Self {
        Self { scheduler, deadline, counts: false, key: None }
    }

    /// Whether the timer is of this scheduler's context.
    #[cfg(feature = "coroutine")]
    pub(crate) fn is_in(&self, scheduler: &Arc<Scheduler>) -> bool {
        Arc::ptr_eq(&self.scheduler, scheduler)
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.deadline {
            return Poll::Ready(());
        }
        if fork::is_child() {
            // Nobody fires the parent's timers in a forked child, and one of the parent's threads may hold their lock.
            return Poll::Pending;
        }
        let waits = self.key.is_some_and(|key| self.scheduler.timers().update(key, cx.waker()));
        if !waits {
            let waker = Guarded::new(cx.waker().clone());
            let (key, first) = self.scheduler.timers().insert(self.deadline, Timer { waker, counts: self.counts });
            self.key = Some(key);
            if first {
                self.scheduler.ring();
            }
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key
            && !fork::is_child()
        {
            self.scheduler.timers().remove(key);
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}
