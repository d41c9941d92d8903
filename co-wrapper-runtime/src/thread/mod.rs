//! What one thread knows: its activation stack, and the contexts that it is home to.

pub mod enter;
pub mod homes;
mod own_stack;
pub mod stack;
pub mod state;
pub mod waiting;

pub use enter::EnterGuard;
