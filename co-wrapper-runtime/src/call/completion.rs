//! The target's half of a call in another context: a task, which takes the arguments out of the caller's frame when it is
//! started.
//!
//! The call is done when the task is, as async-task sees it: the future was dropped, and then the output was stored. Until
//! then the caller keeps its frame. Nothing of the task uses the frame after that.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use crate::{
    scheduler::Scheduler,
    sys::{
        park::WakeSlot,
        sync::{UnsafeCell, is_send},
    },
    tasks::sent::{Sent, send_call},
    trace::Span,
};

/// Arguments and entry of a call, in the caller's frame. If the call is not started, the caller drops them.
pub struct Packed<S, E>(UnsafeCell<Option<(S, E)>>);

impl<S, E> Packed<S, E> {
    /// A call of `entry` with `args`, to be sent.
    pub fn new(args: S, entry: E) -> Self {
        Self(UnsafeCell::new(Some((args, entry))))
    }
}

/// Sends a call to `scheduler`.
///
/// # Safety
///
/// `packed` must not be moved, used or dropped before the returned task is done, that is, before polling it was ready.
pub unsafe fn send<'a, S, E, Fut>(
    scheduler: &Arc<Scheduler>,
    packed: &Packed<S, E>,
    wakes: &'a Arc<WakeSlot>,
    span: Span,
) -> Sent<'a, Fut::Output, Scheduler>
where
    S: Send,
    E: FnOnce(S) -> Fut + Send,
    Fut: Future<Output: Send>,
{
    let packed = &raw const *packed;
    let remote = Remote { packed, span, started: false, future: None::<Fut> };
    // SAFETY: `packed` and what the arguments borrow live until the task is done, as the caller promises, and the task is
    // not done before the future was dropped. `Remote` may be sent before its first poll: it holds the pointer to `Send`
    // things, and no future yet. The output is `Send`.
    unsafe { send_call(scheduler, wakes, remote) }
}

// What `Remote` holds besides the pointer, whose target is `Send` by the bounds of `send`.
const _: () = is_send::<Span>();

/// A task's future.
struct Remote<S, E, Fut> {
    /// Used by the first poll only.
    packed: *const Packed<S, E>,
    span: Span,
    /// Whether the arguments were taken. Kept apart, because a look at `future` would take a shared reference to it, and
    /// a waiting future may hold a unique reference into itself.
    started: bool,
    /// Made by the first poll.
    future: Option<Fut>,
}

impl<S, E, Fut> Future for Remote<S, E, Fut>
where
    E: FnOnce(S) -> Fut,
    Fut: Future,
{
    type Output = Fut::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Fut::Output> {
        // SAFETY: `future` is pinned with `self`: made in place, never moved, dropped in place. Nothing else in `Remote` is
        // pinned.
        let this = unsafe { self.get_unchecked_mut() };
        let _inside = this.span.enter();
        if !mem::replace(&mut this.started, true) {
            // SAFETY: the task is not done, so the caller leaves what is packed alone, and this is its only other use.
            let packed = unsafe { (*this.packed).0.with_mut(|packed| (*packed).take()) };
            let (args, entry) = packed.expect("taken once");
            this.future = Some(entry(args));
        }
        let future = this.future.as_mut().expect("made by the first poll");
        // SAFETY: as above.
        unsafe { Pin::new_unchecked(future) }.poll(cx)
    }
}
