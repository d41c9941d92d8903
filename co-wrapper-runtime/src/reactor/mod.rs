//! The process's one tokio reactor, and what a blocking call must know of tokio: whether a scheduler stands above it.
//!
//! One reactor for the whole process, on workers of its own, because a tokio resource belongs to the reactor that was
//! current when it was made: with one a context, a socket would sleep whenever the context that made it does. Without
//! the feature `tokio` all of this is empty.

#[cfg(feature = "tokio")]
mod above;
#[cfg(feature = "tokio")]
mod entered;
#[cfg(feature = "tokio")]
mod ours;
#[cfg(not(feature = "tokio"))]
mod without_tokio;

#[cfg(all(feature = "graph", feature = "tokio"))]
pub use above::task_id;
#[cfg(feature = "tokio")]
pub use above::unconstrained;
#[cfg(feature = "tokio")]
pub use entered::{Entered, Guard, KeptGuard};
#[cfg(all(feature = "graph", feature = "tokio", not(loom)))]
pub use ours::wake_after;
#[cfg(feature = "tokio")]
pub use ours::{Question, ensure, reactor};
#[cfg(not(feature = "tokio"))]
pub use without_tokio::*;

/// What stands still below a call that waits, for hang reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Below {
    /// Nothing that we know of.
    Nothing,
    /// A tokio runtime that this thread alone drives.
    CurrentThread,
    /// A worker of another one, or something that runs on it.
    Worker,
}

impl Below {
    /// The inverse of `as u8`.
    pub fn from_u8(value: u8) -> Self {
        [Self::CurrentThread, Self::Worker].into_iter().find(|below| *below as u8 == value).unwrap_or(Self::Nothing)
    }
}
