//! The expansion of a plan in which `check` has found no mistake. Nothing is refused here.
//!
//! Arguments travel, futures don't: the body of a twin has a struct of packed arguments, which may cross to another
//! thread, and an entry function, which unpacks them there and makes the future. The struct is generic over the type of
//! each argument, which rustc infers, so that no type of the user's is written a second time.

pub mod block;

mod asynchronous;
mod blocking;
mod docs;
mod expressions;
mod lints;
mod packing;
mod twin;

pub use crate::expand::twin::Twin;
use crate::model::plan::Plan;

/// The wrapper, and the one with a timeout if the mark asks for it.
pub fn twins(plan: &Plan) -> impl Iterator<Item = Twin<'_>> {
    let names = plan.names.iter();
    names
        .flat_map(|names| {
            if plan.options.no_co {
                return [Some(asynchronous::twin(plan, names)), None];
            }
            [Some(blocking::twin(plan, names)), blocking::timeout_twin(plan, names)]
        })
        .flatten()
}
