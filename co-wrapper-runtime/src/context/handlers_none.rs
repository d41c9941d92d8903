//! Without the feature `tokio`, and where there are no Unix descriptors, there are no descriptor handlers.

use std::sync::Arc;

use crate::tasks::mailbox::Mailbox;

#[derive(Default)]
pub struct Handlers {}

/// None can be made.
pub enum Handler {}

impl Handlers {
    pub fn is_empty(&self) -> bool {
        true
    }

    pub fn ready(&self) -> Vec<Arc<Handler>> {
        Vec::new()
    }

    pub fn arm(&self, _: &Arc<Mailbox>) -> bool {
        true
    }
}

impl Handler {
    pub fn call(&self) {
        match *self {}
    }
}
