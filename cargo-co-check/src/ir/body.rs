//! A function's body: its blocks, and what is done in them.

use super::{module::return_type, text};
use std::collections::HashMap;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// The number of a register.
    Register(usize),
    Integer(u128),
    /// A function or a constant, and the offset into it.
    Symbol(Box<str>, i64),
    Unknown,
}

#[derive(Clone, Debug)]
pub enum Callee {
    Name(Box<str>),
    Pointer(Operand),
}

#[derive(Clone, Debug)]
pub struct Call {
    pub callee: Callee,
    /// With the bits of each, if it is an integer.
    pub arguments: Vec<Operand>,
    pub signature: Box<str>,
}

/// What an instruction does.
#[derive(Clone, Debug)]
pub enum Operation {
    Allocate,
    /// From there, so many bytes. Whether what lies there never changes, as in a vtable.
    Load(Operand, Option<u64>, bool),
    /// Of so many bytes, to there.
    Store(Operand, Option<u64>, Operand),
    /// The pointer, and bytes times so many.
    Offset(Operand, Vec<(i64, Operand)>),
    Call(Call),
    Extract(Operand, usize),
    Insert(Operand, Operand, usize),
    Compare(Box<str>, Operand, Operand),
    /// With the bits of the result.
    Arithmetic(Box<str>, u64, Operand, Operand),
    /// To so many bits, from so many if the sign is kept.
    Cast(Operand, u64, Option<u64>),
    Select(Operand, Operand, Operand),
    Phi(Vec<(Operand, Box<str>)>),
    /// What was there is the result: `add`, `sub`, or what is not understood. Bits.
    Exchange(Box<str>, Operand, Operand, u64),
    Unknown(Vec<Operand>),
}

#[derive(Clone, Debug)]
pub struct Instruction {
    pub result: Option<usize>,
    pub operation: Operation,
    /// Its number in the debug metadata.
    pub debug: Option<u32>,
}

#[derive(Clone, Debug)]
pub enum Terminator {
    Goto(usize),
    Branch(Operand, usize, usize),
    Switch(Operand, usize, Vec<(u128, usize)>),
    Return(Operand),
    /// Unwinds, or is never reached.
    Never,
}

#[derive(Clone, Debug)]
pub struct Block {
    pub label: Box<str>,
    pub instructions: Vec<Instruction>,
    pub terminator: Terminator,
    /// Where control goes if what it calls last unwinds.
    pub unwind: Option<usize>,
}

/// The first block is where it begins.
#[derive(Clone, Debug, Default)]
pub struct Body {
    pub blocks: Vec<Block>,
    pub registers: usize,
}

struct Reader<'a> {
    registers: HashMap<&'a str, usize>,
    labels: HashMap<&'a str, usize>,
}

impl Body {
    /// Reads the text of a function with these parameters, whose registers are the first ones. What unwinds leads nowhere.
    pub fn parse(body: &str, parameters: &[Box<str>]) -> Self {
        let mut reader = Reader { registers: HashMap::new(), labels: HashMap::new() };
        for parameter in parameters {
            let next = reader.registers.len();
            reader.registers.insert(parameter, next);
        }
        let mut texts: Vec<(&str, Vec<&str>)> = Vec::new();
        for line in body.lines() {
            if !line.starts_with([' ', ';', ']']) && line.contains(':') {
                // `bb1:     ; preds = …`, or a quoted label.
                let label = match line.strip_prefix('"') {
                    Some(quoted) => quoted.split('"').next(),
                    None => line.split(':').next(),
                };
                texts.push((label.unwrap_or(""), Vec::new()));
            } else if let Some((_, lines)) = texts.last_mut()
                && !line.is_empty()
                && !line.trim_start().starts_with(';')
            {
                lines.push(line);
            }
        }
        for (number, (label, _)) in texts.iter().enumerate() {
            reader.labels.insert(label, number);
        }
        let blocks = texts.iter().map(|(label, lines)| reader.block(label, lines)).collect();
        Self { blocks, registers: reader.registers.len() }
    }
}

