//! Without the feature `tokio`, and where there are no Unix descriptors, there are no descriptor handlers.

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

/// What a thread watches in its sleep: nothing.
#[derive(Default)]
pub struct Watch {}

impl Watch {
    pub fn add(&mut self, _: &Handlers) {}

    pub fn is_ready(&self) -> bool {
        false
    }

    pub fn sleep(&self, parker: &Parker, until: Option<Instant>) {
        parker.park(until);
    }
}
