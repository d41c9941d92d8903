//! Which shape of signature is tested where. The tables are the map; the tests hold it to what is in the files: a shape's
//! wrapper is called by a test of its file, and its async fn waits; what is refused has its message.

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::str::FromStr;

/// A shape, its files below `tests/`, its async fns and their wrappers.
type Accepted = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const STORAGE: &[Accepted] = &[
    (
        "1: async fn readv(&self, mut bufv: IoVectorMut<'_>, mut offset: u64) -> io::Result<()>",
        "signatures/storage.rs",
        &[("readv", "readv_blocking")],
    ),
    (
        "2: async fn read<'a>(&'a self, buf: impl Into<IoVectorMut<'a>>, offset: u64) -> io::Result<()>",
        "signatures/storage.rs",
        &[("read", "read_blocking")],
    ),
    (
        "3: async fn get_mapping(&self, offset: u64) -> io::Result<(Mapping<'_, S>, u64)>",
        "signatures/storage.rs",
        &[("get_mapping", "get_mapping_blocking")],
    ),
    ("4: async unsafe fn discard_unsafe(…)", "signatures/storage.rs", &[("discard_unsafe", "discard_blocking")]),
    (
        "5: impl<S: Storage + 'static, F: Wrapped<S>>, async fn open_path<P: AsRef<Path>>(path: P, w: bool) -> io::Result<Self>",
        "signatures/storage.rs",
        &[("open_path", "open_path_blocking")],
    ),
    (
        "6: async fn create_open<G: Gate<S>, F: FnOnce(S) -> io::Result<Self::B>>(self, g: G, f: F) -> io::Result<<Self::B as T<S>>::Format>",
        "signatures/storage.rs",
        &[("create_open", "create_open_blocking")],
    ),
    (
        "7: in a trait, async unsafe fn probe(s: &Self::Storage) -> io::Result<bool> where Self: Sized; default bodies",
        "signatures/traits.rs",
        &[("probe", "probe_blocking"), ("co_default", "default")],
    ),
    (
        "8: async fn try_readv<'a>(&self, v: IoVec<'a>, off: u64) -> io::Result<Option<(IoVec<'a>, u64)>>",
        "signatures/storage.rs",
        &[("try_readv", "try_readv_blocking")],
    ),
    (
        "9: under #[async_trait(?Send)], async fn read_to_mem<'a>(&'a self, off: u64, mem: Arc<dyn Backing + Send + Sync>, r: Regions<'a>)",
        "stacked.rs",
        &[("read_to_mem", "read_to_mem_blocking"), ("write_from_mem", "write_from_mem_blocking")],
    ),
    (
        "10: async fn flush<A: Table + Debug, B: Table, K>(&self, rt: &A, c: &Cache<usize, RwLock<B>>, k: K) -> R where K: Fn(u64) -> usize",
        "signatures/storage.rs",
        &[("flush", "flush_blocking")],
    ),
];