impl<'a> Reader<'a> {
    fn block(&mut self, label: &str, lines: &[&'a str]) -> Block {
        let mut block =
            Block { label: label.into(), instructions: Vec::new(), terminator: Terminator::Never, unwind: None };
        let mut at = 0;
        while at < lines.len() {
            let line = lines[at].trim_start();
            let next = lines.get(at + 1).copied().unwrap_or("");
            at += 1;
            let (result, operation) = match line.split_once(" = ") {
                Some((result, rest)) if result.starts_with('%') => (Some(self.register(&result[1..])), rest),
                _ => (None, line),
            };
            let word = operation.split(' ').next().unwrap_or("");
            match word {
                "br" | "switch" | "ret" | "unreachable" | "resume" => {
                    block.terminator = self.terminator(word, operation, &lines[at..]);
                    break;
                }
                "invoke" => {
                    // `to label %a unwind label %b` is on the next line.
                    block.instructions.push(self.instruction(result, operation, debug(next)));
                    block.unwind = next.find(" unwind ").and_then(|at| self.label(&next[at..]));
                    block.terminator = self.label(next).map_or(Terminator::Never, Terminator::Goto);
                    break;
                }
                _ => block.instructions.push(self.instruction(result, operation, debug(line))),
            }
        }
        block
    }

    fn register(&mut self, name: &'a str) -> usize {
        let name = name.trim_matches('"');
        let next = self.registers.len();
        *self.registers.entry(name).or_insert(next)
    }

    /// Of the first `label %name` in it.
    fn label(&self, text: &str) -> Option<usize> {
        let rest = &text[text.find("label %")? + 7..];
        self.labels.get(text::name(rest)?.0).copied()
    }

    fn terminator(&mut self, word: &str, operation: &'a str, rest: &[&'a str]) -> Terminator {
        let goto = |label: Option<usize>| label.map_or(Terminator::Never, Terminator::Goto);
        match word {
            "ret" => {
                let (ty, value) = text::ty(&operation[4..]);
                Terminator::Return(if ty == "void" { Operand::Unknown } else { self.operand(text::comma(value).0) })
            }
            "br" if operation.starts_with("br label") => goto(self.label(operation)),
            "br" => {
                let (condition, labels) = text::comma(&operation[6..]);
                let condition = self.operand(condition);
                let (yes, no) = text::comma(labels);
                match (self.label(yes), self.label(no)) {
                    (Some(yes), Some(no)) => Terminator::Branch(condition, yes, no),
                    _ => Terminator::Never,
                }
            }
            "switch" => {
                let (value, labels) = text::comma(&operation[7..]);
                let value = self.operand(text::ty(value).1);
                let Some(default) = self.label(labels) else { return Terminator::Never };
                let mut cases = Vec::new();
                // The cases may stand on lines of their own.
                for line in std::iter::once(labels).chain(rest.iter().copied()) {
                    let mut line = line.split_once('[').map_or(line, |(_, after)| after).trim_start();
                    while let Some((_, after)) = line.strip_prefix('i').and_then(|l| l.split_once(' ')) {
                        let (number, after) = text::comma(after);
                        if let Operand::Integer(number) = self.operand(number)
                            && let Some(label) = self.label(after)
                        {
                            cases.push((number, label));
                        }
                        line = after.split_once(" i").map_or("", |(before, _)| after[before.len()..].trim_start());
                    }
                }
                Terminator::Switch(value, default, cases)
            }
            _ => Terminator::Never,
        }
    }

    fn instruction(&mut self, result: Option<usize>, text: &'a str, debug: Option<u32>) -> Instruction {
        let operation = self.operation(text).unwrap_or_else(|| {
            let registers = text.split('%').skip(1).filter_map(|rest| text::name(rest)).map(|(name, _)| name);
            Operation::Unknown(
                registers.filter_map(|name| self.registers.get(name).copied()).map(Operand::Register).collect(),
            )
        });
        Instruction { result, operation, debug }
    }

