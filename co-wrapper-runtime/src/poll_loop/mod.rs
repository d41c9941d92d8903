//! The poll loop: its rounds (`serve.rs`), polling by hand (`poll.rs`), how it sleeps and spins (`sleep.rs`),
//! and what it tells the coroutines that wait for what runs (`ran.rs`).

pub mod poll;
mod ran;
pub mod serve;
mod sleep;
