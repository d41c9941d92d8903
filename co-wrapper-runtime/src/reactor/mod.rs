//! The process's one tokio reactor, and what a blocking call must know of tokio: whether a scheduler stands above it.
//!
//! One reactor for the whole process, on a worker of its own, because a tokio resource belongs to the reactor that was
//! current when it was made: with one a context, a socket would sleep whenever the context that made it does. Without
//! the feature `tokio` all of this is empty.

#[cfg_attr(feature = "tokio", path = "with_tokio.rs")]
#[cfg_attr(not(feature = "tokio"), path = "without_tokio.rs")]
mod implementation;

pub use implementation::{Above, Entered, ensure, enter, gate, unconstrained};
