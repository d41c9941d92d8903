//! The process's one tokio runtime (the reactor), and what a blocking call must know of other tokio schedulers on its
//! thread.
//!
//! There is one reactor for the whole process, with worker threads of its own, because a tokio resource belongs to the
//! reactor that was current when it was made: with one reactor per context, a socket would stop whenever that context
//! sleeps. Without the feature `tokio` everything here is empty.

#[cfg(feature = "tokio")]
mod entered;
#[cfg(feature = "tokio")]
mod ours;
#[cfg(feature = "tokio")]
mod outer;
mod stopped;
#[cfg(not(feature = "tokio"))]
mod without_tokio;

#[cfg(feature = "tokio")]
pub use entered::{Entered, Guard, KeptGuard};
#[cfg(all(any(feature = "coroutine", all(feature = "graph", not(loom))), feature = "tokio"))]
pub use ours::Alarm;
#[cfg(feature = "tokio")]
pub use ours::{Question, ensure, every, handle};
#[cfg(all(feature = "graph", feature = "tokio"))]
pub use outer::task_id;
#[cfg(feature = "tokio")]
pub use outer::unconstrained;
pub use stopped::{Stopped, warn_of_current_thread};
#[cfg(not(feature = "tokio"))]
pub use without_tokio::*;
