//! The shortest way from each root to each plain twin that is reached from it.

use crate::{
    allow::Comments,
    follow::Follower,
    graph::{Edge, Held, Node, Shape, Sure},
    names,
    program::{Id, Origin, Place, Program},
};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet},
};

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A plain twin is reached from a body that runs in coroutine context.
    Twin,
    /// The graph's write lock is taken below a read guard.
    WriteBelowRead,
    /// A guard of a std lock is alive across a blocking call in coroutine context.
    GuardAcrossCall,
}

/// A way from a root to a plain twin, or from where a guard is held.
#[derive(Debug)]
pub struct Finding {
    /// Whose body runs in coroutine context.
    pub root: Id,
    /// What each step leads to, the twin last.
    pub path: Vec<Step>,
    pub sure: Sure,
    /// Only other executors poll the root, as far as can be seen.
    pub is_elsewhere: bool,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub struct Step {
    pub to: Id,
    pub place: Option<Place>,
    pub sure: Sure,
}

/// The cost of the cheapest way from a node to the twin, and the node that calls next on it, with its edge.
type Ways = HashMap<Node, (u32, Option<(Node, usize)>)>;

/// One mistake: where in which root which twin is reached from.
type Key = (String, Option<Place>, String);

pub struct Search<'a> {
    follower: &'a mut Follower,
    comments: &'a mut Comments,
    /// Own roots that run in coroutines of ours, and those of which nobody here makes use.
    ours: Vec<bool>,
    roots: Vec<Node>,
    /// Calls through pointers too that are possible by their types alone.
    with_possible: bool,
}

impl<'a> Search<'a> {
    pub fn new(follower: &'a mut Follower, comments: &'a mut Comments, with_possible: bool) -> Self {
        let ours = follower.program.polled_by_us();
        let used = used(follower);
        let ours = ours.iter().zip(used).map(|(ours, used)| *ours || !used).collect();
        let functions: Vec<Id> = (0..follower.program.items.len())
            .filter(|id| {
                let item = &follower.program.items[*id];
                item.is_root && (item.reaches || with_possible && item.is_indirect)
            })
            .collect();
        let roots = functions.into_iter().map(|function| follower.root(function)).collect();
        Self { follower, comments, ours, roots, with_possible }
    }

    /// All of them, the surest way for each mistake.
    pub fn findings(mut self) -> Vec<Finding> {
        let mut found: HashMap<Key, Finding> = HashMap::new();
        if self.with_possible {
            self.add_possible();
        }
        let last = if self.with_possible { Sure::Possible } else { Sure::HandedOn };
        for most in [Sure::Unreadable, Sure::HandedOn, last] {
            for (key, finding) in self.pass(most) {
                found.entry(key).or_insert(finding);
            }
        }
        found.into_values().collect()
    }

