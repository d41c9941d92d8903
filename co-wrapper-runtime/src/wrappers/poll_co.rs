//! What a generated wrapper calls: makes the future from the packed arguments and blocks until it is ready. (QEMU's
//! `bdrv_poll_co`.)

use std::{
    any::type_name,
    panic::Location,
    time::{Duration, Instant},
};

use super::{
    Elapsed,
    frame::{Frame, Kind},
    large::{self, Large},
};
use crate::reactor::Entered;

/// What a generated wrapper says of itself: for messages and reports.
#[derive(Debug)]
pub struct Wrapper {
    /// The blocking function's name.
    pub name: &'static str,
    /// The async function's.
    pub target: &'static str,
    /// May be called in coroutine context.
    pub mixed: bool,
}

/// Calls `entry(args)` and polls the future it makes, on this thread, until it is ready.
///
/// The future is polled once before anything else, so a call that need not wait touches no event loop and allocates
/// nothing. One that waits serves the thread's contexts meanwhile.
///
/// A future of more than 16 KiB is kept in a box, and made and polled on a stack of its own, which are both allocated once
/// a call: so it can be larger than what is left of the caller's stack.
///
/// # Panics
///
/// A plain wrapper in coroutine context; more than 256 calls nested on one stack; a reactor that cannot start. A panic
/// of the future goes through to the caller, and so does, after the call is done, the first panic of a bottom half that
/// ran meanwhile.
#[inline]
#[track_caller]
pub fn poll_co<S, E, Fut>(wrapper: &'static Wrapper, args: S, entry: E) -> Fut::Output
where
    E: FnOnce(S) -> Fut,
    Fut: Future,
{
    let _guard;
    let frame = Frame::begin(Kind::Wrapper(wrapper, type_name::<S>()), Location::caller());
    if frame.needs_guard() {
        _guard = Entered::guard();
    }
    if const { large::is_large::<Fut>() } {
        return frame.block_on(|| Large::make(|| entry(args)));
    }
    frame.block_on(|| entry(args))
}

/// The same, for `timeout` at most. On expiry the future has been dropped before this returns.
///
/// A ready call succeeds also with a timeout of zero.
#[track_caller]
pub fn poll_co_timeout<S, E, Fut>(
    wrapper: &'static Wrapper,
    timeout: Duration,
    args: S,
    entry: E,
) -> Result<Fut::Output, Elapsed>
where
    E: FnOnce(S) -> Fut,
    Fut: Future,
{
    let _guard;
    let frame = Frame::begin(Kind::Wrapper(wrapper, type_name::<S>()), Location::caller());
    if frame.needs_guard() {
        _guard = Entered::guard();
    }
    let ended = if const { large::is_large::<Fut>() } {
        frame.block_on_until(deadline(timeout), None, || Large::make(|| entry(args)))
    } else {
        frame.block_on_until(deadline(timeout), None, || entry(args))
    };
    ended.map_err(|_| Elapsed::new(timeout))
}

/// What is past the clock's end is never.
pub(super) fn deadline(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}
