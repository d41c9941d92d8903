//! The poll loop: its rounds, what it holds back, how it sleeps and spins.

mod circle;
pub mod poll;
pub mod serve;
mod sleep;
