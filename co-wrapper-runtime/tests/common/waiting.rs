//! The ways in which tests wait for what other threads do, and what descriptor handlers wait for.

#![allow(dead_code, unused_imports, reason = "each test binary uses its part")]

use std::{io::Write, os::unix::net::UnixStream};

use super::common::mixed;
pub use super::common::sleeps;

/// From so many calls on, a nested wait holds everything back.
pub const DEEP: usize = 16;

/// Calls `innermost` nested in so many blocking calls.
pub fn below(calls: usize, innermost: &mut dyn FnMut()) {
    if calls == 0 { innermost() } else { mixed(async { below(calls - 1, innermost) }) }
}

/// A descriptor with one byte to read in it, and its peer.
pub fn readable() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (&theirs).write_all(b"x").unwrap();
    (ours, theirs)
}
