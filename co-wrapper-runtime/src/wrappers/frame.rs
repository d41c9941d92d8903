//! A blocking call in flight: its place on the thread's stack, its marks, its wait.

use std::{
    panic::{Location, resume_unwind},
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    thread,
    time::Instant,
};

use super::poll_co::Wrapper;
use crate::{
    context::{
        AioContext,
        serve::{Ended, Wait},
        thread::{MOST_NESTED, Slot, Thread},
    },
    fork,
    park::WakeSlot,
    reactor,
    tasks::coroutine,
    trace::{self, Span},
};

/// Whether the caller runs in coroutine context: inside a task of an [`AioContext`](crate::AioContext), or inside the
/// future of a blocking wrapper or of `block_on`.
///
/// There a plain wrapper panics, for it would block whoever polls the coroutine: await the async function instead. A
/// mixed one runs a nested loop. Bottom halves are not coroutines, and neither are other executors' tasks; but an executor
/// that is run inside a coroutine is a part of it.
///
/// # Examples
///
/// ```
/// use co_wrapper_runtime::{AioContext, in_coroutine};
///
/// assert!(!in_coroutine());
/// assert!(AioContext::current().block_on(async { in_coroutine() }));
/// ```
#[doc(alias = "qemu_in_coroutine")]
pub fn in_coroutine() -> bool {
    coroutine::is_marked()
}

/// What was called.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Wrapper(&'static Wrapper),
    /// A function of ours that blocks, by its name.
    Own(&'static &'static str),
}

impl Kind {
    pub fn name(self) -> &'static &'static str {
        match self {
            Self::Wrapper(wrapper) => &wrapper.name,
            Self::Own(name) => name,
        }
    }
}

/// One blocking call. A scope: made and dropped in stack order.
pub(crate) struct Frame {
    thread: Rc<Thread>,
    slot: Rc<Slot>,
    outer_in_coroutine: bool,
    outer_in_send_task: bool,
    /// Dropped after the frame has left the stack, for tokio panics if it is not the innermost that is entered.
    entered: reactor::Entered,
    span: Span,
}

impl Frame {
    /// Enters the call, on the fast path in 20 to 40 ns: no lock, no allocation after the thread's first call at this
    /// depth.
    #[track_caller]
    pub fn enter(kind: Kind, site: &'static Location<'static>) -> Self {
        let thread = Thread::current();
        if let Kind::Wrapper(wrapper) = kind
            && !wrapper.mixed
            && coroutine::is_marked()
        {
            refuse_in_coroutine(wrapper, site);
        }
        if thread.depth() >= MOST_NESTED {
            refuse_so_deep(kind, site);
        }
        let entered = reactor::enter();
        let slot = thread.push_frame(kind.name(), site);
        let outer_in_coroutine = coroutine::mark(true);
        let outer_in_send_task = thread.in_send_task.replace(false);
        Self { thread, slot, outer_in_coroutine, outer_in_send_task, entered, span: Span::call(kind.name(), site) }
    }

    /// Polls the future that `make` makes until it is ready.
    #[inline]
    pub fn block_on<F: Future>(&self, make: impl FnOnce() -> F) -> F::Output {
        match self.block_on_until(None, None, make) {
            Ok(output) => output,
            Err(Ended::Ready | Ended::Elapsed | Ended::Closed) => {
                unreachable!("a wait without a deadline ends when the future is ready")
            }
        }
    }

    /// The same, until `deadline` at most, or until `called_in`, at home here, is closed. Then the future has been
    /// dropped before this returns.
    #[inline]
    pub fn block_on_until<F: Future>(
        &self,
        deadline: Option<Instant>,
        called_in: Option<&AioContext>,
        make: impl FnOnce() -> F,
    ) -> Result<F::Output, Ended> {
        let mut future = pin!(self.span.in_scope(make));
        let mut cx = Context::from_waker(&self.slot.waker);
        if let Poll::Ready(output) = self.span.in_scope(|| future.as_mut().poll(&mut cx)) {
            return Ok(output);
        }
        let mut output = None;
        let ended =
            self.wait(None, called_in, deadline, &mut || match self.span.in_scope(|| future.as_mut().poll(&mut cx)) {
                Poll::Ready(ready) => {
                    output = Some(ready);
                    true
                }
                Poll::Pending => false,
            });
        if output.is_none() {
            // The future is dropped now, as the caller's thing: its destructors may block as the caller may.
            coroutine::mark(self.outer_in_coroutine);
        }
        output.ok_or(ended)
    }

    /// Serves the thread's contexts until `poll`, asked whenever the frame's slot was woken, says so, or `deadline`
    /// passes, or `called_in` is closed. The slow path, once for all types of future. A call in another context names
    /// that, `target`.
    #[cold]
    #[inline(never)]
    pub fn wait(
        &self,
        target: Option<&AioContext>,
        called_in: Option<&AioContext>,
        deadline: Option<Instant>,
        poll: &mut dyn FnMut() -> bool,
    ) -> Ended {
        // It may have forked in its first poll.
        fork::forbid();
        let shown = self.thread.show_frames(target);
        if self.thread.depth() > 1 {
            trace::nested(self.slot.name(), self.thread.depth());
        }
        let wait = Wait::new(&self.thread, &self.slot, self.thread.outer_callback_waits(), deadline, called_in);
        let (ended, payload) = wait.run(&self.entered, &mut || self.slot.record.poll(&mut *poll));
        drop(shown);
        if let Some(payload) = payload {
            // The hook has printed it when it was caught. Raised while unwinding it would abort.
            if thread::panicking() {
                eprintln!("co_wrapper: a panic in what ran while a call waited is dropped: the thread is panicking");
            } else {
                resume_unwind(payload);
            }
        }
        ended
    }

    /// What wakes the frame.
    pub fn wakes(&self) -> &Arc<WakeSlot> {
        &self.slot.wakes
    }

    /// The call's span, for a future that is polled elsewhere.
    pub fn span(&self) -> &Span {
        &self.span
    }
}

impl Drop for Frame {
    #[inline]
    fn drop(&mut self) {
        coroutine::mark(self.outer_in_coroutine);
        self.thread.in_send_task.set(self.outer_in_send_task);
        self.thread.pop_frame();
    }
}

#[cold]
#[track_caller]
fn refuse_so_deep(kind: Kind, site: &'static Location<'static>) -> ! {
    panic!(
        "{}: called at {site} with {MOST_NESTED} blocking calls below it on this stack; recurse through the async \
         function instead",
        kind.name()
    );
}

#[cold]
#[track_caller]
fn refuse_in_coroutine(wrapper: &Wrapper, site: &'static Location<'static>) {
    let Wrapper { name, target, .. } = wrapper;
    let message = format!(
        "{name}: blocking call in coroutine context, at {site}; call `{target}(…).await` there, or mark it \
         #[co_wrapper(mixed)]"
    );
    // A second panic would abort the process: a destructor that blocks is better served than that.
    if thread::panicking() {
        eprintln!("co_wrapper: {message} (nested, because the thread is panicking)");
    } else {
        panic!("{message}");
    }
}
