//! The expansion of a plan that nothing was found wrong with. Nothing is refused here.
//!
//! Arguments travel, futures don't: in the body of a twin are the struct of packed arguments, which may cross to another
//! thread, and the entry that unpacks them and makes the future there. The struct is generic over the inferred type of each
//! argument, so that no type of the user's is ever spelled a second time.

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

/// The wrapper, and the one that gives up if that is asked for.
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
