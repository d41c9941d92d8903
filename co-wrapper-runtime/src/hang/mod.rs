//! Hang reports: which blocking calls wait, for how long, and what they may wait for in vain.
//!
//! A blocking call works wherever it is made, but a few things no library can give it. Its thread stands still below it,
//! so it waits for ever if it waits for
//!
//! - something that only the future of a call lower on the same stack can do, such as the other branch of its `join!`;
//! - a lock that one of those holds;
//! - the sockets and timers of a foreign tokio runtime that its thread drives, or that nobody does;
//! - a thread that blocks by other means than ours: on a `std` lock, say, in blocking I/O, or asleep;
//! - a context that no thread polls;
//! - a guard of the graph lock that nobody drops.
//!
//! [`report`] lists every call of the process that waits, and where one of these may be the cause. Contexts and graph locks
//! are named beside the calls, for they cannot tell which call waits for them.
//!
//! # The watchdog
//!
//! A watchdog prints such a report to stderr, once for every call that waits too long, and likewise for a future, a task, a
//! bottom half, a handler or the condition of a `poll_while` that has not returned for as long. (A test harness may run it
//! in a process of its own and read what that prints.)
//!
//! - In debug builds of this crate, that is, with `debug_assertions`, it is on, and too long is 30 seconds. It has no thread
//!   before something waits for a part of that; the reactor looks for that now and then, or without tokio a sleeping thread.
//! - In release builds it is off.
//! - The environment variable `CO_WRAPPER_HANG_SECS`, a number of seconds that may have a fraction, sets the time in any
//!   build; 0 switches the watchdog off.
//! - [`watch`] sets the time, and overrules the variable.
//!
//! A call that is meant to wait for long says so and is left out: by `#[co_wrapper(expect_long)]`, or [`expect_long`].
//!
//! It costs a call that is ready nothing. What it cannot see: that a loop of short calls in one bottom half is not one that
//! has not returned; what a loop runs that is neither a future, a task, a bottom half nor a handler, such as a waker; and
//! how long something has lasted, but for the time since it first looked, which is every quarter of the limit (at least
//! every five seconds).
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

mod long;

pub use long::{ExpectLong, expect_long};

pub use crate::watch::{Call, Report, State, Suspect, watchdog::watch};

/// What waits at this moment, in all threads.
///
/// A call is listed from the first time its future is pending, and so are the calls below it on its stack. An
/// [`AioContext::poll`](crate::AioContext::poll) is not: it waits for anything at all. What has not returned, a future in its
/// first poll for one, is listed from the second look on, a report's or the watchdog's, at which it has not moved.
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
    Report::all()
}
