//! A module: the functions that it defines, each with its text, and its constants.

use super::{Debug, text};
use std::collections::HashMap;

/// A definition.
pub struct Function {
    pub symbol: Box<str>,
    /// `ret(arguments)`, of types alone: two functions are called alike only if theirs are the same.
    pub signature: Box<str>,
    /// Registers of the parameters, in order.
    pub parameters: Vec<Box<str>>,
    /// Its number in the debug metadata.
    pub subprogram: Option<u32>,
    /// The lines between the braces.
    pub text: Box<str>,
    /// What it calls by name.
    pub calls: Vec<Box<str>>,
    /// What else it names: what it makes pointers to.
    pub mentions: Vec<Box<str>>,
    /// Calls something by a pointer.
    pub is_indirect: bool,
}

/// A constant or a static.
pub struct Global {
    pub text: Box<str>,
    /// What it points to.
    pub symbols: Vec<Box<str>>,
    /// Nobody writes to it.
    pub is_constant: bool,
}

/// One file of IR.
#[derive(Default)]
pub struct Module {
    pub functions: Vec<Function>,
    pub globals: HashMap<Box<str>, Global>,
    pub debug: Debug,
}

impl Module {
    pub fn parse(text: &str) -> Self {
        let mut module = Self::default();
        let mut rest = text;
        while !rest.is_empty() {
            let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
            rest = after;
            match line.as_bytes().first() {
                Some(b'd') if line.starts_with("define ") => {
                    let end = rest.find("\n}\n").or_else(|| rest.ends_with("\n}").then(|| rest.len() - 2)).unwrap_or(0);
                    module.functions.extend(function(line, &rest[..end]));
                    rest = rest.get(end + 3..).unwrap_or("");
                }
                Some(b'@') => {
                    if let Some((name, value)) = text::name(&line[1..]) {
                        let symbols: Vec<Box<str>> = text::symbols(value).into_iter().map(Into::into).collect();
                        if !symbols.is_empty() || name.starts_with("alloc_") {
                            let is_constant = value.contains(" constant ");
                            module.globals.insert(name.into(), Global { text: value.into(), symbols, is_constant });
                        }
                    }
                }
                Some(b'!') => module.debug.add(line),
                _ => {}
            }
        }
        module
    }

    /// What is reached from these through constants that have no name of their own. A name without a constant is a function's
    /// or a static's.
    pub fn expand<'a>(&'a self, symbols: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
        let mut found = Vec::new();
        let mut seen = std::collections::HashSet::new();
        let mut open: Vec<&str> = symbols.collect();
        while let Some(symbol) = open.pop() {
            if !seen.insert(symbol) {
                continue;
            }
            match self.globals.get(symbol) {
                Some(global) if is_nameless(symbol) => open.extend(global.symbols.iter().map(|symbol| &**symbol)),
                None if is_nameless(symbol) => {}
                _ => found.push(symbol),
            }
        }
        found
    }
}

/// Such names are each module's own.
pub fn is_nameless(symbol: &str) -> bool {
    symbol.starts_with("alloc_") || symbol.starts_with("vtable.") || symbol.starts_with("anon.")
}

impl Global {
    /// The pointers in it, by their offsets, and what they point to.
    pub fn pointers(&self) -> Vec<(u64, &str)> {
        let Some(types) = self.text.find("<{ ").and_then(|at| self.text[at + 3..].split(" }>").next()) else {
            return Vec::new();
        };
        let mut symbols = self.symbols.iter();
        let mut offset = 0;
        let mut pointers = Vec::new();
        for ty in types.split(", ") {
            if ty == "ptr" {
                pointers.extend(symbols.next().map(|symbol| (offset, &**symbol)));
                offset += 8;
            } else {
                let bytes = ty.trim_start_matches('[').split(' ').next().and_then(|n| n.parse::<u64>().ok());
                offset += bytes.unwrap_or(8);
            }
        }
        pointers
    }
}

/// `define … TYPE @name(PARAMETERS) … !dbg !7 {`
fn function(head: &str, body: &str) -> Option<Function> {
    let at = head.find('@')?;
    let (symbol, rest) = text::name(&head[at + 1..])?;
    let (mut list, _) = text::bracketed(rest)?;
    let mut parameters = Vec::new();
    let mut types = Vec::new();
    while !list.is_empty() {
        let (parameter, rest) = text::comma(list);
        list = rest;
        types.push(text::ty(parameter).0);
        parameters.push(parameter.rsplit('%').next().unwrap_or("").trim_matches('"').into());
    }
    let mut function = Function {
        symbol: symbol.into(),
        signature: format!("{}({})", return_type(&head[..at]), types.join(",")).into(),
        parameters,
        subprogram: super::body::debug(head),
        text: body.into(),
        calls: Vec::new(),
        mentions: Vec::new(),
        is_indirect: false,
    };
    for line in body.lines() {
        let line = line.trim_start();
        if line.starts_with(';') {
            continue;
        }
        let is_call = ["call ", "invoke ", " call ", " invoke "]
            .iter()
            .any(|call| if call.starts_with(' ') { line.contains(call) } else { line.starts_with(call) });
        let Some((_, callee, arguments)) = is_call.then(|| super::body::callee(line)).flatten() else {
            function.mentions.extend(text::symbols(line).into_iter().map(Into::into));
            continue;
        };
        match callee.strip_prefix('@').and_then(text::name) {
            Some((name, _)) if name.starts_with("llvm.") => {}
            Some((name, _)) => function.calls.push(name.into()),
            None => function.is_indirect = true,
        }
        function.mentions.extend(text::symbols(arguments).into_iter().map(Into::into));
    }
    Some(function)
}

/// The type that ends there.
pub fn return_type(head: &str) -> &str {
    let head = head.trim_end();
    if head.ends_with('}') {
        return &head[head.rfind('{').unwrap_or(0)..];
    }
    head.rsplit(' ').next().unwrap_or("")
}
