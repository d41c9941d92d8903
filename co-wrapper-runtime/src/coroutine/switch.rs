//! The switch to a coroutine's stack and back. (`switch_tsan.rs` is the same for ThreadSanitizer.)

use corosensei::{Coroutine, CoroutineResult, stack::DefaultStack};

use crate::{sys::panics::Payload, thread::coroutine::Own};

/// How a coroutine came back.
pub enum Resumed<R> {
    Suspended,
    Ended(Result<R, Payload>),
}

/// A coroutine's stack, with its code on it.
pub struct Switch<R: 'static>(Coroutine<(), (), Result<R, Payload>, DefaultStack>);

impl<R: 'static> Switch<R> {
    /// With `code`, which does not unwind. `own` is there until `code` has returned.
    #[inline]
    pub fn new(stack: DefaultStack, own: *const Own, code: impl FnOnce() -> Result<R, Payload> + 'static) -> Self {
        Self(Coroutine::with_stack(stack, move |yielder, ()| {
            // SAFETY: it is there until this closure has returned.
            unsafe { &*own }.yielder.set(yielder);
            code()
        }))
    }

    /// Runs it until it is suspended or ends.
    #[inline(always)]
    pub fn resume(&mut self) -> Resumed<R> {
        match self.0.resume(()) {
            CoroutineResult::Yield(()) => Resumed::Suspended,
            CoroutineResult::Return(result) => Resumed::Ended(result),
        }
    }

    /// The stack of a coroutine that has ended.
    #[inline]
    pub fn into_stack(self) -> DefaultStack {
        self.0.into_stack()
    }
}
