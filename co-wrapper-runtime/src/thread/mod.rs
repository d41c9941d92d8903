//! What one thread knows: its activation stack, and the contexts that it is home to.

#[cfg(feature = "coroutine")]
pub mod coroutine;
pub mod enter;
pub mod homes;
pub mod stack;
pub mod state;
pub mod waiting;

pub use enter::EnterGuard;