const SPACE: &[Accepted] = &[
    ("receiver: none", "signatures.rs", &[("co_new", "new"), ("co_no_receiver", "no_receiver")]),
    ("receiver: self", "signatures.rs", &[("co_by_value", "by_value")]),
    ("receiver: mut self", "signatures.rs", &[("co_by_mut_value", "by_mut_value")]),
    ("receiver: &self", "signatures.rs", &[("co_by_ref", "by_ref")]),
    ("receiver: &mut self", "signatures.rs", &[("co_by_mut", "by_mut")]),
    ("receiver: &'a self", "signatures.rs", &[("co_named", "named")]),
    ("receiver: Arc<Self>", "signatures.rs", &[("co_arc", "arc")]),
    ("receiver: Rc<Self>, &Rc<Self>", "signatures.rs", &[("co_rc", "rc"), ("co_refs_rc", "refs_rc")]),
    ("receiver: Box<Self>", "signatures.rs", &[("co_boxed", "boxed"), ("co_mut_boxed", "mut_boxed")]),
    ("receiver: Pin<&mut Self>", "signatures.rs", &[("co_pinned", "pinned")]),
    ("receiver: self by value in a trait", "signatures/traits.rs", &[("co_by_value", "by_value")]),
    (
        "parameters: mut x, _, tuples, structs, arrays, references, x @ p",
        "signatures.rs",
        &[("co_patterns", "patterns")],
    ),
    ("parameters: unit structs", "signatures.rs", &[("co_unit", "unit")]),
    ("parameters: raw identifiers; s, co, ret, self_ and our own names", "signatures.rs", &[("co_names", "names")]),
    ("parameters: two of one name through macro hygiene", "signatures/macros.rs", &[("co_pair", "pair")]),
    ("parameters: #[cfg] and #[cfg_attr] on one", "signatures.rs", &[("co_conditional", "conditional")]),
    ("types: elided lifetimes", "signatures.rs", &[("co_by_ref", "by_ref"), ("co_elided", "elided")]),
    ("types: named lifetimes", "signatures.rs", &[("co_named", "named"), ("co_early", "early")]),
    ("types: 'b: 'a", "signatures.rs", &[("co_longer", "longer")]),
    ("types: dyn Trait + '_", "signatures.rs", &[("co_show", "show")]),
    ("types: higher-ranked bounds", "signatures.rs", &[("co_higher_ranked", "higher_ranked")]),
    ("types: fn pointers, impl Fn, dyn Fn", "signatures.rs", &[("co_call", "call")]),
    ("types: &mut (impl Iterator + ?Sized)", "signatures.rs", &[("co_sum", "sum")]),
    ("types: arrays with const expressions", "signatures.rs", &[("co_array", "array"), ("wide", "wide_blocking")]),
    ("types: Self in all positions", "signatures.rs", &[("co_selves", "selves"), ("co_everywhere", "everywhere")]),
    ("types: not Send", "signatures.rs", &[("co_not_send", "not_send")]),
    ("generics: types and consts, of the names in the expansion", "signatures.rs", &[("co_generic", "generic")]),
    ("generics: consts in traits", "signatures/traits.rs", &[("co_default", "default")]),
    (
        "generics: not inferrable <U, const N: usize> beside impl Trait; where clauses",
        "signatures.rs",
        &[("co_not_inferred", "not_inferred")],
    ),
    ("generics: ?Sized", "signatures.rs", &[("co_bytes", "bytes")]),
    ("result: nothing", "signatures.rs", &[("co_nothing", "nothing")]),
    ("result: !", "signatures.rs", &[("co_never", "never")]),
    ("result: impl Trait", "signatures.rs", &[("co_iter", "iter"), ("co_iter_mut", "iter_mut")]),
    ("result: borrowed", "signatures.rs", &[("co_by_mut", "by_mut")]),
    ("result: Result", "signatures.rs", &[("co_fails", "fails"), ("co_must_use", "must_use")]),
    ("result: Self", "signatures.rs", &[("co_new", "new")]),
    ("not async: fn -> impl Future<Output = R>", "signatures.rs", &[("co_future", "future")]),
    (
        "in a block: impl Future with other bounds, use<…>, 'static; its result borrowed, Self, opaque, nothing",
        "signatures/returning.rs",
        &[
            ("opaque", "opaque_blocking"),
            ("borrowed", "borrowed_blocking"),
            ("of_one_of_two", "of_one_of_two_blocking"),
            ("itself", "itself_blocking"),
            ("some_trait", "some_trait_blocking"),
            ("nothing", "nothing_blocking"),
        ],
    ),
    (
        "in a block: Pin<Box<dyn Future>>, Pin<Box<impl Future>>, Box<dyn Future + Unpin>",
        "signatures/returning.rs",
        &[
            ("made", "made_blocking"),
            ("pinned", "pinned_blocking"),
            ("pinned_opaque", "pinned_opaque_blocking"),
            ("unpinned", "unpinned_blocking"),
        ],
    ),
    (
        "in a block: BoxFuture, LocalBoxFuture, FusedFuture",
        "signatures/returning.rs",
        &[("send", "send_blocking"), ("local", "local_blocking"), ("fused", "fused_blocking")],
    ),
    ("in a block: an alias, by `output = R`", "signatures/returning.rs", &[("alias", "alias_blocking")]),
    ("suffix, prefix: on a single fn", "signatures/modules.rs", &[("single", "single_blocking")]),
    (
        "elided inside impl Trait: references, paths, bounds, trait objects",
        "signatures/elided.rs",
        &[("co_item", "item"), ("co_path", "path"), ("co_bound", "bound"), ("co_object", "object")],
    ),
    (
        "lifetimes in a bound and of no argument, with impl Trait in the result",
        "signatures/elided.rs",
        &[("co_two", "two"), ("co_late", "late"), ("co_outlives", "outlives"), ("co_argument", "argument")],
    ),
    (
        "not async: fn -> Pin<Box<dyn Future<Output = R> + '_>>",
        "signatures.rs",
        &[("co_boxed", "boxed"), ("co_elided", "elided")],
    ),
    (
        "streams: async, in a Result, in an Option and a tuple",
        "streams.rs",
        &[("opened", "opened_blocking"), ("perhaps", "perhaps_blocking")],
    ),
    (
        "type = …: Self in results and arguments, each receiver",
        "blocking_types.rs",
        &[
            ("open", "open"),
            ("named", "named"),
            ("size", "size"),
            ("write", "write"),
            ("into_data", "into_data"),
            ("of_box", "of_box"),
            ("is_same", "is_same"),
            ("joined", "joined"),
            ("split", "split"),
            ("each", "each"),
        ],
    ),
    ("declare!: methods of a blocking type", "blocking_types.rs", &[("layered", "layered"), ("here", "here")]),
    ("trait = …: generics, a supertrait", "blocking_traits.rs", &[("get", "get"), ("base", "base")]),
    (
        "macro_rules!: None-delimited groups",
        "signatures/macros.rs",
        &[("fragments", "blocking_fragments"), ("co_plain", "plain"), ("co_one", "one"), ("sized", "sized_waiting")],
    ),
    ("macro_rules!: $crate", "signatures/macros.rs", &[("co_reexported", "reexported")]),
    ("macro_rules!: self from the caller", "signatures/macros.rs", &[("co_get", "get")]),
    ("place: #[cfg] twins", "signatures.rs", &[("co_twin", "twin")]),
    ("place: inside functions", "signatures.rs", &[("co_inner", "inner"), ("co_get", "get")]),
    ("place: impls of private types", "signatures.rs", &[("read", "read_blocking"), ("every", "every_blocking")]),
    ("place: recursive", "signatures.rs", &[("co_countdown", "countdown")]),
    (
        "stacked: #[async_trait] outside, inside, on marks alone",
        "stacked.rs",
        &[("read", "read_blocking"), ("write", "write_blocking"), ("co_read", "read")],
    ),
    (
        "stacked: #[instrument] outside, inside, on a method",
        "stacked.rs",
        &[("co_traced_outside", "traced_outside"), ("co_traced_inside", "traced_inside"), ("co_method", "method")],
    ),
    ("stacked: #[async_recursion] outside, inside", "stacked.rs", &[("co_sum", "sum"), ("co_longest", "longest")]),
    (
        "lints: forbid(unsafe_code), deny(missing_docs, clippy::pedantic)",
        "lints.rs + lints/shapes.rs",
        &[("read", "read_blocking"), ("co_free", "free"), ("sent", "sent_there")],
    ),
    ("shadowed: Result, FnOnce, core", "signatures/hygiene.rs", &[("co_read", "read"), ("co_sent", "sent")]),
];

