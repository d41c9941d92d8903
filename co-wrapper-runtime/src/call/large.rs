//! Futures that may be too large for the caller's stack: they are kept in a box, and made and polled on a stack that
//! has room for them.
//!
//! The box alone does not suffice. A function that makes a future returns it by value, so that it passes over the stack
//! on its way into the box, and each `.await` of a large future does the same; optimized builds leave most of these
//! copies out, debug builds none. A thread with a small stack (64 KiB, or what a JVM gives) would overflow it.
//!
//! For the same reason the arguments of such a call go into a box at once, and so does its result.
//!
//! Which calls are large is known when the program is compiled, so that a small one contains nothing of this.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use crate::sys::big_stack::BigStack;

/// From how many bytes on a future is kept in a box.
const LARGE: usize = 16 << 10;

/// How much room a stack has besides copies of the future: as much as std gives a thread.
const ROOM: usize = 2 << 20;

/// For how many copies of the future there is room. A debug build makes one where the future is made, and one for each
/// level of large futures that await each other.
const COPIES: usize = 8;

/// Whether futures of this type, or their results, are kept in a box.
pub const fn is_large<F: Future>() -> bool {
    size_of::<F>() > LARGE || size_of::<F::Output>() > LARGE
}

/// A large future in its box, with the stack on which it is polled.
#[derive(Debug)]
pub struct Large<F> {
    future: Pin<Box<F>>,
    stack: BigStack,
}

impl<F: Future> Large<F> {
    /// Makes the future, on the large stack.
    pub fn make(make: impl FnOnce() -> F) -> Self {
        let mut stack = Self::stack();
        let future = stack.run(|| Box::pin(make()));
        Self { future, stack }
    }

    /// Takes a future that is already made and boxed.
    pub fn new(future: Pin<Box<F>>) -> Self {
        Self { future, stack: Self::stack() }
    }

    fn stack() -> BigStack {
        BigStack::new((size_of::<F>() + size_of::<F::Output>()).saturating_mul(COPIES).saturating_add(ROOM))
    }
}

impl<F: Future> Future for Large<F> {
    type Output = Box<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Box<F::Output>> {
        let Self { future, stack } = &mut *self;
        stack.run(|| future.as_mut().poll(cx).map(Box::new))
    }
}
