//! `co-img`: the tool that people know from QEMU, as an example of [`co_wrapper`]. Everything below the commands is
//! async; the commands call the blocking twins that `#[co_wrapper]` generates, and nothing blocking is written by hand.
//!
//! [`run`] is the whole program. It may be called from anywhere, a tokio runtime's task included.
//!
//! From the top down: [`cli`] and `commands`; [`backend`], an image and what can be done to it; [`open`], opening and
//! making one; imago's formats; [`driver`] and the drivers [`mod@file`], [`nbd`] and [`null`], imago's `Storage`. Between
//! formats and drivers, [`counts`] and [`tables`] keep a qcow2 image consistent that is written to; [`lock`] keeps other programs off.

pub mod backend;
pub mod check;
pub mod cli;
mod commands;
pub mod counts;
pub mod driver;
pub mod error;
pub mod file;
mod in_flight;
pub mod lock;
pub mod name;
pub mod nbd;
pub mod null;
pub mod open;
mod progress;
pub mod qcow2;
pub mod tables;
mod target;

pub use cli::run;
pub use target::watch_for_interrupts;
