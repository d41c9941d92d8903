//! The stub without the feature `graph`, which alone needs task ids.

#[derive(Clone, Copy)]
pub struct Unit;

impl Unit {
    pub const NONE: Self = Self;

    pub fn new() -> Self {
        Self
    }
}

#[derive(Default)]
pub struct Suspended {}

impl Suspended {
    pub fn dispatch(&self, _: Unit, _: usize) -> Dispatched {
        Dispatched
    }
}

pub struct Dispatched;
