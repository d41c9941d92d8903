//! How a thread sleeps and what wakes it: one [`Parker`] a thread, one [`WakeSlot`] a blocking call in flight.
//!
//! A token makes the handshake safe: waking sets a flag first and the token second; the sleeper looks at every flag
//! between taking the token and giving itself up to sleep, so whatever was set before is seen, and whatever is set
//! after ends the sleep. Nothing here knows of contexts or tasks: a waker may outlive both.

use std::{cell::Cell, sync::Arc, task::Wake, time::Instant};

use crate::sync::{AtomicBool, Ordering};

/// This thread's number: never 0, never given twice, and to be had in thread-local destructors too.
#[inline]
pub fn here() -> u64 {
    use std::sync::atomic::AtomicU64;

    static NEXT: AtomicU64 = AtomicU64::new(1);

    #[cfg(not(loom))]
    thread_local! { static NUMBER: Cell<u64> = const { Cell::new(0) } }
    #[cfg(loom)]
    loom::thread_local! { static NUMBER: Cell<u64> = Cell::new(0) }

    NUMBER.with(|number| {
        if number.get() == 0 {
            number.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        number.get()
    })
}

/// Puts its own thread to sleep. It stands before the `parking` crate so that something else may come in its place.
#[derive(Debug, Default)]
pub struct Parker(parking::Parker);

impl Parker {
    /// One without a token.
    pub fn new() -> Self {
        Self::default()
    }

    /// What wakes it, from any thread.
    pub fn unparker(&self) -> Unparker {
        Unparker(self.0.unparker())
    }

    /// Sleeps until the token is there, at most until `deadline`, and takes the token.
    pub fn park(&self, deadline: Option<Instant>) {
        match deadline {
            #[cfg(not(loom))]
            Some(deadline) => {
                self.0.park_deadline(deadline);
            }
            // A loom model has no clock.
            #[cfg(loom)]
            Some(_) => unreachable!("no deadlines under loom"),
            None => self.0.park(),
        }
    }
}

/// Gives a [`Parker`] its token, from any thread. No system call where the parker's thread is not asleep.
#[derive(Clone, Debug)]
pub struct Unparker(parking::Unparker);

impl Unparker {
    /// Gives the token; a second one before the first is taken is the same as one.
    pub fn unpark(&self) {
        self.0.unpark();
    }
}

/// Where the wakes of one blocking call's future arrive.
///
/// The thread keeps its slots and uses them again, whatever wakers are still about: a late wake of an earlier call costs
/// the slot's next user one spurious poll, which every future allows.
#[derive(Debug)]
pub struct WakeSlot {
    /// Woken by another thread.
    woken: AtomicBool,
    /// Woken by the slot's own thread, which is awake: no locked instruction, and no token. Its own alone.
    woken_here: AtomicBool,
    /// Whose it is.
    thread: u64,
    unparker: Unparker,
}

impl WakeSlot {
    /// A slot of the calling thread, whose wakes end the sleep of `unparker`'s, which is the same.
    pub fn new(unparker: Unparker) -> Self {
        Self { woken: AtomicBool::new(false), woken_here: AtomicBool::new(false), thread: here(), unparker }
    }

    /// The number of the thread whose it is.
    pub fn thread(&self) -> u64 {
        self.thread
    }

    /// Whether the future was woken since this was last asked. The acquire half of the swap pairs with `wake`'s release
    /// half: what the waker's thread wrote before is seen by the poll that follows.
    #[inline]
    pub fn take_woken(&self) -> bool {
        let here = self.woken_here.load(Ordering::Relaxed);
        if here {
            self.woken_here.store(false, Ordering::Relaxed);
        }
        // The load spares the idle loop a locked instruction. It may not take the flag itself: a wake that finds the
        // flag set gives no token, so only a swap that reads that very wake's write may clear it.
        let elsewhere = self.woken.load(Ordering::Relaxed) && self.woken.swap(false, Ordering::AcqRel);
        here || elsewhere
    }

    /// Whether the future was woken, left as it is. To be asked last before the thread sleeps: a wake of its own gives no
    /// token.
    #[inline]
    pub fn is_woken(&self) -> bool {
        self.woken_here.load(Ordering::Relaxed) || self.woken.load(Ordering::Relaxed)
    }

    /// Forgets the wakes meant for an earlier call.
    #[inline]
    pub fn reset(&self) {
        if self.is_woken() {
            self.woken_here.store(false, Ordering::Relaxed);
            self.woken.store(false, Ordering::Relaxed);
        }
    }
}

impl Wake for WakeSlot {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if here() == self.thread {
            self.woken_here.store(true, Ordering::Relaxed);
        } else if !self.woken.swap(true, Ordering::AcqRel) {
            self.unparker.unpark();
        }
    }
}
