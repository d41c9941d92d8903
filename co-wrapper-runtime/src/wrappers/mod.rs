//! Blocking calls: what generated wrappers call, and `AioContext::block_on`.

mod block_on;
mod frame;
mod poll_co;

pub use frame::in_coroutine;
pub use poll_co::{Wrapper, poll_co};
