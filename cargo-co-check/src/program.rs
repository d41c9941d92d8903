//! All modules together: functions and constants by number, what each is, and what it could reach.

use crate::{
    ir::{Debug, Function, Module},
    names, tables,
};
use std::collections::{HashMap, HashSet};

/// A function or a constant.
pub type Id = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    pub file: usize,
    pub line: u32,
    pub column: u32,
}

/// Whose source a function is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// A package that is checked.
    Own,
    /// `core`, `alloc`, `std`.
    Std,
    /// co-wrapper's runtime.
    Runtime,
    #[default]
    Foreign,
}

/// What a twin says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Twin {
    pub name: String,
    /// The async fn.
    pub target: String,
    pub mixed: bool,
    /// False if it was written by hand, and what it says is not known.
    pub is_known: bool,
    /// It is a function of the runtime that blocks.
    pub is_runtime: bool,
}

/// A definition, and the module that it is in.
pub struct Definition {
    pub module: usize,
    pub function: Function,
    pub place: Option<Place>,
    /// All that it calls by name, and all that it makes pointers to.
    pub calls: Vec<Id>,
    pub mentions: Vec<Id>,
}

#[derive(Default)]
pub struct Item {
    pub name: String,
    /// Its own name, without its path.
    pub last: String,
    pub krate: String,
    pub origin: Origin,
    /// `{async_fn#0}`, `{closure#1}`
    pub label: String,
    /// Its body runs in coroutine context.
    pub is_root: bool,
    pub twin: Option<Twin>,
    pub definition: Option<Definition>,
    /// Of a constant: the pointers in it.
    pub pointers: Option<Vec<(u64, Id)>>,
    pub is_vtable: bool,
    /// Of a static that may be written to: what is in it at first.
    pub initial: Vec<Id>,
    /// Takes the graph's write lock.
    pub writes: bool,
    /// A plain twin may be reached from here, through pointers too.
    pub reaches: bool,
    /// A call through a pointer is reached from here.
    pub is_indirect: bool,
    /// Lines of IR of it and of all that it calls, up to a bound.
    pub weight: usize,
}

#[derive(Default)]
pub struct Program {
    pub items: Vec<Item>,
    ids: HashMap<Box<str>, Id>,
    debug: Vec<Debug>,
    pub files: Vec<String>,
    file_ids: HashMap<String, usize>,
    /// Crates whose IR is here.
    own: HashSet<String>,
    /// What pointers are made to.
    pub taken: HashSet<Id>,
}

/// No weight is above that.
const HEAVY: usize = 100_000;

impl Program {
    /// The crates of which modules will be added.
    pub fn new(own: HashSet<String>) -> Self {
        Self { own, ..Self::default() }
    }

    fn id(&mut self, module: usize, symbol: &str) -> Id {
        let nameless = crate::ir::is_nameless(symbol);
        let key = if nameless { format!("{module} {symbol}") } else { symbol.to_owned() };
        if let Some(id) = self.ids.get(key.as_str()) {
            return *id;
        }
        let name = if nameless { String::new() } else { names::demangle(symbol) };
        let krate = names::krate(&name).to_owned();
        let origin = self.origin(&krate);
        let mut item = Item { last: names::last(&name), origin, krate, name, ..Item::default() };
        if origin == Origin::Runtime {
            let plain = names::plain(&item.name);
            item.writes = tables::WRITES.contains(&plain.as_str());
            item.twin = tables::BLOCKING.iter().find(|(path, _)| *path == plain).map(|(path, target)| Twin {
                name: path.rsplit(['<', ':', '>']).find(|part| !part.is_empty()).unwrap_or("").into(),
                target: (*target).into(),
                mixed: false,
                is_known: true,
                is_runtime: true,
            });
        }
        self.items.push(item);
        self.ids.insert(key.into(), self.items.len() - 1);
        self.items.len() - 1
    }

    /// The number of what a module names, if anything is known of it.
    pub fn find(&self, module: usize, symbol: &str) -> Option<Id> {
        if crate::ir::is_nameless(symbol) {
            return self.ids.get(format!("{module} {symbol}").as_str()).copied();
        }
        self.ids.get(symbol).copied()
    }

    fn origin(&self, krate: &str) -> Origin {
        match krate {
            "core" | "alloc" | "std" => Origin::Std,
            tables::RUNTIME => Origin::Runtime,
            _ if self.own.contains(krate) => Origin::Own,
            _ => Origin::Foreign,
        }
    }

