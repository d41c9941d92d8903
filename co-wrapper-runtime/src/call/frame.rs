//! A blocking call in flight: its name and call site, its place on the thread's stack, its activation, its wait.
//!
//! Invariants: frames are made and dropped in stack order. A future is pinned where it was made, and is dropped before
//! its frame. A call whose future is ready takes no lock, and allocates nothing after the thread's first call at its
//! depth. What does not depend on the future's type is out of line and compiled once ([`Frame::wait`]).
//!
//! How a wait serves the thread's contexts and sleeps is not decided here, but in `poll_loop/serve.rs`.

use std::{
    marker::PhantomData,
    mem::{self, ManuallyDrop},
    ops::Deref,
    panic::Location,
    pin::Pin,
    ptr::NonNull,
    sync::Arc,
    task::{Context, Poll},
    thread,
};

#[cfg(feature = "coroutine")]
use std::task::Waker;

use super::callee::{self, Callee};
use crate::{
    context::AioContext,
    poll_loop::serve::Wait,
    reactor,
    sys::{
        fork,
        interrupts::{Heeds, Wakes},
        panics::{self, Payload},
        park::WakeSlot,
    },
    tasks::activation::{self, Mark},
    thread::{
        state::Place,
        waiting::{Ended, InFlight, Limits, Waiting},
    },
    trace::{self, Span},
};
#[cfg(feature = "coroutine")]
use crate::{context::wait_cycle::WaitsFor, suspend, thread::coroutine::Own};

/// Whether the caller runs in coroutine context: inside a task of an [`AioContext`](crate::AioContext), or inside the
/// future of a blocking wrapper or of `block_on`, or inside a `Coroutine` (feature `coroutine`).
///
/// There a plain wrapper panics, because it would block the loop that polls the coroutine: await the async function
/// instead. A mixed one runs a nested loop. (A `Coroutine`'s own code is suspended instead, by plain wrappers too.)
/// Bottom halves are not coroutines, and neither are other executors' tasks; but an executor that is run inside a
/// coroutine is a part of it.
///
/// # Examples
///
/// ```
/// use co_wrapper::{AioContext, in_coroutine};
///
/// assert!(!in_coroutine());
/// assert!(AioContext::current().block_on(async { in_coroutine() }));
/// ```
#[doc(alias = "qemu_in_coroutine")]
pub fn in_coroutine() -> bool {
    activation::is_coroutine()
}

/// One blocking call. A scope: made and dropped in stack order.
pub(crate) struct Frame {
    place: Place,
    /// The caller's mark, which is restored when the call ends.
    outer: Mark,
    entered: reactor::Entered,
    span: Span,
}

impl Frame {
    /// Enters the call.
    #[track_caller]
    pub fn enter(callee: Callee, site: &'static Location<'static>) -> Guarded {
        let frame = Self::begin(callee, site);
        let guard = frame.needs_guard().then(reactor::Entered::guard);
        Guarded { frame, _guard: guard }
    }

    /// Enters the call without the reactor's guard. If the frame needs it, the caller takes the guard, in a variable
    /// that is declared before the frame, so that the guard is dropped after it: tokio panics if guards are not dropped
    /// innermost first.
    ///
    /// No lock, no allocation after the thread's first call at this depth.
    #[inline(always)]
    #[track_caller]
    pub fn begin(callee: Callee, site: &'static Location<'static>) -> Self {
        let place = Place::push(callee.name(), site);
        if let Callee::Wrapper(wrapper, args) = callee
            && !wrapper.mixed
            && activation::forbids_blocking()
        {
            callee::refuse_in_coroutine(wrapper, args, &place, site);
        }
        let entered = reactor::Entered::look(callee.name());
        // Before the mark: a subscriber is not a coroutine, and may panic.
        let span = Span::call(callee.name(), site);
        Self { place, outer: activation::mark(Mark::COROUTINE), entered, span }
    }

    /// Whether the caller must take the reactor's guard.
    #[inline(always)]
    pub fn needs_guard(&self) -> bool {
        self.entered.needs_guard()
    }

