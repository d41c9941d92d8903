//! What an instruction does to registers and memory; and what becomes of values that can no longer be followed.

use crate::{
    arithmetic,
    follow::{Follower, Frame},
    graph::{Edge, Held, Shape, Sure},
    ir::{Body, Instruction, Operand, Operation},
    memory::{Lost, Memory, Object, Value},
    program::{Id, Origin},
    tables,
};
use std::{collections::BTreeSet, rc::Rc};

impl Follower {
    /// Its result, at that block and number.
    pub fn instruction(
        &mut self,
        frame: &mut Frame,
        body: &Body,
        memory: &mut Memory,
        at: (usize, usize),
        instruction: &Instruction,
    ) -> Value {
        match &instruction.operation {
            Operation::Allocate => {
                let object = frame.object(at.0, at.1 << 8);
                if !frame.variables.contains(&object) {
                    frame.variables.push(object);
                }
                memory.set(object, Object::Live(Rc::default()));
                Value::Pointer(object, Some(0))
            }
            Operation::Load(from, size, is_invariant) => {
                if *is_invariant && let (Operand::Register(register), Some(result)) = (from, instruction.result) {
                    let slot = frame.offsets.get(register).copied().unwrap_or(0);
                    frame.slots.insert(result, slot);
                }
                match (frame.value(from, &self.program), size) {
                    (Value::Pointer(object, Some(offset)), Some(size)) => memory.load(object, offset, *size),
                    (Value::Pointer(object, None), _) => {
                        // It may be any of them.
                        let cells: Vec<Value> = memory
                            .cells(object)
                            .into_iter()
                            .flat_map(|cells| cells.values())
                            .map(|(_, value)| value.clone())
                            .collect();
                        for value in cells.iter().filter(|value| matches!(value, Value::Symbol(..))) {
                            self.hand_on(frame, memory, value, instruction.debug, None);
                        }
                        Value::Unknown
                    }
                    (Value::Symbol(id, _), _) if !self.program.items[id].initial.is_empty() => {
                        // Others may have stored something else there.
                        self.hand_on(frame, memory, &Value::Symbol(id, 0), instruction.debug, None);
                        Value::Unknown
                    }
                    (Value::Symbol(id, offset), Some(8)) => {
                        let pointers = self.program.items[id].pointers.iter().flatten();
                        let mut found = pointers.filter(|(at, _)| i64::try_from(*at) == Ok(offset));
                        found.next().map_or(Value::Unknown, |(_, to)| Value::Symbol(*to, 0))
                    }
                    _ => Value::Unknown,
                }
            }
            Operation::Store(what, size, to) => {
                let what = frame.value(what, &self.program);
                match frame.value(to, &self.program) {
                    Value::Pointer(object, offset) if memory.is_live(object) => {
                        if offset.is_none() || size.is_none() {
                            self.hand_on(frame, memory, &what, instruction.debug, None);
                        }
                        memory.store(object, offset, *size, what);
                    }
                    _ => self.hand_on(frame, memory, &what, instruction.debug, None),
                }
                Value::Unknown
            }
            Operation::Offset(base, steps) => {
                let offset =
                    steps.iter().try_fold(0i64, |sum, (scale, index)| match frame.value(index, &self.program) {
                        Value::Integer(number) => sum.checked_add(scale.checked_mul(number as i64)?),
                        _ => None,
                    });
                if let (Some(result), Some(offset)) = (instruction.result, offset) {
                    frame.offsets.insert(result, offset);
                }
                match (frame.value(base, &self.program), offset) {
                    (Value::Pointer(object, Some(at)), Some(offset)) => Value::Pointer(object, at.checked_add(offset)),
                    (Value::Pointer(object, _), _) => Value::Pointer(object, None),
                    (Value::Symbol(id, at), Some(offset)) => Value::Symbol(id, at + offset),
                    _ => Value::Unknown,
                }
            }
            Operation::Call(call) => self.call(frame, memory, at, call, instruction),
            Operation::Extract(of, index) => frame.value(of, &self.program).part(*index),
            Operation::Insert(into, what, index) => {
                let into = frame.value(into, &self.program);
                let mut parts = match &into {
                    Value::Parts(parts) => parts.to_vec(),
                    _ => Vec::new(),
                };
                parts.resize(parts.len().max(index + 1), Value::Unknown);
                parts[*index] = frame.value(what, &self.program);
                parts.into_iter().collect()
            }
            Operation::Compare(predicate, one, two) => {
                arithmetic::compare(predicate, &frame.value(one, &self.program), &frame.value(two, &self.program))
            }
            Operation::Arithmetic(operation, bits, one, two) => {
                let (one, two) = (frame.value(one, &self.program), frame.value(two, &self.program));
                let result = arithmetic::apply(operation, *bits, &one, &two);
                if result == Value::Unknown {
                    self.hand_on(frame, memory, &one, instruction.debug, None);
                    self.hand_on(frame, memory, &two, instruction.debug, None);
                }
                result
            }
            Operation::Cast(of, bits, signed) => arithmetic::cast(&frame.value(of, &self.program), *bits, *signed),
            Operation::Select(condition, yes, no) => {
                let (yes, no) = (frame.value(yes, &self.program), frame.value(no, &self.program));
                match frame.value(condition, &self.program) {
                    Value::Integer(0) => no,
                    Value::Integer(_) => yes,
                    _ => self.either(frame, memory, instruction, [yes, no]),
                }
            }
            Operation::Phi(from) => {
                let known = from.iter().filter(|(_, label)| body.blocks.iter().any(|block| block.label == *label));
                let values: Vec<Value> = known.map(|(operand, _)| frame.value(operand, &self.program)).collect();
                self.either(frame, memory, instruction, values)
            }
            Operation::Exchange(kind, to, operand, bits) => {
                let operand = frame.value(operand, &self.program);
                let Value::Pointer(object, Some(offset)) = frame.value(to, &self.program) else {
                    self.hand_on(frame, memory, &operand, instruction.debug, None);
                    return Value::Unknown;
                };
                let size = bits.div_ceil(8);
                let before = memory.load(object, offset, size);
                let after = match &**kind {
                    "add" | "sub" => arithmetic::apply(kind, *bits, &before, &operand),
                    "xchg" => operand,
                    _ => Value::Unknown,
                };
                memory.store(object, Some(offset), Some(size), after);
                before
            }
            Operation::Unknown(operands) => {
                for operand in operands {
                    let operand = frame.value(operand, &self.program);
                    self.hand_on(frame, memory, &operand, instruction.debug, None);
                }
                Value::Unknown
            }
        }
    }

