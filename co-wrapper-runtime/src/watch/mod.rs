//! What threads show of their calls, the report of it, and the watchdog that prints one.

pub mod board;
pub mod reasons;
pub mod record;
mod report;
mod tell;
pub mod watchdog;

pub(crate) use tell::BY_OTHER_MEANS;

pub use report::{Call, Report, State, Suspect};
