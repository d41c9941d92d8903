//! What the tests of all crates share: a bound on every wait, child processes that end, forks, and what a panic says.
//!
//! It knows nothing of the crates that it helps to test.

mod bounds;
mod child;
mod fork;
pub mod old_nbd;
mod panics;

pub use bounds::{BOUND, ms, on_stack_of, sized, within_bounds};
pub use child::{Guard, ended, in_child, run, test_in_child};
pub use fork::until_other_threads_sleep;
pub use panics::{message_of, panic_of};
