//! Follows a function in a context, block by block, until nothing changes: which calls it makes, which ways through it
//! there are, and what it leaves behind. So a destructor's way ends at a `None`, and a call through a pointer that was
//! made close by leads to where it leads.
//!
//! What unwinds is not followed. Where a bound is met, less is known, and never something else.

use crate::{
    context::{Facts, Outcome},
    graph::{Edge, Followed, Held, Node, NodeData, Shape, Sure},
    ir::{Body, Operand, Operation, Terminator},
    memory::{Cells, Lost, Memory, Object, Value},
    program::{Id, Place, Program},
    tables,
};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    rc::Rc,
};

/// Contexts of a function that are told apart: of a short one, of a long one, and of one of whose arguments only code
/// is told apart.
const CONTEXTS: [usize; 3] = [4096, 24, 512];
/// Lines of IR.
const SHORT: usize = 100;
/// Calls in each other that are followed with what is known of their arguments.
const DEPTH: usize = 80;
/// Lines of IR that are worth following for what they do to memory alone.
const LIGHT: usize = 500;
/// Instructions, for one root.
const STEPS: usize = 300_000;

pub struct Follower {
    pub program: Program,
    pub nodes: Vec<NodeData>,
    index: HashMap<Facts, Node>,
    contexts: HashMap<Id, usize>,
    bodies: HashMap<Id, Rc<Body>>,
    depth: usize,
    steps: usize,
}

/// One function while it is followed.
pub struct Frame {
    pub function: Id,
    pub module: usize,
    pub registers: Vec<Value>,
    /// By the pointer's register: its offset from the one that it was made of.
    pub offsets: HashMap<usize, i64>,
    /// By the register of what was loaded from a vtable: its offset there.
    pub slots: HashMap<usize, i64>,
    /// Objects that this function allocated, by the instruction, and how many others it had.
    names: HashMap<(usize, usize), usize>,
    next_object: usize,
    /// Facts have changed since all blocks were followed.
    changed: bool,
    /// The last time: what is found is kept.
    pub is_last: bool,
    pub edges: Vec<Edge>,
    pub indirect: Vec<(Shape, Option<Place>)>,
    /// A way was taken that may not be.
    is_doubtful: bool,
    /// Of a coroutine that begins here: where it keeps its state, and the memory with which each state goes on.
    state: Option<(i64, u64)>,
    suspended: HashMap<u128, Memory>,
    /// Code that was known on one way only.
    lost: BTreeSet<Id>,
    /// The destructors of guards that it calls.
    pub guards: HashMap<Id, Held>,
    /// Which of them are alive during what is called now.
    pub held: Held,
    /// Its variables, which are others in each poll.
    pub variables: Vec<usize>,
}

impl Frame {
    /// The number for an object that is allocated there.
    pub fn object(&mut self, block: usize, what: usize) -> usize {
        let next = self.next_object;
        let object = *self.names.entry((block, what)).or_insert(next);
        self.next_object = self.next_object.max(object + 1);
        object
    }

    pub fn value(&self, operand: &Operand, program: &Program) -> Value {
        match operand {
            Operand::Register(register) => self.registers[*register].clone(),
            Operand::Integer(number) => Value::Integer(*number),
            Operand::Symbol(symbol, offset) => match program.find(self.module, symbol) {
                Some(id) if program.holds_code(id) => Value::Symbol(id, *offset),
                _ => Value::Unknown,
            },
            Operand::Unknown => Value::Unknown,
        }
    }
}

impl Follower {
    pub fn new(program: Program) -> Self {
        Self {
            program,
            nodes: Vec::new(),
            index: HashMap::new(),
            contexts: HashMap::new(),
            bodies: HashMap::new(),
            depth: 0,
            steps: 0,
        }
    }

    /// The node of a function of whose arguments nothing is known.
    pub fn blank(&mut self, function: Id) -> Node {
        self.node(Facts::blank(function))
    }

    fn node(&mut self, facts: Facts) -> Node {
        if let Some(node) = self.index.get(&facts) {
            return *node;
        }
        let node = self.nodes.len();
        self.index.insert(facts.clone(), node);
        self.nodes.push(NodeData { facts, followed: Followed::default() });
        node
    }

