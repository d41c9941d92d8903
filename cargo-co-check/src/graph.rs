//! The call graph that is searched: functions in contexts, and the calls between them.

use crate::{
    context::{Facts, Outcome},
    program::{Id, Place},
};

/// A function in a context.
pub type Node = usize;

/// How sure it is that what an edge leads to is called: there and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sure {
    /// Called, or dropped.
    Called,
    /// Dropped if the value has it, or if this is the last of the pointers that are counted: neither is known.
    IfThere,
    /// It is called; what its wrapper says of itself, maybe `mixed`, could not be read.
    Unreadable,
    /// A pointer to it, or a `dyn` with it, is made and handed on.
    HandedOn,
    /// A call through a pointer or `dyn` that may be to it.
    Possible,
}

/// Through what a pointer is called: the offset in a vtable, if it is from one, and the types.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    pub slot: Option<i64>,
    pub signature: Box<str>,
}

/// Which guards are alive during a call: those which are dropped if it unwinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// A read guard of the graph lock.
    pub graph: bool,
    /// Of a mutex or rwlock of std.
    pub mutex: bool,
}

#[derive(Clone, Debug)]
pub struct Edge {
    pub to: Node,
    pub place: Option<Place>,
    pub sure: Sure,
    /// Of what is handed on: how it would be called. `None` if who gets it is not known, and may call it.
    pub shape: Option<Shape>,
    pub held: Held,
}

/// A node of the graph, and what was found when the function was followed in it.
#[derive(Default)]
pub struct Followed {
    pub edges: Vec<Edge>,
    /// Calls through pointers of which it is not known where they lead.
    pub indirect: Vec<(Shape, Option<Place>)>,
    pub outcome: Option<Outcome>,
    pub is_done: bool,
}

pub struct NodeData {
    pub facts: Facts,
    pub followed: Followed,
}

impl NodeData {
    pub fn function(&self) -> Id {
        self.facts.function
    }
}
