//! Snapshots of expansions, to be read: `tests/expand/method.rs` expands to `tests/expand/method.expanded.rs`, and so on.
//! `UPDATE_EXPECT=1 cargo test --test expand` writes them anew.
//!
//! The macros' own modules are compiled into this test, as a proc-macro crate can be linked by the compiler only.

#![allow(dead_code)]

#[path = "../co-wrapper-macros/src/args.rs"]
mod args;
#[path = "../co-wrapper-macros/src/attribute.rs"]
mod attribute;
#[path = "../co-wrapper-macros/src/attrs.rs"]
mod attrs;
#[path = "../co-wrapper-macros/src/context.rs"]
mod context;
#[path = "../co-wrapper-macros/src/declare.rs"]
mod declare;
#[path = "../co-wrapper-macros/src/docs.rs"]
mod docs;
#[path = "../co-wrapper-macros/src/errors.rs"]
mod errors;
#[path = "../co-wrapper-macros/src/expand/mod.rs"]
mod expand;
#[path = "../co-wrapper-macros/src/item.rs"]
mod item;
#[path = "../co-wrapper-macros/src/lock.rs"]
mod lock;
#[path = "../co-wrapper-macros/src/mark.rs"]
mod mark;
#[path = "../co-wrapper-macros/src/name.rs"]
mod name;
#[path = "../co-wrapper-macros/src/no_co.rs"]
mod no_co;
#[path = "../co-wrapper-macros/src/outer.rs"]
mod outer;
#[path = "../co-wrapper-macros/src/pieces.rs"]
mod pieces;
#[path = "../co-wrapper-macros/src/signature.rs"]
mod signature;
#[path = "../co-wrapper-macros/src/spelling.rs"]
mod spelling;
#[path = "../co-wrapper-macros/src/values.rs"]
mod values;
#[path = "../co-wrapper-macros/src/witness.rs"]
mod witness;

use expect_test::expect_file;
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::quote;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

fn inputs(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut inputs: Vec<PathBuf> = files
        .filter(|path| path.to_str().unwrap().ends_with(".rs"))
        .filter(|path| !path.to_str().unwrap().ends_with(".expanded.rs"))
        .collect();
    inputs.sort();
    assert!(!inputs.is_empty());
    inputs
}

#[test]
fn expansions() {
    for path in inputs("tests/expand") {
        let source = TokenStream::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        check(&path, &expand_all(source));
    }
}

/// Bodies that do not parse, as an editor sees them, still expand; in the snapshots they stand in `half_typed! { … }`.
#[test]
fn half_typed() {
    for path in inputs("tests/expand/half_typed") {
        let source = TokenStream::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        check(&path, &mask_bodies(expand_all(source)));
    }
}

fn check(path: &Path, expansion: &TokenStream) {
    let file = syn::parse2(expansion.clone()).unwrap_or_else(|e| panic!("{e}: {expansion}"));
    let header = "// Generated from the file beside this one: `UPDATE_EXPECT=1 cargo test --test expand`.\n\n";
    let text = format!("{header}{}", prettyplease::unparse(&file));
    expect_file![path.with_extension("expanded.rs")].assert_eq(&text);
}

/// Expands every `declare!`, and every `#[co_wrapper]`, outermost first, as the compiler does.
fn expand_all(source: TokenStream) -> TokenStream {
    let mut trees: Vec<TokenTree> = source.into_iter().collect();
    if let Some(at) = trees.windows(3).position(is_declare) {
        let rest = trees.split_off(at + 3);
        let declarations = match &trees[at + 2] {
            TokenTree::Group(group) => declare::declare(group.stream()),
            _ => unreachable!("`is_declare` saw a group"),
        };
        let before: TokenStream = trees[..at].iter().cloned().collect();
        return expand_all(quote!(#before #declarations #(#rest)*));
    }
    if let Some(at) = trees.windows(2).position(is_mark) {
        let args = mark_args(&trees[at + 1]);
        // Earlier attributes of the same item belong to it.
        let mut start = at;
        while start >= 2 && is_attribute(&trees[start - 2..start]) {
            start -= 2;
        }
        // The item ends with the braces that follow its first word `fn`, `impl`, …: inputs have no others before them.
        let end = (at + 2..trees.len())
            .find(|&i| matches!(&trees[i], TokenTree::Group(g) if g.delimiter() == Delimiter::Brace))
            .map_or(trees.len(), |i| i + 1);
        let rest = trees.split_off(end);
        let item = trees[start..at].iter().chain(&trees[at + 2..]).cloned();
        let expanded = if path_ends_in(&trees[at + 1], "no_co_wrapper") {
            no_co::no_co_wrapper(args, item.collect())
        } else {
            attribute::co_wrapper(args, item.collect(), None)
        };
        let before: TokenStream = trees[..start].iter().cloned().collect();
        return expand_all(quote!(#before #expanded #(#rest)*));
    }
    let inside = trees.into_iter().map(|tree| match tree {
        TokenTree::Group(group) => TokenTree::Group(Group::new(group.delimiter(), expand_all(group.stream()))),
        tree => tree,
    });
    inside.collect()
}

fn is_declare(three: &[TokenTree]) -> bool {
    matches!(three, [TokenTree::Ident(name), TokenTree::Punct(bang), TokenTree::Group(_)]
        if name == "declare" && bang.as_char() == '!')
}

fn is_attribute(pair: &[TokenTree]) -> bool {
    matches!(pair, [TokenTree::Punct(hash), TokenTree::Group(_)] if hash.as_char() == '#')
}

fn is_mark(pair: &[TokenTree]) -> bool {
    is_attribute(pair) && (path_ends_in(&pair[1], "co_wrapper") || path_ends_in(&pair[1], "no_co_wrapper"))
}

fn path_ends_in(attribute: &TokenTree, name: &str) -> bool {
    let TokenTree::Group(group) = attribute else { return false };
    let path = group.stream().into_iter().take_while(|tree| !matches!(tree, TokenTree::Group(_)));
    path.last().is_some_and(|last| last.to_string() == name)
}

fn mark_args(attribute: &TokenTree) -> TokenStream {
    let TokenTree::Group(group) = attribute else {
        unreachable!("`is_mark` saw a group");
    };
    match group.stream().into_iter().last() {
        Some(TokenTree::Group(args)) => args.stream(),
        _ => TokenStream::new(),
    }
}

/// Puts bodies that do not parse into a macro call.
fn mask_bodies(tokens: TokenStream) -> TokenStream {
    let parses = |body: &TokenStream| {
        syn::parse2::<syn::Block>(quote!({ #body })).is_ok()
            || syn::parse2::<syn::ItemImpl>(quote!(impl X { #body })).is_ok()
    };
    let masked = tokens.into_iter().map(|tree| match tree {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
            let whole = group.stream();
            let masked = mask_bodies(whole.clone());
            let body = [whole.clone(), masked].into_iter().find(parses);
            let body = body.unwrap_or_else(|| quote!(half_typed! { #whole }));
            TokenTree::Group(Group::new(Delimiter::Brace, body))
        }
        tree => tree,
    });
    masked.collect()
}
