//! The fork rule: a child process forgets the contexts and the reactor of its parent, and says so when it is asked to
//! block.
//!
//! The threads that served them are not in the child, locks may be held by one of them, and the epoll set is shared: what
//! the child would do to it, the parent would feel. Forking before the first use is legal, and the child then works.

use std::{io, panic::Location};

#[cfg(unix)]
pub use unix::{is_child, on_child, register};

/// No process here is a fork.
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

/// `name` is the function that the caller's caller called.
///
/// # Panics
///
/// In a child that may not block.
#[inline]
#[track_caller]
pub fn forbid(name: &str) {
    forbid_at(name, Location::caller());
}

/// The same where the user called it at `site`.
///
/// # Panics
///
/// In a child that may not block.
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

/// The same, for callers that can report an error.
///
/// # Errors
///
/// In a child that may not block.
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

    /// Whether this process was forked off one that had used this library.
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

    /// Has `forget` called in each child, on the thread that forked. One function a process, which does no more than the
    /// handler in [`register`] may: the one that threads name for their own part.
    pub fn on_child(forget: fn()) {
        ON_CHILD.get_or_init(|| forget);
    }

    /// Has forks that come from now on marked. Called at first use.
    pub fn register() {
        static ONCE: Once = Once::new();
        // SAFETY: the handler stores to a static, and what `on_child` was given to a thread-local without a destructor; it
        // takes no lock, allocates nothing and frees nothing. It is there as long as it is registered: a shared object's
        // handlers go with it.
        ONCE.call_once(|| match unsafe { pthread_atfork(None, None, Some(in_child)) } {
            0 => {}
            error => eprintln!(
                "co_wrapper: forks go unnoticed, for pthread_atfork fails: {}; do not fork after this",
                std::io::Error::from_raw_os_error(error)
            ),
        });
    }
}
