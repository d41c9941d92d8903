//! Blocking halves of async libraries, as those publish them: a type `blocking::Client` beside each `Client`.
//!
//! - [`opendal`]: opendal's `Operator` and `Lister`, which have a blocking half by hand. Here they have one by `declare!`.
//! - [`hub`]: a client of a model hub of our own, by marks; and the same by hand, in `hub/by_hand.rs`.
//!
//! `tests/lines.rs` uses both halves of both, and counts the lines that each takes.

pub mod hub;
pub mod opendal;