    pub fn place(&mut self, module: usize, debug: Option<u32>) -> Option<Place> {
        let (file, line, column) = self.debug[module].place(debug?)?;
        let next = self.files.len();
        let number = *self.file_ids.entry(file).or_insert_with_key(|file| {
            self.files.push(file.clone());
            next
        });
        Some(Place { file: number, line, column })
    }

    pub fn add(&mut self, mut module: Module) {
        let number = self.debug.len();
        self.debug.push(std::mem::take(&mut module.debug));
        for (name, global) in &module.globals {
            let pointers: Vec<(u64, Id)> =
                global.pointers().into_iter().map(|(offset, symbol)| (offset, self.id(number, symbol))).collect();
            if pointers.is_empty() {
                continue;
            }
            let id = self.id(number, name);
            self.items[id].is_vtable = name.starts_with("vtable.");
            if global.is_constant {
                self.items[id].pointers = Some(pointers);
            } else {
                self.items[id].initial = pointers.into_iter().map(|(_, to)| to).collect();
            }
        }
        for function in std::mem::take(&mut module.functions) {
            let id = self.id(number, &function.symbol);
            if self.items[id].definition.is_some() {
                continue;
            }
            self.describe(id, number, function.subprogram);
            let calls: Vec<Id> = function.calls.iter().map(|symbol| self.id(number, symbol)).collect();
            let names: Vec<&str> = module.expand(function.mentions.iter().map(|symbol| &**symbol));
            let mentions: Vec<Id> = names.into_iter().map(|symbol| self.id(number, symbol)).collect();
            self.taken.extend(&mentions);
            if self.items[id].origin != Origin::Runtime && calls.iter().any(|call| self.is_poll(*call)) {
                let twin = function.mentions.iter().find_map(|symbol| twin(&module, symbol));
                self.items[id].twin = Some(twin.unwrap_or_else(|| Twin {
                    name: self.items[id].last.clone(),
                    target: "the async fn".into(),
                    mixed: false,
                    is_known: false,
                    is_runtime: false,
                }));
            }
            let place = self.place(number, function.subprogram);
            self.items[id].is_indirect = function.is_indirect;
            self.items[id].definition = Some(Definition { module: number, function, place, calls, mentions });
        }
    }

    fn describe(&mut self, id: Id, module: usize, subprogram: Option<u32>) {
        let Some(subprogram) = subprogram else { return };
        let debug = &self.debug[module];
        let label = debug.name(subprogram).unwrap_or("");
        // For MSVC it is `async_fn$0`.
        let kind = label.split_once('$').map(|(kind, _)| kind);
        let kind = kind.filter(|kind| kind.starts_with("async_") || *kind == "closure");
        let label = kind.map_or_else(|| label.to_owned(), |kind| format!("{{{kind}#"));
        let krate = debug.krate(subprogram).map(str::to_owned);
        self.items[id].label = label;
        if let Some(krate) = krate {
            self.items[id].origin = self.origin(&krate);
            self.items[id].krate = krate;
        }
    }

    fn is_poll(&self, id: Id) -> bool {
        let item = &self.items[id];
        item.origin == Origin::Runtime && tables::POLLS.contains(&item.last.as_str()) && item.name.contains("::call::")
    }

    /// To be called when all modules are there: marks the roots, and what could reach a plain twin.
    /// A mixed one too, with `mixed`.
    pub fn finish(&mut self, mixed: bool) {
        self.mark_roots();
        let mut callers: Vec<Vec<Id>> = vec![Vec::new(); self.items.len()];
        let mut direct: Vec<Vec<Id>> = vec![Vec::new(); self.items.len()];
        for (id, item) in self.items.iter().enumerate() {
            if let Some(definition) = &item.definition {
                for to in &definition.calls {
                    direct[*to].push(id);
                }
                for to in definition.calls.iter().chain(&definition.mentions) {
                    callers[*to].push(id);
                }
            }
            for to in item.pointers.iter().flatten().map(|(_, to)| to).chain(&item.initial) {
                callers[*to].push(id);
            }
        }
        let twins = self.items.iter().map(|item| item.twin.as_ref().is_some_and(|twin| mixed || !twin.mixed)).collect();
        let reaches = closure(&callers, twins);
        let indirect = closure(&direct, self.items.iter().map(|item| item.is_indirect).collect());
        for (item, (reaches, indirect)) in self.items.iter_mut().zip(reaches.into_iter().zip(indirect)) {
            item.reaches = reaches;
            item.is_indirect = indirect;
        }
        let mut open = vec![false; self.items.len()];
        for id in 0..self.items.len() {
            self.weigh(id, &mut open, 0);
        }
    }

