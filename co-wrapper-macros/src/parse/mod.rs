//! What the user wrote, read into values: marks, items, declarations and signatures. Only what cannot be read is refused
//! here. Whether it makes sense is for `check` to say, and bodies are never read.

pub mod attrs;
pub mod errors;
pub mod future;
pub mod ident;
pub mod item;
pub mod lifetimes;
pub mod mark;
pub mod options;
pub mod pieces;
pub mod rewritten;
pub mod spelling;
pub mod tokens;
pub mod values;
