//! What is known of values and of memory at one point of a function.
//!
//! Memory is a list of *objects*: a variable, an allocation, what a parameter points to. Of a *live* one it is known that nobody
//! writes to it through a pointer that is not followed here. When a pointer to it gets to where it can no longer be followed, the
//! object has *escaped*, and nothing is known of it from then on.

use crate::program::Id;
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

/// Unknown unless something else is certain.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub enum Value {
    #[default]
    Unknown,
    Integer(u128),
    /// Into an object; where in it is not known if it is `None`.
    Pointer(usize, Option<i64>),
    /// A function or a constant.
    Symbol(Id, i64),
    /// Of a pair.
    Parts(Rc<[Value]>),
    /// Some values in one register, as a small struct or enum is passed.
    Packed(Rc<Cells>),
}

/// Values by their offsets, with their sizes. What is not there is unknown.
pub type Cells = BTreeMap<i64, (u64, Value)>;

#[derive(Clone, Debug, Default, PartialEq)]
pub enum Object {
    /// Not allocated on any way that leads here.
    #[default]
    Absent,
    Live(Rc<Cells>),
    Escaped,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    objects: Vec<Object>,
}

/// What can no longer be followed where two ways meet.
#[derive(Clone, Debug, Default)]
pub struct Lost {
    pub objects: Vec<usize>,
    /// Functions and constants with code.
    pub code: Vec<Id>,
}

impl Lost {
    fn add(&mut self, value: &Value) {
        value.objects(&mut self.objects);
        value.code(&mut self.code);
    }
}

impl Value {
    /// What holds of both; what is lost is added to `lost`.
    pub fn join(&self, other: &Self, lost: &mut Lost) -> Self {
        match (self, other) {
            _ if self == other => self.clone(),
            (Self::Pointer(one, _), Self::Pointer(two, _)) if one == two => Self::Pointer(*one, None),
            (Self::Parts(one), Self::Parts(two)) if one.len() == two.len() => {
                one.iter().zip(two.iter()).map(|(one, two)| one.join(two, lost)).collect()
            }
            _ => {
                lost.add(self);
                lost.add(other);
                Self::Unknown
            }
        }
    }

    /// Adds those that it points to.
    pub fn objects(&self, to: &mut Vec<usize>) {
        match self {
            Self::Pointer(object, _) => to.push(*object),
            Self::Parts(parts) => parts.iter().for_each(|part| part.objects(to)),
            Self::Packed(cells) => cells.values().for_each(|(_, value)| value.objects(to)),
            _ => {}
        }
    }

    /// Adds the functions and constants that it points to.
    pub fn code(&self, to: &mut Vec<Id>) {
        match self {
            Self::Symbol(id, _) => to.push(*id),
            Self::Parts(parts) => parts.iter().for_each(|part| part.code(to)),
            Self::Packed(cells) => cells.values().for_each(|(_, value)| value.code(to)),
            _ => {}
        }
    }

    pub fn part(&self, index: usize) -> Self {
        match self {
            Self::Parts(parts) => parts.get(index).cloned().unwrap_or_default(),
            _ => Self::Unknown,
        }
    }
}

impl FromIterator<Value> for Value {
    fn from_iter<I: IntoIterator<Item = Self>>(parts: I) -> Self {
        Self::Parts(parts.into_iter().collect())
    }
}

impl Memory {
    pub fn object(&self, object: usize) -> &Object {
        self.objects.get(object).unwrap_or(&Object::Absent)
    }

    pub fn set(&mut self, object: usize, to: Object) {
        if self.objects.len() <= object {
            self.objects.resize(object + 1, Object::Absent);
        }
        self.objects[object] = to;
    }

    /// A new object with these cells. If there is one from an earlier round of a loop, both are escaped from then on.
    pub fn allocate(&mut self, object: usize, cells: Cells) {
        match self.object(object) {
            Object::Absent => self.set(object, Object::Live(Rc::new(cells))),
            _ => self.set(object, Object::Escaped),
        }
    }

    pub fn cells(&self, object: usize) -> Option<&Cells> {
        match self.object(object) {
            Object::Live(cells) => Some(cells),
            _ => None,
        }
    }