    /// The node of a root, followed, as all that is reached from it.
    pub fn root(&mut self, function: Id) -> Node {
        self.steps = 0;
        let is_coroutine = self.program.items[function].label.starts_with("{async_");
        // Its own memory: nobody else has a pointer into it that is used between two polls.
        let facts = match is_coroutine {
            true => Facts { function, arguments: vec![Value::Pointer(0, Some(0))], objects: vec![Cells::new()] },
            false => Facts::blank(function),
        };
        let root = self.node(facts);
        self.follow_all(root)
    }

    /// Like `root`, of a function that may be called with anything.
    pub fn any(&mut self, function: Id) -> Node {
        self.steps = 0;
        let node = self.blank(function);
        self.follow_all(node)
    }

    fn follow_all(&mut self, from: Node) -> Node {
        let mut open = vec![from];
        let mut seen = HashSet::from([from]);
        while let Some(node) = open.pop() {
            self.follow(node);
            let edges: Vec<Node> = self.nodes[node].followed.edges.iter().map(|edge| edge.to).collect();
            open.extend(edges.into_iter().filter(|to| seen.insert(*to)));
        }
        from
    }

    fn body(&mut self, function: Id) -> Rc<Body> {
        let definition = &self.program.items[function].definition;
        let body = self.bodies.entry(function).or_insert_with(|| {
            Rc::new(
                definition
                    .as_ref()
                    .map_or_else(Body::default, |d| Body::parse(&d.function.text, &d.function.parameters)),
            )
        });
        Rc::clone(body)
    }

    /// The node for a call with these arguments, followed if that is of use; and the caller's objects behind the
    /// facts'.
    pub fn enter(&mut self, function: Id, arguments: &[Value], memory: &Memory) -> (Node, Option<Vec<usize>>) {
        let item = &self.program.items[function];
        let has_code = || arguments.iter().any(|value| self.leads_to_code(value, memory));
        let is_of_use = item.reaches || item.weight <= LIGHT || item.is_indirect && has_code();
        let is_possible = self.depth < DEPTH && self.steps < STEPS && item.definition.is_some();
        if !is_of_use || !is_possible {
            return (self.blank(function), None);
        }
        let is_short = item.definition.as_ref().is_some_and(|d| d.function.text.lines().nth(SHORT).is_none());
        let most = if is_short { CONTEXTS[0] } else { CONTEXTS[1] };
        let all = Facts::of(function, arguments, memory);
        let known = all.clone().filter(|(facts, _)| self.has_room(facts, most));
        let known =
            known.or_else(|| Some((all?.0.code_only(), None)).filter(|(facts, _)| self.has_room(facts, CONTEXTS[2])));
        if let Some((facts, objects)) = known {
            let is_new = !self.index.contains_key(&facts);
            *self.contexts.entry(function).or_default() += usize::from(is_new);
            let node = self.node(facts);
            self.depth += 1;
            self.follow(node);
            self.depth -= 1;
            return (node, objects);
        }
        (self.blank(function), None)
    }

    fn has_room(&self, facts: &Facts, most: usize) -> bool {
        self.index.contains_key(facts) || self.contexts.get(&facts.function).is_none_or(|contexts| *contexts < most)
    }

    fn leads_to_code(&self, value: &Value, memory: &Memory) -> bool {
        let mut open = vec![value.clone()];
        let mut seen = BTreeSet::new();
        while let Some(value) = open.pop() {
            match value {
                Value::Symbol(..) => return true,
                Value::Parts(parts) => open.extend(parts.iter().cloned()),
                Value::Packed(cells) => open.extend(cells.values().map(|(_, value)| value.clone())),
                Value::Pointer(object, _) if seen.insert(object) => {
                    open.extend(memory.cells(object).into_iter().flatten().map(|(_, (_, value))| value.clone()));
                }
                _ => {}
            }
        }
        false
    }

