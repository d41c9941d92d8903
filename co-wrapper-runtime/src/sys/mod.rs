//! The lowest module: parking, forks, interrupts, panics of users' code, process-wide lists of live objects, loom's types,
//! big stacks, deadlines. It uses no other module.

pub mod big_stack;
pub mod elapsed;
pub mod fork;
pub mod interrupts;
pub mod panics;
pub mod park;
pub mod registry;
pub mod sync;