/// What is refused, the file in `tests/ui/`, the marked line's beginning, and what the message says; where that is rustc's,
/// its code.
const REFUSED: &[(&str, &str, &str, &str)] = &[
    ("not async", "not_async", "fn co_read() -> u8 {", "`co_read` is not async; make it an `async fn`"),
    ("no_co on async", "no_co", "async fn bdrv_f() {}", "the fn is async already; mark a blocking one"),
    ("no `co` and no name", "name_rules", "async fn read() {}", "call it `co_read`, or name the wrapper with"),
    ("a second `co`", "name_rules", "async fn co_bdrv_co_read() {}", "a second `co` in the name"),
    ("an empty rest", "name_rules", "async fn co() {}", "nothing is left of `co` without its `co`"),
    ("a reserved name", "name_rules", "async fn co_match() {}", "`match` is reserved"),
    ("wrapper and target of one name", "name_is_target", "#[co_wrapper(name = read)]", "`read` is the async fn itself"),
    (
        "a parameter of its free function's name",
        "hidden_function",
        "async fn co_read(co_read: u8)",
        "this hides the fn",
    ),
    ("an unknown option", "unknown_option", "#[co_wrapper(mixd)]", "did you mean `mixed`"),
    ("a duplicate option", "duplicate_option", "#[co_wrapper(mixed, mixed)]", "`mixed` is given twice"),
    ("contradictory options", "no_co", "#[no_co_wrapper(bdrv_rdlock, bdrv_wrlock)]", "cannot both be held"),
    (
        "contradictory options of one in a block",
        "only_on_blocks",
        "#[co_wrapper(skip, mixed)]",
        "`skip` leaves nothing",
    ),
    ("a missing value", "option_value", "#[co_wrapper(name)]", "`name` needs a value"),
    ("a string where an identifier belongs", "option_value", "#[co_wrapper(name = \"d\")]", "write `name = d`"),
    ("a repeated attribute", "repeated", "#[co_wrapper(mixed)]", "a second `#[co_wrapper]`"),
    ("`mixed` on no_co", "no_co", "#[no_co_wrapper(mixed)]", "`mixed` is for `#[co_wrapper]`"),
    (
        "`= expr` on no_co",
        "no_co",
        "#[no_co_wrapper(bdrv_rdlock = graph())]",
        "takes the graph's own lock; remove the value",
    ),
    ("wrlock on co", "locks", "#[co_wrapper(bdrv_wrlock)]", "a coroutine cannot take the write lock"),
    ("`&mut` on no_co", "no_co", "fn bdrv_h(_x: &mut u8) {}", "take it by value and return it"),
    ("`&mut self` on no_co", "no_co", "fn bdrv_l(&mut self) {}", "take it by value and return it"),
    ("hidden lifetimes on no_co", "no_co", "fn bdrv_i(", "this borrow does not outlive a call that is dropped"),
    ("a borrowed result on no_co", "no_co", "fn bdrv_j(x: &u8) -> &u8 {", "the result must not borrow"),
    ("`-> !` on no_co", "no_co", "fn bdrv_p() -> ! {", "leaves nothing to await"),
    ("a witness without its mark", "locks", "async fn co_unmarked(_: &GraphRead) {}", "that the mark does not take"),
    ("two witnesses", "locks", "async fn co_two(", "a second witness of one lock"),
    ("a witness of the other kind", "locks", "async fn co_kind(_: &GraphWrite) {}", "take `&GraphRead` instead"),
    ("a result that borrows the witness", "locks", "async fn co_borrows(", "the result borrows the lock"),
    ("a witness of the other kind on no_co", "no_co", "fn bdrv_u(_: &GraphRead) {}", "take `&GraphWrite` instead"),
    ("`name` on an outer attribute", "only_on_functions", "#[co_wrapper(name = read)]", "`name` is of one fn"),
    ("`vis` on an outer attribute", "only_on_functions", "#[co_wrapper(vis = pub,", "`vis` is of one fn"),
    ("a struct", "wrong_item", "struct Disk;", "a struct cannot have a wrapper"),
    ("another item", "wrong_item", "mod inner {}", "a module cannot have a wrapper"),
    ("an impl with nothing marked in it", "nothing_marked", "impl Disk {", "nothing in this `impl` is marked"),
    ("const", "refused_functions", "const async fn co_c() {}", "a blocking call cannot be `const`"),
    ("variadic", "variadic", "async unsafe extern \"C\" fn co_a(", "a variadic fn cannot have a wrapper"),
    ("generator", "rustc/generators", "async gen fn co_b() -> u8 {}", "a generator cannot have a wrapper"),
    ("extern", "refused_functions", "extern \"C\" fn co_d()", "an `extern` fn cannot have a wrapper"),
    ("no_mangle", "refused_attributes", "#[unsafe(no_mangle)]", "put `#[no_mangle]` on a fn that calls the wrapper"),
    ("export_name", "refused_attributes", "#[unsafe(export_name = \"b\")]", "put `#[export_name]` on a fn"),
    (
        "target_feature",
        "refused_attributes",
        "#[target_feature(enable",
        "put `#[target_feature]` on a fn that it calls",
    ),
    (
        "`Self` in a type that is not converted",
        "blocking_type",
        "pub async fn by_name() -> HashMap<u8, Disk> {",
        "`Self` inside `HashMap<…>` has no blocking form",
    ),
    (
        "a fn that `dyn` cannot call",
        "blocking_trait",
        "async fn copied<T: From<u8>>(&self) -> u8;",
        "`dyn` cannot call the twin of a generic method",
    ),
    ("a stream in a type that is not known", "streams", "async fn co_by_name()", "a stream inside `HashMap<…>`"),
    // Left to rustc.
    ("a wrapper that its trait lacks", "rustc/trait_lacks_wrapper", "async fn co_read(&self) {}", "E0407"),
    ("an argument that is not Send", "rustc/ctx_types", "async fn co_a(x: u8, local: Local)", "E0277"),
    ("not Send on no_co", "rustc/no_co_types", "fn bdrv_a(_: u8, _: Local) {}", "E0277"),
    ("not ToOwned on no_co", "rustc/no_co_types", "fn bdrv_b(_: u8, _: &Plain) {}", "E0277"),
];

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What a file of tests defines and calls, by its tokens, so that what macros make is seen too.
#[derive(Default)]
struct Names {
    /// Each fn that has a body, and the words in that.
    functions: Vec<(String, BTreeSet<String>)>,
    /// What a `#[test]` calls, in a macro's arguments too.
    called: BTreeSet<String>,
    words: BTreeSet<String>,
}

