//! The poll loop: its rounds, what it holds back, how it sleeps and spins.

pub mod poll;
pub mod serve;
mod sleep;