    fn cells_mut(&mut self, object: usize) -> Option<&mut Cells> {
        match self.objects.get_mut(object) {
            Some(Object::Live(cells)) => Some(Rc::make_mut(cells)),
            _ => None,
        }
    }

    /// What so many bytes there are: of one value, of a part of an integer, or of some values together.
    pub fn load(&self, object: usize, offset: i64, size: u64) -> Value {
        let Some(cells) = self.cells(object) else { return Value::Unknown };
        let end = offset.saturating_add_unsigned(size);
        let before = cells.range(..=offset).next_back();
        if let Some((at, (stored, value))) = before
            && at.saturating_add_unsigned(*stored) > offset
        {
            let shift = (offset - at) as u64 * 8;
            return match value {
                _ if *at == offset && *stored == size => value.clone(),
                Value::Integer(number) if at.saturating_add_unsigned(*stored) >= end && shift < 128 && size < 16 => {
                    Value::Integer(number >> shift & ((1 << (size * 8)) - 1))
                }
                Value::Packed(_) => Value::Unknown,
                _ if *at == offset && *stored < size => packed(cells, offset, end),
                _ => Value::Unknown,
            };
        }
        packed(cells, offset, end)
    }

    /// Whether what is in it is still followed.
    pub fn is_live(&self, object: usize) -> bool {
        matches!(self.object(object), Object::Live(_))
    }

    /// Stores that, or makes unknown what is there.
    pub fn store(&mut self, object: usize, offset: Option<i64>, size: Option<u64>, value: Value) {
        let Some(cells) = self.cells_mut(object) else { return };
        let (Some(offset), Some(size)) = (offset, size) else {
            cells.clear();
            return;
        };
        clear(cells, offset, size);
        match value {
            Value::Unknown => {}
            Value::Packed(parts) => cells.extend(parts.iter().map(|(at, cell)| (offset + at, cell.clone()))),
            value => drop(cells.insert(offset, (size, value))),
        }
    }

    /// Copies so many bytes.
    pub fn copy(&mut self, from: (usize, i64), to: (usize, i64), size: u64) {
        let copied: Vec<(i64, (u64, Value))> = self.cells(from.0).map_or_else(Vec::new, |cells| {
            let range = cells.range(from.1..from.1.saturating_add_unsigned(size));
            range
                .filter(|(at, (long, _))| **at - from.1 + *long as i64 <= size as i64)
                .map(|(at, cell)| (*at, cell.clone()))
                .collect()
        });
        let Some(cells) = self.cells_mut(to.0) else { return };
        clear(cells, to.1, size);
        cells.extend(copied.into_iter().map(|(at, cell)| (at - from.1 + to.1, cell)));
    }

    /// Forgets the object and all that is reached from it; returns what else was stored there.
    pub fn escape(&mut self, object: usize) -> Vec<Value> {
        let mut values = Vec::new();
        let mut open = vec![object];
        while let Some(object) = open.pop() {
            if let Object::Live(cells) = self.object(object) {
                for (_, value) in cells.values() {
                    value.objects(&mut open);
                    values.push(value.clone());
                }
                self.set(object, Object::Escaped);
            }
        }
        values
    }

    /// What holds on either way. Whether that is less than what held here. Code that is lost is added to `code`.
    pub fn join(&mut self, other: &Self, code: &mut BTreeSet<Id>) -> bool {
        let mut lost = Lost::default();
        let mut changed = false;
        for number in 0..self.objects.len().max(other.objects.len()) {
            let joined = match (self.object(number), other.object(number)) {
                (_, Object::Absent) => continue,
                (Object::Absent, theirs) => theirs.clone(),
                (Object::Escaped, Object::Live(cells)) => {
                    cells.values().for_each(|(_, value)| lost.add(value));
                    continue;
                }
                (Object::Escaped, Object::Escaped) => continue,
                (Object::Live(cells), Object::Escaped) => {
                    cells.values().for_each(|(_, value)| lost.add(value));
                    Object::Escaped
                }
                (Object::Live(ours), Object::Live(theirs)) => {
                    if Rc::ptr_eq(ours, theirs) || ours == theirs {
                        continue;
                    }
                    Object::Live(Rc::new(join(ours, theirs, &mut lost)))
                }
            };
            if *self.object(number) != joined {
                self.set(number, joined);
                changed = true;
            }
        }
        for object in lost.objects {
            if self.is_live(object) {
                self.escape(object).iter().for_each(|value| value.code(&mut lost.code));
                changed = true;
            }
        }
        code.extend(lost.code);
        changed
    }
}

