//! What the user wrote, parsed into values: marks, items, declarations and signatures. This module refuses only what it
//! cannot parse. `check` decides whether the parsed values make sense. The body of a fn is never parsed.

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
pub mod stream;
pub mod tokens;
pub mod values;
