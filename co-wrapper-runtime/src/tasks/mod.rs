//! Tasks, bottom halves and timers: what a context has to run, and the queue they wait in.

pub(crate) mod bottom_half;
pub(crate) mod coroutine;
pub(crate) mod mailbox;
pub(crate) mod task;
pub(crate) mod timers;
