//! The poll loop: a round, what is held back, sleeping and spinning.

mod circle;
pub mod poll;
pub mod serve;
mod sleep;
