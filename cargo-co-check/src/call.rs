//! Follows a call: into the function that is called, or past it.

use crate::{
    context::place_back,
    follow::{Follower, Frame},
    graph::{Edge, Shape, Sure},
    ir::{Call, Callee, Instruction, Operand},
    memory::{Cells, Memory, Object, Value},
    program::{Id, Origin},
    tables,
};

impl Follower {
    /// What it returns.
    pub fn call(
        &mut self,
        frame: &mut Frame,
        memory: &mut Memory,
        at: (usize, usize),
        call: &Call,
        instruction: &Instruction,
    ) -> Value {
        let arguments: Vec<Value> =
            call.arguments.iter().map(|argument| frame.value(argument, &self.program)).collect();
        let debug = instruction.debug;
        let function = match &call.callee {
            Callee::Name(name) if name.starts_with("llvm.") => {
                return self.intrinsic(frame, memory, name, &arguments, debug);
            }
            Callee::Name(name) => self.program.find(frame.module, name),
            Callee::Pointer(pointer) => match frame.value(pointer, &self.program) {
                Value::Symbol(id, 0) if self.program.items[id].pointers.is_none() => Some(id),
                _ => {
                    if frame.is_last {
                        let slot = match pointer {
                            Operand::Register(register) => frame.slots.get(register).copied(),
                            _ => None,
                        };
                        let place = self.program.place(frame.module, debug);
                        frame.indirect.push((Shape { slot, signature: call.signature.clone() }, place));
                    }
                    None
                }
            },
        };
        let Some(function) = function else {
            return self.past(frame, memory, &arguments, debug, None);
        };
        let item = &self.program.items[function];
        if item.origin == Origin::Runtime && tables::ASKS.contains(&item.last.as_str()) {
            return Value::Integer(1);
        }
        if tables::allocates(item) {
            let object = frame.object(at.0, at.1 << 8);
            memory.allocate(object, Cells::new());
            return Value::Pointer(object, Some(0));
        }
        if tables::only_looks(item) {
            return Value::Unknown;
        }
        if item.writes && item.twin.is_none() && frame.is_last {
            let place = self.program.place(frame.module, debug);
            let node = self.blank(function);
            frame.edges.push(Edge { to: node, place, sure: Sure::Called, shape: None, held: frame.held });
        }
        if tables::ends_a_chain(&self.program.items[function]) {
            // What is carried away is not called here.
            let is_last = std::mem::replace(&mut frame.is_last, false);
            let value = self.past(frame, memory, &arguments, debug, None);
            frame.is_last = is_last;
            return value;
        }
        let item = &self.program.items[function];
        if item.twin.is_some() || item.definition.is_none() {
            let (is_told, has_body) = (item.twin.is_some(), item.definition.is_some());
            if is_told && frame.is_last {
                let place = self.program.place(frame.module, debug);
                let node = self.blank(function);
                let is_known = self.program.items[function].twin.as_ref().is_some_and(|twin| twin.is_known);
                let sure = if is_known { Sure::Called } else { Sure::Unreadable };
                frame.edges.push(Edge { to: node, place, sure, shape: None, held: frame.held });
            }
            return self.past(frame, memory, &arguments, debug, (!has_body).then_some(function));
        }
        self.into(frame, memory, at, (function, arguments), debug)
    }

    /// Nothing is known of what it does with its arguments.
    fn past(
        &mut self,
        frame: &mut Frame,
        memory: &mut Memory,
        arguments: &[Value],
        debug: Option<u32>,
        to: Option<Id>,
    ) -> Value {
        for argument in arguments {
            self.hand_on(frame, memory, argument, debug, to);
        }
        Value::Unknown
    }