    /// With edges that are at least so sure.
    fn pass(&mut self, most: Sure) -> Vec<(Key, Finding)> {
        let callers = self.callers(most);
        let program = &self.follower.program;
        let mut best: HashMap<Key, (u32, Node, Finding)> = HashMap::new();
        let twins = (0..self.follower.nodes.len()).filter(|node| {
            program.items[self.follower.nodes[*node].function()].twin.as_ref().is_some_and(|twin| !twin.mixed)
        });
        for twin in twins {
            let function = self.follower.nodes[twin].function();
            let item = &program.items[function];
            // It has the blocking call in its own body: by hand, or because the twin was inlined.
            if item.is_root {
                let place = item.definition.as_ref().and_then(|definition| definition.place);
                let known = item.twin.as_ref().is_some_and(|twin| twin.is_known);
                let sure = if known { Sure::Called } else { Sure::Unreadable };
                let path = vec![Step { to: function, place, sure }];
                let name = names::plain(&item.name);
                let finding =
                    Finding { root: function, path, sure, is_elsewhere: !self.ours[function], kind: Kind::Twin };
                best.insert((name.clone(), place, name), (1, twin, finding));
                continue;
            }
            let mut via = Ways::from([(twin, (0, None))]);
            let mut open = BinaryHeap::from([Reverse((0u32, twin))]);
            while let Some(Reverse((cost, at))) = open.pop() {
                if via[&at].0 < cost {
                    continue;
                }
                for (from, index) in &callers[at] {
                    let edge = &self.follower.nodes[*from].followed.edges[*index];
                    let step = match edge.sure {
                        Sure::Called => 1,
                        Sure::IfThere | Sure::Unreadable => 1000,
                        Sure::HandedOn => 10_000,
                        Sure::Possible => 1_000_000,
                    };
                    let cost = cost + step;
                    let function = self.follower.nodes[*from].function();
                    if program.items[function].is_root {
                        let name = |node: Node| names::plain(&program.items[self.follower.nodes[node].function()].name);
                        let key = (name(*from), edge.place, name(twin));
                        if best.get(&key).is_none_or(|(other, ..)| *other > cost) {
                            let path = self.path((*from, *index), &via);
                            let sure = path.iter().map(|step| step.sure).max().unwrap_or(Sure::Called);
                            let is_elsewhere = !self.ours[function];
                            best.insert(
                                key,
                                (cost, *from, Finding { root: function, path, sure, is_elsewhere, kind: Kind::Twin }),
                            );
                        }
                    } else if via.get(from).is_none_or(|(other, _)| *other > cost) {
                        via.insert(*from, (cost, Some((*from, *index))));
                        open.push(Reverse((cost, *from)));
                    }
                }
            }
        }
        best.into_iter().map(|(key, (_, _, finding))| (key, finding)).collect()
    }

    /// Who calls each node, by which edge.
    fn callers(&mut self, most: Sure) -> Vec<Vec<(Node, usize)>> {
        let called = self.called_shapes();
        let mut callers = vec![Vec::new(); self.follower.nodes.len()];
        for (from, called) in called.iter().enumerate() {
            let function = self.follower.nodes[from].function();
            let item = &self.follower.program.items[function];
            if item.twin.is_some() {
                continue;
            }
            let awaited = self.awaited(from);
            for (index, edge) in self.follower.nodes[from].followed.edges.iter().enumerate() {
                if edge.sure > most {
                    continue;
                }
                let to = &self.follower.program.items[self.follower.nodes[edge.to].function()];
                if names::dropped(&to.name).is_some_and(|of| awaited.contains(of)) {
                    continue;
                }
                // Nobody who is reached from the same root calls what is like it.
                if edge.shape.as_ref().is_some_and(|shape| !called.contains(shape)) {
                    continue;
                }
                let is_allowed = item.origin == Origin::Own
                    && edge
                        .place
                        .is_some_and(|place| self.comments.allow(&self.follower.program.files[place.file], place.line));
                if !is_allowed {
                    callers[edge.to].push((from, index));
                }
            }
        }
        callers
    }

    /// For each node: how pointers are called that are not known, in all that is reached from the roots that reach the node.
    fn called_shapes(&self) -> Vec<HashSet<Shape>> {
        let nodes = &self.follower.nodes;
        let mut shapes = vec![HashSet::new(); nodes.len()];
        for root in &self.roots {
            let mut seen = HashSet::from([*root]);
            let mut open = vec![*root];
            let mut handing = Vec::new();
            let mut called = HashSet::new();
            while let Some(at) = open.pop() {
                let followed = &nodes[at].followed;
                let origin = self.follower.program.items[nodes[at].function()].origin;
                if origin != Origin::Runtime {
                    called.extend(followed.indirect.iter().map(|(shape, _)| shape.clone()));
                }
                if followed.edges.iter().any(|edge| edge.shape.is_some()) {
                    handing.push(at);
                }
                open.extend(
                    followed
                        .edges
                        .iter()
                        .filter(|edge| edge.sure <= Sure::Unreadable)
                        .map(|edge| edge.to)
                        .filter(|to| seen.insert(*to)),
                );
            }
            for node in handing {
                shapes[node].extend(called.iter().cloned());
            }
        }
        shapes
    }

