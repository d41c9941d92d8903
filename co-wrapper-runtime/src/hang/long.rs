//! The guard for calls that are meant to wait long.

use std::{fmt, rc::Rc};

use crate::thread::state::Thread;

/// Says that the blocking calls which this thread makes while the guard lives are meant to wait long, for example until
/// a request comes in. The watchdog does not report them; [`report`](super::report) lists and marks them.
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
