//! The poll loop: its rounds (`serve.rs`), polling by hand (`poll.rs`), and how it sleeps and spins (`sleep.rs`).

pub mod poll;
pub mod serve;
mod sleep;
