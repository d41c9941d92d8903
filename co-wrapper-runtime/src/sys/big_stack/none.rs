//! The fallback for platforms without a stack switch: the closure runs on the thread's own stack.

/// A stack that does not exist.
#[derive(Debug)]
pub struct BigStack;

impl BigStack {
    pub fn new(_bytes: usize) -> Self {
        Self
    }

    pub fn run<R>(&mut self, f: impl FnOnce() -> R) -> R {
        f()
    }
}