    /// Polls the future that `make` makes until it is ready.
    #[inline]
    #[track_caller]
    pub fn block_on<F: Future>(&self, make: impl FnOnce() -> F) -> F::Output {
        match self.block_on_until(Limits::default(), None, make) {
            Ok(output) => output,
            Err(Ended::Ready | Ended::Elapsed | Ended::Interrupted | Ended::Closed | Ended::Forked) => {
                unreachable!("a wait without a deadline ends when the future is ready")
            }
        }
    }

    /// Like [`block_on_until`](Self::block_on_until), for a future whose output is a lock. Nested loops do not poll it:
    /// they may wait for that same lock, which would stay in this frame until they have returned.
    #[cfg(feature = "graph")]
    #[track_caller]
    pub fn block_on_for_caller_until<F: Future>(
        &self,
        limits: impl Into<Limits>,
        make: impl FnOnce() -> F,
    ) -> Result<F::Output, Ended> {
        self.poll_until::<true, F>(limits.into(), None, make)
    }

    /// Like [`block_on`](Self::block_on), within `limits`, and until `called_in`, whose home is this thread, is closed.
    /// If either gives the call up, the future is dropped before this returns.
    #[inline]
    #[track_caller]
    pub fn block_on_until<F: Future>(
        &self,
        limits: impl Into<Limits>,
        called_in: Option<&AioContext>,
        make: impl FnOnce() -> F,
    ) -> Result<F::Output, Ended> {
        self.poll_until::<false, F>(limits.into(), called_in, make)
    }

    #[inline]
    #[track_caller]
    fn poll_until<const FOR_CALLER: bool, F: Future>(
        &self,
        limits: Limits,
        called_in: Option<&AioContext>,
        make: impl FnOnce() -> F,
    ) -> Result<F::Output, Ended> {
        let mut storage = ManuallyDrop::new({
            let _inside = self.span.enter();
            make()
        });
        // SAFETY: nothing else uses `storage` from here on.
        let mut future = unsafe { InPlace::new(&mut storage) };
        let mut cx = Context::from_waker(&self.place.slot().waker);
        // Costs nothing unless a panic drops it.
        let hint = HintOnPanic(self);
        // In a foreign task, whose tokio budget may be used up, `poll_or_wait` makes the first poll, without that
        // budget.
        let unpolled = self.entered.may_be_in_a_foreign_task();
        if !unpolled {
            let _inside = self.span.enter();
            if let Poll::Ready(output) = future.pin().poll(&mut cx) {
                mem::forget(hint);
                return Ok(output);
            }
        }
        let mut call = Polled::<FOR_CALLER, F> { frame: self, future: Some(future), output: None };
        // Moved here, after `call`, so that it is dropped before the future when the call unwinds.
        let hint = hint;
        #[cfg(feature = "coroutine")]
        if called_in.is_none()
            && !limits.are_some()
            && self.outer.is_root()
            && let Some(own) = self.suspends()
        {
            // Suspended here and not in a function that is called, because the processor mispredicts the return of each
            // function that was called before the switch of stacks.
            let shown = suspend::Shown(&self.place);
            loop {
                suspend::suspend(own);
                if suspend::poll(own, &self.place, &mut call) {
                    break;
                }
            }
            mem::forget((shown, hint));
            return call.output.take().ok_or(Ended::Ready);
        }
        let ended = self.poll_or_wait(unpolled, called_in, limits, &mut call);
        mem::forget(hint);
        if call.output.is_none() {
            // The future is dropped now, on the caller's behalf: its destructors may block where the caller may.
            activation::mark(self.outer);
        }
        call.output.take().ok_or(ended)
    }

    /// The coroutine that the call suspends, if it suspends one: then the call is shown as suspended from now on.
    #[cfg(feature = "coroutine")]
    #[cold]
    #[inline(never)]
    #[track_caller]
    fn suspends(&self) -> Option<&Own> {
        let own = suspend::suspends(self.place.thread(), self.outer, &self.entered)?;
        if fork::is_child() {
            self.forbid_fork();
        }
        self.place.thread().show_suspended(self.place.slot(), None);
        Some(own)
    }

