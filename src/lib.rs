#![doc = include_str!("front.md")]

#[doc(hidden)]
pub use co_wrapper_macros::{annotate_the_trait_or_use_declare, if_in_an_impl_mark_that_too};
pub use co_wrapper_macros::{co_wrapper, declare, no_co_wrapper};
#[doc(hidden)]
pub use co_wrapper_runtime::__private;
pub use co_wrapper_runtime::*;

pub mod guide;
pub mod reference;
