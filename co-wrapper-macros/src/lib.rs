//! The attribute macros of [co-wrapper](https://docs.rs/co-wrapper), which re-exports them. Use them through that
//! crate: what they expand to refers to its items.
//!
//! How a macro expands: `attribute` and `declare` pass their tokens to `parse`, and `model` makes a plan from the parsed
//! values. Then `check` refuses the plan, or `expand` writes the code. An attribute on a block writes no wrapper itself. It
//! writes marks on the fns in the block (`expand::block`). `tests/expand/` in the repository has expansions to read.
//!
//! Names that begin with `__cw_` are reserved for generated variables. Hygiene does not protect these: if a constant,
//! static or unit struct of the same name is in scope where the macro is used, the variable's pattern means that item.

mod attribute;
mod blocking_trait;
mod blocking_type;
mod check;
mod declare;
mod derive;
mod expand;
mod model;
mod parse;
#[cfg(test)]
mod snapshots;

use parse::mark;
use proc_macro::{Span, TokenStream, TokenTree};

/// Gives an `async fn` a blocking twin.
///
/// The `async fn` stays as it is. The attribute adds a fn with the same parameters, generics, visibility and result, which
/// calls the async one and waits for it. If the future is ready at once, that costs nanoseconds: it is polled on the
/// caller's thread, and nothing is allocated.
///
/// ```
/// use co_wrapper::co_wrapper;
/// use std::io;
///
/// struct Disk(Vec<u8>);
///
/// impl Disk {
///     /// Reads `buf.len()` bytes at `offset`.
///     #[co_wrapper]
///     pub async fn co_read(&self, offset: usize, buf: &mut [u8]) -> io::Result<()> {
///         let data = self.0.get(offset..offset + buf.len());
///         buf.copy_from_slice(data.ok_or(io::ErrorKind::UnexpectedEof)?);
///         Ok(())
///     }
/// }
///
/// let disk = Disk(vec![1, 2, 3]);
/// let mut buf = [0; 2];
/// disk.read(1, &mut buf)?; // the blocking twin of `co_read`
/// assert_eq!(buf, [2, 3]);
/// # Ok::<(), io::Error>(())
/// ```
///
/// It goes on free functions, on methods, and on the `impl` and `trait` blocks and modules around them. The function may be
/// `unsafe`, and generic in every way. Arguments and result may borrow, and need not be `Send`. The function may also
/// return `impl Future<Output = R>`, `Pin<Box<dyn Future<Output = R> + …>>` or `BoxFuture<'_, R>` instead of being `async`.
/// Its twin then returns `R`. If it returns another type that is or becomes a future, `output = R` names the result.
///
/// If the result is or holds a stream (`impl Stream<Item = T>`, `Pin<Box<dyn Stream<Item = T>>>`, `BoxStream<'_, T>`), the twin
/// returns an iterator in its place, each `next` of which is a blocking call, and the fn need not be async. This needs the
/// feature `stream`.
///
/// # The name
///
/// The twin's name is that of the async fn without the segment `co`. Segments are separated by `_`.
///
/// | async fn | its twin |
/// |---|---|
/// | `bdrv_co_read` | `bdrv_read` |
/// | `co_read` | `read` |
/// | `_co_x` | `_x` |
///
/// A name with no such segment, or with two, needs `name = …`.
///
/// # Coroutine context
///
/// Code that runs inside a task of an `AioContext`, or inside the async fn of another wrapper, is in *coroutine context*. It
/// must not block, because it can await the async fn instead. A wrapper that is called there panics, even if it would not
/// have had to wait, so that the mistake shows at once. A wrapper that is marked `mixed` may be called anywhere.
///
/// # Options
///
/// Each option has a page in the [reference](https://docs.rs/co-wrapper/latest/co_wrapper/reference/index.html): an example,
/// what it expands to, what it refuses, when it panics and what it costs. The reference also says which of QEMU's marks is
/// which option.
///
/// On a function:
///
/// - **`mixed`**: the wrapper may be called in coroutine context too.
/// - **`name = read_blocking`**: the wrapper's name. **`suffix = "_blocking"`** and **`prefix = "blocking_"`** add to the
///   async fn's whole name instead.
/// - **`ctx = self.ctx`**: the context that the call runs in. Arguments and result must be `Send`, the future need not.
///   `ctx = none` overrides the `ctx` of the block around the fn.
/// - **`output = io::Result<u64>`**: the future's result, for signatures that do not tell it.
/// - **`timeout`**: adds a second wrapper that gives up after a time. Its name is the wrapper's with `_timeout` added, or that
///   of `timeout = read_within`.
/// - **`interrupt`**: adds another wrapper, which can be interrupted. Its name is the wrapper's with `_interruptible` added, or
///   that of `interrupt = read_or_ctrl_c`.
/// - **`expect_long`**: calls are meant to wait for long, so the watchdog of `hang` leaves them out.
/// - **`bdrv_rdlock`**, **`bdrv_rdlock = self.graph`**: the graph's read lock is held around the call: the process's one,
///   or the one given. With the feature `graph`.
/// - **`vis = pub(crate)`**: the wrapper's visibility, if it is not that of the async fn. `vis = pub(self)` makes it private.
/// - **`crate = $crate::reexport`**: the path of co-wrapper, if it is not `::co_wrapper`. Macros of other crates need it.
/// - **`skip`**: the fn gets no wrapper. This is for fns in a block with a `suffix` or `prefix`.
///
/// ```
/// # use co_wrapper::co_wrapper;
/// #[co_wrapper(mixed, name = flush_blocking)]
/// async fn flush(cached: u32) -> u32 {
///     cached
/// }
///
/// assert_eq!(flush_blocking(3), 3);
/// ```
///
/// With `ctx`, the arguments are packed and sent to that context, whose thread makes the future and polls it; the
/// caller waits. The expression may use `self` and the parameters, and is evaluated before they are packed.
///
/// With `timeout`, the second wrapper takes a `Duration` after the other arguments, and returns `Result<R, Elapsed>`. When the
/// time is up, the future is dropped before the call returns. A call that is ready at once is never too late.
///
/// With `interrupt`, that wrapper returns `Result<R, Interrupted>`. It ends when another thread or a signal handler has
/// interrupted its thread (`co_wrapper::interrupt`), and its future has been dropped by then.
///
/// With `bdrv_rdlock`, the wrapper waits for the lock first, and releases it when the call is done. A parameter of type
/// `&GraphRead` is a *witness*: it proves to the async fn that the lock is held. The wrapper supplies the witness, so its own
/// parameters have none. If the wrapper is also `mixed`, its caller in coroutine context must already hold the lock, and the
/// wrapper takes a share of that. Otherwise it panics. The result must not borrow the witness.
///
/// On an `impl` or `trait` block, or a module:
///
/// - **`suffix = "_blocking"`**, **`prefix = "blocking_"`**: *every* `async fn` in the block gets a wrapper, and so does every
///   fn that returns a future. The wrapper's name is the whole name with that added. `#[co_wrapper(skip)]` leaves a fn out.
///   `#[co_wrapper(…)]` on a fn adds options of its own, and its `name` takes precedence. In a module, the fns in its inherent
///   `impl`s, traits and modules get wrappers too.
/// - **`mixed`**, **`ctx`**, **`bdrv_rdlock`**, **`timeout`**, **`interrupt`**, **`expect_long`** and **`crate`**: for all wrappers in the
///   block.
/// - **`type = blocking::Disk`**, on an inherent `impl` and in the place of a `suffix`: the wrappers are methods of that type,
///   under the async fns' own names. The type [derives `Blocking`](macro@Blocking).
/// - **`trait = BlockingNode`**, **`trait = BlockingNode: Send`**, on a trait: the wrappers are the methods of that second trait,
///   which each type with the first one has, and which `dyn` can be of. With a `suffix` or without.
///
/// A module must have a `suffix` or `prefix`. Without one, only marked functions get a wrapper, and the attribute on the block tells
/// these functions where they are. That matters in two cases. A method without a receiver and without `Self` in its signature
/// looks like a free function. And in a trait or its impl, the wrapper must call `<Self as Trait>::co_read` even if `Self` has
/// another `co_read`.
///
/// In a trait, the wrapper is a provided method, so an impl of the trait has only the async fn.
///
/// # Attributes
///
/// The wrapper has the async fn's `cfg`, `deprecated`, `must_use`, `cold`, `doc(hidden)`, `doc(alias)` and lint levels. Its
/// documentation is a link to the async fn, followed by that fn's text without code blocks. A panic in the wrapper names the
/// place of its caller. All other attributes, such as `#[inline]` or another macro, stay on the async fn alone.
/// `no_mangle`, `export_name` and `target_feature` are refused, and so are `const`, `extern` and variadic functions.
///
/// # Edge cases
///
/// - If a parameter is a pattern, the wrapper's parameter has a generated name. `#[cfg]` on a parameter works.
/// - A free function must not have a parameter of its own name, because the wrapper could not call it.
/// - In a trait, a wrapper that takes or returns `Self` by value requires `Self: Sized`. A wrapper in the impl of a trait
///   must be declared by that trait.
/// - Only an `async fn` may elide a lifetime inside `impl Trait`. In the wrapper that lifetime has a name.
/// - A block's attribute does not see the fns that a macro call inside the block makes. Put the mark into that macro.
/// - `pub use` of a function does not export its wrapper.
/// - The body is never parsed, so a fn has its wrapper even while its body is being typed.
#[proc_macro_attribute]
pub fn co_wrapper(args: TokenStream, item: TokenStream) -> TokenStream {
    // The marks inside a block may have the name under which the user imported the macro. Only the source text shows it.
    let source = Span::call_site().source_text();
    let import = source.and_then(|source| mark::import_name(&source));
    attribute::co_wrapper(args.into(), item.into(), import).into()
}

