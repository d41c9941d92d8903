#![doc = include_str!("front.md")]

pub use co_wrapper_macros::{Blocking, co_wrapper, declare, no_co_wrapper};
#[doc(hidden)]
pub use co_wrapper_macros::{annotate_the_trait_or_use_declare, if_in_an_impl_mark_that_too};
#[doc(hidden)]
pub use co_wrapper_runtime::__private;
pub use co_wrapper_runtime::*;
// Named one by one as well as by the `*` above: then rustc's error names the feature if one of them is missing.
#[cfg(all(feature = "file", unix))]
pub use co_wrapper_runtime::file;
#[cfg(feature = "graph")]
pub use co_wrapper_runtime::graph;
#[cfg(feature = "tokio")]
pub use co_wrapper_runtime::reactor;
#[cfg(feature = "coroutine")]
pub use co_wrapper_runtime::{Coroutine, coroutine};
#[cfg(all(feature = "tokio", unix))]
pub use co_wrapper_runtime::{FdHandler, Interest};

pub mod guide;
pub mod reference;
