//! The same as `switch.rs`, for builds under ThreadSanitizer (`--cfg co_wrapper_tsan`), which must know of each switch
//! of stacks.
//!
//! ThreadSanitizer calls a stack a *fiber*, and is told right before each switch. It also keeps a list of the functions
//! that were entered on each stack. A switch makes that list wrong, so build with
//! `-Cllvm-args=-tsan-instrument-func-entry-exit=0`. The function that begins a coroutine never returns: it leaves its
//! result in a cell, and is suspended for the last time.

use std::{
    cell::RefCell,
    ffi::{c_uint, c_void},
    rc::Rc,
};

use corosensei::{Coroutine, CoroutineResult, stack::DefaultStack};

use crate::{sys::panics::Payload, thread::coroutine::Own};

unsafe extern "C" {
    fn __tsan_get_current_fiber() -> *mut c_void;
    fn __tsan_create_fiber(flags: c_uint) -> *mut c_void;
    fn __tsan_destroy_fiber(fiber: *mut c_void);
}

/// How a coroutine came back.
pub enum Resumed<R> {
    Suspended,
    Ended(Result<R, Payload>),
}

/// A coroutine's stack, with its code on it.
pub struct Switch<R: 'static> {
    coroutine: Coroutine<(), (), (), DefaultStack>,
    own: *const Own,
    fiber: *mut c_void,
    result: Rc<RefCell<Option<Result<R, Payload>>>>,
}

impl<R: 'static> Switch<R> {
    /// With `code`, which does not unwind. `own` is there until `code` has returned.
    pub fn new(stack: DefaultStack, own: *const Own, code: impl FnOnce() -> Result<R, Payload> + 'static) -> Self {
        let result = Rc::new(RefCell::new(None));
        let returns = Rc::clone(&result);
        let coroutine = Coroutine::with_stack(stack, move |yielder, ()| {
            // SAFETY: it is there until the coroutine has ended.
            let own = unsafe { &*own };
            own.yielder.set(yielder);
            returns.replace(Some(code()));
            drop(returns);
            own.leave_fiber();
            yielder.suspend(());
            unreachable!("it has ended")
        });
        // SAFETY: makes something new.
        let fiber = unsafe { __tsan_create_fiber(0) };
        Self { coroutine, own, fiber, result }
    }

    /// Runs it until it is suspended or ends.
    pub fn resume(&mut self) -> Resumed<R> {
        // SAFETY: the coroutine's `Own` is there while it has not ended; the fiber is its stack's, to which the next call
        // switches.
        unsafe { (*self.own).enter_fiber(__tsan_get_current_fiber(), self.fiber) };
        let CoroutineResult::Yield(()) = self.coroutine.resume(()) else { unreachable!("it is suspended at its end") };
        match self.result.take() {
            Some(result) => Resumed::Ended(result),
            None => Resumed::Suspended,
        }
    }

    /// The stack of a coroutine that has ended.
    pub fn into_stack(mut self) -> DefaultStack {
        // SAFETY: it is suspended at the end of the closure that began it, where nothing is left to be dropped. Nobody uses
        // the fiber again.
        unsafe {
            self.coroutine.force_reset();
            __tsan_destroy_fiber(self.fiber);
        }
        self.coroutine.into_stack()
    }
}
