//! Tasks, bottom halves and timers: what a context has to run, the queue in which they wait, and the activation of a
//! thread. Nothing here knows contexts, or which thread owns the queue.

pub(crate) mod activation;
pub(crate) mod bottom_half;
pub(crate) mod outcome;
pub(crate) mod queue;
pub(crate) mod sent;
pub(crate) mod task;
pub(crate) mod timers;
#[cfg_attr(feature = "graph", path = "unit.rs")]
#[cfg_attr(not(feature = "graph"), path = "unit_none.rs")]
pub(crate) mod unit;
