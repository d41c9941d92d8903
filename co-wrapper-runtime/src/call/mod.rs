//! Blocking calls: what generated wrappers call, here or in another context, and any future's: `block_on`.

pub(crate) mod block_on;
pub(crate) mod callee;
pub(crate) mod completion;
pub(crate) mod frame;
pub(crate) mod in_context;
mod large;
mod no_co;
mod owned;
mod poll_co;
#[cfg(feature = "tokio")]
mod tokio_handle;

pub use block_on::{block_on, block_on_interruptible, block_on_timeout};
pub use callee::Wrapper;
pub use frame::in_coroutine;
pub use in_context::{Sent, arg, poll_co_in, poll_co_in_interruptible, poll_co_in_timeout, sent_to_ctx};
#[cfg(feature = "graph")]
pub(crate) use no_co::in_main;
pub use no_co::no_co;
pub use owned::{Owned, owned};
pub use poll_co::{poll_co, poll_co_interruptible, poll_co_timeout};
#[cfg(feature = "tokio")]
pub use tokio_handle::reactor;
