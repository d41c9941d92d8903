//! What one thread knows: the calls on its stack, and the contexts that it is home to.

pub mod enter;
pub mod homes;
pub mod state;
pub mod waiting;

pub use enter::EnterGuard;
