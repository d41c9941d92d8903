//! Owned copies of borrowed arguments, for calls whose future may be dropped or forgotten while a bottom half uses the
//! argument.

use std::{
    borrow::{Borrow, ToOwned},
    marker::PhantomData,
};

/// An argument `&T` is converted to this, and the bottom half borrows it again. `O` is `T::Owned`; a bound that says so
/// would be reported twice wherever `T` breaks it.
pub struct Owned<T: ?Sized, O> {
    value: O,
    lent: PhantomData<fn(&T)>,
}

// SAFETY: the fields are private, and only [`owned`] fills them, with an `O: Send`; they contain no `T`. Every `Owned`
// is `Send` so that an `O` which is not is reported only once, not again at the call.
unsafe impl<T: ?Sized, O> Send for Owned<T, O> {}

impl<T: ?Sized, O: Borrow<T>> Owned<T, O> {
    /// The argument as the function takes it.
    pub fn get(&self) -> &T {
        self.value.borrow()
    }
}

/// Makes the owned copy. A type that has none, or whose copy is not `Send`, is an error at that argument.
pub fn owned<T: ToOwned<Owned: Send> + ?Sized>(value: &T) -> Owned<T, T::Owned> {
    Owned { value: value.to_owned(), lent: PhantomData }
}
