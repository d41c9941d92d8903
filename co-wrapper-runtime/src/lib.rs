//! The runtime of co-wrapper: the poll loop that generated blocking wrappers run, and an executor after QEMU's
//! `AioContext`.
//!
//! - [`AioContext`]: a queue of tasks, bottom halves, timers and descriptor handlers, with a home thread that polls it.
//! - [`IoThread`]: a thread that does nothing else.
//! - [`block_on`]: a blocking call of any future.
//! - [`blocking`]: iterators over streams, readers and writers over async ones and over block devices.
//! - [`in_coroutine`]: whether the caller may block.
//! - `ffi`: twins for C (with the feature `tokio`, on Unix).
//! - `file`: files for block drivers (with the feature of that name, on Unix).
//! - [`interrupt`]: what ends a call that waits, from another thread or a signal handler.
//! - [`hang`]: which blocking calls wait, for how long, and why a wait may never end.
//!
//! Most users want the crate `co-wrapper`, which adds the macros and re-exports all of this; the examples here use it under
//! that name. This crate is usable without the macros.
//!
//! The modules form layers: each uses only those that come after it in the table in the repository's ARCHITECTURE.md.
//!
//! # Features
//!
//! - `file`: files for block drivers, read and written at offsets.
//! - `tokio` (default): tokio's sockets, timers and files work inside every blocking call.
//! - `coroutine`: `Coroutine`, blocking code as a future, which is suspended where other code blocks.
//! - `tracing`: a span for every blocking call, current whenever its future is polled, with the wrapper's name; events
//!   when a thread parks, a call waits inside another, and the watchdog finds one stalled. Their target is `co_wrapper`.
//! - `stream`: [`blocking`]'s iterators over streams, those of the crate `futures-core`.
//! - `futures-io`: [`blocking`]'s readers and writers over those of the crate `futures-io`.
//!
//! # Forks
//!
//! A child process has none of its parent's threads, and shares its epoll set. So a child forked after the first use of
//! this crate cannot block: wrappers, `poll`, `block_on`, `enter` and `spawn` panic there and say so, and functions that
//! return an [`io::Result`](std::io::Result) return an error. The child may exec. Forking before the first use is legal;
//! then parent and child both work.

pub mod blocking;
mod call;
mod context;
#[cfg(feature = "coroutine")]
pub mod coroutine;
#[cfg(all(feature = "tokio", unix))]
pub mod ffi;
#[cfg(all(feature = "file", unix))]
pub mod file;
#[cfg(feature = "graph")]
pub mod graph;
pub mod hang;
pub mod interrupt;
mod io_thread;
mod poll_loop;
mod reactor;
mod scheduler;
#[cfg(feature = "coroutine")]
mod suspend;
mod sys;
mod tasks;
mod thread;
mod trace;
mod watch;

pub use blocking::pair::{Blocking, BlockingArc};
#[cfg(feature = "tokio")]
pub use call::reactor;
pub use call::{block_on, block_on_interruptible, block_on_timeout, in_coroutine};
#[cfg(all(feature = "tokio", unix))]
pub use context::FdHandler;
pub use context::{
    AioContext, BottomHalf, Builder, Sleep, Stats,
    join::{AbortHandle, JoinHandle},
    reschedule_self,
};
#[cfg(feature = "coroutine")]
pub use coroutine::Coroutine;
pub use io_thread::IoThread;
pub use sys::elapsed::Elapsed;
pub use thread::EnterGuard;
/// What an [`FdHandler`] waits for.
#[cfg(all(feature = "tokio", unix))]
pub use tokio::io::Interest;

/// What generated code refers to. Not for use by hand: it changes without notice.
#[doc(hidden)]
pub mod __private {
    pub use core::{
        clone::Clone,
        convert::From,
        future::{Future, IntoFuture, ready},
        marker::Send,
        module_path,
        ops::FnOnce,
        panic::Location,
        pin::Pin,
        result::Result,
        time::Duration,
    };

    #[cfg(feature = "stream")]
    pub use crate::blocking::{iter_in_of, iter_of};
    pub use std::{boxed::Box, sync::Arc};

    pub use crate::blocking::pair::{cast_arc, map_vec};
    #[cfg(feature = "coroutine")]
    pub use crate::coroutine::twin::{as_coroutine, owned_here, promise};
    #[cfg(feature = "graph")]
    pub use crate::graph::{
        GRAPH, GraphLock,
        no_co::{ReadLock, no_co_read, no_co_write, read_lock, read_lock_mixed},
    };
    pub use crate::{
        AioContext, Elapsed,
        call::{
            Owned, Sent, Wrapper, arg, no_co, owned, poll_co, poll_co_in, poll_co_in_interruptible, poll_co_in_timeout,
            poll_co_interruptible, poll_co_timeout, sent_to_ctx,
        },
        hang::expect_long,
        interrupt::Interrupted,
    };
}

/// The parts that `tests/loom*.rs` model, for those tests alone.
#[cfg(loom)]
#[doc(hidden)]
pub mod __model {
    use std::sync::Arc;

    #[cfg(feature = "graph")]
    pub use crate::graph::model::{end_grace, let_through, set_index, take_read, take_write, try_share};
    #[cfg(feature = "coroutine")]
    pub use crate::scheduler::Seen;
    pub use crate::{
        call::completion::{Packed, send},
        context::{
            join::spawn,
            wait_cycle::{WaitsFor, pop_waited_for},
        },
        scheduler::{Home, Scheduler},
        sys::{
            interrupts::{Bell, Interrupts, Wakes},
            park::{EndSleep, Parker, Unparker, WakeSlot, here},
        },
        tasks::{
            bottom_half::Queued,
            outcome::Outcome,
            queue::{Allowed, Work},
            sent::Sent,
            task::{Schedule, run},
        },
        trace::Span,
    };

    /// A bottom half of that scheduler.
    pub fn bottom_half(scheduler: &Arc<Scheduler>, callback: impl FnMut() + Send + 'static) -> crate::BottomHalf {
        crate::BottomHalf::new(scheduler, callback)
    }
}