    fn operation(&mut self, text: &'a str) -> Option<Operation> {
        let (word, rest) = text.split_once(' ')?;
        let rest = rest.trim_start();
        Some(match word {
            "alloca" => Operation::Allocate,
            "load" => {
                let rest = flags(rest, &["atomic", "volatile"]);
                let (ty, from) = text::comma(rest);
                let from = self.operand(text::ty(text::comma(from).0).1.split(' ').next()?);
                Operation::Load(from, text::size(ty), text.contains("!invariant.load"))
            }
            "store" => {
                let rest = flags(rest, &["atomic", "volatile"]);
                let (value, to) = text::comma(rest);
                let (ty, value) = text::ty(value);
                let to = text::comma(to).0;
                let to = text::ty(to).1;
                let to = if to.starts_with(['%', '@']) { to.split(' ').next()? } else { to };
                Operation::Store(self.operand(value), text::size(ty), self.operand(to))
            }
            "getelementptr" => {
                let rest = flags(rest, &["inbounds", "nuw", "nusw"]);
                let (ty, rest) = text::comma(rest);
                let (base, mut rest) = text::comma(rest);
                let base = self.operand(text::ty(base).1);
                let mut offsets = Vec::new();
                let mut scale = match ty {
                    "ptr" => Some(8),
                    _ => text::size(ty).or_else(|| array(ty)),
                };
                while !rest.is_empty() {
                    let (index, after) = text::comma(rest);
                    rest = after;
                    if index.starts_with('!') {
                        break;
                    }
                    let index = self.operand(text::ty(index).1);
                    match scale {
                        Some(scale) => offsets.push((scale, index)),
                        None if index == Operand::Integer(0) => {}
                        None => return None,
                    }
                    // Into what an array holds.
                    scale = ty
                        .strip_prefix('[')
                        .and_then(|ty| ty.split_once(" x "))
                        .and_then(|(_, ty)| text::size(ty.trim_end_matches(']')));
                }
                Operation::Offset(base, offsets.into_iter().map(|(scale, index)| (scale as i64, index)).collect())
            }
            "extractvalue" => {
                let (value, index) = text::comma(rest);
                Operation::Extract(self.operand(text::ty(value).1), text::comma(index).0.parse().ok()?)
            }
            "insertvalue" => {
                let (into, rest) = text::comma(rest);
                let (value, index) = text::comma(rest);
                let into = self.operand(text::ty(into).1);
                Operation::Insert(into, self.operand(text::ty(value).1), text::comma(index).0.parse().ok()?)
            }
            "icmp" => {
                let rest = flags(rest, &["samesign"]);
                let (predicate, rest) = rest.split_once(' ')?;
                let (left, right) = text::comma(text::ty(rest).1);
                Operation::Compare(predicate.into(), self.operand(left), self.operand(text::comma(right).0))
            }
            "add" | "sub" | "mul" | "and" | "or" | "xor" | "shl" | "lshr" => {
                let rest = flags(rest, &["nuw", "nsw", "exact", "disjoint"]);
                let (ty, rest) = text::ty(rest);
                let (left, right) = text::comma(rest);
                Operation::Arithmetic(
                    word.into(),
                    text::bits(ty)?,
                    self.operand(left),
                    self.operand(text::comma(right).0),
                )
            }
            "zext" | "trunc" | "sext" | "ptrtoint" | "inttoptr" | "bitcast" => {
                let rest = flags(rest, &["nuw", "nsw", "nneg"]);
                let (value, to) = rest.split_once(" to ")?;
                let (from, value) = text::ty(value);
                let to = text::ty(to).0;
                let bits = |ty: &str| if ty == "ptr" { Some(64) } else { text::bits(ty) };
                let sign = if word == "sext" { bits(from) } else { None };
                Operation::Cast(self.operand(value), bits(to)?, sign)
            }
            "select" => {
                let (condition, rest) = text::comma(rest);
                let (yes, no) = text::comma(rest);
                let condition = self.operand(text::ty(condition).1);
                let yes = self.operand(text::ty(yes).1);
                Operation::Select(condition, yes, self.operand(text::ty(text::comma(no).0).1))
            }
            "phi" => {
                let mut rest = text::ty(rest).1;
                let mut from = Vec::new();
                while rest.starts_with('[') {
                    let (pair, after) = text::comma(rest);
                    rest = after;
                    let (value, label) = text::comma(text::bracketed(pair)?.0);
                    from.push((self.operand(value), text::name(label.strip_prefix('%')?)?.0.into()));
                }
                Operation::Phi(from)
            }
            "atomicrmw" => {
                let rest = flags(rest, &["volatile"]);
                let (kind, rest) = rest.split_once(' ')?;
                let (to, value) = text::comma(rest);
                let (ty, value) = text::ty(value);
                let to = self.operand(text::ty(to).1);
                Operation::Exchange(
                    kind.into(),
                    to,
                    self.operand(value.split(' ').next()?),
                    text::bits(ty).unwrap_or(64),
                )
            }
            "call" | "tail" | "musttail" | "notail" | "invoke" => {
                let (head, callee, list) = callee(text)?;
                let mut list = text::bracketed(list)?.0;
                let mut arguments = Vec::new();
                let mut types = Vec::new();
                while !list.is_empty() {
                    let (argument, after) = text::comma(list);
                    list = after;
                    types.push(text::ty(argument).0);
                    arguments.push(self.operand(last(argument)));
                }
                let signature = format!("{}({})", return_type(head), types.join(",")).into();
                let callee = match callee.strip_prefix('@') {
                    Some(name) => Callee::Name(text::name(name)?.0.into()),
                    None => Callee::Pointer(self.operand(callee)),
                };
                Operation::Call(Call { callee, arguments, signature })
            }
            _ => return None,
        })
    }

