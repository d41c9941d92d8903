//! The state that a call in another context shares with its caller: the arguments and the result, in the caller's
//! frame, and the flag that ends the call.
//!
//! The target reaches them through one pointer. Its last use of the pointer is the store that sets `done`; after that
//! the caller may free the frame.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, ready},
};

use crate::{
    scheduler::Scheduler,
    sys::{
        panics::{self, Payload},
        park::WakeSlot,
        sync::{AtomicBool, Ordering, UnsafeCell, is_send},
    },
    tasks::task::{self, Sent},
    trace::Span,
};

/// The caller's half of a call.
pub struct Shared<S, E, R> {
    /// Belongs to the target until it sets `done`, then to the caller.
    stage: UnsafeCell<Stage<S, E, R>>,
    done: AtomicBool,
}

/// How far a call has come.
pub enum Stage<S, E, R> {
    /// Arguments and entry; not started.
    Packed(S, E),
    /// The future was made. If the call ends in this stage, the future was dropped.
    Started,
    /// Its result.
    Done(R),
    /// Its panic.
    Panicked(Payload),
}

impl<S, E, R> Shared<S, E, R> {
    /// A call of `entry` with `args`, to be sent.
    pub fn new(args: S, entry: E) -> Self {
        Self { stage: UnsafeCell::new(Stage::Packed(args, entry)), done: AtomicBool::new(false) }
    }

    /// Whether the target has used it for the last time.
    pub fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// What became of the call.
    pub fn into_stage(self) -> Stage<S, E, R> {
        // Does nothing, but shows loom an exclusive access.
        self.stage.with_mut(|_| ());
        self.stage.into_inner()
    }
}

/// Sends a call to `scheduler`; `wakes` is woken when it is done. Dropping what is returned cancels it.
///
/// # Safety
///
/// `call` must not be moved or dropped before `is_done` has returned true.
pub unsafe fn send<S, E, Fut>(
    scheduler: &Arc<Scheduler>,
    call: &Shared<S, E, Fut::Output>,
    wakes: &Arc<WakeSlot>,
    span: Span,
) -> Sent<Scheduler>
where
    S: Send,
    E: FnOnce(S) -> Fut + Send,
    Fut: Future<Output: Send>,
{
    wakes.set_unstarted(true);
    let remote = Remote { call: &raw const *call, wakes: Arc::clone(wakes), span, made: false, future: None::<Fut> };
    // SAFETY: `call` lives until `done` is set, as the caller promises, which is the remote's last use of it. `Remote` may
    // be sent before its first poll: it holds the pointer to a `Shared` of `Send` things, and no future yet.
    unsafe { task::send_call(scheduler, Arc::clone(wakes), remote) }
}

// What `Remote` holds besides the pointer, whose target is `Send` by the bounds of `send`.
const _: () = {
    is_send::<Arc<WakeSlot>>();
    is_send::<Span>();
    is_send::<Payload>();
};

/// The target's half: a task's future.
struct Remote<S, E, R, Fut> {
    /// Dangling once `done` was set.
    call: *const Shared<S, E, R>,
    wakes: Arc<WakeSlot>,
    span: Span,
    /// Whether `future` was made. Kept apart, because a look at `future` would take a shared reference to it, and a
    /// waiting future may hold a unique reference into itself.
    made: bool,
    /// Made by the first poll.
    future: Option<Fut>,
}

impl<S, E, R, Fut> Remote<S, E, R, Fut> {
    /// Stores `stage`, if given, sets `done` and wakes the caller.
    ///
    /// # Safety
    ///
    /// `done` was not set, and the future is gone, with everything that it borrowed through the arguments.
    unsafe fn finish(&mut self, stage: Option<Stage<S, E, R>>) {
        // SAFETY: `done` was not set, so the caller waits and `stage` is ours.
        unsafe {
            if let Some(stage) = stage {
                (*self.call).stage.with_mut(|stored| *stored = stage);
            }
            (*self.call).done.store(true, Ordering::Release);
        }
        self.call = std::ptr::null();
        // Uses our own reference, because the caller's frame may be gone by now.
        Arc::clone(&self.wakes).wake();
    }
}

impl<S, E, Fut> Future for Remote<S, E, Fut::Output, Fut>
where
    E: FnOnce(S) -> Fut,
    Fut: Future,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // SAFETY: `future` is pinned with `self`: made in place, never moved, dropped by assignment. Nothing else in
        // `Remote` is pinned.
        let this = unsafe { self.get_unchecked_mut() };
        let polled = Payload::of(|| {
            let _inside = this.span.enter();
            if !std::mem::replace(&mut this.made, true) {
                // SAFETY: `done` is not set before `finish`, so the caller waits and `stage` is ours.
                let packed = unsafe { (*this.call).stage.with_mut(|stage| stage.replace(Stage::Started)) };
                this.wakes.set_unstarted(false);
                let Stage::Packed(args, entry) = packed else { unreachable!("started once") };
                this.future = Some(entry(args));
            }
            let future = this.future.as_mut().expect("made above");
            // SAFETY: as above.
            unsafe { Pin::new_unchecked(future) }.poll(cx)
        });
        let stage = match polled {
            Ok(polled) => Stage::Done(ready!(polled)),
            Err(payload) => Stage::Panicked(payload),
        };
        // A panic of the future's destructor is dropped, because there is a result; it must not keep the caller
        // waiting.
        drop(Payload::of(|| this.future = None));
        // SAFETY: the task ends with this poll, so `done` was not set before; the future is gone.
        unsafe { this.finish(Some(stage)) };
        Poll::Ready(())
    }
}

impl<S, E, R, Fut> Drop for Remote<S, E, R, Fut> {
    fn drop(&mut self) {
        if !self.call.is_null() {
            // The call was cancelled, the context closed, or its home thread left.
            self.wakes.set_unstarted(false);
            let dropped = Payload::of(|| self.future = None);
            // SAFETY: `call` is not null, so `done` was not set; the future is gone.
            unsafe { self.finish(None) };
            panics::raise(dropped.err());
        }
    }
}
