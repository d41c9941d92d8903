//! How a thread sleeps and what wakes it: one [`Parker`] a thread, one [`WakeSlot`] a blocking call in flight.
//!
//! A token makes the handshake safe: waking sets a flag first and the token second; the sleeper looks at every flag
//! between taking the token and giving itself up to sleep, so whatever was set before is seen, and whatever is set
//! after ends the sleep. Nothing here knows of contexts or tasks: a waker may outlive both.
//!
//! A thread that watches descriptors sleeps in poll(2) instead, which no token ends. [`Parker::sleep_in`] has a second
//! handshake for that, of the same kind, and an [`EndSleep`] in the place of the parker's own wake.

use std::{cell::Cell, fmt, sync::Arc, task::Wake, time::Instant};

use super::{
    fork,
    sync::{AtomicBool, AtomicU8, Mutex, Ordering, lock},
};

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
pub struct Parker {
    parker: parking::Parker,
    elsewhere: Arc<Elsewhere>,
}

/// Ends a sleep that is not the parker's own, one in poll(2). Called once a sleep at most, from any thread, and perhaps
/// only when that sleep is over: then it ends the next one.
pub trait EndSleep: Send + Sync {
    /// Ends it. Must not block and must not panic.
    fn end_sleep(&self);
}

/// A thread's sleeps that are not its parker's own.
#[derive(Default)]
struct Elsewhere {
    /// One of the three below.
    state: AtomicU8,
    /// What ends the present one.
    end: Mutex<Option<Arc<dyn EndSleep>>>,
}

/// The thread is awake, or sleeps by its parker's token.
#[cfg(any(all(feature = "tokio", unix), loom))]
const AWAKE: u8 = 0;
/// It sleeps elsewhere, or is about to.
const ELSEWHERE: u8 = 1;
/// It was woken since it last slept elsewhere: the token of these sleeps.
const WOKEN: u8 = 2;

impl Parker {
    /// One without a token.
    pub fn new() -> Self {
        Self::default()
    }

    /// What wakes it, from any thread.
    pub fn unparker(&self) -> Unparker {
        Unparker { unparker: self.parker.unparker(), elsewhere: Arc::clone(&self.elsewhere) }
    }

    /// Sleeps until the token is there, at most until `deadline`, and takes the token.
    pub fn park(&self, deadline: Option<Instant>) {
        match deadline {
            #[cfg(not(loom))]
            Some(deadline) => {
                self.parker.park_deadline(deadline);
            }
            // A loom model has no clock.
            #[cfg(loom)]
            Some(_) => unreachable!("no deadlines under loom"),
            None => self.parker.park(),
        }
    }

    /// Sleeps in `sleep`, which `end` ends, unless the thread was woken since its last such sleep. As with
    /// [`park`](Self::park), it may have been woken for what it has seen by now.
    #[cfg(any(all(feature = "tokio", unix), loom))]
    pub fn sleep_in(&self, end: Arc<dyn EndSleep>, sleep: impl FnOnce()) {
        let Elsewhere { state, end: place } = &*self.elsewhere;
        *lock(place) = Some(end);
        // Two swaps of one atomic by the sleeper and one by a waker: either the waker's comes first, and the sleeper sees
        // it here, or it reads `ELSEWHERE` and ends the sleep.
        if state.swap(ELSEWHERE, Ordering::AcqRel) != WOKEN {
            sleep();
        }
        state.swap(AWAKE, Ordering::AcqRel);
        *lock(place) = None;
    }
}

/// Gives a [`Parker`] its token, from any thread. No system call where the parker's thread is not asleep.
#[derive(Clone, Debug)]
pub struct Unparker {
    unparker: parking::Unparker,
    elsewhere: Arc<Elsewhere>,
}

impl Unparker {
    /// Gives the token; a second one before the first is taken is the same as one.
    pub fn unpark(&self) {
        self.unparker.unpark();
        if self.elsewhere.state.swap(WOKEN, Ordering::AcqRel) == ELSEWHERE {
            self.elsewhere.end();
        }
    }
}

impl Elsewhere {
    #[cold]
    fn end(&self) {
        // In a forked child the sleeper is a thread of the parent's, and the lock may be held by another one.
        if fork::is_child() {
            return;
        }
        // Nothing is there if the sleep is over. If the next one has begun, that is ended: it looks once more.
        let end = lock(&self.end).take();
        if let Some(end) = end {
            end.end_sleep();
        }
    }
}

impl fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Elsewhere").field("state", &self.state).finish_non_exhaustive()
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
