//! How a thread sleeps and what wakes it: one [`Parker`] per thread, one [`WakeSlot`] per blocking call in flight.
//!
//! No wake is lost: a waker sets its flag first and gives the parker's token second, and the sleeper checks every flag
//! after it has taken the last token and before it sleeps. So it either sees the flag or finds a token that ends the
//! sleep. Nothing here knows of contexts or tasks, because a waker may outlive both.
//!
//! A thread that watches descriptors sleeps in poll(2), which a token does not end. For that [`Parker::sleep_in`] has a
//! second handshake of the same kind, with an [`EndSleep`] in place of the token.

use std::{
    cell::Cell,
    sync::{Arc, atomic},
    task::{Wake, Waker},
    time::Instant,
};

#[cfg(feature = "coroutine")]
use super::panics::Payload;
use super::{
    fork,
    sync::{AtomicBool, AtomicU8, Mutex, Ordering, lock},
};

/// This thread's number: never 0, never reused, and available in thread-local destructors too.
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

/// Puts its own thread to sleep. It wraps the `parking` crate so that the crate can be replaced.
#[derive(Default)]
pub struct Parker {
    parker: parking::Parker,
    elsewhere: Arc<Elsewhere>,
}

/// Ends a sleep in poll(2), which the parker's token does not end. Called from any thread, at most once per sleep; a
/// call that comes after its sleep has ended ends the next one.
pub trait EndSleep: Send + Sync {
    /// Ends the sleep. Must not block and must not panic.
    fn end_sleep(&self);
}

/// The state of a thread's sleeps outside its parker.
#[derive(Default)]
struct Elsewhere {
    /// `AWAKE`, `ELSEWHERE` or `WOKEN`.
    state: AtomicU8,
    /// Ends the current sleep.
    end: Mutex<Option<Arc<dyn EndSleep>>>,
}

/// The thread is awake, or sleeps in its parker.
#[cfg(any(all(feature = "tokio", unix), feature = "coroutine", loom))]
const AWAKE: u8 = 0;
/// It sleeps in [`Parker::sleep_in`], or is about to.
const ELSEWHERE: u8 = 1;
/// It was woken since its last such sleep: the token of these sleeps.
const WOKEN: u8 = 2;

impl Parker {
    /// A parker whose token is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// The handle that wakes this thread, from any thread.
    pub fn unparker(&self) -> Unparker {
        Unparker { unparker: self.parker.unparker(), elsewhere: Arc::clone(&self.elsewhere) }
    }

    /// Sleeps until the token is given, at most until `deadline`, and takes the token.
    pub fn park(&self, deadline: Option<Instant>) {
        match deadline {
            #[cfg(not(loom))]
            Some(deadline) => {
                self.parker.park_deadline(deadline);
            }
            // Loom has no clock.
            #[cfg(loom)]
            Some(_) => unreachable!("no deadlines under loom"),
            None => self.parker.park(),
        }
    }

    /// Calls `sleep`, which `end` interrupts, unless the thread was woken since its last such sleep. As with
    /// [`park`](Self::park), the wake may be for something that the thread has already seen.
    #[cfg(any(all(feature = "tokio", unix), loom))]
    pub fn sleep_in(&self, end: Arc<dyn EndSleep>, sleep: impl FnOnce()) {
        let Elsewhere { state, end: place } = &*self.elsewhere;
        #[cfg_attr(not(feature = "coroutine"), expect(unused_variables, reason = "only coroutines leave one there"))]
        let outer = lock(place).replace(end);
        // The sleeper and the waker both swap `state`. If the waker swaps first, the sleeper reads `WOKEN` here;
        // otherwise the waker reads `ELSEWHERE` and ends the sleep.
        let mut was_woken = state.swap(ELSEWHERE, Ordering::AcqRel) == WOKEN;
        if !was_woken {
            sleep();
        }
        was_woken |= state.swap(AWAKE, Ordering::AcqRel) == WOKEN;
        *lock(place) = None;
        // What woke the thread from this sleep would have called `outer`, and does not wake it again.
        #[cfg(feature = "coroutine")]
        if let Some(outer) = outer
            && (self.ends_with(Arc::clone(&outer)) || was_woken)
        {
            outer.end_sleep();
        }
        #[cfg(not(feature = "coroutine"))]
        let _ = was_woken;
    }

    /// If the thread is about to sleep in code that is not ours, ends that sleep as a wake does. For the thread itself.
    #[cfg(feature = "coroutine")]
    pub fn ends_elsewhere(&self) {
        let Elsewhere { state, .. } = &*self.elsewhere;
        // Only the thread itself begins such a sleep. It is not told again of a wake of its own, at the next one.
        if state.compare_exchange(ELSEWHERE, AWAKE, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            self.elsewhere.end();
        }
    }

    /// Calls `end` when the thread is woken next, whatever it does then: it is about to sleep in code that is not ours.
    /// Returns whether it was woken since its last sleep outside the parker.
    #[cfg(feature = "coroutine")]
    pub fn ends_with(&self, end: Arc<dyn EndSleep>) -> bool {
        let Elsewhere { state, end: place } = &*self.elsewhere;
        *lock(place) = Some(end);
        state.swap(ELSEWHERE, Ordering::AcqRel) == WOKEN
    }
}

/// Gives a [`Parker`] its token, from any thread. Makes no system call unless the parker's thread is asleep.
#[derive(Clone)]
pub struct Unparker {
    unparker: parking::Unparker,
    elsewhere: Arc<Elsewhere>,
}

