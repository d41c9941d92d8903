//! The block graph's lock, and drained sections, which a change of the graph also needs.
//!
//! Everything that looks at the graph holds the [read lock](GraphLock::read); whatever changes it holds the [write
//! lock](GraphLock::write). Readers are tasks and blocking calls on any thread. The writer is blocking code of the main
//! loop: a bottom half there, or code of the main thread between two polls. While the writer waits, its loop polls, so
//! that the readers that it waits for go on.
//!
//! A wait that would wait for itself panics at once and names both places: taking the write lock while holding a read
//! guard, or reading inside one's own write-locked section. A guard belongs to the task that took it, or to the thread
//! if no task did, until it is dropped, on whichever thread. A guard that is given to another task or thread must be
//! [handed over](GraphRead::hand_over). A guard taken in a tokio task does not belong to the thread, because the task
//! may move; tasks of other executors that move must hand theirs over.
//!
//! A writer that is nested inside a blocking call waits for the guards of that call's future, also in a task: while the
//! writer waits, its loop polls the future. It panics if the future is in the middle of a poll, or if the call has
//! returned the guard to its caller, because then the holder goes on only after the writer has returned.
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

mod branches;
mod drain;
mod guard;
mod held;
mod lock;
pub(crate) mod no_co;
mod queue;
mod refuse;
mod shared;
mod stripe;
#[cfg(not(loom))]
mod tell;
#[cfg(not(loom))]
mod timer;
mod turn;

use std::{future::Future, sync::LazyLock, time::Duration};

pub use drain::{Drain, Drained, Request};
pub use guard::{GraphRead, GraphWrite};
pub use lock::GraphLock;

use crate::sys::elapsed::Elapsed;

/// The process's graph lock, which `bdrv_rdlock` and the like refer to. (QEMU has one per process.)
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
/// The same as [`GraphLock::read`].
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
/// The same as [`GraphLock::write`].
///
/// # Examples
///
/// See [the module](self).
#[doc(alias = "bdrv_graph_wrlock")]
#[track_caller]
pub fn write() -> GraphWrite {
    GRAPH.write()
}

/// Like [`write`](fn@write), for `timeout` at most; see [`GraphLock::write_timeout`].
///
/// # Errors
///
/// The same as [`GraphLock::write_timeout`]: nothing remains of the attempt.
///
/// # Panics
///
/// The same as [`GraphLock::write`].
///
/// # Examples
///
/// ```
/// let _home = co_wrapper::AioContext::main().enter();
/// let changing = co_wrapper::graph::write_timeout(std::time::Duration::from_secs(1))?;
/// # drop(changing);
/// # Ok::<_, co_wrapper::Elapsed>(())
/// ```
#[track_caller]
pub fn write_timeout(timeout: Duration) -> Result<GraphWrite, Elapsed> {
    GRAPH.write_timeout(timeout)
}

/// Entry points for the loom models.
#[cfg(loom)]
pub mod model {
    use std::{future::Future, panic::Location};

    pub use super::stripe::set_index;
    use super::{
        GraphLock, GraphRead, GraphWrite,
        lock::{TakeRead, TakeWrite},
    };

    /// Takes the read lock as a bottom half that waits for it.
    pub fn take_read(lock: &GraphLock) -> impl Future<Output = GraphRead> + use<> {
        TakeRead::new(lock.clone(), "GraphLock::read", Location::caller(), false)
    }

    /// Shares the lock if a reader holds it.
    pub fn try_share(lock: &GraphLock) -> Option<GraphRead> {
        lock.try_share("GraphLock::share", Location::caller())
    }

    /// Lets the waiting readers past the waiting writer. (Outside the models a timer does that.)
    pub fn let_through(lock: &GraphLock) {
        lock.shared().let_through();
    }

    /// Ends the waiting writer's grace for readers that the last writer let in. (Outside the models a timer does that.)
    pub fn end_grace(lock: &GraphLock) {
        lock.shared().end_grace();
    }

    /// Takes the write lock, on any thread.
    pub fn take_write(lock: &GraphLock) -> impl Future<Output = GraphWrite> + use<> {
        TakeWrite::new(lock.clone(), Location::caller(), None)
    }
}