    /// A future that was awaited is done when it is dropped.
    fn awaited(&self, node: Node) -> HashSet<String> {
        let items = &self.follower.program.items;
        let called = self.follower.nodes[node].followed.edges.iter().filter(|edge| edge.sure == Sure::Called);
        let called = called.map(|edge| &items[self.follower.nodes[edge.to].function()]);
        called
            .filter(|item| item.label.starts_with("{async_"))
            .map(|item| item.name.trim_end_matches('>').to_owned())
            .collect()
    }

    /// Edges to whatever a call through an unknown pointer may lead to, by its types.
    fn add_possible(&mut self) {
        let mut by_shape: HashMap<Shape, Vec<Id>> = HashMap::new();
        let program = &self.follower.program;
        for item in program.items.iter().filter(|item| item.is_vtable) {
            for (at, to) in item.pointers.iter().flatten().filter(|(at, _)| *at >= 24) {
                if let Some(definition) = &program.items[*to].definition {
                    let shape = Shape { slot: Some(*at as i64), signature: definition.function.signature.clone() };
                    by_shape.entry(shape).or_default().push(*to);
                }
            }
        }
        for id in &program.taken {
            let item = &program.items[*id];
            if let Some(definition) = item.definition.as_ref().filter(|_| item.origin == Origin::Own) {
                let shape = Shape { slot: None, signature: definition.function.signature.clone() };
                by_shape.entry(shape).or_default().push(*id);
            }
        }
        for node in 0..self.follower.nodes.len() {
            if self.follower.program.items[self.follower.nodes[node].function()].origin != Origin::Own {
                continue;
            }
            for (shape, place) in self.follower.nodes[node].followed.indirect.clone() {
                let mut functions = by_shape.get(&shape).cloned().unwrap_or_default();
                functions.sort_unstable();
                functions.dedup();
                for function in functions {
                    let item = &self.follower.program.items[function];
                    let names_it = |place: Place| {
                        self.comments.names(&self.follower.program.files[place.file], place.line, &item.last)
                    };
                    // A method is called by its name.
                    if !item.reaches
                        || shape.slot.is_some() && !item.last.starts_with('{') && !place.is_some_and(names_it)
                    {
                        continue;
                    }
                    let to = self.follower.any(function);
                    self.follower.nodes[node].followed.edges.push(Edge {
                        to,
                        place,
                        sure: Sure::Possible,
                        shape: None,
                        held: Held::default(),
                    });
                }
            }
        }
    }

    fn path(&self, (from, index): (Node, usize), via: &Ways) -> Vec<Step> {
        let nodes = &self.follower.nodes;
        let mut path = Vec::new();
        let mut next = Some((from, index));
        while let Some((from, index)) = next {
            let edge = &nodes[from].followed.edges[index];
            path.push(Step { to: nodes[edge.to].function(), place: edge.place, sure: edge.sure });
            next = via[&edge.to].1;
        }
        path
    }
}

/// The surest first; in the order of files and lines.
pub fn sort(findings: &mut [Finding], program: &Program) {
    findings.sort_by_cached_key(|finding| {
        let place = finding.path[0].place.map(|place| (program.files[place.file].clone(), place.line, place.column));
        (Reverse(crate::report::level(finding)), finding.sure, place, finding.path.len())
    });
}

/// What anything else here calls or points to.
fn used(follower: &Follower) -> Vec<bool> {
    let items = &follower.program.items;
    let mut used = vec![false; items.len()];
    for (id, item) in items.iter().enumerate() {
        let named = item.definition.iter().flat_map(|d| d.calls.iter().chain(&d.mentions)).copied();
        for to in named.chain(item.pointers.iter().flatten().map(|(_, to)| *to)) {
            used[to] |= to != id;
        }
    }
    used
}