impl Names {
    fn of(files: &str) -> Names {
        let mut names = Names::default();
        for file in files.split(" + ") {
            let tokens = TokenStream::from_str(&read(file)).unwrap();
            names.visit(&tokens);
            words(tokens, &mut names.words);
        }
        names
    }

    fn visit(&mut self, tokens: &TokenStream) {
        let trees: Vec<TokenTree> = tokens.clone().into_iter().collect();
        let mut test = false;
        for (i, tree) in trees.iter().enumerate() {
            if let TokenTree::Group(group) = tree {
                test |= group.delimiter() == Delimiter::Bracket && group.stream().to_string() == "test";
                self.visit(&group.stream());
            }
            if let [TokenTree::Ident(word), TokenTree::Ident(name), rest @ ..] = &trees[i..]
                && word == "fn"
                && let Some(body) = body(rest)
            {
                if test {
                    calls(body.clone(), &mut self.called);
                }
                let mut inside = BTreeSet::new();
                words(body, &mut inside);
                self.functions.push((unraw(name), inside));
                test = false;
            }
        }
    }

    /// Every fn of this name waits. One that a macro makes is not to be seen: something in its file waits.
    fn waits(&self, name: &str) -> bool {
        let waits =
            |words: &BTreeSet<String>| ["later", "pending_once", "readv"].iter().any(|wait| words.contains(*wait));
        let mut bodies = self.functions.iter().filter(|(function, _)| function == name).peekable();
        match bodies.peek() {
            Some(_) => bodies.all(|(_, words)| waits(words)),
            None => self.words.contains(name) && waits(&self.words),
        }
    }
}

