//! What threads publish about their calls, the hang report that is made from it, and the watchdog that prints the
//! report.

pub mod board;
mod call;
pub mod reasons;
pub mod record;
mod report;
mod tell;
pub mod watchdog;

pub use call::{Call, State, Suspect};
pub use report::Report;
