//! What a wrapper will be: its plan, its name, its signature. Nothing is refused or written here.

pub mod name;
pub mod plan;
pub mod signature;
pub mod witness;
