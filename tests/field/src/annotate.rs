//! Which items of a package get a mark, and the text with the marks in it.
//!
//! A mark goes on each inherent impl, each trait, each impl of one of the package's own marked traits, and each free function
//! that has an async function, or one that returns a future, in it. Left alone are impls of other packages' traits, which
//! have no twins to implement; tests; and what a `macro_rules!` writes, which is no item here.

use std::collections::BTreeSet;

use syn::{
    Attribute, ForeignItemFn, GenericArgument, ImplItem, Item, ItemFn, ItemImpl, ItemMod, ItemTrait, Path,
    PathArguments, ReturnType, Signature, TraitItem, Type, TypeParamBound, spanned::Spanned, visit, visit::Visit,
};

/// The mark, as it is written into the packages.
const MARK: &str = "#[::co_wrapper::co_wrapper(suffix = \"_blocking\")] ";

/// What was found in a package.
#[derive(Default)]
pub struct Found {
    /// All async functions and those that return a future, but for tests.
    pub functions: usize,
    /// Those of them that got a twin.
    pub marked: usize,
    /// The names of those in impls and traits.
    pub methods: BTreeSet<String>,
    /// The names of free ones.
    pub free: BTreeSet<String>,
    /// The traits that are marked.
    traits: BTreeSet<String>,
}

impl Found {
    /// Looks for the traits, which an impl may stand before.
    pub fn look_for_traits(&mut self, file: &syn::File) {
        struct Traits<'a>(&'a mut Found);
        impl Visit<'_> for Traits<'_> {
            fn visit_item_trait(&mut self, item: &ItemTrait) {
                if item.items.iter().filter_map(trait_fn).any(gets_a_twin) {
                    self.0.traits.insert(item.ident.to_string());
                }
            }
        }
        Traits(self).visit_file(file);
    }

    /// The text of a file with its marks.
    pub fn annotate(&mut self, text: &str, file: &syn::File) -> String {
        let mut marks = Marks { found: self, at: Vec::new() };
        marks.visit_file(file);
        let mut at = marks.at;
        at.sort_unstable();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for (line, column) in at.into_iter().rev() {
            let line = &mut lines[line - 1];
            let byte = line.char_indices().nth(column).map_or(line.len(), |(byte, _)| byte);
            line.insert_str(byte, MARK);
        }
        lines.join("\n") + "\n"
    }
}

/// Collects where marks go: line from 1, column from 0 in characters.
struct Marks<'a> {
    found: &'a mut Found,
    at: Vec<(usize, usize)>,
}

impl Marks<'_> {
    /// Marks the item, if it may be, for the functions in it; gives the names of those that get a twin by it.
    fn item<'a>(
        &mut self,
        item: &impl Spanned,
        may_be: bool,
        functions: impl Iterator<Item = &'a Signature>,
    ) -> Vec<String> {
        let mut names: Vec<String> =
            functions.filter(|sig| gets_a_twin(sig)).map(|sig| sig.ident.to_string()).collect();
        self.found.functions += names.len();
        if !may_be {
            names.clear();
        } else if !names.is_empty() {
            self.found.marked += names.len();
            let start = item.span().start();
            self.at.push((start.line, start.column));
        }
        names
    }
}

impl Visit<'_> for Marks<'_> {
    fn visit_item_mod(&mut self, item: &ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &ItemImpl) {
        if is_test(&item.attrs) {
            return;
        }
        let own_trait = |path: &Path| {
            let last = path.segments.last().map(|segment| segment.ident.to_string());
            last.is_some_and(|name| self.found.traits.contains(&name))
        };
        let marked = item.trait_.as_ref().is_none_or(|(path, ..)| own_trait(path));
        let functions = item.items.iter().filter_map(|item| match item {
            ImplItem::Fn(item) => Some(&item.sig),
            _ => None,
        });
        let names = self.item(item, marked, functions);
        self.found.methods.extend(names);
    }

    fn visit_item_trait(&mut self, item: &ItemTrait) {
        let names = self.item(item, true, item.items.iter().filter_map(trait_fn));
        self.found.methods.extend(names);
    }

    fn visit_item_fn(&mut self, item: &ItemFn) {
        // `main` is called by nobody, and `#[tokio::main]` makes it another function.
        if !is_test(&item.attrs) && item.sig.ident != "main" {
            let names = self.item(item, true, [&item.sig].into_iter());
            self.found.free.extend(names);
        }
    }

    fn visit_item(&mut self, item: &Item) {
        match item {
            Item::Mod(_) | Item::Impl(_) | Item::Trait(_) | Item::Fn(_) => visit::visit_item(self, item),
            _ => {}
        }
    }

    fn visit_foreign_item_fn(&mut self, _: &ForeignItemFn) {}
}

fn trait_fn(item: &TraitItem) -> Option<&Signature> {
    match item {
        TraitItem::Fn(item) => Some(&item.sig),
        _ => None,
    }
}

/// Whether a mark on its block makes a twin of the function.
fn gets_a_twin(sig: &Signature) -> bool {
    let returns = match &sig.output {
        ReturnType::Default => return sig.asyncness.is_some(),
        ReturnType::Type(_, returns) => returns,
    };
    sig.asyncness.is_some() || is_future(returns)
}

/// `impl Future`, `Pin<Box<dyn Future>>`, `BoxFuture`.
fn is_future(ty: &Type) -> bool {
    match ty {
        Type::ImplTrait(ty) => ty.bounds.iter().any(is_future_bound),
        Type::TraitObject(ty) => ty.bounds.iter().any(is_future_bound),
        Type::Path(path) => path.path.segments.last().is_some_and(|last| {
            let inner = |arguments: &PathArguments| match arguments {
                PathArguments::AngleBracketed(arguments) => arguments.args.iter().any(|argument| match argument {
                    GenericArgument::Type(ty) => is_future(ty),
                    _ => false,
                }),
                _ => false,
            };
            match last.ident.to_string().as_str() {
                "BoxFuture" | "LocalBoxFuture" => true,
                "Pin" | "Box" => inner(&last.arguments),
                _ => false,
            }
        }),
        _ => false,
    }
}

fn is_future_bound(bound: &TypeParamBound) -> bool {
    match bound {
        TypeParamBound::Trait(bound) => bound.path.segments.last().is_some_and(|last| last.ident == "Future"),
        _ => false,
    }
}

/// `#[test]` and its like, and `#[cfg(test)]`.
pub fn is_test(attrs: &[Attribute]) -> bool {
    attrs.iter().any(|attr| {
        attr.path().segments.last().is_some_and(|last| last.ident == "test")
            || attr.path().is_ident("cfg")
                && attr.meta.require_list().is_ok_and(|list| list.tokens.to_string() == "test")
    })
}
