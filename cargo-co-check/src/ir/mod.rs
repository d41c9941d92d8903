//! LLVM's textual IR, as rustc writes it without optimisation: as much of it as the analysis asks for.
//!
//! What is not understood is never guessed at: an operation that is not known has an unknown result, and a pointer that it is
//! given may have been written to.

mod body;
mod debug;
mod module;
mod text;

pub use body::{Body, Call, Callee, Instruction, Operand, Operation, Terminator};
pub use debug::Debug;
pub use module::{Function, Module, is_nameless};
pub use text::string;