    /// Follows the function in that context, if it was not yet. One that is being followed has no outcome.
    fn follow(&mut self, node: Node) {
        if std::mem::replace(&mut self.nodes[node].followed.is_done, true) {
            return;
        }
        let facts = self.nodes[node].facts.clone();
        let item = &self.program.items[facts.function];
        let Some(definition) = item.definition.as_ref().filter(|_| item.twin.is_none() && !tables::ends_a_chain(item))
        else {
            return;
        };
        let module = definition.module;
        let definition_debug = definition.function.subprogram;
        let has_own_memory = item.label.starts_with("{async_") && facts.objects == [Cells::new()];
        let may_drop_nothing = tables::may_drop_nothing(item);
        let body = self.body(facts.function);
        let mut registers = vec![Value::Unknown; body.registers];
        for (register, value) in registers.iter_mut().zip(&facts.arguments) {
            *register = value.clone();
        }
        let mut frame = Frame {
            function: facts.function,
            module,
            registers,
            offsets: HashMap::new(),
            slots: HashMap::new(),
            names: HashMap::new(),
            next_object: facts.objects.len(),
            changed: false,
            is_last: false,
            edges: Vec::new(),
            indirect: Vec::new(),
            is_doubtful: false,
            state: None,
            suspended: HashMap::new(),
            lost: BTreeSet::new(),
            guards: HashMap::new(),
            held: Held::default(),
            variables: Vec::new(),
        };
        let mut begin: Vec<Option<Memory>> = vec![None; body.blocks.len()];
        if let Some(first) = begin.first_mut() {
            *first = Some(facts.memory());
        }
        let mut left = body.blocks.len() * 24 + 100;
        let mut open: BTreeSet<usize> = (0..body.blocks.len().min(1)).collect();
        loop {
            while let Some(block) = open.pop_first() {
                left = left.saturating_sub(1);
                for (to, memory) in self.block(&mut frame, &body, block, &begin, has_own_memory) {
                    let changed = match &mut begin[to] {
                        Some(known) => known.join(&memory, &mut frame.lost),
                        unknown => unknown.replace(memory).is_none(),
                    };
                    if changed {
                        open.insert(to);
                    }
                }
                if left == 0 {
                    self.give_up(node);
                    return;
                }
            }
            if !std::mem::take(&mut frame.changed) {
                break;
            }
            open.extend((0..begin.len()).filter(|block| begin[*block].is_some()));
        }
        frame.is_last = true;
        frame.guards = crate::guards::destructors(&self.program, facts.function);
        frame.is_doubtful = false;
        let mut outcome: Option<(Value, Memory)> = None;
        for block in 0..begin.len() {
            if begin[block].is_none() {
                continue;
            }
            self.block(&mut frame, &body, block, &begin, has_own_memory);
            if let Terminator::Return(value) = &body.blocks[block].terminator
                && let Some(memory) = frame.suspended.remove(&u128::MAX)
            {
                let value = frame.value(value, &self.program);
                outcome = Some(match outcome {
                    None => (value, memory),
                    Some((other, mut known)) => {
                        let mut lost = Lost::default();
                        let joined = other.join(&value, &mut lost);
                        known.join(&memory, &mut frame.lost);
                        for object in lost.objects {
                            known.escape(object).iter().for_each(|value| value.code(&mut lost.code));
                        }
                        frame.lost.extend(lost.code);
                        (joined, known)
                    }
                });
            }
        }
        for code in std::mem::take(&mut frame.lost) {
            self.hand_on_code(&mut frame, code, definition_debug, None);
        }
        if may_drop_nothing && frame.is_doubtful {
            for edge in &mut frame.edges {
                edge.sure = edge.sure.max(Sure::IfThere);
            }
        }
        let followed = &mut self.nodes[node].followed;
        followed.outcome = outcome.map(|(value, memory)| Outcome::of(&value, &memory, facts.objects.len()));
        followed.edges = frame.edges;
        followed.indirect = frame.indirect;
    }

    /// All that the function names, whatever the ways through it.
    fn give_up(&mut self, node: Node) {
        let function = self.nodes[node].function();
        let Some(definition) = &self.program.items[function].definition else { return };
        let place = definition.place;
        let (calls, mentions) = (definition.calls.clone(), definition.mentions.clone());
        let mut edges = Vec::new();
        for (to, sure) in
            calls.into_iter().map(|to| (to, Sure::Called)).chain(mentions.into_iter().map(|to| (to, Sure::HandedOn)))
        {
            if self.program.items[to].reaches && !tables::ends_a_chain(&self.program.items[to]) {
                edges.push(Edge { to: self.blank(to), place, sure, shape: None, held: Held::default() });
            }
        }
        self.nodes[node].followed.edges = edges;
    }

