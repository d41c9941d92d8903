//! Moving a task from one context to another.

use std::{
    future::{Future, poll_fn},
    panic::Location,
    task::Poll,
};

use super::aio_context::AioContext;
use crate::tasks::{activation, task};

/// Moves the calling task to `context`: it goes on on that context's home thread. Returns at once if the task already
/// runs there.
///
/// The whole task moves, and it is queued in the new context only after it has left this thread. Only for tasks made
/// with
/// [`AioContext::spawn`].
///
/// # Panics
///
/// If awaited anywhere else: in a `spawn_local` task, in a blocking call's future, in another executor's task.
///
/// # Examples
///
/// ```
/// use std::thread;
/// use co_wrapper::{AioContext, IoThread, reschedule_self};
///
/// let io = IoThread::spawn("io")?;
/// let there = io.context().clone();
/// let ctx = AioContext::current();
/// let task = ctx.spawn(async move {
///     let before = thread::current().id();
///     reschedule_self(&there).await;
///     before != thread::current().id()
/// });
/// assert!(ctx.block_on(task));
/// # std::io::Result::Ok(())
/// ```
#[doc(alias = "aio_co_reschedule_self")]
#[track_caller]
pub fn reschedule_self(context: &AioContext) -> impl Future<Output = ()> {
    let site = Location::caller();
    let mut asked = false;
    poll_fn(move |cx| {
        if std::mem::replace(&mut asked, true) {
            return Poll::Ready(());
        }
        assert!(
            activation::may_move(),
            "reschedule_self: called at {site}, not in a task made with AioContext::spawn, so it cannot go to {context}; \
             spawn one"
        );
        if !task::move_to(context.scheduler()) {
            return Poll::Ready(());
        }
        // This queues the task in the new context, once it has left this thread.
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}
