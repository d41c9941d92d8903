//! Guards that are alive across a call which waits: a read guard of the graph lock where the write lock is taken, which waits for
//! itself; and a guard of std's locks across a blocking call in coroutine context, which other tasks of the thread may need.
//!
//! A guard is alive during a call if it is dropped when the call unwinds.

use crate::{
    allow::Comments,
    follow::{Follower, Frame},
    graph::{Held, Node, Sure},
    ir::{Body, Callee, Operation, Terminator},
    memory::{Memory, Value},
    names,
    program::{Id, Item, Origin, Program},
    search::{Finding, Kind, Step},
    tables,
};
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

/// The destructors of guards that the function calls.
pub fn destructors(program: &Program, function: Id) -> HashMap<Id, Held> {
    let Some(definition) = &program.items[function].definition else { return HashMap::new() };
    let guard = |id: Id| Held {
        graph: program.drops(id, |of| of == tables::GRAPH_GUARD),
        mutex: program
            .drops(id, |of| of.starts_with("std::sync::") && tables::STD_GUARDS.iter().any(|guard| of.contains(guard))),
    };
    definition.calls.iter().map(|id| (*id, guard(*id))).filter(|(_, held)| *held != Held::default()).collect()
}

impl Follower {
    /// Which guards are alive during what the block calls last. A flag may say whether a variable is to be dropped: what is dropped
    /// only if a flag is set of which nothing is known does not count.
    pub fn held_during(&mut self, frame: &mut Frame, body: &Body, block: usize, memory: &Memory) -> Held {
        let mut held = Held::default();
        if frame.guards.is_empty() {
            return held;
        }
        let mut open: Vec<(usize, bool)> = body.blocks[block].unwind.into_iter().map(|to| (to, true)).collect();
        let mut seen: HashSet<(usize, bool)> = open.iter().copied().collect();
        while let Some((at, counts)) = open.pop() {
            for (number, instruction) in body.blocks[at].instructions.iter().enumerate() {
                match &instruction.operation {
                    Operation::Call(call) if counts => {
                        if let Callee::Name(name) = &call.callee
                            && let Some(guard) =
                                self.program.find(frame.module, name).and_then(|id| frame.guards.get(&id))
                        {
                            held.graph |= guard.graph;
                            held.mutex |= guard.mutex;
                        }
                    }
                    Operation::Load(..) | Operation::Cast(..) | Operation::Offset(..) => {
                        let value = self.instruction(frame, body, &mut memory.clone(), (at, number), instruction);
                        if let Some(result) = instruction.result {
                            frame.registers[result] = value;
                        }
                    }
                    _ => {}
                }
            }
            let next = match &body.blocks[at].terminator {
                Terminator::Goto(to) => vec![(*to, true)],
                Terminator::Branch(condition, yes, no) => match frame.value(condition, &self.program) {
                    Value::Integer(0) => vec![(*no, true)],
                    Value::Integer(_) => vec![(*yes, true)],
                    _ => vec![(*yes, false), (*no, true)],
                },
                Terminator::Switch(_, default, cases) => {
                    cases.iter().map(|(_, to)| *to).chain([*default]).map(|to| (to, true)).collect()
                }
                _ => Vec::new(),
            };
            open.extend(next.into_iter().filter(|to| seen.insert(*to)));
        }
        held
    }
}

/// Calls below a read guard that take the write lock; and, if asked for, blocking calls in coroutine context below a guard of
/// std.
pub fn findings(follower: &mut Follower, comments: &mut Comments, with_notes: bool) -> Vec<Finding> {
    let in_coroutines: Vec<Node> = (0..follower.nodes.len()).collect();
    let reads = |program: &Program, item: &Item| {
        let calls = item.definition.iter().flat_map(|definition| definition.calls.iter());
        item.origin == Origin::Own && calls.into_iter().any(|call| program.drops(*call, |of| of == tables::GRAPH_GUARD))
    };
    let program = &follower.program;
    let readers: Vec<Id> = (0..program.items.len()).filter(|id| reads(program, &program.items[*id])).collect();
    let readers: Vec<Node> = readers
        .into_iter()
        .map(|id| if follower.program.items[id].is_root { follower.root(id) } else { follower.any(id) })
        .collect();
    let mut findings = Vec::new();
    let mut told = BTreeSet::new();
    for (nodes, kind) in [(readers, Kind::WriteBelowRead), (in_coroutines, Kind::GuardAcrossCall)] {
        if kind == Kind::GuardAcrossCall && !with_notes {
            continue;
        }
        for node in nodes {
            let function = follower.nodes[node].function();
            if follower.program.items[function].origin != Origin::Own {
                continue;
            }
            for edge in &follower.nodes[node].followed.edges {
                let is_held = if kind == Kind::WriteBelowRead { edge.held.graph } else { edge.held.mutex };
                let allowed =
                    edge.place.is_some_and(|place| comments.allow(&follower.program.files[place.file], place.line));
                if !is_held || allowed || edge.sure > Sure::Unreadable {
                    continue;
                }
                let Some(mut path) = way(follower, edge.to, kind) else { continue };
                path.insert(0, Step { to: follower.nodes[edge.to].function(), place: edge.place, sure: edge.sure });
                if told.insert((kind as u8, names::plain(&follower.program.items[function].name), edge.place)) {
                    findings.push(Finding { root: function, path, sure: Sure::Called, is_elsewhere: false, kind });
                }
            }
        }
    }
    findings
}

/// The shortest way from there, without the first step, to what takes the write lock or blocks.
fn way(follower: &Follower, from: Node, kind: Kind) -> Option<Vec<Step>> {
    let is_end = |node: Node| {
        let item = &follower.program.items[follower.nodes[node].function()];
        if kind == Kind::WriteBelowRead { item.writes } else { item.twin.is_some() }
    };
    let mut via: HashMap<Node, Option<(Node, usize)>> = HashMap::from([(from, None)]);
    let mut open = VecDeque::from([from]);
    while let Some(at) = open.pop_front() {
        if is_end(at) {
            let mut path = Vec::new();
            let mut next = via[&at];
            while let Some((caller, index)) = next {
                let edge = &follower.nodes[caller].followed.edges[index];
                path.insert(0, Step { to: follower.nodes[edge.to].function(), place: edge.place, sure: edge.sure });
                next = via[&caller];
            }
            return Some(path);
        }
        for (index, edge) in follower.nodes[at].followed.edges.iter().enumerate() {
            if edge.sure <= Sure::Unreadable && !via.contains_key(&edge.to) {
                via.insert(edge.to, Some((at, index)));
                open.push_back(edge.to);
            }
        }
    }
    None
}
