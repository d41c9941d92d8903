//! Panics of other people's code: wakers, destructors, callbacks, subscribers, and payloads whose own drop panics.
//!
//! The rule is that such a panic reaches one place and costs nobody else anything. So each piece of others' code that runs
//! beside other pieces is caught by itself; the first panic is kept and raised when the rest has run. Where nothing may be
//! raised (the thread unwinds already, or the caller would end the process) the panic hook's message has to do. Which
//! place does what is a table in ARCHITECTURE.md.
//!
//! Nothing here runs under a lock, and nothing here may be called under one.

use std::{
    any::Any,
    fmt,
    io::{self, Write},
    mem::{self, ManuallyDrop},
    ops::{Deref, DerefMut},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    task::Waker,
    thread,
};

/// What somebody's code panicked with. Dropping it does not panic, which the payload of `panic_any` may.
pub struct Payload(ManuallyDrop<Box<dyn Any + Send>>);

impl Payload {
    /// Runs `run`, or says what it panicked with.
    ///
    /// # Errors
    ///
    /// The panic of `run`.
    pub fn of<R>(run: impl FnOnce() -> R) -> Result<R, Self> {
        // What ran is dropped by its panic, and what it shared with others is theirs to guard, as across threads.
        catch_unwind(AssertUnwindSafe(run)).map_err(|payload| Self(ManuallyDrop::new(payload)))
    }

    /// Panics with it, without another message.
    pub fn resume(self) -> ! {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: taken once, for `this` is not dropped.
        resume_unwind(unsafe { ManuallyDrop::take(&mut this.0) })
    }

    /// The same unless the thread unwinds already: a second panic would abort the process, so it is reported instead.
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
        // SAFETY: dropped here only: `resume` takes it out of a value that is never dropped.
        discard(unsafe { ManuallyDrop::take(&mut self.0) });
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Payload")
    }
}

/// Says on stderr what nobody else will hear of. Not by `eprintln!`, which panics where stderr is a closed pipe.
pub fn report(what: &str) {
    let _ = writeln!(io::stderr(), "co_wrapper: {what}");
}

/// Runs `run` and keeps the first panic.
pub fn catch(first: &mut Option<Payload>, run: impl FnOnce()) {
    if let Err(payload) = Payload::of(run) {
        first.get_or_insert(payload);
    }
}

/// Raises what was kept.
#[inline]
pub fn raise(first: Option<Payload>) {
    if let Some(payload) = first {
        payload.raise();
    }
}

/// Drops `value` where nothing may be raised. The hook has printed the message of a destructor's panic.
pub fn discard<T>(value: T) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        // A payload whose drop panics; the payload of that panic may do the same, and so on.
        mem::forget(payload);
    }
}

/// Drops `value` in a destructor of ours, which may run while the thread unwinds: then a panic is not raised.
pub fn drop_one<T>(value: T) {
    if thread::panicking() {
        discard(value);
    } else {
        drop(value);
    }
}

/// Drops each of `values`, and then raises the first panic.
pub fn drop_each<T>(values: impl IntoIterator<Item = T>) {
    let mut first = None;
    values.into_iter().for_each(|value| catch(&mut first, || drop(value)));
    raise(first);
}

/// Wakes each of `wakers`, and then raises the first panic.
pub fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    let mut first = None;
    wakers.into_iter().for_each(|waker| catch(&mut first, || waker.wake()));
    raise(first);
}

/// A value of the user's in a scope that a panic of the user's may unwind: then its destructor's own panic is not raised.
#[derive(Clone, Debug)]
pub struct Guarded<T>(ManuallyDrop<T>);

impl<T> Guarded<T> {
    pub fn new(value: T) -> Self {
        Self(ManuallyDrop::new(value))
    }

    /// The value, out of the guard.
    pub fn into_inner(self) -> T {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: taken once, for `this` is not dropped.
        unsafe { ManuallyDrop::take(&mut this.0) }
    }
}

impl<T> Deref for Guarded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Guarded<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        // SAFETY: dropped here only: `into_inner` takes it out of a value that is never dropped.
        drop_one(unsafe { ManuallyDrop::take(&mut self.0) });
    }
}
