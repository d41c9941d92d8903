//! Holds the crates to the modules that ARCHITECTURE.md lists. A file uses only files of modules further down the table,
//! and of its own module those that come after it in the row. So there are no dependency cycles.
//!
//! A module here is a folder of the crate's `src`, or a file there. Its `mod.rs` comes before the files that the row names. What is
//! counted is every path that begins with `crate`, `super` or `self`, in a `use` or anywhere else. A name that the root or a
//! module re-exports is the root's or that module's: a file names its neighbours by their files.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A crate's files, as the table has them.
struct House {
    krate: &'static str,
    /// Each file's place: its module's row, and where in that row it stands. The root is a module too.
    places: BTreeMap<Vec<String>, (usize, usize)>,
}

impl House {
    /// Reads the table below the heading `The modules of <krate>`.
    fn read(krate: &'static str) -> Self {
        let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
        let heading = format!("## The modules of {krate}\n");
        let (_, section) = map.split_once(&heading).unwrap_or_else(|| panic!("ARCHITECTURE.md has no {heading:?}"));
        let section = section.split("\n## ").next().unwrap();
        let mut places = BTreeMap::new();
        for (row, line) in section.lines().filter(|line| line.starts_with("| `")).enumerate() {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let names = |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
            let module = names(cells[1]);
            let files = names(cells[3]).into_iter().map(|file| vec![module[0].clone(), file]);
            for (at, file) in [module.clone()].into_iter().chain(files).enumerate() {
                assert!(places.insert(file.clone(), (row, at)).is_none(), "ARCHITECTURE.md lists {file:?} twice");
            }
        }
        Self { krate, places }
    }

    /// The file that is meant by a path from the crate's root: `mod.rs` for a name that the module re-exports.
    fn file(&self, path: &[String]) -> Vec<String> {
        let lengths = (1..=path.len().min(2)).rev();
        let listed = lengths.map(|length| path[..length].to_vec()).find(|file| self.places.contains_key(file));
        listed.unwrap_or_else(|| vec!["lib".to_owned()])
    }

