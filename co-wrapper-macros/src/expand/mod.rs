//! Writes the code of a plan in which `check` has found no mistake. Nothing is refused here.
//!
//! Arguments travel, futures don't: the body of a twin has a struct of packed arguments, which may be sent to another
//! thread, and an entry function, which unpacks them there and makes the future. The struct has a type parameter for each
//! argument's type, which rustc infers. So the expansion never repeats a type that the user wrote.

pub mod block;

mod asynchronous;
mod blocking;
mod conversion;
mod docs;
mod expressions;
mod lints;
mod packing;
mod twin;

pub use crate::expand::twin::Twin;
use crate::model::plan::Plan;

/// The wrapper, and those that give up if the mark asks for them.
pub fn twins(plan: &Plan) -> impl Iterator<Item = Twin<'_>> {
    let names = plan.names.iter();
    names
        .flat_map(|names| {
            if plan.options.no_co {
                return [Some(asynchronous::twin(plan, names)), None, None];
            }
            let [timeout, interruptible] = blocking::second_twins(plan, names);
            [Some(blocking::twin(plan, names)), timeout, interruptible]
        })
        .flatten()
}
