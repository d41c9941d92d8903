//! `reactor()`: the reactor's handle for users.

use tokio::runtime::Handle;

use crate::{reactor::handle, sys::fork, watch::watchdog};

/// The handle of the tokio runtime that serves blocking calls. This starts the runtime if it does not run yet; it never
/// ends. Use the handle to spawn tasks on the runtime, or enter it to make sockets and timers that belong to the
/// runtime outside a blocking call. Inside a call it is the current handle.
///
/// A task that blocks there blocks one of its few workers, unless it does so through a blocking call of this crate.
///
/// In the code of a `Coroutine` (feature `coroutine`), make no blocking call while the handle is entered or in its
/// `block_on`: tokio tells nobody of either, so the call suspends the coroutine, and another one that does the same
/// meanwhile makes tokio panic. Call [`block_on`](crate::block_on) instead of the handle's.
///
/// # Panics
///
/// If it cannot be started because threads or descriptors are lacking; [`AioContext::new`](crate::AioContext::new)
/// starts it too and returns the error. In a forked child.
///
/// # Examples
///
/// ```
/// let reactor = co_wrapper::reactor();
/// let task = reactor.spawn(async { 42 });
/// assert_eq!(co_wrapper::block_on(task).unwrap(), 42);
///
/// // A socket that is made outside a call, and used in one.
/// let (here, there) = std::os::unix::net::UnixStream::pair()?;
/// here.set_nonblocking(true)?;
/// let here = {
///     let _entered = reactor.enter();
///     tokio::net::UnixStream::from_std(here)?
/// };
/// drop(there);
/// co_wrapper::block_on(here.readable())?;
/// # std::io::Result::Ok(())
/// ```
#[track_caller]
pub fn reactor() -> Handle {
    fork::forbid("reactor");
    // A task there may stall it without any blocking call.
    watchdog::at_first_use();
    handle("reactor")
}