impl Unparker {
    /// Gives the token. Giving it twice before it is taken is the same as giving it once.
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
        // In a forked child the sleeper is a thread of the parent, and another of the parent's threads may hold the
        // lock.
        if fork::is_child() {
            return;
        }
        // `None` if the sleep is over. If the next sleep has started, that one ends early, and the thread checks its
        // flags again.
        let end = lock(&self.end).take();
        if let Some(end) = end {
            end.end_sleep();
        }
    }
}

/// Where the wakes of one blocking call's future arrive.
///
/// The thread reuses its slots even while wakers of earlier calls exist: a late wake costs the slot's next call one
/// spurious poll, which every future must tolerate.
pub struct WakeSlot {
    /// Set by a wake from another thread.
    woken: AtomicBool,
    /// Set by a wake from the slot's own thread. Only that thread accesses it, and it is awake then, so the wake needs
    /// no locked instruction and no token.
    woken_here: AtomicBool,
    /// The number of the thread that owns the slot.
    thread: u64,
    unparker: Unparker,
    /// For the slot of a stackful coroutine: what resumes the coroutine, while it waits for a call in another context.
    #[cfg(feature = "coroutine")]
    resumes: Option<Mutex<Option<Waker>>>,
    /// Whether it is a call in another context that has not started there. For reports alone, so no model looks at it.
    unstarted: atomic::AtomicBool,
    /// Whether it is a call in another context that its caller has taken back.
    cancelled: AtomicBool,
}

impl WakeSlot {
    /// A slot of the calling thread. `unparker` must be the calling thread's.
    pub fn new(unparker: Unparker) -> Self {
        Self {
            woken: AtomicBool::new(false),
            woken_here: AtomicBool::new(false),
            thread: here(),
            unparker,
            #[cfg(feature = "coroutine")]
            resumes: None,
            unstarted: atomic::AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
        }
    }

    /// Like [`new`](Self::new), for calls that suspend a stackful coroutine.
    #[cfg(feature = "coroutine")]
    pub fn of_coroutine(unparker: Unparker) -> Self {
        Self { resumes: Some(Mutex::new(None)), ..Self::new(unparker) }
    }

    /// Whether the slot belongs to a stackful coroutine.
    #[cfg(feature = "coroutine")]
    pub fn is_coroutine(&self) -> bool {
        self.resumes.is_some()
    }

    /// Has the next wake also wake `waker`. The caller checks [`take_woken`](Self::take_woken) after this: an earlier
    /// wake has set the flag, a later one finds the waker.
    #[cfg(feature = "coroutine")]
    pub fn resume_with(&self, waker: Option<Waker>) {
        if let Some(resumes) = &self.resumes {
            // Dropped after the lock is released, because that runs users' code.
            let old = std::mem::replace(&mut *lock(resumes), waker);
            drop(old);
        }
    }

    /// What wakes it. One function, so that all these wakers have the same table of functions.
    #[inline(never)]
    pub fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    /// The number of the thread that owns the slot.
    pub fn thread(&self) -> u64 {
        self.thread
    }

    /// Whether it is a call in another context that has not started there.
    pub fn is_unstarted(&self) -> bool {
        self.unstarted.load(atomic::Ordering::Relaxed)
    }

    /// Records that the call is about to be sent to another context.
    pub fn begin_to_send(&self) {
        self.unstarted.store(true, atomic::Ordering::Relaxed);
        self.cancelled.store(false, Ordering::Relaxed);
    }

    /// Records that the call has started there or is done. Before the caller leaves its frame: after that the slot may
    /// be another call's.
    pub fn set_started(&self) {
        self.unstarted.store(false, atomic::Ordering::Relaxed);
    }

    /// Whether it is a call in another context that its caller has taken back.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Records that its caller takes it back.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether the future was woken since the last call of this. The swap's acquire half pairs with the release half in
    /// `wake`: the poll that follows sees what the waking thread wrote before it.
    #[inline]
    pub fn take_woken(&self) -> bool {
        let here = self.woken_here.load(Ordering::Relaxed);
        if here {
            self.woken_here.store(false, Ordering::Relaxed);
        }
        // The load spares the idle loop a locked instruction. It must not clear the flag itself: a wake that finds the
        // flag set gives no token, so only a swap that reads that wake's write may clear it.
        let elsewhere = self.woken.load(Ordering::Relaxed) && self.woken.swap(false, Ordering::AcqRel);
        here || elsewhere
    }

    /// Whether the future was woken, without clearing the flags. The last check before the thread sleeps: a wake from
    /// its own thread gives no token.
    #[inline]
    pub fn is_woken(&self) -> bool {
        self.woken_here.load(Ordering::Relaxed) || self.woken.load(Ordering::Relaxed)
    }

    /// Clears wakes that were meant for an earlier call.
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
        #[cfg(feature = "coroutine")]
        if let Some(resumes) = &self.resumes {
            resume(resumes);
        }
    }
}

/// Wakes what resumes a coroutine. Out of line, so that other wakes do not pay for its frame.
#[cfg(feature = "coroutine")]
#[cold]
#[inline(never)]
fn resume(resumes: &Mutex<Option<Waker>>) {
    // In a forked child another of the parent's threads may hold the lock.
    let waker = if fork::is_child() { None } else { lock(resumes).take() };
    // A panic of it would be lost on the one that wakes, who knows nothing of the coroutine.
    drop(Payload::of(|| waker.into_iter().for_each(Waker::wake)));
}