fn unraw(name: &Ident) -> String {
    name.to_string().trim_start_matches("r#").to_owned()
}

/// The first braces that are not an argument as in `-> Wide<{ N }>`.
fn body(rest: &[TokenTree]) -> Option<TokenStream> {
    let end = |tree: &TokenTree| matches!(tree, TokenTree::Punct(punct) if punct.as_char() == ';');
    let declaration = rest.split(end).next()?;
    declaration.iter().enumerate().find_map(|(i, tree)| match (tree, declaration.get(i + 1)) {
        (_, Some(TokenTree::Punct(punct))) if matches!(punct.as_char(), '>' | ',') => None,
        (TokenTree::Group(group), _) if group.delimiter() == Delimiter::Brace => Some(group.stream()),
        _ => None,
    })
}

fn words(tokens: TokenStream, found: &mut BTreeSet<String>) {
    for tree in tokens {
        match tree {
            TokenTree::Ident(word) => drop(found.insert(unraw(&word))),
            TokenTree::Group(group) => words(group.stream(), found),
            _ => {}
        }
    }
}

/// `name(…)` and `name::<…>(…)`.
fn calls(tokens: TokenStream, called: &mut BTreeSet<String>) {
    let parens =
        |tree: &TokenTree| matches!(tree, TokenTree::Group(group) if group.delimiter() == Delimiter::Parenthesis);
    let trees: Vec<TokenTree> = tokens.into_iter().collect();
    for (i, tree) in trees.iter().enumerate() {
        match tree {
            TokenTree::Ident(name) => {
                let rest = &trees[i + 1..];
                let turbofish = rest.first().is_some_and(|next| next.to_string() == ":");
                let next = if turbofish { rest.iter().find(|tree| parens(tree)) } else { rest.first() };
                if next.is_some_and(parens) {
                    called.insert(unraw(name));
                }
            }
            TokenTree::Group(group) => calls(group.stream(), called),
            _ => {}
        }
    }
}