    fn operand(&mut self, text: &'a str) -> Operand {
        let text = text.trim();
        if let Some(name) = text.strip_prefix('%') {
            return text::name(name).map_or(Operand::Unknown, |(name, _)| Operand::Register(self.register(name)));
        }
        if let Some(symbol) = text.strip_prefix('@') {
            return text::name(symbol).map_or(Operand::Unknown, |(name, _)| Operand::Symbol(name.into(), 0));
        }
        if text.starts_with("getelementptr")
            && let Some(at) = text.find('(')
            && let Some((inner, _)) = text::bracketed(&text[at..])
            && let Some(at) = inner.find('@')
            && let Some((name, rest)) = text::name(&inner[at + 1..])
        {
            let offset = rest.rsplit(' ').next().and_then(|offset| offset.parse().ok());
            return offset.map_or(Operand::Unknown, |offset| Operand::Symbol(name.into(), offset));
        }
        if let Some(number) = text.strip_prefix("inttoptr (i64 ") {
            return number
                .split(' ')
                .next()
                .and_then(|n| n.parse::<i64>().ok())
                .map_or(Operand::Unknown, |n| Operand::Integer(u128::from(n as u64)));
        }
        match text {
            "true" => Operand::Integer(1),
            "false" | "null" | "zeroinitializer" => Operand::Integer(0),
            _ => match text.parse::<u128>() {
                Ok(number) => Operand::Integer(number),
                // Masked to its width where it is used.
                Err(_) => text.parse::<i128>().map_or(Operand::Unknown, |number| Operand::Integer(number as u128)),
            },
        }
    }
}

fn flags<'a>(mut text: &'a str, flags: &[&str]) -> &'a str {
    while let Some((word, rest)) = text.split_once(' ')
        && flags.contains(&word)
    {
        text = rest;
    }
    text
}

fn array(ty: &str) -> Option<u64> {
    let (count, of) = ty.strip_prefix('[')?.strip_suffix(']')?.split_once(" x ")?;
    Some(count.parse::<u64>().ok()? * text::size(of).or_else(|| array(of))?)
}

/// The value of an argument `ptr sret([24 x i8]) align 8 %x`.
fn last(argument: &str) -> &str {
    for constant in ["getelementptr ", "inttoptr ("] {
        if let Some(at) = argument.find(constant) {
            return &argument[at..];
        }
    }
    if argument.ends_with('"')
        && let Some(at) = argument[..argument.len() - 1].rfind('"')
    {
        return &argument[at.saturating_sub(1)..];
    }
    argument.rsplit(' ').next().unwrap_or("")
}

/// The number behind the last `!dbg !`.
pub fn debug(line: &str) -> Option<u32> {
    let rest = &line[line.rfind("!dbg !")? + 6..];
    rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())].parse().ok()
}

/// Of a call: what stands before the callee, that, and what follows it, arguments first.
pub fn callee(operation: &str) -> Option<(&str, &str, &str)> {
    // The first `@name(` or `%name(`; attributes such as `sret([24 x i8])` have neither.
    let bytes = operation.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if matches!(bytes[at], b'@' | b'%') {
            let rest = &operation[at + 1..];
            let (name, after) = text::name(rest)?;
            let _ = name;
            if after.starts_with('(') {
                return Some((&operation[..at], &operation[at..operation.len() - after.len()], after));
            }
            at = operation.len() - after.len();
            continue;
        }
        at += 1;
    }
    None
}