/// `#[co_wrapper]` under another name, which the attribute on the `impl` of a trait writes on the fns inside. If the trait has
/// no method of the wrapper's name, rustc's error shows the name of this macro, which says what to do.
#[doc(hidden)]
#[proc_macro_attribute]
pub fn annotate_the_trait_or_use_declare(args: TokenStream, item: TokenStream) -> TokenStream {
    co_wrapper(args, item)
}

/// Expands to the path of a free fn, which the fn's twin calls. If the fn is in an `impl` that is not marked, rustc does not
/// find the path, and its error shows the name of this macro, which says what to do.
#[doc(hidden)]
#[proc_macro]
pub fn if_in_an_impl_mark_that_too(path: TokenStream) -> TokenStream {
    let here = |mut tree: TokenTree| {
        tree.set_span(tree.span().resolved_at(Span::call_site()));
        tree
    };
    // The generic arguments keep the user's hygiene.
    let mut path = path.into_iter();
    let name = path.next().map(here);
    name.into_iter().chain(path).collect()
}

/// Declares blocking functions whose async twins live elsewhere: in another module or crate, or as methods of a type that is
/// not yours. It also declares async functions whose blocking twins live elsewhere. The
/// [reference](https://docs.rs/co-wrapper/latest/co_wrapper/reference/index.html) shows the expansions.
///
/// # Functions
///
/// A declaration is the blocking function's signature, and ends in `;`. The path of the async fn may follow a `=`. Without
/// one, its name has `co` after the first segment: `bdrv_read` calls `bdrv_co_read`, and `read` calls `co_read`.
///
/// ```
/// mod block {
///     pub async fn bdrv_co_getlength(path: &str) -> usize {
///         path.len()
///     }
/// }
/// use block::bdrv_co_getlength;
///
/// co_wrapper::declare! {
///     /// How long it is.
///     #[co_wrapper(mixed)]
///     pub fn bdrv_getlength(path: &str) -> usize;
///
///     fn length(path: &str) -> usize = block::bdrv_co_getlength;
/// }
///
/// assert_eq!(bdrv_getlength("disk"), length("disk"));
/// ```
///
/// A declaration may have the attribute `#[co_wrapper(…)]` with the options `mixed`, `ctx`, `bdrv_rdlock`, `timeout`, `interrupt`,
/// `expect_long` and `crate`. If the async fn takes a witness, the declaration has that parameter too. All other attributes
/// are the wrapper's own.
///
/// # Methods
///
/// `impl Trait for Type { … }` declares the trait and implements it, which gives methods to a foreign type. The trait has the
/// visibility and generics of the `impl`.
///
/// ```
/// # mod foreign {
/// #     pub struct Disk<S>(pub S);
/// #     impl<S: Clone> Disk<S> {
/// #         pub async fn read(&self, off: u64) -> S { self.0.clone() }
/// #         pub async unsafe fn trim(&mut self) {}
/// #     }
/// # }
/// use foreign::Disk; // has `async fn read(&self, off: u64) -> S` and `async unsafe fn trim(&mut self)`
///
/// co_wrapper::declare! {
///     #[co_wrapper(suffix = "_blocking")]
///     pub impl<S: Clone> DiskBlocking for Disk<S> {
///         fn read_blocking(&self, off: u64) -> S;
///         unsafe fn discard(&mut self) = trim;
///     }
/// }
///
/// assert_eq!(Disk(5).read_blocking(0), 5);
/// ```
///
/// The name of the async fn is the one after the `=`. Without one it is the wrapper's name without the `suffix` and `prefix`
/// of the `impl`, or without these the name by QEMU's rule, as above. A method with `Self` in its types requires
/// `Self: Sized`.
///
/// Without a trait, `impl blocking::Disk { … }` declares methods of a blocking type, which [derives `Blocking`](macro@Blocking) over
/// the foreign type. Each calls the async fn of its own name, or of the name after the `=`.
///
/// # Async functions
///
/// With `#[no_co_wrapper(…)]`, the declaration is that of an `async fn`, the twin of a blocking fn. The blocking fn may follow a
/// `=`. Without one, its name is that of the `async fn` without `co`. The options are `bdrv_rdlock`,
/// `bdrv_wrlock`, `unsafe(coroutine)` and `crate`.
///
/// ```
/// # use co_wrapper::AioContext;
/// mod block {
///     use co_wrapper::graph::GraphWrite;
///
///     pub fn bdrv_open(filename: &str) -> usize {
///         filename.len()
///     }
///
///     #[derive(Clone)]
///     pub struct Node(pub u32);
///
///     impl Node {
///         pub fn attach(&self, child: u32, _graph: &GraphWrite) -> u32 {
///             self.0 + child
///         }
///     }
/// }
/// use co_wrapper::graph::GraphWrite;
///
/// co_wrapper::declare! {
///     #[no_co_wrapper]
///     async fn bdrv_co_open(filename: &str) -> usize = block::bdrv_open;
///
///     impl NodeTwins for block::Node {
///         #[no_co_wrapper(bdrv_wrlock)]
///         async fn co_attach(&self, child: u32, graph: &GraphWrite) -> u32;
///     }
/// }
///
/// let main = AioContext::main();
/// let _home = main.enter();
/// assert_eq!(main.block_on(async { bdrv_co_open("disk.img").await }), 8);
/// assert_eq!(main.block_on(async { block::Node(1).co_attach(2).await }), 3);
/// ```
#[proc_macro]
pub fn declare(input: TokenStream) -> TokenStream {
    declare::declare(input.into()).into()
}