    /// Says what is wrong.
    fn faults(&self) -> Vec<String> {
        let src = root().join(self.krate).join("src");
        let (mut faults, mut seen) = (Vec::new(), BTreeSet::new());
        let mut modules = vec![(src.join("lib.rs"), Vec::new())];
        while let Some((source, module)) = modules.pop() {
            let text = fs::read_to_string(&source).unwrap_or_else(|error| panic!("{}: {error}", source.display()));
            let file = self.file(&module);
            if !module.is_empty() && file != module && module.len() < 3 {
                faults.push(format!("{}: in no row of ARCHITECTURE.md", source.display()));
            }
            let mut read = Read::default();
            read.tokens(text.parse().unwrap(), &module);
            for (name, files) in read.modules {
                let folder = match source.file_stem().unwrap().to_str().unwrap() {
                    "lib" | "mod" => source.parent().unwrap().to_owned(),
                    stem => source.with_file_name(stem),
                };
                let own = [format!("{name}.rs"), format!("{name}/mod.rs")];
                let files = if files.is_empty() { Vec::from(own) } else { files };
                let child: Vec<String> = module.iter().cloned().chain([name]).collect();
                modules
                    .extend(files.iter().map(|file| (folder.join(file), child.clone())).filter(|file| file.0.exists()));
            }
            for path in read.paths {
                let used = self.file(&path);
                if used != file && self.places[&used] <= self.places[&file] {
                    let (from, to) = (file.join("/"), used.join("/"));
                    faults.push(format!("{from} uses crate::{}, of {to}, which stands above it", path.join("::")));
                }
            }
            seen.insert(file);
        }
        let gone = self.places.keys().filter(|file| !seen.contains(*file));
        faults.extend(gone.map(|file| format!("ARCHITECTURE.md lists {}, which is no file", file.join("/"))));
        faults.sort();
        faults.dedup();
        faults
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What is read in a file.
#[derive(Default)]
struct Read {
    /// The paths that it names, from the crate's root.
    paths: Vec<Vec<String>>,
    /// The modules that are files of their own, and which, where attributes say so.
    modules: Vec<(String, Vec<String>)>,
}

impl Read {
    /// Reads what stands in `module`, an inline one perhaps.
    fn tokens(&mut self, tokens: TokenStream, module: &[String]) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let text = |at: usize| tokens.get(at).map(ToString::to_string).unwrap_or_default();
        let is_path = |at: usize| text(at) == ":" && text(at + 1) == ":";
        let mut attributes = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Ident(ident) if ident == "mod" => {
                    let child: Vec<String> = module.iter().cloned().chain([text(at + 1)]).collect();
                    match tokens.get(at + 2) {
                        Some(TokenTree::Group(body)) => self.tokens(body.stream(), &child),
                        _ => self.modules.push((text(at + 1), std::mem::take(&mut attributes))),
                    }
                    at += 2;
                }
                TokenTree::Ident(ident)
                    if ["crate", "super", "self"].iter().any(|word| ident == word)
                        && (is_path(at + 1) || text(at.wrapping_sub(1)) == "use")
                        && !(at >= 2 && is_path(at - 2)) =>
                {
                    at += self.path(&tokens[at..], module.to_vec());
                }
                TokenTree::Group(group) if text(at.wrapping_sub(1)) == "#" => {
                    let words = Some(group.stream().to_string()).filter(|words| !words.starts_with("doc"));
                    let words = words.unwrap_or_default();
                    attributes.extend(words.split('"').filter(|word| word.ends_with(".rs")).map(str::to_owned));
                }
                // A visibility, and what a macro writes elsewhere, are no uses.
                TokenTree::Group(group)
                    if group.delimiter() == Delimiter::Parenthesis && text(at.wrapping_sub(1)) == "pub" => {}
                TokenTree::Group(_)
                    if text(at.wrapping_sub(1)) == "!" && text(at.wrapping_sub(2)).contains("quote") => {}
                TokenTree::Group(group) => self.tokens(group.stream(), module),
                TokenTree::Punct(punct) if punct.as_char() == ';' => attributes.clear(),
                _ => {}
            }
            at += 1;
        }
    }

    /// Reads one path, or the tree of a `use`, that goes on from `base`. Returns how many tokens come before its last.
    fn path(&mut self, tokens: &[TokenTree], mut base: Vec<String>) -> usize {
        let mut at = 0;
        loop {
            match tokens.get(at) {
                Some(TokenTree::Ident(word)) if word == "crate" => base.clear(),
                Some(TokenTree::Ident(word)) if word == "super" => drop(base.pop()),
                Some(TokenTree::Ident(word)) if word == "self" => {}
                Some(TokenTree::Ident(word)) => base.push(word.to_string()),
                Some(TokenTree::Group(tree)) if tree.delimiter() == Delimiter::Brace => {
                    let branches: Vec<TokenTree> = tree.stream().into_iter().collect();
                    let comma = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',');
                    for branch in branches.split(comma).filter(|branch| !branch.is_empty()) {
                        self.path(branch, base.clone());
                    }
                    return at;
                }
                _ => break,
            }
            let colon = |at: usize| matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
            if !(colon(at + 1) && colon(at + 2)) {
                break;
            }
            at += 3;
        }
        self.paths.push(base);
        at
    }
}

/// Catches: a path that is not read, or read as another.
#[test]
fn paths_are_read_in_every_form() {
    let source = r#"
        use crate::a::{self, b::{C, d::*}, super_not};
        use {crate::e, super::f::{g, super::h as i}};
        pub(crate) use super as j;
        pub(in crate::k) fn l(m: crate::n::O) -> bool {
            let p = self.q::<r>();
            assert!(crate::s::T::u() == quote!(crate::v), "crate::w");
            mod x { use super::{super::y, z}; }
        }
        /// See crate::doc.
        #[cfg_attr(unix, path = "one.rs")]
        #[cfg_attr(not(unix), path = "two.rs")]
        mod either;
        mod plain;
    "#;
    let mut read = Read::default();
    read.tokens(source.parse().unwrap(), &["room".to_owned(), "file".to_owned()]);
    let paths: Vec<String> = read.paths.iter().map(|path| path.join("::")).collect();
    let expected = "a a::b::C a::b::d a::super_not e room::f::g room::h room n::O s::T::u room::y room::file::z";
    assert_eq!(paths.join(" "), expected);
    let modules: Vec<String> = read.modules.iter().map(|(name, files)| format!("{name} {files:?}")).collect();
    assert_eq!(modules, [r#"either ["one.rs", "two.rs"]"#, "plain []"]);
}

/// Catches: two files that use each other; a file that uses one above it in the table; a file that the map does not list, or
/// that it lists though there is none.
#[test]
fn in_the_runtime_arrows_point_down() {
    let faults = House::read("co-wrapper-runtime").faults();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn in_the_macro_crate_arrows_point_down() {
    let faults = House::read("co-wrapper-macros").faults();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}
