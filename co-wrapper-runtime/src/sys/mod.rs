//! What all else stands on, and what knows of nothing else here: parking, forks, panics of users' code, loom's types, stacks.

pub mod big_stack;
pub mod fork;
pub mod panics;
pub mod park;
pub mod registry;
pub mod sync;
