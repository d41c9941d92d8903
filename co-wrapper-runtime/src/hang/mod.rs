//! Hang reports: which blocking calls wait, for how long, and what they may wait for in vain.
//!
//! A blocking call works wherever it is made, but three things no library can give it. Its thread stands still below it,
//! so it waits for ever if it waits for
//!
//! - something that only a call lower on the same stack can do;
//! - a lock that one of those holds;
//! - the sockets and timers of a foreign tokio runtime that its thread drives.
//!
//! [`report`] lists every call of the process that waits, and where one of these may be the cause. A watchdog prints such
//! a report to stderr for every call that waits too long: start it with [`watch`], or in any program with the environment
//! variable `CO_WRAPPER_HANG_SECS`, a number of seconds. Nobody pays for it who has not asked.
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//! use co_wrapper_runtime::hang;
//!
//! hang::watch(Duration::from_secs(60));
//! assert!(hang::report().calls().is_empty());
//! ```

pub(crate) mod record;
mod report;
pub(crate) mod watchdog;

pub use report::{Call, Report, State, Suspect};
pub use watchdog::watch;

/// What waits at this moment, in all threads.
///
/// A call is listed from the first time its future is pending, and so are the calls below it on its stack. An
/// [`AioContext::poll`](crate::AioContext::poll) is not: it waits for anything at all.
///
/// # Examples
///
/// ```
/// use std::{thread, time::Duration};
/// use co_wrapper_runtime::{AioContext, hang};
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
    Report::take(|_, _| true)
}
