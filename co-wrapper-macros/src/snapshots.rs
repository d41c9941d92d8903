//! Snapshots of expansions, for people to read: `tests/expand/method.rs` expands to `tests/expand/method.expanded.rs`,
//! and so on; the pages of the reference have their own. `UPDATE_EXPECT=1 cargo test -p co-wrapper-macros --lib`
//! updates them.

use crate::parse::mark;
use crate::{attribute, declare};
use expect_test::expect_file;
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::quote;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn inputs(folder: &str) -> Vec<PathBuf> {
    let folder = repository().join(folder);
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

/// Half-typed code in a body does not affect the wrapper, which is complete.
#[test]
fn half_typed_bodies() {
    let bodies = [
        "self.",
        "self.0.await.",
        "let",
        "let x =",
        "let x: = 1;",
        "if x.",
        "if let Some(x) =",
        "match",
        "for x in",
        "while",
        "return self.read(off,, )",
        "let f = |x|",
        "Disk { .. }",
        "x + ;",
        "a b c",
        "#",
        "use std::;",
        "fn inner()",
        "vec![1, ] ;;",
    ];
    let signature = "pub async fn co_read(&self, off: u64) -> io::Result<u8>";
    for body in bodies {
        let whole = TokenStream::from_str(&format!("{signature} {{ {body} }}")).unwrap();
        let expanded = attribute::co_wrapper(TokenStream::new(), whole.clone(), None).to_string();
        assert!(expanded.starts_with(&whole.to_string()), "`{body}`: the fn is not first and whole in {expanded}");
        assert!(!expanded.contains("compile_error"), "`{body}`: {expanded}");
        assert!(expanded.contains("pub fn read (& self , off : u64) -> io :: Result < u8 >"), "`{body}`: {expanded}");
    }
}

/// A signature that cannot be read yet is given back whole, for completion and hover, with one error; in a block the others
/// have their wrappers.
#[test]
fn half_typed_signatures() {
    let signatures = [
        "async fn co_read(&self, off: ) -> u8 {}",      // no type
        "async fn co_read(&self, off) -> u8 {}",        // nor its colon
        "async fn co_read(&self off: u64) -> u8 {}",    // no comma
        "async fn co_read(&self, off: &mut) -> u8 {}",  // half a type
        "async fn co_read(&self, off: Vec<) -> u8 {}",  // an open bracket
        "async fn co_read(&self) -> {}",                // no result
        "async fn co_read(&self) - {}",                 // half an arrow
        "async fn (&self) {}",                          // no name
        "async fn co_read {}",                          // no parameters
        "async fn co_read<T: Into<>(&self) {}",         // half a bound
        "async fn co_read<T>(&self) where T: Into< {}", // the same, at the end
        "async co_read(&self) {}",                      // no `fn`
        "pub() async fn co_read(&self) {}",             // half a visibility
        "async fn",                                     // all that comes after
        "async fn co_read(&self)",                      // no body yet
    ];
    for signature in signatures {
        let whole = TokenStream::from_str(signature).unwrap();
        let expanded = attribute::co_wrapper(TokenStream::new(), whole.clone(), None).to_string();
        assert!(expanded.starts_with(&whole.to_string()), "`{signature}` is not first and whole in {expanded}");
        assert_eq!(expanded.matches("compile_error").count(), 1, "`{signature}`: {expanded}");

        let block = TokenStream::from_str(&format!("impl Disk {{ async fn size(&self) -> u8 {{ 1 }} {signature} }}"));
        let args = TokenStream::from_str(r#"suffix = "_blocking""#).unwrap();
        let expanded = expand_all(attribute::co_wrapper(args, block.unwrap(), None)).to_string();
        assert!(expanded.contains("fn size_blocking (& self) -> u8"), "`{signature}`: {expanded}");
        assert!(expanded.contains(&whole.to_string()), "`{signature}` is not whole in {expanded}");
    }
}

/// rustc names the macro that a method comes from when its trait lacks it: in the impl of a trait that name says what to do.
/// Under a path of the user's own there may be no such name.
#[test]
fn marks_in_the_impl_of_a_trait() {
    let members = "async fn read(&self) {} #[co_wrapper(name = put)] async fn co_put(&self) {}";
    for (options, head, named) in [
        ("suffix = \"_blocking\"", "impl Driver for Disk", 2),
        ("suffix = \"_blocking\", mixed", "impl<T> a::Driver<T> for Disk where T: Copy", 2),
        ("mixed", "impl Driver for Disk", 1),
        ("suffix = \"_blocking\", crate = a::reexport", "impl Driver for Disk", 0),
        ("suffix = \"_blocking\"", "impl Disk", 0),
        ("suffix = \"_blocking\"", "trait Driver", 0),
    ] {
        let block = TokenStream::from_str(&format!("{head} {{ {members} }}")).unwrap();
        let expanded = attribute::co_wrapper(TokenStream::from_str(options).unwrap(), block, None);
        let found = expanded.to_string().matches(":: co_wrapper :: annotate_the_trait_or_use_declare (").count();
        assert_eq!(found, named, "{options} {head}: {expanded}");
        assert!(!expand_all(expanded.clone()).to_string().contains("compile_error"), "{expanded}");
    }
}

/// Half an attribute is told of, and the fn stays.
#[test]
fn half_typed_options() {
    let options = [
        "mix",
        "mixed, name",
        "name =",
        "name = ,",
        "ctx = self.",
        "ctx",
        "timeout =",
        "interrupt =",
        "vis =",
        "crate = ::",
        "=",
        ",",
    ];
    let whole = TokenStream::from_str("async fn co_read(&self) -> u8 { self. }").unwrap();
    for option in options {
        let args = TokenStream::from_str(option).unwrap();
        let expanded = attribute::co_wrapper(args, whole.clone(), None).to_string();
        assert!(expanded.starts_with(&whole.to_string()), "`{option}`: the fn is not first and whole in {expanded}");
        assert_eq!(expanded.matches("compile_error").count(), 1, "`{option}`: {expanded}");
    }
}

/// Each page of the reference shows what the marked items of its example, its first code, expand to. No example is wrong, so
/// no expansion may have an error in it: there the reader of the page would take our mistake for what the macro writes.
#[test]
fn reference() {
    let folder = repository().join("src/reference");
    let mut pages = 0;
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let page = fs::read_to_string(&path).unwrap();
        let Some((before, rest)) = page.split_once("\n# Expansion\n\n```text\n") else {
            assert!(path.ends_with("index.md"), "{} shows no expansion", path.display());
            continue;
        };
        let after = rest.split_once("```\n").expect("its end").1;
        let example = before.split("```\n").nth(1).expect("an example");
        let expanded = expand_all(marked_items(example));
        let text = expanded.to_string();
        assert!(!text.is_empty(), "{}: nothing in its example is marked", path.display());
        assert!(!text.contains("compile_error"), "{}: its example expands to an error: {text}", path.display());
        let expanded = syn::parse2(expanded).unwrap();
        let expected = format!("{before}\n# Expansion\n\n```text\n{}```\n{after}", prettyplease::unparse(&expanded));
        expect_file![&path].assert_eq(&expected);
        pages += 1;
    }
    assert_eq!(pages, 22);
}

fn marked_items(example: &str) -> TokenStream {
    let lines: String = example.lines().map(|line| format!("{}\n", line.strip_prefix("# ").unwrap_or(line))).collect();
    let statements = TokenStream::from_str(&format!("{{ {lines} }}")).unwrap();
    let block: syn::Block = syn::parse2(statements).unwrap();
    let items = block.stmts.iter().filter(|statement| matches!(statement, syn::Stmt::Item(_) | syn::Stmt::Macro(_)));
    let marked = items.map(|item| quote!(#item)).filter(|item| {
        let text = item.to_string();
        (text.contains("co_wrapper") || text.starts_with("declare"))
            && !text.starts_with("use ")
            && !text.contains("pub use")
    });
    marked.collect()
}

fn check(path: &Path, expansion: &TokenStream) {
    let refused =
        path.file_stem().is_some_and(|name| name == "refused") || path.parent().unwrap().ends_with("half_typed");
    assert!(refused || !expansion.to_string().contains("compile_error"), "{}: {expansion}", path.display());
    let file = syn::parse2(expansion.clone()).unwrap_or_else(|e| panic!("{e}: {expansion}"));
    let header =
        "// Generated from the file beside this one: `UPDATE_EXPECT=1 cargo test -p co-wrapper-macros --lib`.\n\n";
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
        // The item ends with the braces or the `;` that follow its first word `fn`, `impl`, …: inputs have no others before.
        let ends = |tree: &TokenTree| match tree {
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
            TokenTree::Punct(punct) => punct.as_char() == ';',
            _ => false,
        };
        let end = (at + 2..trees.len()).find(|&i| ends(&trees[i])).map_or(trees.len(), |i| i + 1);
        let rest = trees.split_off(end);
        let item = trees[start..at].iter().chain(&trees[at + 2..]).cloned();
        let expanded = if path_ends_in(&trees[at + 1], "no_co_wrapper") {
            attribute::no_co_wrapper(args, item.collect())
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
    is_attribute(pair)
        && ["co_wrapper", mark::IN_TRAIT_IMPL, "no_co_wrapper"].iter().any(|name| path_ends_in(&pair[1], name))
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
