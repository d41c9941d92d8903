//! What is behind a reference, for a call whose future may be dropped or forgotten while a bottom half uses it: it is
//! owned.

use std::{
    borrow::{Borrow, ToOwned},
    marker::PhantomData,
};

/// What an argument `&T` becomes: the bottom half borrows it again. `O` is `T::Owned`; a bound that says so would be told of
/// once more wherever `T` breaks it.
pub struct Owned<T: ?Sized, O> {
    value: O,
    lent: PhantomData<fn(&T)>,
}

// SAFETY: the fields are private, and [`owned`] alone fills them, with an `O: Send`; there is no `T` in it. That every
// `Owned` is `Send` keeps an `O` which is not from being told of a second time, at the call.
unsafe impl<T: ?Sized, O> Send for Owned<T, O> {}

impl<T: ?Sized, O: Borrow<T>> Owned<T, O> {
    /// As the function wants it.
    pub fn get(&self) -> &T {
        self.value.borrow()
    }
}

/// Takes what is behind a reference along, so that a type which cannot be is an error at that argument.
pub fn owned<T: ToOwned<Owned: Send> + ?Sized>(value: &T) -> Owned<T, T::Owned> {
    Owned { value: value.to_owned(), lent: PhantomData }
}
