//! The commands, a file each.

pub mod bench;
pub mod compare;
pub mod convert;
pub mod create;
pub mod info;
pub mod map;