/// Makes a struct the blocking type of the async one that is its only field: implements
/// [`Blocking`](https://docs.rs/co-wrapper/latest/co_wrapper/trait.Blocking.html), `From` in both directions, and
/// [`BlockingArc`](https://docs.rs/co-wrapper/latest/co_wrapper/trait.BlockingArc.html).
///
/// ```
/// use co_wrapper::co_wrapper;
///
/// pub struct Counter(u64);
///
/// pub mod blocking {
///     /// A [`Counter`](super::Counter) for code that is not async.
///     #[derive(co_wrapper::Blocking)]
///     pub struct Counter(super::Counter);
/// }
///
/// #[co_wrapper(type = blocking::Counter)]
/// impl Counter {
///     pub async fn next(&mut self) -> u64 {
///         self.0 += 1;
///         self.0
///     }
/// }
///
/// fn main() {
///     let mut counter = blocking::Counter::from(Counter(6));
///     assert_eq!(counter.next(), 7);
///     assert_eq!(Counter::from(counter).0, 7);
/// }
/// ```
///
/// `#[blocking(has_drop)]` is for a type with a `Drop` of its own, out of which Rust moves no field: there is no `From` into
/// the async type then, and no `BlockingArc`. `#[blocking(crate = $crate::reexport)]` names the path of co-wrapper, if it is not `::co_wrapper`.
#[proc_macro_derive(Blocking, attributes(blocking))]
pub fn blocking(input: TokenStream) -> TokenStream {
    derive::blocking(input.into()).into()
}

