//! The context: its handle, and what the handle gives out (QEMU's `AioContext`). Methods that need the poll loop are in
//! modules above this one, in `impl AioContext` blocks there.

mod aio_context;
mod bottom_half;
pub mod builder;
#[cfg_attr(all(feature = "tokio", unix), path = "handlers_tokio.rs")]
#[cfg_attr(not(all(feature = "tokio", unix)), path = "handlers_none.rs")]
pub mod handlers;
pub mod join;
mod reschedule;
pub mod sleep;
mod spin;
mod stats;
pub mod wait_cycle;

pub use aio_context::AioContext;
pub use bottom_half::BottomHalf;
pub use builder::Builder;
#[cfg(all(feature = "tokio", unix))]
pub use handlers::FdHandler;
pub use reschedule::reschedule_self;
pub use sleep::Sleep;
pub use stats::Stats;
