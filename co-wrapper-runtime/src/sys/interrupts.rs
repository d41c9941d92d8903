//! Interrupts: what a signal handler may touch, and the thread that wakes whoever is interrupted.
//!
//! A thread has one [`Interrupts`], and so has a stackful coroutine. A signal handler may take no lock and allocate
//! nothing, and our parker takes a lock. So an interrupt sets a flag and rings the [`Bell`]: one byte in a pipe. A thread
//! of ours reads it and wakes the calls whose flags are set.
//!
//! No interrupt is lost. A waiting call leaves its waker first and looks at its flag second; an interrupt sets the flag
//! first and rings second, and the bell's thread clears the bell before it looks at the flags.
//!
//! Only [`Interrupts::raise`] may be called in a signal handler. It uses no thread-local, no lock and no reference count.

use std::{
    cell::Cell,
    error::Error,
    fmt,
    io::{self, PipeReader, PipeWriter, Read, Write},
    sync::{Arc, Mutex as StdMutex, OnceLock, atomic},
    task::Wake,
    thread,
    time::{Duration, Instant},
};

#[cfg(feature = "coroutine")]
use std::task::Waker;

use super::{
    fork,
    panics::{self, Payload},
    park::WakeSlot,
    registry::Registry,
    sync::{AtomicBool, Mutex, Ordering, lock, plain_lock},
};

/// A blocking call was interrupted. If it polled a future, that was dropped before the call returned.
///
/// As an [`io::Error`] it is of the kind [`Other`](io::ErrorKind::Other), not
/// [`Interrupted`](io::ErrorKind::Interrupted): at that one, the loops of std, such as
/// [`read_exact`](io::Read::read_exact), try again.
///
/// # Examples
///
/// ```
/// use co_wrapper::interrupt::Interrupted;
///
/// let error = std::io::Error::from(Interrupted);
/// assert!(error.get_ref().is_some_and(|error| error.is::<Interrupted>()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the call was interrupted")
    }
}

impl Error for Interrupted {}

impl From<Interrupted> for io::Error {
    fn from(interrupted: Interrupted) -> Self {
        Self::other(interrupted)
    }
}

/// The interrupts of one thread or coroutine.
pub struct Interrupts {
    /// An interrupt that no call has taken yet.
    pending: AtomicBool,
    /// Wakes the innermost interruptible call that waits.
    wakes: Mutex<Option<Wakes>>,
    /// Whether the bell's thread knows of it. No model looks at it.
    is_named: atomic::AtomicBool,
}

/// What an interrupt wakes.
pub enum Wakes {
    /// A call that blocks its thread. It stays until the call has ended.
    Thread(Arc<WakeSlot>),
    /// A call that suspends a coroutine, which leaves its waker again whenever it is suspended.
    #[cfg(feature = "coroutine")]
    Coroutine(Waker),
}

impl Interrupts {
    /// Nothing is pending, and nobody waits.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            pending: AtomicBool::new(false),
            wakes: Mutex::new(None),
            is_named: atomic::AtomicBool::new(false),
        })
    }

    /// Makes an interrupt pending, and rings `bell`.
    pub fn raise(&self, bell: &Bell, ring: impl FnOnce()) {
        self.put_back();
        bell.ring(ring);
    }

    /// Makes an interrupt pending for the next call, without waking one. Also for the code that took one and did not use
    /// it.
    pub fn put_back(&self) {
        // A swap, so that who takes one of several interrupts sees what each of their threads did before.
        self.pending.swap(true, Ordering::AcqRel);
    }

    /// Whether an interrupt is pending.
    pub fn is_pending(&self) -> bool {
        self.pending.load(Ordering::Acquire)
    }

    /// Takes the pending interrupt, if there is one.
    pub fn take(&self) -> bool {
        self.pending.load(Ordering::Relaxed) && self.pending.swap(false, Ordering::AcqRel)
    }

    /// Has an interrupt wake `wakes` from now on. Returns what it woke before, which the caller drops after it was put in
    /// place, because that may run users' code. The caller looks at the flag after this.
    pub fn wake_with(&self, wakes: Option<Wakes>) -> Option<Wakes> {
        std::mem::replace(&mut *lock(&self.wakes), wakes)
    }

    /// For the bell's thread, after [`Bell::stop`]: wakes the call that waits, if an interrupt is pending.
    pub fn wake_if_pending(&self) {
        if !self.is_pending() {
            return;
        }
        let wakes = {
            let place = &mut *lock(&self.wakes);
            match place {
                Some(Wakes::Thread(slot)) => Some(Wakes::Thread(Arc::clone(slot))),
                // A clone of a coroutine's waker would run users' code under the lock.
                _ => place.take(),
            }
        };
        match wakes {
            None => {}
            Some(Wakes::Thread(slot)) => slot.wake(),
            // A panic of it would end the thread on which every other interrupt relies.
            #[cfg(feature = "coroutine")]
            Some(Wakes::Coroutine(waker)) => drop(Payload::of(|| waker.wake())),
        }
    }
}

/// Wakes the bell's thread. There is at most one byte in the pipe for each time that the thread has stopped the bell, so
/// writing it never blocks.
pub struct Bell {
    rung: AtomicBool,
}

impl Bell {
    /// A bell that was not rung.
    pub fn new() -> Self {
        Self { rung: AtomicBool::new(false) }
    }

