//! What has run in a context, for the stackful coroutines that wait for that (`scheduler/watchers.rs`).
//!
//! Each item counts for itself: bottom halves, handlers and timers always, and a task unless all that is known of its poll is
//! that a coroutine in it, which was woken for the context, waits for the context again. Only waits made in that very poll
//! are looked at, and none of those in loops that the task nests.

#[cfg(feature = "coroutine")]
use crate::sys::panics::Payload;
use crate::{scheduler::Scheduler, thread::state::Thread};

/// Items of one context, which run one after the other. The coroutines are told of them at the end.
#[cfg(not(feature = "coroutine"))]
pub struct Items;

#[cfg(not(feature = "coroutine"))]
impl Items {
    pub fn begin(_: &Thread, _: &Scheduler) -> Self {
        Self
    }

    pub fn end(self, _: usize) {}
}

/// Items of one context, which run one after the other. The coroutines are told of them at the end.
#[cfg(feature = "coroutine")]
#[derive(Clone, Copy)]
pub struct Items<'a> {
    thread: &'a Thread,
    scheduler: &'a Scheduler,
    /// The thread's count before.
    waited: usize,
}

#[cfg(feature = "coroutine")]
impl<'a> Items<'a> {
    #[inline(always)]
    pub fn begin(thread: &'a Thread, scheduler: &'a Scheduler) -> Self {
        Self { thread, scheduler, waited: thread.stack.waited_items.get() }
    }

    /// `ran`: how many there were.
    #[inline(always)]
    pub fn end(self, ran: usize) {
        let waited_items = &self.thread.stack.waited_items;
        if self.scheduler.watchers().are_some() || waited_items.get() != self.waited {
            self.tell(ran);
        }
    }

    #[cold]
    #[inline(never)]
    fn tell(self, ran: usize) {
        let waited = self.thread.stack.waited_items.replace(self.waited) - self.waited;
        if ran > 0 {
            tell(|| self.scheduler.watchers().ran(ran > waited));
        }
    }

    /// One of them has panicked, and the others do not run.
    #[cold]
    #[inline(never)]
    pub fn panicked(self) {
        self.thread.stack.waited_items.set(self.waited);
        tell(|| self.scheduler.watchers().ran(true));
    }
}

/// Wakes coroutines. Panics of their wakers are left to the panic hook: the call that waits here has no part in them, and must not
/// be ended by them, and a second panic would end the process.
#[cfg(feature = "coroutine")]
pub fn tell(wake: impl FnOnce()) {
    drop(Payload::of(wake));
}
