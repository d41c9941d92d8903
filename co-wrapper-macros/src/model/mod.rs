//! What a wrapper will be: its plan, its name, its signature. This module reports no errors and writes no code.

pub mod blocking_type;
pub mod conversion;
pub mod name;
pub mod plan;
pub mod signature;
pub mod witness;
