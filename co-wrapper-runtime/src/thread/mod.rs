//! What one thread knows: the calls on its stack, and the contexts that it is home to.

pub mod home;
pub mod state;

pub use home::EnterGuard;
