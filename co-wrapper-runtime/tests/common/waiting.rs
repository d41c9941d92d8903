//! The ways in which tests wait for what other threads do, and what descriptor handlers wait for.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::{io::Write, os::unix::net::UnixStream, thread};

use co_wrapper_runtime::AioContext;

use super::common::mixed;

/// From so many calls on, a nested wait holds everything back.
pub const DEEP: usize = 16;

/// Calls `innermost` nested in so many blocking calls.
pub fn below(calls: usize, innermost: &mut dyn FnMut()) {
    if calls == 0 { innermost() } else { mixed(async { below(calls - 1, innermost) }) }
}

/// Ends when the context's home thread has gone to sleep once more.
pub fn sleeps(ctx: &AioContext) -> impl FnOnce() + use<> {
    let (ctx, before) = (ctx.clone(), ctx.stats().parks);
    move || {
        while ctx.stats().parks == before {
            thread::yield_now();
        }
    }
}

/// A descriptor with one byte to read in it, and its peer.
pub fn readable() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (&theirs).write_all(b"x").unwrap();
    (ours, theirs)
}
