//! The arguments of a call whose future may be dropped or forgotten while a bottom half uses them: all are owned.

use std::borrow::{Borrow, ToOwned};

/// What an argument `&T` becomes: the bottom half borrows it again.
pub struct Owned<T: ToOwned + ?Sized>(T::Owned);

impl<T: ToOwned + ?Sized> Owned<T> {
    /// As the function wants it.
    pub fn get(&self) -> &T {
        self.0.borrow()
    }
}

/// Takes what is behind a reference along, so that a type which cannot be is an error at that argument.
pub fn owned<T>(value: &T) -> Owned<T>
where
    T: ToOwned<Owned: Send> + ?Sized + 'static,
{
    Owned(value.to_owned())
}

/// The same of an argument that is passed by value.
pub fn kept<T: Send + 'static>(value: T) -> T {
    value
}
