//! Blocking twins for the `async fn`s of a block layer, generated.
//!
//! The facade: it re-exports [`co_wrapper_macros`] and [`co_wrapper_runtime`]. Of its own it holds the [`reference`](mod@reference):
//! every mark and option, an example and its expansion each.

#[doc(hidden)]
pub use co_wrapper_macros::{annotate_the_trait_or_use_declare, if_in_an_impl_mark_that_too};
pub use co_wrapper_macros::{co_wrapper, declare, no_co_wrapper};
#[doc(hidden)]
pub use co_wrapper_runtime::__private;
pub use co_wrapper_runtime::*;

pub mod reference;
