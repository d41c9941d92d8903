//! Interrupts: a blocking call that waits is given up from outside, by another thread or by a signal handler.
//!
//! A [`Handle`] names a thread. [`Handle::interrupt`] ends the *interruptible* call that waits there, or else the next one
//! that would wait: the twins of `#[co_wrapper(interrupt)]`, named `…_interruptible`, and [`block_on_interruptible`]. They
//! return [`Interrupted`], when their future has been dropped. Other calls are not interruptible, and wait on.
//!
//! [`block_on_interruptible`]: crate::block_on_interruptible
//!
//! # Which call an interrupt ends
//!
//! Exactly one:
//!
//! - Of the calls on the thread's stack, the innermost one whose loop runs, if that is interruptible. If it is not, the
//!   interrupt stays pending until control is back in the loop of an interruptible one further out, which then ends,
//!   if its future is not ready.
//! - A call whose future is ready has a result, and returns it. The interrupt stays pending. So does one that comes when no
//!   interruptible call waits. Interrupts that come while one is pending are the same one. [`take`] takes it.
//! - A call into another context (`ctx`) is cancelled there as when a timeout expires, and returns when its future has been
//!   dropped. If it was done before it was cancelled, it returns its result, and the interrupt stays pending.
//! - A call that suspends a `Coroutine` (feature `coroutine`) does not wait on its thread. It is ended through a handle that
//!   was made in that coroutine's own code, and through no other.
//!
//! # Signals
//!
//! [`Handle::interrupt`] and [`Handle::is_pending`] may be called in a signal handler: they use atomics, and write a byte into
//! a pipe. A thread of ours, which the first handle starts, reads the byte and wakes the call. (So signals that must not be
//! handled on that thread are to be blocked when the first handle is made.) A handler needs a handle that is there already:
//!
//! ```
//! use std::sync::OnceLock;
//! use co_wrapper::interrupt::Handle;
//!
//! static MAIN: OnceLock<Handle> = OnceLock::new();
//!
//! extern "C" fn on_sigint(_: i32) {
//!     if let Some(main) = MAIN.get() {
//!         main.interrupt();
//!     }
//! }
//!
//! MAIN.get_or_init(Handle::current);
//! // Then install `on_sigint` with `sigaction`.
//! # on_sigint(2);
//! # assert!(co_wrapper::interrupt::take());
//! ```
//!
//! # Examples
//!
//! ```
//! use co_wrapper::{co_wrapper, interrupt::{Handle, Interrupted}};
//!
//! #[co_wrapper(interrupt)]
//! async fn co_read(stuck: async_channel::Receiver<u8>) -> Option<u8> {
//!     stuck.recv().await.ok()
//! }
//!
//! let (_server, stuck) = async_channel::bounded(1);
//! let reader = Handle::current();
//! let ctrl_c = std::thread::spawn(move || reader.interrupt());
//! assert_eq!(read_interruptible(stuck), Err(Interrupted));
//! ctrl_c.join().unwrap();
//! ```

use std::{fmt, sync::Arc};

pub use crate::sys::interrupts::Interrupted;
#[cfg(feature = "coroutine")]
use crate::tasks::activation;
use crate::{
    sys::{
        interrupts::{self, HOOK, Interrupts},
        sync::plain_lock,
    },
    thread::state::Thread,
};

/// Names a thread, or a coroutine, whose calls it interrupts. May be cloned and sent; when the thread has ended, it
/// interrupts nothing.
///
/// # Examples
///
/// See the [module](self).
#[derive(Clone)]
pub struct Handle(Arc<Interrupts>);

impl Handle {
    /// A handle of the calling thread; in a `Coroutine`'s own code (feature `coroutine`), of that coroutine. The first one of
    /// the process starts the thread that wakes calls.
    ///
    /// In the destructor of a thread-local that runs after this crate's own, the handle interrupts nothing.
    ///
    /// # Panics
    ///
    /// If that thread or its pipe cannot be made; in a forked child.
    #[track_caller]
    #[must_use]
    pub fn current() -> Self {
        let thread = Thread::current("interrupt::Handle::current");
        let interrupts = of(&thread);
        thread.end_if_late();
        if let Err(error) = interrupts::name(&interrupts) {
            panic!(
                "interrupt::Handle::current: the thread that wakes interrupted calls cannot be started: {error}; make the \
                 handle where the process has descriptors and threads left"
            );
        }
        Self(interrupts)
    }

    /// Interrupts: see the [module](self) for what that ends. Returns at once, while the call is still to be woken.
    ///
    /// May be called from any thread and in a signal handler. (Cloning and dropping a handle may not.) What a thread did
    /// before this, the interrupted call's thread sees when the call has returned. In a forked child it wakes nobody.
    pub fn interrupt(&self) {
        interrupts::raise(&self.0);
    }

    /// Whether an interrupt is pending: no call has ended for it yet. May be called in a signal handler, where a second
    /// Ctrl-C may be a reason to do something else.
    ///
    /// # Examples
    ///
    /// ```
    /// use co_wrapper::interrupt::{self, Handle};
    ///
    /// let handle = Handle::current();
    /// assert!(!handle.is_pending());
    /// handle.interrupt();
    /// assert!(handle.is_pending());
    /// assert!(interrupt::take() && !handle.is_pending());
    /// ```
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.0.is_pending()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("pending", &self.is_pending()).finish_non_exhaustive()
    }
}

/// Takes the pending interrupt of the calling thread, or of the coroutine whose own code calls this, and returns whether there
/// was one: for a loop that makes no interruptible call for a while, and for one that starts anew.
///
/// # Panics
///
/// In a forked child.
///
/// # Examples
///
/// See [`Handle::is_pending`].
#[track_caller]
pub fn take() -> bool {
    let thread = Thread::current("interrupt::take");
    let taken = of(&thread).take();
    thread.end_if_late();
    taken
}

/// Sets what every interruptible call asks while it waits, or `None` for nothing: for a language runtime that handles signals
/// itself, such as CPython, whose extensions call `PyErr_CheckSignals`. If `hook` returns true, the call ends as if it had
/// been interrupted.
///
/// The hook is asked on the thread that waits, about 50 ms after the wait has begun and then every 50 ms, which wakes the
/// thread each time. It holds for the calls that begin to wait after it was set; a call that need not wait asks nothing. It runs
/// outside coroutine context, as a bottom half does, so it may make blocking calls. Calls of any thread ask it.
///
/// If it panics, the call is given up, and the panic goes to the caller.
///
/// # Examples
///
/// ```
/// use co_wrapper::{block_on_interruptible, interrupt::{self, Interrupted}};
///
/// fn python_has_a_signal() -> bool {
///     // `Python::attach(|py| py.check_signals().map_err(|error| error.restore(py)).is_err())`
///     true
/// }
///
/// interrupt::set_hook(Some(python_has_a_signal));
/// assert_eq!(block_on_interruptible(std::future::pending::<()>()), Err(Interrupted));
/// interrupt::set_hook(None);
/// ```
pub fn set_hook(hook: Option<fn() -> bool>) {
    *plain_lock(&HOOK) = hook;
}

/// What interrupts the calls that the current code makes.
fn of(thread: &Thread) -> Arc<Interrupts> {
    #[cfg(feature = "coroutine")]
    if activation::current_mark().is_root()
        && let Some(own) = thread.coroutine()
    {
        return own.interrupts();
    }
    Arc::clone(thread.interrupts())
}
