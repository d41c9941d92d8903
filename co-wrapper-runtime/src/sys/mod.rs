//! The lowest room: parking, forks, interrupts, panics of users' code, lists for reports, loom's types, big stacks,
//! deadlines. It uses no other room.

pub mod big_stack;
pub mod elapsed;
pub mod fork;
pub mod interrupts;
pub mod panics;
pub mod park;
pub mod registry;
pub mod sync;
