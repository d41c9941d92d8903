//! Panics of users' code: wakers, destructors, callbacks, subscribers, and payloads whose own drop panics.
//!
//! The rule: such a panic is raised at one place and does no damage elsewhere. Where several pieces of users' code run
//! one after the other, each is caught by itself; the first panic is kept and raised after all have run. Where no panic
//! may be raised (the thread is unwinding, or the panic would end the process), the panic hook's message is all that is
//! heard. A table in ARCHITECTURE.md lists every place and what it does.
//!
//! Nothing here may be called while a lock is held.

use std::{
    any::Any,
    fmt,
    io::{self, Write},
    mem,
    ops::Deref,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    task::Waker,
    thread,
};

/// The payload of a panic in users' code. Dropping it does not panic, although the payload of a `panic_any` may.
pub struct Payload(Box<dyn Any + Send>);

impl Payload {
    /// Runs `run` and catches its panic.
    ///
    /// # Errors
    ///
    /// The panic of `run`.
    pub fn of<R>(run: impl FnOnce() -> R) -> Result<R, Self> {
        // The panic drops whatever `run` owns; data that it shares is protected by its owner, as between threads.
        catch_unwind(AssertUnwindSafe(run)).map_err(Self)
    }

    /// A panic with this payload that has not begun.
    #[cfg(feature = "coroutine")]
    pub fn new(payload: impl Any + Send) -> Self {
        Self(Box::new(payload))
    }

    /// Whether the payload is a `T`.
    #[cfg(feature = "coroutine")]
    pub fn is<T: Any>(&self) -> bool {
        self.0.is::<T>()
    }

    /// Continues the panic, without calling the panic hook again.
    pub fn resume(mut self) -> ! {
        resume_unwind(self.take())
    }

    /// Takes the payload out and leaves one that is nothing, which allocates nothing either.
    fn take(&mut self) -> Box<dyn Any + Send> {
        mem::replace(&mut self.0, Box::new(()))
    }

    /// Continues the panic, unless the thread unwinds already: a second panic would abort the process, so it is only
    /// reported.
    pub fn raise(self) {
        if thread::panicking() {
            report("a second panic is dropped: its thread unwinds already");
        } else {
            self.resume();
        }
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        discard(self.take());
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Payload")
    }
}

/// Writes a message to stderr. Does not use `eprintln!`, which panics if stderr is a closed pipe.
pub fn report(what: &str) {
    let _ = writeln!(io::stderr(), "co_wrapper: {what}");
}

/// Runs `run`, and keeps its panic if it is the first.
pub fn catch(first: &mut Option<Payload>, run: impl FnOnce()) {
    if let Err(payload) = Payload::of(run) {
        first.get_or_insert(payload);
    }
}

/// Raises the panic that was kept, if any.
#[inline]
pub fn raise(first: Option<Payload>) {
    if let Some(payload) = first {
        payload.raise();
    }
}

/// Drops `value` where no panic may be raised. If its destructor panics, the panic hook has printed the message.
pub fn discard<T>(value: T) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        // The payload's own drop may panic too, and so may the payload of that panic.
        mem::forget(payload);
    }
}

/// Drops `value` in one of our destructors. Those may run while the thread unwinds; then a panic of `value` is not
/// raised.
pub fn drop_one<T>(value: T) {
    if thread::panicking() {
        discard(value);
    } else {
        drop(value);
    }
}

/// Drops all `values`, then raises the first panic.
pub fn drop_each<T>(values: impl IntoIterator<Item = T>) {
    let mut first = None;
    values.into_iter().for_each(|value| catch(&mut first, || drop(value)));
    raise(first);
}

/// Wakes all `wakers`, then raises the first panic.
pub fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    let mut first = None;
    wakers.into_iter().for_each(|waker| catch(&mut first, || waker.wake()));
    raise(first);
}

/// A user's value in a scope that may unwind. If it does, a panic of the value's destructor is not raised.
#[derive(Clone, Debug)]
pub struct Guarded<T>(Option<T>);

const THERE: &str = "there until `into_inner` or the drop takes it";

impl<T> Guarded<T> {
    pub fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// Takes the value out.
    pub fn into_inner(mut self) -> T {
        self.0.take().expect(THERE)
    }
}

impl<T> Deref for Guarded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect(THERE)
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        drop_one(self.0.take());
    }
}