#[test]
fn every_accepted_shape_is_called_and_waits() {
    for (shape, file, functions) in STORAGE.iter().chain(SPACE) {
        let names = Names::of(file);
        for (target, wrapper) in *functions {
            assert!(names.waits(target), "{shape}: `{target}` does not wait in {file}");
            assert!(names.called.contains(*wrapper), "{shape}: no test of {file} calls `{wrapper}`");
        }
    }
}

#[test]
fn every_refused_shape_has_its_message() {
    for (shape, file, line, message) in REFUSED {
        let end = if file.starts_with("rustc/") { "expect" } else { "stderr" };
        let messages = read(&format!("ui/{file}.{end}"));
        let source = read(&format!("ui/{file}.rs"));
        assert!(source.lines().any(|l| l.trim().starts_with(line)), "{shape}: no `{line}` in {file}.rs");
        // Messages are apart by an empty line; each shows the line that it points at.
        let told = messages.split("\n\n").any(|told| told.contains(message) && told.contains(line));
        assert!(told, "{shape}: {file}.{end} does not say `{message}` of `{line}`");
    }
}

/// The same files are compiled and run in every edition.
#[test]
fn every_edition() {
    for edition in ["2018", "2021"] {
        let manifest = read(&format!("editions/{edition}/Cargo.toml"));
        assert!(manifest.contains(&format!("edition = \"{edition}\"")));
        for path in ["../../signatures.rs", "../../stacked.rs"] {
            assert!(manifest.contains(&format!("path = \"{path}\"")), "{edition} is without {path}");
        }
    }
    assert!(read("../Cargo.toml").contains("edition = \"2024\""));
}
