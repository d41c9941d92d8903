//! The flags by which a context's home thread learns that something came in.
//!
//! The thread clears them before it looks a last time and sleeps ([`Notified::take`]), so nothing that was published
//! before a flag was set is missed. A flag that another thread sets is set by a swap: only the thread that flips it
//! unparks the home thread, so a burst costs one wake. Which thread is the home, and what wakes it, is not known here:
//! each function says whether its caller must wake the home thread.

use crate::sys::sync::{AtomicBool, Ordering};

pub struct Notified {
    /// Set by other threads.
    elsewhere: AtomicBool,
    /// The same, set by the home thread itself, which is awake. Only that thread uses it, so it needs no locked
    /// instruction. It must not store to `elsewhere`: that could overwrite another thread's flag, and with it what that
    /// store publishes.
    here: AtomicBool,
    /// Set while the home thread runs another executor's code, which does not look at `here`. Then an item that the
    /// home thread itself queues must wake that executor too.
    #[cfg(feature = "coroutine")]
    outside: AtomicBool,
    /// Set by `AioContext::notify`, which ends a blocking `poll` although nothing ran.
    kicked: AtomicBool,
}

impl Notified {
    /// Nothing came in.
    pub fn new() -> Self {
        Self {
            elsewhere: AtomicBool::new(false),
            here: AtomicBool::new(false),
            #[cfg(feature = "coroutine")]
            outside: AtomicBool::new(false),
            kicked: AtomicBool::new(false),
        }
    }

    /// Called by the home thread, which asks [`take`](Self::take) before it sleeps. Returns whether it must be woken
    /// nevertheless, because it runs another executor's code.
    #[inline]
    pub fn set_here(&self) -> bool {
        self.here.store(true, Ordering::Relaxed);
        #[cfg(feature = "coroutine")]
        if self.outside.load(Ordering::Relaxed) {
            self.outside.store(false, Ordering::Relaxed);
            return true;
        }
        false
    }

    /// Called by any other thread. Returns whether it must wake the home thread: no other thread has done so since that
    /// last looked.
    pub fn set_elsewhere(&self) -> bool {
        !self.elsewhere.swap(true, Ordering::AcqRel)
    }

    /// Called before the home thread sleeps: whether something came in since the last call, so that it must look again.
    pub fn take(&self) -> bool {
        let here = self.here.load(Ordering::Relaxed);
        if here {
            self.here.store(false, Ordering::Relaxed);
        }
        let elsewhere = self.elsewhere.load(Ordering::Relaxed) && self.elsewhere.swap(false, Ordering::AcqRel);
        here || elsewhere
    }

    /// Like [`take`](Self::take), for a spinning home thread. Clears nothing.
    pub fn is_set(&self) -> bool {
        self.here.load(Ordering::Relaxed) || self.elsewhere.load(Ordering::Relaxed)
    }

    /// Records whether the home thread runs code that is not ours. For the home thread.
    #[cfg(feature = "coroutine")]
    pub fn set_outside(&self, outside: bool) {
        self.outside.store(outside, Ordering::Relaxed);
    }

    /// Records a call of `AioContext::notify`.
    pub fn kick(&self) {
        self.kicked.store(true, Ordering::Release);
    }

    /// Whether there was one since this was last asked.
    pub fn take_kick(&self) -> bool {
        self.kicked.load(Ordering::Relaxed) && self.kicked.swap(false, Ordering::AcqRel)
    }
}
