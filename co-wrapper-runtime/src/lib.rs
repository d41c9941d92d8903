//! The runtime of co-wrapper: the poll loop that generated blocking wrappers run, and an executor after QEMU's
//! `AioContext`.
//!
//! - [`AioContext`]: a queue of tasks and bottom halves with a home thread that polls it.
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
mod park;
mod reactor;
mod sync;
mod tasks;
mod wrappers;

pub use context::{AioContext, EnterGuard};
pub use tasks::task::JoinHandle;
pub use wrappers::in_coroutine;

/// What generated code refers to. Not for use by hand: it changes without notice.
#[doc(hidden)]
pub mod __private {
    pub use core::{future::Future, ops::FnOnce};

    pub use crate::wrappers::{Wrapper, poll_co};
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