    /// Calls `write`, unless the thread is about to look at the flags anyway.
    pub fn ring(&self, write: impl FnOnce()) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            write();
        }
    }

    /// For the thread, when it has read the byte and before it looks at the flags: an interrupt that comes later rings
    /// again.
    pub fn stop(&self) {
        self.rung.swap(false, Ordering::AcqRel);
    }
}

/// The process's bell.
struct OurBell {
    bell: Bell,
    writer: PipeWriter,
}

static BELL: OnceLock<OurBell> = OnceLock::new();

/// What handles name, for the bell's thread.
static NAMED: Registry<Interrupts> = Registry::new();

/// Lets handles interrupt `interrupts`. Starts the bell's thread if there is none.
///
/// # Errors
///
/// The pipe or the thread cannot be made.
pub fn name(interrupts: &Arc<Interrupts>) -> io::Result<()> {
    /// Held by the one that makes the bell.
    static MAKING: StdMutex<()> = StdMutex::new(());

    if BELL.get().is_none() {
        let _making = plain_lock(&MAKING);
        if BELL.get().is_none() {
            let (reader, writer) = io::pipe()?;
            thread::Builder::new().name("co-wrapper-interrupt".into()).spawn(|| answer(reader))?;
            // Only the holder of `MAKING` sets it.
            let _ = BELL.set(OurBell { bell: Bell::new(), writer });
        }
    }
    if !interrupts.is_named.swap(true, atomic::Ordering::Relaxed) {
        NAMED.register(&Arc::from("interrupts"), Arc::downgrade(interrupts));
    }
    Ok(())
}

/// Interrupts `interrupts`. It may be called in a signal handler.
pub fn raise(interrupts: &Interrupts) {
    // In a forked child the pipe is shared with the parent, whose thread it would wake.
    match BELL.get().filter(|_| !fork::is_child()) {
        // It fails only if somebody has closed the descriptor; the flag is set nevertheless.
        Some(OurBell { bell, writer }) => interrupts.raise(bell, || _ = (&*writer).write(&[0])),
        None => interrupts.put_back(),
    }
}

/// The bell's thread.
fn answer(mut reader: PipeReader) {
    let OurBell { bell, .. } = BELL.wait();
    loop {
        match reader.read(&mut [0]) {
            Ok(1..) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // Somebody has closed the descriptor.
            Ok(0) | Err(_) => return panics::report("interrupts wake nobody any more, for their pipe was closed"),
        }
        bell.stop();
        NAMED.all().iter().for_each(|(_, interrupts)| interrupts.wake_if_pending());
    }
}

/// How often a waiting call asks the hook.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// What is asked while an interruptible call waits; see [`crate::interrupt::set_hook`].
pub static HOOK: StdMutex<Option<fn() -> bool>> = StdMutex::new(None);

/// An interruptible call that waits. Calls that wait nested inside it have another one of their own, or none.
pub struct Heeds {
    interrupts: Arc<Interrupts>,
    /// What an interrupt woke before.
    outer: Option<Wakes>,
    hook: Option<fn() -> bool>,
    ask_at: Cell<Option<Instant>>,
}

impl Heeds {
    /// An interrupt of `interrupts` wakes `wakes` while the result lives.
    pub fn new(interrupts: Arc<Interrupts>, wakes: Wakes) -> Self {
        let outer = interrupts.wake_with(Some(wakes));
        let hook = *plain_lock(&HOOK);
        Self { interrupts, outer, hook, ask_at: Cell::new(hook.map(|_| Instant::now() + ASK_EVERY)) }
    }

    /// An interrupt wakes the coroutine that `waker` resumes.
    #[cfg(feature = "coroutine")]
    pub fn wake_with(&self, waker: &Waker) {
        drop(self.interrupts.wake_with(Some(Wakes::Coroutine(waker.clone()))));
    }

    /// When to ask the hook next.
    pub fn ask_at(&self) -> Option<Instant> {
        self.ask_at.get()
    }

    /// Takes the pending interrupt, if there is one.
    pub fn take(&self) -> bool {
        self.interrupts.take()
    }

    /// Leaves the interrupt that was taken to the next call.
    pub fn put_back(&self) {
        self.interrupts.put_back();
    }

    /// Asks the hook, if it is time, through `run`. Returns whether the call is to end. A hook that panics ends it too;
    /// its panic is kept in `panicked` if it is the first.
    pub fn ask(&self, panicked: &mut Option<Payload>, run: impl FnOnce(&mut dyn FnMut())) -> bool {
        let due = self.ask_at.get().is_some_and(|at| Instant::now() >= at);
        let Some(hook) = self.hook.filter(|_| due) else { return false };
        let mut ends = true;
        panics::catch(panicked, || run(&mut || ends = hook()));
        self.ask_at.set(Some(Instant::now() + ASK_EVERY));
        ends
    }
}

impl Drop for Heeds {
    fn drop(&mut self) {
        let own = self.interrupts.wake_with(self.outer.take());
        panics::drop_one(own);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Catches: an entry for every handle of a thread that makes many.
    #[test]
    fn a_thread_is_named_once() {
        let interrupts = Interrupts::new();
        for _ in 0..100 {
            name(&interrupts).unwrap();
        }
        assert_eq!(NAMED.all().iter().filter(|(_, named)| Arc::ptr_eq(named, &interrupts)).count(), 1);
    }
}
