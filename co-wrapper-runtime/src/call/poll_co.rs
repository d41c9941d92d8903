//! `poll_co`, which a generated wrapper calls. It makes the future from the packed arguments and blocks until the
//! future is ready. (QEMU's `bdrv_poll_co`.)
//!
//! This file decides only where the future lives: on the stack or, if it is large, in a box. `frame.rs` makes the call.
//! Invariant: the reactor's guard is a variable that is declared before the frame, so it is dropped after the frame.

use std::{any::type_name, panic::Location, time::Duration};

use super::{
    callee::{Callee, Wrapper},
    frame::Frame,
    large::{self, Large},
};
use crate::{
    reactor::Entered,
    sys::{
        elapsed::{Elapsed, deadline},
        interrupts::Interrupted,
    },
    thread::waiting::{Ended, Limits},
};

/// Calls `entry(args)` and polls the future that it makes, on this thread, until the future is ready.
///
/// The future is polled once before any event loop is entered. So a call that need not wait allocates nothing. A call
/// that waits serves the thread's contexts meanwhile.
///
/// A future of more than 16 KiB may be larger than what is left of the caller's stack. So it is kept in a box, and is
/// made and polled on a second stack. Each such call allocates both.
///
/// # Panics
///
/// If a plain wrapper is called in coroutine context; if more than 256 calls are nested on one stack; if the reactor
/// cannot start. A panic of the future reaches the caller. So does the first panic of a bottom half that ran meanwhile,
/// once the call is done.
#[inline]
#[track_caller]
pub fn poll_co<S, E, Fut>(wrapper: &'static Wrapper, args: S, entry: E) -> Fut::Output
where
    E: FnOnce(S) -> Fut,
    Fut: Future,
{
    if const { large::is_large::<Fut>() } {
        *poll_in_place(wrapper, type_name::<S>(), Box::new(args), |args| Large::make(|| entry(*args)))
    } else {
        poll_in_place(wrapper, type_name::<S>(), args, entry)
    }
}

/// Like [`poll_co`], with the future on the stack. A separate function, so that in a debug build the frame of `poll_co`
/// reserves no room for a future that a large call keeps elsewhere.
#[inline]
#[track_caller]
fn poll_in_place<S, E, Fut>(wrapper: &'static Wrapper, args_type: &'static str, args: S, entry: E) -> Fut::Output
where
    E: FnOnce(S) -> Fut,
    Fut: Future,
{
    let _guard;
    let frame = Frame::begin(Callee::Wrapper(wrapper, args_type), Location::caller());
    if frame.needs_guard() {
        _guard = Entered::guard();
    }
    frame.block_on(|| entry(args))
}

/// Like [`poll_co`], for at most `timeout`. If that expires, the future is dropped before this returns.
///
/// A call whose future is ready at its first poll succeeds even with a timeout of zero.
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
    poll_co_until(wrapper, deadline(timeout).into(), args, entry).map_err(|_| Elapsed::new(timeout))
}

/// Like [`poll_co`], until it is interrupted. In that case the future is dropped before this returns.
///
/// A call whose future is ready at its first poll succeeds even if an interrupt is pending, and leaves that pending.
#[track_caller]
pub fn poll_co_interruptible<S, E, Fut>(
    wrapper: &'static Wrapper,
    args: S,
    entry: E,
) -> Result<Fut::Output, Interrupted>
where
    E: FnOnce(S) -> Fut,
    Fut: Future,
{
    poll_co_until(wrapper, Limits::INTERRUPTIBLE, args, entry).map_err(|_| Interrupted)
}

/// Like [`poll_co`], within `limits`.
#[track_caller]
fn poll_co_until<S, E, Fut>(wrapper: &'static Wrapper, limits: Limits, args: S, entry: E) -> Result<Fut::Output, Ended>
where
    E: FnOnce(S) -> Fut,
    Fut: Future,
{
    let args_type = type_name::<S>();
    if const { large::is_large::<Fut>() } {
        let entry = |args: Box<S>| Large::make(|| entry(*args));
        poll_in_place_until(wrapper, args_type, limits, Box::new(args), entry).map(|output| *output)
    } else {
        poll_in_place_until(wrapper, args_type, limits, args, entry)
    }
}

/// Like [`poll_in_place`], within `limits`.
#[track_caller]
fn poll_in_place_until<S, E, Fut>(
    wrapper: &'static Wrapper,
    args_type: &'static str,
    limits: Limits,
    args: S,
    entry: E,
) -> Result<Fut::Output, Ended>
where
    E: FnOnce(S) -> Fut,
    Fut: Future,
{
    let _guard;
    let frame = Frame::begin(Callee::Wrapper(wrapper, args_type), Location::caller());
    if frame.needs_guard() {
        _guard = Entered::guard();
    }
    frame.block_on_until(limits, None, || entry(args))
}
