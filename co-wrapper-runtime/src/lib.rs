//! The runtime of co-wrapper: the poll loop that generated blocking wrappers run, and an executor after QEMU's
//! `AioContext`.
//!
//! - [`AioContext`]: a queue of tasks, bottom halves, timers and descriptor handlers, with a home thread that polls it.
//! - [`IoThread`]: a thread that does nothing else.
//! - [`in_coroutine`]: whether the caller may block.
//!
//! Most users want the crate `co-wrapper`, which adds the macros; this one is usable without them.
//!
//! Layers, each knowing only those after it: `wrappers` (a blocking call) → `context` (home threads, the poll loop) →
//! `tasks` (what is to be run) → `park` (sleeping and waking). Beside them `reactor`, the process's one tokio runtime.
//!
//! # Features
//!
//! - `tokio` (default): tokio's sockets, timers and files work inside every blocking call.

mod context;
mod io_thread;
mod park;
mod reactor;
mod sync;
mod tasks;
mod wrappers;

#[cfg(feature = "tokio")]
pub use context::FdHandler;
pub use context::{AioContext, Builder, EnterGuard, Stats, reschedule_self};
pub use io_thread::IoThread;
pub use tasks::{bottom_half::BottomHalf, task::JoinHandle, timers::Sleep};
/// What an [`FdHandler`] waits for.
#[cfg(feature = "tokio")]
pub use tokio::io::Interest;
pub use wrappers::{Elapsed, in_coroutine};

/// What generated code refers to. Not for use by hand: it changes without notice.
#[doc(hidden)]
pub mod __private {
    pub use core::{clone::Clone, future::Future, ops::FnOnce, result::Result, time::Duration};

    pub use crate::{
        AioContext, Elapsed,
        wrappers::{Sent, Wrapper, arg, poll_co, poll_co_in, poll_co_in_timeout, poll_co_timeout},
    };
}

/// The parts that `tests/loom.rs` models, for that test alone.
#[cfg(loom)]
#[doc(hidden)]
pub mod __model {
    pub use crate::{
        park::{Parker, Unparker, WakeSlot, here},
        tasks::mailbox::{Allowed, Home, Mailbox, Work},
    };
}