    /// Follows a block. Returns with what memory each of the blocks after it begins.
    fn block(
        &mut self,
        frame: &mut Frame,
        body: &Body,
        block: usize,
        begin: &[Option<Memory>],
        is_coroutine: bool,
    ) -> Vec<(usize, Memory)> {
        let Some(mut memory) = begin[block].clone() else { return Vec::new() };
        self.steps += body.blocks[block].instructions.len();
        for (number, instruction) in body.blocks[block].instructions.iter().enumerate() {
            if frame.is_last && number + 1 == body.blocks[block].instructions.len() {
                frame.held = self.held_during(frame, body, block, &memory);
            }
            let value = self.instruction(frame, body, &mut memory, (block, number), instruction);
            if is_coroutine
                && block == 0
                && let Operation::Load(from, Some(size), _) = &instruction.operation
                && let Value::Pointer(0, Some(offset)) = frame.value(from, &self.program)
            {
                frame.state = Some((offset, *size));
            }
            if let Some(result) = instruction.result {
                let known = &mut frame.registers[result];
                if *known != value {
                    frame.changed = true;
                    *known = value;
                }
            }
        }
        match &body.blocks[block].terminator {
            Terminator::Never => Vec::new(),
            Terminator::Goto(to) => vec![(*to, memory)],
            Terminator::Branch(condition, yes, no) => match frame.value(condition, &self.program) {
                Value::Integer(0) => vec![(*no, memory)],
                Value::Integer(_) => vec![(*yes, memory)],
                _ => {
                    frame.is_doubtful = true;
                    vec![(*yes, memory.clone()), (*no, memory)]
                }
            },
            Terminator::Switch(value, default, cases) => match frame.value(value, &self.program) {
                Value::Integer(number) => {
                    let case = cases.iter().find(|(case, _)| *case == number);
                    vec![(case.map_or(*default, |(_, to)| *to), memory)]
                }
                _ if is_coroutine && block == 0 && frame.state.is_some() => {
                    // State 0 begins; 1 and 2 have ended, and are never polled again.
                    let entry = |state: &u128| match state {
                        0 => Some(memory.clone()),
                        1 | 2 => None,
                        _ => frame.suspended.get(state).map(|suspended| {
                            let mut memory = suspended.clone();
                            for variable in &frame.variables {
                                memory.set(*variable, Object::Live(Rc::default()));
                            }
                            memory
                        }),
                    };
                    cases.iter().filter_map(|(state, to)| Some((*to, entry(state)?))).collect()
                }
                _ => {
                    frame.is_doubtful = true;
                    let blocks: BTreeSet<usize> = cases.iter().map(|(_, to)| *to).chain([*default]).collect();
                    blocks.into_iter().map(|to| (to, memory.clone())).collect()
                }
            },
            Terminator::Return(_) => {
                if frame.is_last {
                    frame.suspended.insert(u128::MAX, memory);
                } else if let Some((offset, size)) = frame.state {
                    self.suspend(frame, body, memory, offset, size);
                }
                Vec::new()
            }
        }
    }

    /// The coroutine goes on in the state that it has stored, with the memory that it leaves.
    fn suspend(&self, frame: &mut Frame, body: &Body, memory: Memory, offset: i64, size: u64) {
        let Some(Terminator::Switch(_, _, cases)) = body.blocks.first().map(|block| &block.terminator) else { return };
        let stored = memory.load(0, offset, size);
        for (state, _) in cases.iter().filter(|(state, _)| *state > 2) {
            if matches!(&stored, Value::Integer(number) if number != state) {
                continue;
            }
            match frame.suspended.get_mut(state) {
                Some(known) => frame.changed |= known.join(&memory, &mut frame.lost),
                None => {
                    frame.suspended.insert(*state, memory.clone());
                    frame.changed = true;
                }
            }
        }
    }
}
