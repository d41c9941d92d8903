//! The stub for builds without descriptor handlers: without the feature `tokio`, or without Unix descriptors.

use std::time::Instant;

use crate::sys::park::Parker;

#[derive(Default)]
pub struct Handlers {}

impl Handlers {
    pub fn is_empty(&self) -> bool {
        true
    }

    pub fn queue_ready(&self) {}

    pub fn close(&self) {}
}

/// The descriptors that a thread watches while it sleeps: none.
#[derive(Default)]
pub struct Watch {}

impl Watch {
    pub fn add(&mut self, _: &Handlers) {}

    #[cfg(feature = "coroutine")]
    pub fn into_descriptors(self) -> Vec<Descriptor> {
        Vec::new()
    }

    pub fn is_ready(&self) -> bool {
        false
    }

    pub fn sleep(&self, parker: &Parker, until: Option<Instant>) {
        parker.park(until);
    }
}

/// There is none.
#[cfg(feature = "coroutine")]
pub enum Descriptor {}
