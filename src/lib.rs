//! Blocking twins for the `async fn`s of a block layer, generated.
//!
//! The facade: it re-exports [`co_wrapper_runtime`], and holds nothing of its own.

pub use co_wrapper_runtime::*;