/// Gives a blocking fn an async twin, which coroutines can await. The twin runs the fn as a bottom half of the main context,
/// and its future completes with the fn's result. So a coroutine can change the graph, which only the main loop may do.
/// This is QEMU's `no_co_wrapper`.
///
/// The twin's name has `co` after the first segment of the fn's: the twin of `bdrv_open` is `bdrv_co_open`, and that of `read`
/// is `co_read`. The [reference](https://docs.rs/co-wrapper/latest/co_wrapper/reference/index.html) shows the expansion.
///
/// # Arguments
///
/// The future may be dropped or forgotten at any time, so it owns all arguments, and they must be `Send + 'static`. Of a `&T`
/// or `&self` it holds a clone (`ToOwned`), which the bottom half borrows. `&mut`, other borrows, and results that borrow are
/// refused.
///
/// If the future is dropped before the bottom half begins, the fn is never called. If it is dropped later, the fn runs to its
/// end, and its result is dropped. The drop never waits.
///
/// # Options
///
/// - **`bdrv_rdlock`**, **`bdrv_wrlock`**: the fn runs while the process's graph lock is held. Waiting for the lock does not
///   block the main loop. The twin supplies a parameter `&GraphRead` or `&GraphWrite`, so its own parameters have none. This
///   needs the feature `graph`.
/// - **`unsafe(coroutine)`**: the twin does not send the fn to the main context. It runs it as a stackful coroutine where it is
///   awaited, and is pending wherever a call of co-wrapper's would block inside the fn. Nothing need be `Send`, and the
///   future is not. You promise what
///   [`Coroutine::new`](https://docs.rs/co-wrapper/latest/co_wrapper/struct.Coroutine.html#method.new) asks for. Its
///   documentation shows one fn that keeps the promise and one that breaks it. This needs the feature `coroutine`.
/// - **`name = open_async`**, **`vis = pub(crate)`**, **`crate = $crate::reexport`**: the same as for
///   [`#[co_wrapper]`](macro@co_wrapper#options).
///
/// ```
/// use co_wrapper::{AioContext, graph::GraphWrite, no_co_wrapper};
/// use std::sync::{Arc, Mutex};
///
/// #[derive(Clone, Default)]
/// struct Node(Arc<Mutex<Vec<u32>>>);
///
/// impl Node {
///     #[no_co_wrapper(bdrv_wrlock)]
///     fn attach(&self, child: u32, _graph: &GraphWrite) -> usize {
///         let mut children = self.0.lock().unwrap();
///         children.push(child);
///         children.len()
///     }
/// }
///
/// let main = AioContext::main();
/// let _home = main.enter();
/// assert_eq!(main.block_on(async { Node::default().co_attach(7).await }), 1);
/// ```
///
/// In a trait the twin is a provided method that requires `Self: Sized`, and with `&self` also `Self: Clone + Send + 'static`.
/// The trait must be marked `#[co_wrapper]`.
#[proc_macro_attribute]
pub fn no_co_wrapper(args: TokenStream, item: TokenStream) -> TokenStream {
    attribute::no_co_wrapper(args.into(), item.into()).into()
}
