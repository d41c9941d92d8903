//! Without the feature `graph` nobody asks which task runs.

#[derive(Clone, Copy)]
pub struct Unit;

impl Unit {
    pub fn new() -> Self {
        Self
    }

    pub fn run(self) -> Running {
        Running
    }
}

pub struct Running;

#[derive(Default)]
pub struct Suspended {}

impl Suspended {
    pub fn dispatch(&self, _: usize) -> Dispatched {
        Dispatched
    }
}

pub struct Dispatched;
