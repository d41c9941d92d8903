//! How a task goes from one context to another.

use std::{
    future::{Future, poll_fn},
    panic::Location,
    task::Poll,
};

use super::aio_context::AioContext;
use crate::tasks::{activation, task};

/// Has the calling task go on in `context`, on that context's home thread. At once if it runs there.
///
/// It goes as a whole, and is queued there only when it has left this thread. For tasks made with
/// [`AioContext::spawn`] alone.
///
/// # Panics
///
/// Awaited elsewhere: in a `spawn_local` task, in a blocking call's future, in another executor's task.
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
        if !task::move_to(context.mailbox()) {
            return Poll::Ready(());
        }
        // Queued by this, in the new place, when the task has left the thread.
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}
