//! Blocking twins for the `async fn`s of a block layer, generated.
//!
//! The facade: it re-exports [`co_wrapper_macros`] and [`co_wrapper_runtime`], and holds nothing of its own.

pub use co_wrapper_macros::{co_wrapper, declare, no_co_wrapper};
#[doc(hidden)]
pub use co_wrapper_runtime::__private;
pub use co_wrapper_runtime::*;