fn join(ours: &Cells, theirs: &Cells, lost: &mut Lost) -> Cells {
    let mut joined = Cells::new();
    for (at, (size, value)) in ours {
        match theirs.get(at) {
            Some((other, theirs)) if other == size => {
                let value = value.join(theirs, lost);
                if value != Value::Unknown {
                    joined.insert(*at, (*size, value));
                }
            }
            _ => lost.add(value),
        }
    }
    for (at, (size, value)) in theirs {
        if ours.get(at).is_none_or(|(other, _)| other != size) {
            lost.add(value);
        }
    }
    joined
}

/// The values from there to there, which may leave some of the bytes unknown.
fn packed(cells: &Cells, offset: i64, end: i64) -> Value {
    let inside = cells.range(offset..end).map(|(at, cell)| (at - offset, cell.clone()));
    let inside: Cells = inside.filter(|(at, (size, _))| at.saturating_add_unsigned(*size) <= end - offset).collect();
    if inside.is_empty() { Value::Unknown } else { Value::Packed(Rc::new(inside)) }
}

fn clear(cells: &mut Cells, offset: i64, size: u64) {
    let end = offset.saturating_add_unsigned(size);
    let hit: Vec<i64> = cells
        .range(..end)
        .rev()
        .take_while(|(at, _)| **at + 16 > offset)
        .filter(|(at, (long, _))| **at + *long as i64 > offset)
        .map(|(at, _)| *at)
        .collect();
    for at in hit {
        cells.remove(&at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> Memory {
        let mut memory = Memory::default();
        memory.allocate(0, Cells::new());
        memory.allocate(1, Cells::new());
        memory
    }

    /// Catches: a value that is still believed after part of it was overwritten.
    #[test]
    fn a_store_forgets_what_it_overlaps() {
        let mut memory = live();
        memory.store(0, Some(0), Some(8), Value::Integer(1));
        memory.store(0, Some(4), Some(1), Value::Unknown);
        assert_eq!(memory.load(0, 0, 8), Value::Unknown);
    }

    /// Catches: a small enum that is lost on its way through a register, or a part of an integer that is another part.
    #[test]
    fn values_survive_being_loaded_together_and_in_parts() {
        let mut memory = live();
        memory.store(0, Some(0), Some(1), Value::Integer(1));
        memory.store(0, Some(4), Some(4), Value::Integer(0x0302));
        let whole = memory.load(0, 0, 8);
        memory.store(1, Some(8), Some(8), whole);
        assert_eq!(memory.load(1, 8, 1), Value::Integer(1));
        assert_eq!(memory.load(1, 13, 1), Value::Integer(3));
        assert_eq!(memory.load(1, 9, 1), Value::Unknown);
    }

    /// Catches: an object that is still followed when one of the ways lost its pointer.
    #[test]
    fn what_only_one_way_points_to_has_escaped_where_they_meet() {
        let mut one = live();
        let two = one.clone();
        one.store(0, Some(0), Some(8), Value::Pointer(1, Some(0)));
        assert!(one.join(&two, &mut BTreeSet::new()));
        assert!(one.is_live(0) && !one.is_live(1));
    }

    /// Catches: objects that are kept although a pointer to what points to them is lost.
    #[test]
    fn what_is_reached_from_what_escapes_escapes() {
        let mut memory = live();
        memory.store(0, Some(0), Some(8), Value::Pointer(1, Some(0)));
        memory.store(1, Some(0), Some(8), Value::Symbol(7, 0));
        assert!(memory.escape(0).contains(&Value::Symbol(7, 0)));
        assert!(!memory.is_live(1));
    }
}
