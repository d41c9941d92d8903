//! A context's queue: how what is to run comes in from any thread, and which thread may take it out.

mod held;
pub mod mailbox;
