//! What subscribers of the `tracing` crate see: one span per blocking call, current while its future is polled, and
//! events. Without the feature `tracing` all of this is empty.

#[cfg_attr(feature = "tracing", path = "with_tracing.rs")]
#[cfg_attr(not(feature = "tracing"), path = "without_tracing.rs")]
mod implementation;

#[cfg(feature = "coroutine")]
pub use implementation::Left;
pub use implementation::{Span, nested, park, stall};
