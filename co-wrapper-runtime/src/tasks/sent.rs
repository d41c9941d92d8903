//! A call that a thread, its *caller*, has sent to a context as a task: how the caller learns that it is done, and takes
//! it back.
//!
//! The call is done when its future was dropped. Then async-task has stored the outcome; or it has none, because the
//! future was dropped before it ended. (The head of `task.rs` says what this relies on in async-task.)
//!
//! A call that was taken back may be dropped at any time, whatever a loop holds back. So the caller first marks it in the
//! slot that it waits on, and then cancels the task, which queues the call for that. Between the two, async-task alone
//! would still begin it.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use super::{
    outcome::{Outcome, Output},
    task::{Meta, Schedule, spawn_for},
};
use crate::sys::park::WakeSlot;

/// Sends a call, which wakes `caller` when it is done. The result is polled until then.
///
/// # Safety
///
/// Everything that `future` borrows must live until `future` is dropped. Sending `future` must be sound before its
/// first poll.
pub unsafe fn send_call<'a, S: Schedule, F: Future>(
    scheduler: &Arc<S>,
    caller: &'a Arc<WakeSlot>,
    future: F,
) -> Sent<'a, F::Output, S> {
    caller.begin_to_send();
    // SAFETY: the caller promises that the call may be sent before its first poll, and that its borrows live long
    // enough. From its first poll on the thread that polls it owns it; `run` ensures that.
    let task = unsafe { spawn_for(scheduler, 0, Some(Arc::clone(caller)), future) };
    Sent { caller, stage: Stage::Sent(task.fallible()) }
}

/// A call that was sent. It is done when [`poll`](Self::poll) has been ready. Dropping this before cancels it.
pub struct Sent<'a, T, S> {
    caller: &'a WakeSlot,
    stage: Stage<'a, T, S>,
}

enum Stage<'a, T, S> {
    Sent(async_task::FallibleTask<Output<T>, Meta<S>>),
    Cancelled(Pin<Box<dyn Future<Output = Option<Output<T>>> + 'a>>),
    Done,
}

impl<'a, T: 'a, S: Schedule> Sent<'a, T, S> {
    /// How the call ended, once its future was dropped; `None` if that was before it had ended.
    ///
    /// # Panics
    ///
    /// If it was ready before.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Outcome<T>>> {
        let output = match &mut self.stage {
            Stage::Sent(task) => ready!(Pin::new(task).poll(cx)),
            Stage::Cancelled(cancelled) => ready!(cancelled.as_mut().poll(cx)),
            Stage::Done => unreachable!("a call ends once"),
        };
        self.stage = Stage::Done;
        Poll::Ready(output.map(Output::into_inner))
    }

    /// Cancels the call, unless it has ended, and polls it. Its home drops its future in its next round, whatever that
    /// round holds back.
    ///
    /// # Panics
    ///
    /// The same as [`poll`](Self::poll).
    pub fn cancel(&mut self, cx: &mut Context<'_>) -> Poll<Option<Outcome<T>>> {
        self.stage = match mem::replace(&mut self.stage, Stage::Done) {
            Stage::Sent(task) => {
                self.caller.cancel();
                Stage::Cancelled(Box::pin(task.cancel()))
            }
            stage => stage,
        };
        self.poll(cx)
    }
}
