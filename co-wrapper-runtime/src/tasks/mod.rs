//! Tasks and bottom halves: what a context has to run, and the queue they wait in.

pub(crate) mod mailbox;
pub(crate) mod task;