    /// Waits; polls once before that if the future is unpolled. Not generic over the future, so it is compiled once.
    #[cold]
    #[inline(never)]
    #[track_caller]
    fn poll_or_wait(
        &self,
        unpolled: bool,
        called_in: Option<&AioContext>,
        limits: Limits,
        call: &mut dyn InFlight,
    ) -> Ended {
        if unpolled && reactor::unconstrained(|| call.poll()) {
            return Ended::Ready;
        }
        self.wait(None, called_in, limits, call)
    }

    /// Serves the thread's contexts until `call` is done, `limits` give it up, or `called_in` is closed. Polls `call`
    /// whenever the frame's slot was woken. The slow path, compiled once for all types of future. `target` is the
    /// context that the call was sent to, if it was sent to one.
    #[cold]
    #[inline(never)]
    #[track_caller]
    pub fn wait(
        &self,
        target: Option<&AioContext>,
        called_in: Option<&AioContext>,
        limits: Limits,
        call: &mut dyn InFlight,
    ) -> Ended {
        let (thread, slot) = (self.place.thread(), self.place.slot());
        if fork::is_child() {
            // The first poll forked.
            self.forbid_fork();
        }
        #[cfg(feature = "coroutine")]
        if let Some(own) = suspend::suspends(thread, self.outer, &self.entered) {
            let _waits = target.map(|target| WaitsFor::new(target.scheduler(), None));
            let (ended, panicked) = suspend::wait(own, &self.place, target, called_in, limits, call);
            return self.after_wait(ended, panicked, call);
        }
        // The first poll had a waker that resumes the coroutine, which is not to be suspended here.
        #[cfg(feature = "coroutine")]
        let waker = slot.wakes.is_coroutine().then(|| Waker::from(Arc::clone(&slot.wakes)));
        #[cfg(feature = "coroutine")]
        let _blocks = waker.as_ref().map(|waker| {
            waker.wake_by_ref();
            suspend::Blocks::new(thread, waker)
        });
        thread.show_frames(slot, target);
        if thread.depth() > 1 {
            trace::nested(slot.name(), thread.depth());
        }
        let entry = thread.homes.borrow().entry();
        let heeds = limits
            .interruptible
            .then(|| Heeds::new(Arc::clone(thread.interrupts()), Wakes::Thread(Arc::clone(&slot.wakes))));
        let waiting = Waiting::new(thread.depth(), entry, slot, call, self.outer, limits.deadline, called_in);
        let listed = thread.stack.waiting.push(&waiting);
        let wait = Wait::new(thread, &waiting, heeds.as_ref(), target, thread.stack.outer_callback_waits());
        let (ended, panicked) = wait.run(&self.entered);
        drop(listed);
        slot.record.end_wait();
        self.after_wait(ended, panicked, call)
    }

    /// After the wait of `call`: raises the first panic of what ran meanwhile.
    #[track_caller]
    fn after_wait(&self, ended: Ended, panicked: Option<Payload>, call: &mut dyn InFlight) -> Ended {
        if ended == Ended::Forked {
            self.forbid_fork();
        }
        if let Some(payload) = panicked {
            if ended == Ended::Interrupted {
                // The panic leaves its caller no other sign that the call is to be given up.
                call.give_up(ended);
            }
            let slot = self.place.slot();
            // The panic hook printed it when it was caught. To raise it while unwinding would abort.
            if thread::panicking() {
                let at = slot.site().map(|site| format!(", called at {site}")).unwrap_or_default();
                panics::report(&format!(
                    "{}{at}: a panic in what ran while it waited is printed above and dropped, because the thread is \
                     panicking already; catch it in the task or bottom half",
                    slot.name()
                ));
            } else {
                payload.resume();
            }
        }
        ended
    }

    /// Leaves an interrupt that the wait took to the next call, because this one has a result nevertheless.
    #[cold]
    pub fn put_interrupt_back(&self) {
        #[cfg(feature = "coroutine")]
        if let Some(own) = suspend::suspends(self.place.thread(), self.outer, &self.entered) {
            return own.interrupts().put_back();
        }
        self.place.thread().interrupts().put_back();
    }