    fn weigh(&mut self, id: Id, open: &mut [bool], depth: usize) -> usize {
        if self.items[id].weight > 0 || self.items[id].definition.is_none() {
            return self.items[id].weight.max(1);
        }
        if open[id] || depth > 200 {
            return HEAVY;
        }
        open[id] = true;
        let definition = self.items[id].definition.as_ref();
        let mut weight = definition.map_or(0, |d| d.function.text.bytes().filter(|byte| *byte == b'\n').count());
        for call in definition.map(|d| d.calls.clone()).unwrap_or_default() {
            if weight >= HEAVY {
                break;
            }
            weight += self.weigh(call, open, depth + 1);
        }
        open[id] = false;
        self.items[id].weight = weight.clamp(1, HEAVY);
        self.items[id].weight
    }

    fn mark_roots(&mut self) {
        let twins: HashSet<&str> =
            self.items.iter().filter(|item| item.twin.is_some()).map(|item| item.name.as_str()).collect();
        let is_root = |item: &Item| {
            let Some(definition) = &item.definition else { return false };
            let is_async = item.label.starts_with("{async_");
            let is_poll = item.name.ends_with(" as core::future::future::Future>::poll");
            // In a twin, what makes the future runs in coroutine context already.
            let makes = item.label.starts_with("{closure")
                && item.name.rsplit_once("::").is_some_and(|(outer, _)| twins.contains(outer))
                && definition.calls.iter().any(|call| self.items[*call].last.ends_with("_entry"));
            item.origin == Origin::Own && (is_async || is_poll || makes)
        };
        let roots: Vec<Id> = (0..self.items.len()).filter(|id| is_root(&self.items[*id])).collect();
        for root in roots {
            self.items[root].is_root = true;
        }
    }

    /// Whether this is the destructor of something whose type begins like that, or has that in its path.
    pub fn drops(&self, id: Id, guard: impl Fn(&str) -> bool) -> bool {
        names::dropped(&self.items[id].name).is_some_and(guard)
    }

    /// Whether following this leads to code: a function, or a constant with one.
    pub fn holds_code(&self, id: Id) -> bool {
        let item = &self.items[id];
        item.pointers.is_some()
            || !item.initial.is_empty()
            || !item.name.is_empty() && (item.definition.is_some() || self.taken.contains(&id))
    }

    /// What may run in a coroutine of ours: what the runtime polls, and what that calls and polls.
    pub fn polled_by_us(&self) -> Vec<bool> {
        let mut seen: Vec<bool> = self.items.iter().map(tables::polls_for_us).collect();
        let mut open: Vec<Id> = (0..seen.len()).filter(|id| seen[*id]).collect();
        while let Some(at) = open.pop() {
            let item = &self.items[at];
            let ends = tables::ends_a_chain(item) && !tables::polls_for_us(item);
            let Some(definition) = item.definition.as_ref().filter(|_| !ends) else { continue };
            for to in definition.calls.iter().chain(&definition.mentions) {
                if !std::mem::replace(&mut seen[*to], true) {
                    open.push(*to);
                }
            }
        }
        seen
    }

    /// How many different twins there are, and async bodies.
    pub fn count(&self, mixed: bool) -> usize {
        let twins = self
            .items
            .iter()
            .filter(|item| item.twin.as_ref().is_some_and(|twin| twin.mixed == mixed && !twin.is_runtime));
        twins.map(|item| names::plain(&item.name)).collect::<HashSet<_>>().len()
    }
}

fn closure(callers: &[Vec<Id>], mut seen: Vec<bool>) -> Vec<bool> {
    let mut open: Vec<Id> = (0..seen.len()).filter(|id| seen[*id]).collect();
    while let Some(at) = open.pop() {
        for from in &callers[at] {
            if !std::mem::replace(&mut seen[*from], true) {
                open.push(*from);
            }
        }
    }
    seen
}

/// Reads `Wrapper { name, target, mixed }`: two strings and a byte.
fn twin(module: &Module, symbol: &str) -> Option<Twin> {
    let global = module.globals.get(symbol)?;
    let [name, target] = &global.symbols[..] else { return None };
    let value = &global.text[global.text.find("}> <{")? + 5..];
    let rest = &value[value.find(&**target)? + target.len()..];
    let bytes = crate::ir::string(rest)?;
    let text = |symbol: &str| {
        let bytes = module.globals.get(symbol).and_then(|global| crate::ir::string(&global.text)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Some(Twin { name: text(name), target: text(target), mixed: *bytes.get(8)? != 0, is_known: true, is_runtime: false })
}