    fn either(
        &mut self,
        frame: &mut Frame,
        memory: &mut Memory,
        instruction: &Instruction,
        values: impl IntoIterator<Item = Value>,
    ) -> Value {
        let mut lost = Lost::default();
        let joined = values.into_iter().reduce(|one, two| {
            for symbol in [&one, &two].into_iter().filter(|value| matches!(value, Value::Symbol(..)) && one != two) {
                self.hand_on(frame, memory, symbol, instruction.debug, None);
            }
            one.join(&two, &mut lost)
        });
        for object in lost.objects {
            self.hand_on(frame, memory, &Value::Pointer(object, None), instruction.debug, None);
        }
        joined.unwrap_or_default()
    }

    /// Nothing more is known of where that goes, and who calls it, if it is or holds a pointer to code. `to` is whom it is
    /// given to, if that is a function whose body is not here.
    pub fn hand_on(
        &mut self,
        frame: &mut Frame,
        memory: &mut Memory,
        value: &Value,
        debug: Option<u32>,
        to: Option<Id>,
    ) {
        let mut values = vec![value.clone()];
        while let Some(value) = values.pop() {
            match value {
                Value::Pointer(object, _) => values.extend(memory.escape(object)),
                Value::Parts(parts) => values.extend(parts.iter().cloned()),
                Value::Packed(cells) => values.extend(cells.values().map(|(_, value)| value.clone())),
                Value::Symbol(id, _) if frame.is_last => self.hand_on_code(frame, id, debug, to),
                _ => {}
            }
        }
    }

    pub fn hand_on_code(&mut self, frame: &mut Frame, id: Id, debug: Option<u32>, to: Option<Id>) {
        let is_at_once = to.is_some_and(|to| tables::calls_at_once(&self.program.items[to]));
        if matches!(self.program.items[frame.function].origin, Origin::Foreign | Origin::Runtime) && !is_at_once {
            return;
        }
        let mut is_static = false;
        let mut open = vec![(id, None)];
        let mut seen = BTreeSet::new();
        while let Some((id, slot)) = open.pop() {
            if !seen.insert((id, slot)) {
                continue;
            }
            let item = &self.program.items[id];
            is_static |= !item.initial.is_empty();
            open.extend(item.initial.iter().map(|to| (*to, None)));
            if let Some(pointers) = &item.pointers {
                let is_vtable = item.is_vtable;
                open.extend(pointers.iter().map(|(at, to)| (*to, is_vtable.then_some(*at as i64))));
                continue;
            }
            // What std is given it calls: `Once`, `fmt`. So does the runtime with a condition. Neither drops what was lent.
            // Of a static nobody knows who runs it first.
            let (sure, is_called) =
                if is_at_once && !is_static { (Sure::Called, slot != Some(0)) } else { (Sure::HandedOn, true) };
            if !item.reaches || !is_called || tables::ends_a_chain(item) {
                continue;
            }
            let signature = item.definition.as_ref().map(|definition| definition.function.signature.clone());
            let shape = signature.filter(|_| to.is_none()).map(|signature| Shape { slot, signature });
            let place = self.program.place(frame.module, debug);
            let node = self.blank(id);
            frame.edges.push(Edge { to: node, place, sure, shape, held: Held::default() });
        }
    }
}
