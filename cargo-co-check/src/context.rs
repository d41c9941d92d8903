//! A function in a context: what is known of its arguments when it is called.

use crate::{
    memory::{Cells, Memory, Object, Value},
    program::Id,
};
use std::rc::Rc;

/// A function, and what is known of what it is given. Two calls with equal facts are one node of the call graph.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Facts {
    pub function: Id,
    /// Nothing is known if there are none.
    pub arguments: Vec<Value>,
    /// What the arguments point to, in the order in which they reach it.
    pub objects: Vec<Cells>,
}

/// What a call leaves behind.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub returned: Value,
    /// The objects of the facts, then those which it allocated and which are reached from them and from what is
    /// returned.
    pub objects: Vec<Object>,
}

/// More than that is not followed.
const OBJECTS: usize = 24;
const CELLS: usize = 160;

impl Facts {
    /// A function of which nothing else is known.
    pub fn blank(function: Id) -> Self {
        Self { function, arguments: Vec::new(), objects: Vec::new() }
    }

    /// Of a call with these arguments; and which object of the caller each of the facts' is. `None` if that is too
    /// much.
    pub fn of(function: Id, arguments: &[Value], memory: &Memory) -> Option<(Self, Option<Vec<usize>>)> {
        let mut order = Vec::new();
        let arguments = arguments.iter().map(|value| renumber(value, memory, &mut order)).collect();
        let mut objects = Vec::new();
        let mut cells = 0;
        while objects.len() < order.len() {
            let of = memory.cells(order[objects.len()])?;
            cells += of.len();
            if order.len() > OBJECTS || cells > CELLS {
                return None;
            }
            objects.push(
                of.iter().map(|(at, (size, value))| (*at, (*size, renumber(value, memory, &mut order)))).collect(),
            );
        }
        Some((Self { function, arguments, objects }, Some(order)))
    }

    /// The same without numbers. What it leaves behind holds for no call, so it is not asked for.
    pub fn code_only(mut self) -> Self {
        let values = self.objects.iter_mut().flat_map(|cells| cells.values_mut().map(|(_, value)| value));
        for value in self.arguments.iter_mut().chain(values) {
            without_integers(value);
        }
        for cells in &mut self.objects {
            cells.retain(|_, (_, value)| *value != Value::Unknown);
        }
        self
    }

    /// The memory that it begins with.
    pub fn memory(&self) -> Memory {
        let mut memory = Memory::default();
        for (number, cells) in self.objects.iter().enumerate() {
            memory.set(number, Object::Live(Rc::new(cells.clone())));
        }
        memory
    }
}

impl Outcome {
    /// Of a memory and a value in which the first `given` objects are those of the facts.
    pub fn of(returned: &Value, memory: &Memory, given: usize) -> Self {
        let mut order: Vec<usize> = (0..given).collect();
        let returned = keep(returned, memory, &mut order);
        let mut objects = Vec::new();
        while objects.len() < order.len() {
            objects.push(match memory.object(order[objects.len()]) {
                Object::Live(cells) => {
                    let cells = cells.iter().map(|(at, (size, value))| (*at, (*size, keep(value, memory, &mut order))));
                    Object::Live(Rc::new(cells.collect()))
                }
                other => other.clone(),
            });
        }
        Self { returned, objects }
    }
}

/// With the objects' numbers in `order`. An object that is not followed is unknown.
fn renumber(value: &Value, memory: &Memory, order: &mut Vec<usize>) -> Value {
    match value {
        Value::Pointer(object, offset) if memory.is_live(*object) => Value::Pointer(number(*object, order), *offset),
        Value::Pointer(..) => Value::Unknown,
        Value::Parts(parts) => parts.iter().map(|part| renumber(part, memory, order)).collect(),
        Value::Packed(cells) => packed(cells, |value| renumber(value, memory, order)),
        _ => value.clone(),
    }
}

/// Like `renumber`, but what was given and has escaped is still what was given.
fn keep(value: &Value, memory: &Memory, order: &mut Vec<usize>) -> Value {
    match value {
        Value::Pointer(object, offset) if order.contains(object) || memory.is_live(*object) => {
            Value::Pointer(number(*object, order), *offset)
        }
        Value::Pointer(..) => Value::Unknown,
        Value::Parts(parts) => parts.iter().map(|part| keep(part, memory, order)).collect(),
        Value::Packed(cells) => packed(cells, |value| keep(value, memory, order)),
        _ => value.clone(),
    }
}

fn packed(cells: &Cells, mut map: impl FnMut(&Value) -> Value) -> Value {
    Value::Packed(Rc::new(cells.iter().map(|(at, (size, value))| (*at, (*size, map(value)))).collect()))
}

fn without_integers(value: &mut Value) {
    match value {
        Value::Integer(_) | Value::Packed(_) => *value = Value::Unknown,
        Value::Parts(parts) => {
            *value = parts
                .iter()
                .cloned()
                .map(|mut part| {
                    without_integers(&mut part);
                    part
                })
                .collect();
        }
        _ => {}
    }
}

fn number(object: usize, order: &mut Vec<usize>) -> usize {
    order.iter().position(|other| *other == object).unwrap_or_else(|| {
        order.push(object);
        order.len() - 1
    })
}

/// A value of the outcome, as the caller knows the objects.
pub fn place_back(value: &Value, names: &[usize]) -> Value {
    match value {
        Value::Pointer(object, offset) => {
            names.get(*object).map_or(Value::Unknown, |name| Value::Pointer(*name, *offset))
        }
        Value::Parts(parts) => parts.iter().map(|part| place_back(part, names)).collect(),
        Value::Packed(cells) => packed(cells, |value| place_back(value, names)),
        _ => value.clone(),
    }
}
