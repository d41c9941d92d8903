//! Deadlines, and the error of a call that took too long.

use std::{
    error::Error,
    fmt, io,
    time::{Duration, Instant},
};

/// A blocking call took longer than its timeout. If it polled a future, that was dropped before the call returned.
///
/// # Examples
///
/// As an [`io::Error`] it is of the kind [`TimedOut`](io::ErrorKind::TimedOut):
///
/// ```
/// fn kind(elapsed: co_wrapper::Elapsed) -> std::io::ErrorKind {
///     std::io::Error::from(elapsed).kind()
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed {
    timeout: Duration,
}

impl Elapsed {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { timeout }
    }
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the call took longer than {:?}", self.timeout)
    }
}

impl Error for Elapsed {}

impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> Self {
        Self::new(io::ErrorKind::TimedOut, elapsed)
    }
}

/// When `timeout` is over. `None`, which means never, if the clock cannot represent that time.
pub fn deadline(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}
