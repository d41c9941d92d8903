//! Tasks, bottom halves and timers: what a context has to run, and the queue in which they wait. Nothing here knows the
//! queue's owner.

pub(crate) mod activation;
pub(crate) mod bottom_half;
pub(crate) mod queue;
pub(crate) mod task;
pub(crate) mod timers;
#[cfg_attr(feature = "graph", path = "unit.rs")]
#[cfg_attr(not(feature = "graph"), path = "unit_none.rs")]
pub(crate) mod unit;
