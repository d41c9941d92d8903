//! The same interface without the feature `tracing`; it does nothing.

use std::{panic::Location, time::Duration};

/// An empty span.
#[derive(Clone, Debug)]
pub struct Span;

impl Span {
    /// Makes an empty span.
    #[inline]
    pub fn call(_: &'static str, _: &'static Location<'static>) -> Self {
        Self
    }

    /// Makes nothing current.
    #[inline]
    pub fn enter(&self) -> Entered {
        Entered
    }
}

/// The spans of a suspended coroutine: none.
#[cfg(feature = "coroutine")]
pub struct Left;

#[cfg(feature = "coroutine")]
impl Left {
    pub fn new() -> Self {
        Self
    }

    pub fn enter_again(&self) -> Span {
        Span
    }

    pub fn leave(&self, _: Span) {}
}

/// An empty guard.
pub struct Entered;

pub fn park() {}

pub fn nested(_: &'static str, _: usize) {}

pub fn stall(_: &'static str, _: &'static Location<'static>, _: Duration) {}