    fn into(
        &mut self,
        frame: &mut Frame,
        memory: &mut Memory,
        at: (usize, usize),
        (function, arguments): (Id, Vec<Value>),
        debug: Option<u32>,
    ) -> Value {
        let (node, objects) = self.enter(function, &arguments, memory);
        if frame.is_last {
            let place = self.program.place(frame.module, debug);
            frame.edges.push(Edge { to: node, place, sure: Sure::Called, shape: None, held: frame.held });
        }
        let outcome = self.nodes[node].followed.outcome.clone();
        let (Some(objects), Some(outcome)) = (objects, outcome) else {
            return self.past(frame, memory, &arguments, debug, None);
        };
        // Its objects by our numbers; those which it allocated are new ones.
        let given = objects.len();
        let mut names = objects;
        for extra in given..outcome.objects.len() {
            names.push(frame.object(at.0, (at.1 << 8) + 1 + extra - given));
        }
        let mut escaped = Vec::new();
        for (number, object) in outcome.objects.iter().enumerate() {
            let name = names[number];
            match object {
                Object::Live(cells) => {
                    let cells: Cells =
                        cells.iter().map(|(at, (size, value))| (*at, (*size, place_back(value, &names)))).collect();
                    if number < given {
                        memory.set(name, Object::Live(cells.into()));
                    } else {
                        memory.allocate(name, cells);
                    }
                }
                _ => escaped.push(name),
            }
        }
        for name in escaped {
            // It was handed on in there.
            memory.escape(name);
            memory.set(name, Object::Escaped);
        }
        place_back(&outcome.returned, &names)
    }

    fn intrinsic(
        &mut self,
        frame: &mut Frame,
        memory: &mut Memory,
        name: &str,
        arguments: &[Value],
        debug: Option<u32>,
    ) -> Value {
        let name = &name["llvm.".len()..];
        match arguments {
            [to, from, size, ..] if name.starts_with("memcpy") || name.starts_with("memmove") => {
                match (to, from, size) {
                    (Value::Pointer(to, Some(at)), Value::Pointer(from, Some(from_at)), Value::Integer(size)) => {
                        if memory.is_live(*from) && memory.is_live(*to) {
                            memory.copy((*from, *from_at), (*to, *at), *size as u64);
                        } else if memory.is_live(*from) {
                            let copied = cells(memory, *from, *from_at, *size as u64);
                            self.past(frame, memory, &copied, debug, None);
                        } else {
                            memory.store(*to, Some(*at), Some(*size as u64), Value::Unknown);
                        }
                    }
                    (Value::Pointer(to, at), _, size) => {
                        let size = if let Value::Integer(size) = size { Some(*size as u64) } else { None };
                        memory.store(*to, *at, size, Value::Unknown);
                        self.past(frame, memory, std::slice::from_ref(from), debug, None);
                    }
                    (_, Value::Pointer(from, Some(at)), Value::Integer(size)) => {
                        let copied = cells(memory, *from, *at, *size as u64);
                        self.past(frame, memory, &copied, debug, None);
                    }
                    _ => {
                        self.past(frame, memory, std::slice::from_ref(from), debug, None);
                    }
                }
                Value::Unknown
            }
            [Value::Pointer(to, at), _, size, ..] if name.starts_with("memset") => {
                let size = if let Value::Integer(size) = size { Some(*size as u64) } else { None };
                memory.store(*to, *at, size, Value::Unknown);
                Value::Unknown
            }
            [value, ..] if name.starts_with("expect.") => value.clone(),
            [one, two] if name.contains(".with.overflow.") => {
                let operation = name.trim_start_matches(['u', 's']).split('.').next().unwrap_or("");
                let bits = name.rsplit('i').next().and_then(|bits| bits.parse().ok()).unwrap_or(64);
                // A debug build panics if it overflows; what is followed does not unwind.
                [crate::arithmetic::apply(operation, bits, one, two), Value::Integer(0)].into_iter().collect()
            }
            _ if ["assume", "lifetime.", "dbg.", "prefetch", "experimental.noalias"]
                .iter()
                .any(|looks| name.starts_with(looks)) =>
            {
                Value::Unknown
            }
            _ => self.past(frame, memory, arguments, debug, None),
        }
    }
}

/// The values there.
fn cells(memory: &Memory, object: usize, offset: i64, size: u64) -> Vec<Value> {
    let cells =
        memory.cells(object).into_iter().flat_map(|cells| cells.range(offset..offset.saturating_add_unsigned(size)));
    cells.map(|(_, (_, value))| value.clone()).collect()
}
