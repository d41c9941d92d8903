//! The fork rule: a forked child forgets its parent's contexts and reactor, and an attempt to block in it panics with
//! the reason.
//!
//! The child has none of the threads that served the contexts, any lock may be held by one of them, and the epoll set
//! is shared, so what the child did to it would happen to the parent. Forking before the first use is legal, and the
//! child then works.
//!
//! Modules above say through [`on_child`] what a child must forget. This file knows none of them.

use std::{io, panic::Location};

#[cfg(unix)]
pub use unix::{is_child, on_child, register};

/// Forks are noticed on Unix only.
#[cfg(not(unix))]
pub fn is_child() -> bool {
    false
}

#[cfg(not(unix))]
pub fn register() {}

#[cfg(not(unix))]
pub fn on_child(_: fn()) {}

const FORKED: &str = "co_wrapper: this process is a fork of one that had used co_wrapper";
const CURE: &str =
    "its contexts and its reactor stayed with the parent; fork before the first use, or exec in the child";

/// Refuses to block in a forked child. `name` is the function that users call; it calls this one directly.
///
/// # Panics
///
/// In a forked child.
#[inline]
#[track_caller]
pub fn forbid(name: &str) {
    forbid_at(name, Location::caller());
}

/// Like [`forbid`], for a user's call at `site`.
///
/// # Panics
///
/// In a forked child.
#[inline]
#[track_caller]
pub fn forbid_at(name: &str, site: &Location<'_>) {
    if is_child() {
        refuse(name, site);
    }
}

#[cold]
#[track_caller]
fn refuse(name: &str, site: &Location<'_>) -> ! {
    panic!("{FORKED}, in which {name}, called at {site}, cannot block: {CURE}");
}

/// Like [`forbid`], with an error instead of a panic.
///
/// # Errors
///
/// In a forked child.
pub fn check() -> io::Result<()> {
    if is_child() { Err(io::Error::other(format!("{FORKED}: {CURE}"))) } else { Ok(()) }
}

#[cfg(unix)]
mod unix {
    use std::{
        os::raw::c_int,
        sync::{
            Once, OnceLock,
            atomic::{AtomicBool, Ordering},
        },
    };

    static CHILD: AtomicBool = AtomicBool::new(false);

    static ON_CHILD: OnceLock<fn()> = OnceLock::new();

    /// Whether this process was forked from one that had used this library.
    #[inline]
    pub fn is_child() -> bool {
        CHILD.load(Ordering::Relaxed)
    }

    unsafe extern "C" {
        fn pthread_atfork(
            prepare: Option<unsafe extern "C" fn()>,
            parent: Option<unsafe extern "C" fn()>,
            child: Option<unsafe extern "C" fn()>,
        ) -> c_int;
    }

    extern "C" fn in_child() {
        CHILD.store(true, Ordering::Relaxed);
        if let Some(forget) = ON_CHILD.get() {
            forget();
        }
    }

    /// Registers `forget`, which is called in each child, on the thread that forked. Only the first `forget` of a
    /// process counts. It may not lock, allocate or free, as it is part of the handler in [`register`].
    pub fn on_child(forget: fn()) {
        ON_CHILD.get_or_init(|| forget);
    }

    /// Detects forks from now on. Called at first use.
    pub fn register() {
        static ONCE: Once = Once::new();
        // SAFETY: the handler stores to a static, and `forget` stores to thread-locals without a destructor. Neither
        // takes a lock, allocates or frees. The handler's code stays mapped while it is registered: unloading a shared
        // object removes its handlers.
        ONCE.call_once(|| match unsafe { pthread_atfork(None, None, Some(in_child)) } {
            0 => {}
            error => eprintln!(
                "co_wrapper: forks go unnoticed, for pthread_atfork fails: {}; do not fork after this",
                std::io::Error::from_raw_os_error(error)
            ),
        });
    }
}
