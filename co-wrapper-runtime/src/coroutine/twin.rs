//! What the async twin of a fn marked `#[no_co_wrapper(unsafe(coroutine))]` calls: the fn as a coroutine where the twin
//! is awaited.

use std::{
    borrow::{Borrow, ToOwned},
    future::Future,
    marker::PhantomData,
    panic::Location,
};

use super::handle::Coroutine;
use crate::call::Wrapper;

/// The promise of [`Coroutine::new`], given.
#[derive(Debug)]
pub struct Promise(());

/// Promises that a closure keeps what [`Coroutine::new`] asks of it.
///
/// # Safety
///
/// The same as for [`Coroutine::new`], of the body that this is passed with.
pub unsafe fn promise() -> Promise {
    Promise(())
}

/// A future that runs `body(args)` as a [`Coroutine`], which it makes when it is first polled. It owns what it needs,
/// and may be dropped or forgotten at any time.
///
/// # Panics
///
/// Awaiting it panics if no stack can be mapped, in a forked child, and with the panic of the body.
#[track_caller]
pub fn as_coroutine<S: 'static, R: 'static>(
    wrapper: &'static Wrapper,
    _promise: Promise,
    args: S,
    body: impl FnOnce(S) -> R + 'static,
) -> impl Future<Output = R> + 'static {
    let site = Location::caller();
    async move {
        // SAFETY: as was promised.
        unsafe { Coroutine::of_call(wrapper.name, site, move || body(args)) }.await
    }
}

/// An argument `&T` is converted to this, and the coroutine borrows it again. `O` is `T::Owned`; a bound that says so
/// would be reported twice wherever `T` breaks it.
pub struct OwnedHere<T: ?Sized, O> {
    value: O,
    lent: PhantomData<fn(&T)>,
}

impl<T: ?Sized, O: Borrow<T>> OwnedHere<T, O> {
    /// The argument as the function takes it.
    pub fn get(&self) -> &T {
        self.value.borrow()
    }
}

/// Makes the owned copy. A type that has none is an error at that argument.
pub fn owned_here<T: ToOwned + ?Sized>(value: &T) -> OwnedHere<T, T::Owned> {
    OwnedHere { value: value.to_owned(), lent: PhantomData }
}
