//! Hang reports: which blocking calls wait, for how long, and why a wait may never end.
//!
//! A blocking call works wherever it is made, but no library can make every wait end. The call stops its own thread, so
//! it waits for ever if it waits for
//!
//! - something that only the future of an outer call on the same stack can do, such as the other branch of its `join!`;
//! - a lock that an outer call on the same stack holds;
//! - the sockets and timers of a foreign tokio runtime that its thread drives, or that nobody does;
//! - a thread that is blocked by means other than our calls: on a `std` lock, in blocking I/O, or asleep;
//! - a context that no thread polls;
//! - a call in a context whose temporary home is the waiting call itself, because such a home starts no other thread's
//!   call;
//! - a guard of the graph lock that nobody drops.
//!
//! [`report`] lists every waiting call of the process, and which of these causes are possible. Contexts and graph locks
//! are listed beside the calls, because they do not know which call waits for them.
//!
//! # The watchdog
//!
//! The watchdog prints such a report to stderr, once for every call that waits too long, and likewise for a future, a
//! task, a bottom half, a handler or the condition of a `poll_while` that does not return. (A test harness may run a
//! test in a process of its own and read that process's stderr.)
//!
//! - In debug builds of this crate (`debug_assertions`) it is on, with a limit of 30 seconds. Its thread is started
//!   only when something has waited for a part of that; the reactor checks for that periodically, or without tokio a
//!   sleeping thread.
//! - In release builds it is off.
//! - The environment variable `CO_WRAPPER_HANG_SECS`, a number of seconds that may have a fraction, sets the limit in
//!   any build; 0 switches the watchdog off.
//! - [`watch`] sets the limit, and overrides the variable.
//!
//! Calls that are meant to wait long are exempt if they say so, with `#[co_wrapper(expect_long)]` or [`expect_long`].
//!
//! A ready call pays nothing for this. The watchdog has limits. It cannot tell a loop of short calls in one bottom half
//! from a bottom half that does not return. It does not name what is neither a future, a task, a bottom half nor a
//! handler, such as a waker. And it knows how long something has lasted only since it first looked; it looks every
//! quarter of the limit, at least every five seconds.
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//! use co_wrapper::hang;
//!
//! hang::watch(Duration::from_secs(60));
//! assert!(hang::report().calls().is_empty());
//! ```

use std::{fmt, rc::Rc, time::Duration};

use crate::thread::state::Thread;
pub use crate::watch::{Call, Report, State, Suspect, watchdog::watch};

/// A report of everything that waits now, in all threads.
///
/// A call is listed once its future has been pending, and so are the outer calls on its stack. An
/// [`AioContext::poll`](crate::AioContext::poll) is not listed, because it waits for anything at all. Something that
/// does not return, such as a future in its first poll, is listed from the second look (a report's or the watchdog's)
/// that finds it unmoved.
///
/// # Examples
///
/// ```
/// use std::{thread, time::Duration};
/// use co_wrapper::{AioContext, hang};
///
/// let (tx, rx) = async_channel::bounded::<()>(1);
/// let waiter = thread::spawn(move || AioContext::current().block_on(rx.recv()));
/// let report = loop {
///     let report = hang::report();
///     if !report.calls().is_empty() {
///         break report;
///     }
///     thread::sleep(Duration::from_millis(1));
/// };
/// assert_eq!(report.calls()[0].name(), "AioContext::block_on");
/// println!("{report}");
/// drop(tx);
/// assert!(waiter.join().unwrap().is_err());
/// ```
pub fn report() -> Report {
    Report::since(Duration::ZERO)
}

/// Says that the blocking calls which this thread makes while the guard lives are meant to wait long, for example until
/// a request comes in. The watchdog does not report them; [`report`] lists and marks them.
///
/// This applies to the calls made directly and to those made inside their futures, but not to calls made by tasks,
/// bottom halves and handlers that a waiting call runs meanwhile. Guards nest, and are dropped in reverse order.
/// `#[co_wrapper(expect_long)]` takes one for every call of a function.
///
/// # Panics
///
/// In a forked child.
///
/// # Examples
///
/// ```
/// use std::{thread, time::Duration};
/// use co_wrapper::{AioContext, hang};
///
/// let (tx, requests) = async_channel::bounded::<()>(1);
/// let server = thread::spawn(move || {
///     let _long = hang::expect_long();
///     AioContext::current().block_on(requests.recv())
/// });
/// while hang::report().calls().is_empty() {
///     thread::sleep(Duration::from_millis(1));
/// }
/// assert!(hang::report().calls()[0].is_expected_long());
/// drop(tx);
/// assert!(server.join().unwrap().is_err());
/// ```
#[track_caller]
pub fn expect_long() -> ExpectLong {
    let thread = Thread::current("hang::expect_long");
    let outer = thread.stack.board.expect_long(true);
    ExpectLong { thread, outer }
}

/// While this lives, calls are meant to wait long. Returned by [`expect_long`].
///
/// # Examples
///
/// See [`expect_long`].
#[must_use = "it goes for the calls that are made while it lives"]
pub struct ExpectLong {
    thread: Rc<Thread>,
    outer: usize,
}

impl Drop for ExpectLong {
    fn drop(&mut self) {
        self.thread.stack.board.end_expect_long(self.outer);
        self.thread.end_if_late();
    }
}

impl fmt::Debug for ExpectLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExpectLong").finish_non_exhaustive()
    }
}
