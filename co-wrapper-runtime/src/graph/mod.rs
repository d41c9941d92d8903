//! The block graph's lock, and what a change of the graph needs besides: nodes that are drained of requests.
//!
//! Everything that looks at the graph holds the [read lock](GraphLock::read); whoever changes it holds the
//! [write lock](GraphLock::write). Readers are tasks and blocking calls on any thread. The writer is blocking code of the
//! main loop: a bottom half there, or what the main thread does between two polls. While it waits its loop polls, so the
//! readers that it waits for go on.
//!
//! What waits for itself panics at once, and names both places: taking the write lock where a read guard is held,
//! reading below one's own write guard. Who holds a guard is who took it, a task, or a thread outside of one, until it is
//! dropped, wherever; a guard that is given to somebody else is [handed over](GraphRead::hand_over). What a tokio task
//! awaits is nobody's guard, for the task may move; other executors' tasks that move hand theirs over.
//!
//! # Examples
//!
//! ```
//! use co_wrapper::{AioContext, graph};
//!
//! let main = AioContext::main();
//! let _home = main.enter();
//! let reader = main.spawn(async {
//!     let _graph = graph::read().await;
//!     AioContext::main().sleep(std::time::Duration::from_millis(1)).await;
//!     // … the graph stays as it is all the while …
//! });
//! main.poll(false);
//! let changing = graph::write(); // polls until the reader is done
//! drop(changing);
//! main.block_on(reader);
//! ```

mod drain;
mod guard;
mod held;
mod lock;
pub(crate) mod no_co;
mod queue;
mod refuse;
mod stripe;
#[cfg(not(loom))]
mod tell;
#[cfg(not(loom))]
mod timer;
mod turn;

use std::{future::Future, sync::LazyLock};

pub use drain::{Drain, Drained, Request};
pub use guard::{GraphRead, GraphWrite};
pub use lock::GraphLock;

/// The process's graph lock, that which `bdrv_rdlock` means. (QEMU has one a process.)
///
/// # Examples
///
/// See [the module](self).
#[doc(alias = "graph_lock")]
pub static GRAPH: LazyLock<GraphLock> = LazyLock::new(GraphLock::new);

/// Waits for the read lock of [`GRAPH`]; see [`GraphLock::read`].
///
/// # Panics
///
/// As [`GraphLock::read`].
///
/// # Examples
///
/// See [the module](self).
#[doc(alias = "bdrv_graph_co_rdlock")]
#[track_caller]
pub fn read() -> impl Future<Output = GraphRead> + Send + 'static {
    LazyLock::force(&GRAPH).read()
}

/// Takes the write lock of [`GRAPH`]; see [`GraphLock::write`].
///
/// # Panics
///
/// As [`GraphLock::write`].
///
/// # Examples
///
/// See [the module](self).
#[doc(alias = "bdrv_graph_wrlock")]
#[track_caller]
pub fn write() -> GraphWrite {
    GRAPH.write()
}

/// For the loom models.
#[cfg(loom)]
pub mod model {
    use std::{future::Future, panic::Location};

    pub use super::stripe::set_index;
    use super::{
        GraphLock, GraphRead, GraphWrite,
        lock::{TakeRead, TakeWrite},
    };

    /// As a bottom half with the read lock waits for it.
    pub fn take_read(lock: &GraphLock) -> impl Future<Output = GraphRead> + use<> {
        TakeRead::new(lock.clone(), "GraphLock::read", Location::caller(), false)
    }

    /// A share, if a reader is in.
    pub fn try_share(lock: &GraphLock) -> Option<GraphRead> {
        lock.try_share("GraphLock::share", Location::caller())
    }

    /// Lets the readers that wait past the writer that waits, which a timer brings otherwise.
    pub fn let_through(lock: &GraphLock) {
        lock.shared().let_through();
    }

    /// The writer that waits does so no longer for those that the last one let in, which a timer brings otherwise.
    pub fn end_grace(lock: &GraphLock) {
        lock.shared().end_grace();
    }

    /// The write lock, on any thread.
    pub fn take_write(lock: &GraphLock) -> impl Future<Output = GraphWrite> + use<> {
        TakeWrite::new(lock.clone(), Location::caller(), None)
    }
}