    /// Blocks the thread with `block` instead of a poll loop, for a wait that wakes no waker, such as joining a thread.
    pub fn gate<R>(&self, block: impl FnOnce() -> R) -> R {
        self.entered.gate(|below, _| {
            let slot = self.place.slot();
            if let Some(site) = slot.site() {
                reactor::warn_of_current_thread(below, slot.name(), site);
            }
            block()
        })
    }

    #[cold]
    #[track_caller]
    fn forbid_fork(&self) {
        let slot = self.place.slot();
        if let Some(site) = slot.site() {
            fork::forbid_at(slot.name(), site);
        }
    }

    /// What wakes the frame.
    pub fn wakes(&self) -> &Arc<WakeSlot> {
        &self.place.slot().wakes
    }

    /// The call's span, for a future that is polled elsewhere.
    pub fn span(&self) -> &Span {
        &self.span
    }
}

/// A future that is pinned in its frame, and dropped with this value.
struct InPlace<'a, F>(NonNull<F>, PhantomData<&'a mut F>);

impl<'a, F> InPlace<'a, F> {
    /// # Safety
    ///
    /// Nothing else uses `storage` from now on: only this value drops its content, and nothing moves it.
    #[inline(always)]
    unsafe fn new(storage: &'a mut ManuallyDrop<F>) -> Self {
        Self(NonNull::from(&mut **storage), PhantomData)
    }

    #[inline(always)]
    fn pin(&mut self) -> Pin<&mut F> {
        // SAFETY: only this value uses the future, which is not moved before it is dropped.
        unsafe { Pin::new_unchecked(self.0.as_mut()) }
    }
}

impl<F> Drop for InPlace<'_, F> {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: dropped here only, where it was pinned.
        unsafe { self.0.drop_in_place() };
    }
}

/// The future of a call that waits.
struct Polled<'a, const FOR_CALLER: bool, F: Future> {
    frame: &'a Frame,
    /// `None` once it was dropped: the call may be over before its frame is left.
    future: Option<InPlace<'a, F>>,
    output: Option<F::Output>,
}

impl<const FOR_CALLER: bool, F: Future> InFlight for Polled<'_, FOR_CALLER, F> {
    fn is_for_caller(&self) -> bool {
        FOR_CALLER
    }

    fn poll(&mut self) -> bool {
        let Some(future) = &mut self.future else { return true };
        let mut cx = Context::from_waker(&self.frame.place.slot().waker);
        let _inside = self.frame.span.enter();
        if let Poll::Ready(ready) = future.pin().poll(&mut cx) {
            self.output = Some(ready);
        }
        self.output.is_some()
    }

    fn release(&mut self) {
        self.future = None;
    }

    fn give_up(&mut self, _: Ended) -> bool {
        self.future = None;
        true
    }
}

/// A frame together with the reactor's guard, for calls where the cost of a move does not matter.
pub(crate) struct Guarded {
    frame: Frame,
    _guard: Option<reactor::Guard>,
}

impl Deref for Guarded {
    type Target = Frame;

    fn deref(&self) -> &Frame {
        &self.frame
    }
}

impl Drop for Frame {
    #[inline]
    fn drop(&mut self) {
        activation::mark(self.outer);
    }
}

/// Prints what to do if a call's future panics because tokio's thread-locals are gone. Tokio's own message cannot say
/// it.
struct HintOnPanic<'a>(&'a Frame);

impl Drop for HintOnPanic<'_> {
    // Inlined, so that the reference needs no stack slot.
    #[inline(always)]
    fn drop(&mut self) {
        self.0.hint_after_tokio();
    }
}

impl Frame {
    #[cold]
    #[inline(never)]
    fn hint_after_tokio(&self) {
        let slot = self.place.slot();
        if self.entered.is_after_tokio()
            && let Some(site) = slot.site()
        {
            eprintln!(
                "co_wrapper: {}: called at {site}, where a part of tokio is gone, in a thread-local destructor or after main \
                 has returned; if that is what the panic above is about, let a context on another thread run the call: \
                 #[co_wrapper(ctx = …)]",
                slot.name()
            );
        }
    }
}
