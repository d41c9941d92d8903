//! Stackful coroutines: blocking code as a future. See [`Coroutine`].

#[cfg_attr(not(all(feature = "tokio", unix)), path = "descriptors_none.rs")]
mod descriptors;
mod handle;
mod outside;
mod spawn;
mod stacks;
#[cfg_attr(co_wrapper_tsan, path = "switch_tsan.rs")]
mod switch;
pub(crate) mod twin;

pub use handle::{Builder, Coroutine};
pub use stacks::Stacks;
