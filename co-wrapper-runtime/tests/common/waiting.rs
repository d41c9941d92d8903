//! The ways in which tests wait for what other threads and the loop do, and what descriptor handlers wait for. None of
//! them looks at the clock: a busy machine keeps a thread waiting for longer than any short sleep.

#![allow(dead_code, unused_imports, reason = "each test binary uses its part")]

use std::{cell::Cell, future::poll_fn, io::Write, os::unix::net::UnixStream, task::Poll};

use super::common::mixed;
pub use super::common::sleeps;

/// From so many calls on, a nested wait holds everything back.
pub const DEEP: usize = 16;

/// Calls `innermost` nested in so many blocking calls.
pub fn below(calls: usize, innermost: &mut dyn FnMut()) {
    if calls == 0 { innermost() } else { mixed(async { below(calls - 1, innermost) }) }
}

/// Waits in rounds of the loop, which runs its callbacks in each, until `done`. A sleep might be over before the first.
pub async fn rounds_until(done: impl Fn() -> bool) {
    poll_fn(|cx| {
        if done() {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Waits for so many rounds of the loop, at least.
pub async fn rounds(count: usize) {
    let left = Cell::new(count);
    rounds_until(|| left.replace(left.get().saturating_sub(1)) == 0).await;
}

/// A descriptor with one byte to read in it, and its peer.
pub fn readable() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (&theirs).write_all(b"x").unwrap();
    (ours, theirs)
}
