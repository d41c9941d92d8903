//! What threads publish about their calls, the hang report that is made from it, and the watchdog that prints the
//! report.

pub mod board;
pub mod reasons;
pub mod record;
mod report;
mod tell;
pub mod watchdog;

pub use report::{Call, Report, State, Suspect};
