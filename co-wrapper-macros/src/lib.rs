//! The attribute macros of [co-wrapper](https://docs.rs/co-wrapper), which re-exports them. Use them through that
//! crate: what they expand to refers to its items.
//!
//! The way through this crate: `attribute` and `declare` pass their tokens to `parse`, and `model` makes a plan of what
//! was read. Then `check` refuses the plan, or `expand` writes the code. An attribute on a block writes no wrapper, but
//! marks on the fns in it (`expand::block`). `tests/expand/` in the repository shows what comes out.
//!
//! Names that begin with `__cw_` are reserved: generated variables have them. Hygiene does not keep a variable apart
//! from a constant, static or unit struct of the same name that is in scope where the macro is used: the variable's
//! pattern would mean that item.

mod attribute;
mod check;
mod declare;
mod expand;
mod model;
mod parse;
#[cfg(test)]
mod snapshots;

use parse::mark;
use proc_macro::{Span, TokenStream, TokenTree};

/// Gives an `async fn` a blocking twin.
///
/// The `async fn` stays as it is. Beside it there is another fn of the same parameters, generics, visibility and
/// result, which calls it and waits for it. When nothing has to wait, that costs nanoseconds: the future is polled
/// where it is, on the caller's thread and without an allocation.
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
/// `unsafe`, and generic in every way; arguments and result may borrow, and need not be `Send`. Besides an `async fn`,
/// one that returns `impl Future<Output = R>`, `Pin<Box<dyn Future<Output = R> + …>>` or `BoxFuture<'_, R>` will do; its
/// twin returns `R`. Of what else becomes a future, `output = R` names the result.
///
/// # The name
///
/// A name is cut at `_`, and the segment `co` is left out.
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
/// Code that runs inside a task of ours, or inside the async fn of another wrapper, is in *coroutine context*. It must
/// not block: it can await the async fn instead. A wrapper that is called there all the same panics, whether it would
/// have had to wait or not, so that the mistake shows at once. One that is marked `mixed` may be called anywhere.
///
/// # Options
///
/// Each has its page in the [reference](https://docs.rs/co-wrapper/latest/co_wrapper/reference/index.html), with what it
/// expands to, what is refused of it, when it panics and what it costs.
///
/// On a function:
///
/// - **`mixed`**: the wrapper may be called in coroutine context too.
/// - **`name = read_blocking`**: what the wrapper is called. Or **`suffix = "_blocking"`**, **`prefix = "blocking_"`**: what
///   is added to the whole name.
/// - **`ctx = self.ctx`**: the context that the call runs in. Arguments and result must be `Send`, the future need not.
///   `ctx = none`: not that of the block.
/// - **`output = io::Result<u64>`**: what the future results in, where the signature does not tell.
/// - **`timeout`**: beside the wrapper there is one of the name and `_timeout`, which gives up; `timeout = read_within`
///   gives it another name.
/// - **`expect_long`**: calls are meant to wait for long, so the watchdog of `hang` leaves them out.
/// - **`bdrv_rdlock`**, **`bdrv_rdlock = self.graph`**: the graph's read lock is held around the call: the process's one,
///   or the one given. With the feature `graph`.
/// - **`vis = pub(crate)`**: its visibility, if it is not that of the async fn. `pub(self)` is none.
/// - **`crate = $crate::reexport`**: where co-wrapper is found, if it is not `::co_wrapper`: for macros of other
///   crates.
/// - **`skip`**: makes no wrapper. Only inside a block with a `suffix` or `prefix`.
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
/// ```
/// # use co_wrapper::co_wrapper;
/// use co_wrapper::{AioContext, IoThread};
/// use std::rc::Rc;
///
/// struct Disk {
///     ctx: AioContext,
/// }
///
/// impl Disk {
///     #[co_wrapper(ctx = self.ctx)]
///     async fn co_whose(&mut self) -> Option<String> {
///         let local = Rc::new(()); // no matter that it is not `Send`
///         std::future::ready(()).await;
///         drop(local);
///         std::thread::current().name().map(str::to_owned)
///     }
/// }
///
/// let io = IoThread::spawn("io0")?;
/// let mut disk = Disk { ctx: io.context().clone() };
/// assert_eq!(disk.whose().as_deref(), Some("io0"));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// With `timeout`, the second wrapper takes a `Duration` after the others' arguments, and returns `Result<R, Elapsed>`.
/// When the time is up the future is dropped before the call returns. A call that is ready at once is never too late.
///
/// ```
/// # use co_wrapper::co_wrapper;
/// use std::time::Duration;
///
/// #[co_wrapper(timeout)]
/// async fn co_reply(answers: bool) -> u8 {
///     if !answers {
///         std::future::pending::<()>().await;
///     }
///     42
/// }
///
/// assert_eq!(reply(true), 42);
/// assert_eq!(reply_timeout(true, Duration::ZERO), Ok(42));
/// assert!(reply_timeout(false, Duration::from_millis(1)).is_err());
/// ```
///
/// With `bdrv_rdlock`, the wrapper waits for the lock first, and releases it when the call is done. A parameter of type
/// `&GraphRead` is a *witness*: the async fn's word that it wants the lock held. The wrapper supplies it, and is without
/// it in its own list. One that is `mixed` too takes, in coroutine context, a share of the lock that its caller must hold
/// already; else it panics.
///
/// ```
/// # use co_wrapper::co_wrapper;
/// use co_wrapper::graph::{GraphLock, GraphRead};
///
/// struct Node {
///     graph: GraphLock,
///     children: Vec<u64>,
/// }
///
/// impl Node {
///     #[co_wrapper(mixed, bdrv_rdlock = self.graph)]
///     async fn co_size(&self, _graph: &GraphRead) -> u64 {
///         self.children.iter().sum()
///     }
/// }
///
/// let node = Node { graph: GraphLock::new(), children: vec![1, 2] };
/// assert_eq!(node.size(), 3);
/// ```
///
/// A result that borrows the witness is refused.
///
/// On an `impl` or `trait` block, or a module:
///
/// - **`suffix = "_blocking"`**, **`prefix = "blocking_"`**: *every* `async fn` in the block gets a wrapper, whose name
///   is the whole name with that added, and so does every fn that returns a future. `#[co_wrapper(skip)]` leaves one out;
///   `#[co_wrapper(…)]` on one adds to what the block says of all, and its `name` is the one that counts. In a module those
///   in its inherent `impl`s, traits and modules too.
/// - **`mixed`**, **`ctx`**, **`bdrv_rdlock`**, **`timeout`**, **`expect_long`** and **`crate`**: for all wrappers in the
///   block.
///
/// ```
/// # use co_wrapper::co_wrapper;
/// struct Pool(u32);
///
/// #[co_wrapper(suffix = "_blocking")]
/// impl Pool {
///     pub async fn open(size: u32) -> Pool {
///         Pool(size)
///     }
///
///     #[co_wrapper(name = count)]
///     pub async fn len(&self) -> u32 {
///         self.0
///     }
///
///     #[co_wrapper(skip)]
///     pub async fn close(self) {}
/// }
///
/// assert_eq!(Pool::open_blocking(2).count(), 2);
/// ```
///
/// Without `suffix` and `prefix`, which a module must have, only the functions that are marked themselves get a wrapper. Then the attribute on
/// the block tells them where they are, which matters in two cases. A method that has no receiver and no `Self` in its
/// signature cannot be told from a free function by itself. And in a trait or its impl, `<Self as Trait>::co_read` is
/// called even where `Self` has another `co_read`.
///
/// ```
/// # use co_wrapper::co_wrapper;
/// # struct Disk;
/// #[co_wrapper]
/// impl Disk {
///     #[co_wrapper]
///     async fn co_probe(path: &str) -> bool {
///         path.ends_with(".qcow2")
///     }
/// }
///
/// assert!(Disk::probe("disk.qcow2"));
/// ```
///
/// In a trait, the wrapper is a provided method: an impl of the trait writes the async fn alone.
///
/// ```
/// # use co_wrapper::co_wrapper;
/// #[co_wrapper]
/// trait Driver {
///     #[co_wrapper]
///     async fn co_size(&self) -> u64;
/// }
///
/// struct Null;
///
/// impl Driver for Null {
///     async fn co_size(&self) -> u64 {
///         0
///     }
/// }
///
/// assert_eq!(Null.size(), 0);
/// ```
///
/// # Attributes
///
/// The wrapper has the async fn's `cfg`, `deprecated`, `must_use`, `cold`, `doc(hidden)`, `doc(alias)` and lint levels,
/// and its documentation without the code in fences, under a link to the async fn. A panic in the wrapper names the
/// place of its caller. Every other attribute, such as `#[inline]` or another macro, is for the async fn alone.
/// `no_mangle`, `export_name` and `target_feature` are refused, and so are `const`, `extern` and variadic functions.
///
/// # From QEMU's marks
///
/// | QEMU | here |
/// |---|---|
/// | `co_wrapper` | `#[co_wrapper]` |
/// | `co_wrapper_mixed` | `#[co_wrapper(mixed)]` |
/// | a declaration in a header | [`declare!`](macro@declare) |
/// | `bdrv_get_aio_context(bs)`, which the generated code runs the call in | `ctx = bs.ctx` |
/// | `co_wrapper_bdrv_rdlock` | `#[co_wrapper(bdrv_rdlock)]` |
/// | `co_wrapper_mixed_bdrv_rdlock` | `#[co_wrapper(mixed, bdrv_rdlock)]` |
/// | `no_co_wrapper` | [`#[no_co_wrapper]`](macro@no_co_wrapper) on the blocking fn |
/// | `no_co_wrapper_bdrv_rdlock` | `#[no_co_wrapper(bdrv_rdlock)]` |
/// | `no_co_wrapper_bdrv_wrlock` | `#[no_co_wrapper(bdrv_wrlock)]` |
/// | `GRAPH_RDLOCK`, `GRAPH_WRLOCK` on a fn | a parameter `&GraphRead`, `&GraphWrite` |
///
/// # Edge cases
///
/// - Parameters may be patterns; the wrapper has a name in their place. `#[cfg]` on a parameter works.
/// - A free function with a parameter of its own name is refused, as the wrapper could not call it.
/// - In a trait, a wrapper that takes or returns `Self` itself is for `Self: Sized`. A wrapper in the impl of a trait
///   must be declared by that trait.
/// - A lifetime that is elided inside `impl Trait`, which only an `async fn` may do, has a name in the wrapper.
/// - What a macro makes inside a block is unseen by the block's attribute; the mark goes into the macro. Nor does
///   `pub use` of a function export its wrapper.
/// - The body is never parsed, so what is being typed still has its wrapper.
#[proc_macro_attribute]
pub fn co_wrapper(args: TokenStream, item: TokenStream) -> TokenStream {
    // No macro is told the name that it was imported under, but marks inside a block must be known by it.
    let source = Span::call_site().source_text();
    let import = source.and_then(|source| mark::import_name(&source));
    attribute::co_wrapper(args.into(), item.into(), import).into()
}

/// `#[co_wrapper]`, as a marked `impl` of a trait has it on the fns in it. rustc names the macro that a method comes from
/// when the trait has no such method, and so tells what to do about it.
#[doc(hidden)]
#[proc_macro_attribute]
pub fn annotate_the_trait_or_use_declare(args: TokenStream, item: TokenStream) -> TokenStream {
    co_wrapper(args, item)
}

/// The path of a free fn, in its twin. rustc names the macro that a path comes from when it finds nothing by it, as where
/// the fn is in an `impl` and nothing of its own says so.
#[doc(hidden)]
#[proc_macro]
pub fn if_in_an_impl_mark_that_too(path: TokenStream) -> TokenStream {
    let here = |mut tree: TokenTree| {
        tree.set_span(tree.span().resolved_at(Span::call_site()));
        tree
    };
    // The generic arguments are the user's own.
    let mut path = path.into_iter();
    let name = path.next().map(here);
    name.into_iter().chain(path).collect()
}

/// Declares blocking functions whose async twins live elsewhere: in another module or crate, or as the methods of a
/// type that is not yours. And async ones, whose blocking twins do. What they expand to is in the
/// [reference](https://docs.rs/co-wrapper/latest/co_wrapper/reference/index.html).
///
/// # Functions
///
/// A declaration is the blocking function's signature, and ends in `;`. After a `=` stands the path of the async fn;
/// without one it is the name with `co` after the first segment: `bdrv_read` → `bdrv_co_read`, `read` → `co_read`.
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
/// Before a declaration may stand `#[co_wrapper(…)]`, with the options `mixed`, `ctx`, `bdrv_rdlock`, `timeout`,
/// `expect_long` and `crate`; a witness is declared too, in its place. All other
/// attributes are the wrapper's own.
///
/// # Methods
///
/// `impl Trait for Type { … }` makes the trait and implements it, and so gives a foreign type methods. The trait has
/// the `impl`'s visibility and generics.
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
/// `suffix` and `prefix` on the `impl` say what to leave out for the async fn's name; else it is QEMU's rule, as above,
/// or what stands after the `=`: a method's name alone. A method that mentions `Self` is for `Self: Sized`.
///
/// # Async functions
///
/// Under `#[no_co_wrapper(…)]`, with the options `bdrv_rdlock`, `bdrv_wrlock` and `crate`, an `async fn` is declared, the
/// twin of a blocking one. After the `=` stands that one; without, it is the name without `co`.
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

/// Gives a blocking fn an async twin, for coroutines to call: one that runs it as a bottom half of the main context, and
/// completes with its result. So a coroutine can change the graph, which the main loop alone may do. (QEMU's
/// `no_co_wrapper`.)
///
/// The twin's name is the fn's with `co` after the first segment: `bdrv_open` → `bdrv_co_open`, `read` → `co_read`. What it
/// expands to is in the [reference](https://docs.rs/co-wrapper/latest/co_wrapper/reference/index.html).
///
/// ```
/// use co_wrapper::{AioContext, no_co_wrapper};
///
/// #[no_co_wrapper]
/// fn bdrv_open(filename: &str, flags: u32) -> Option<u32> {
///     assert!(!co_wrapper::in_coroutine());
///     filename.ends_with(".img").then_some(flags)
/// }
///
/// let main = AioContext::main();
/// let _home = main.enter();
/// assert_eq!(main.block_on(async { bdrv_co_open("disk.img", 3).await }), Some(3));
/// ```
///
/// # Arguments
///
/// The future may be dropped or forgotten at any time, so the call owns all that it needs: what is behind a `&T` or
/// `&self` is cloned by `ToOwned` and borrowed again in the bottom half, and everything is `Send + 'static`. `&mut`,
/// other borrows, and results that borrow are refused.
///
/// Dropped before the bottom half begins, the call never happens; dropped later, it runs on and its result is dropped.
/// The drop waits for nothing.
///
/// # Options
///
/// - **`bdrv_rdlock`**, **`bdrv_wrlock`**: the process's graph lock is held meanwhile, without blocking the main loop
///   while it has to be waited for. A parameter `&GraphRead`, or `&GraphWrite`, is supplied and missing from the twin's
///   list. With the feature `graph`.
/// - **`name = open_async`**, **`vis = pub(crate)`**, **`crate = $crate::reexport`**: as with
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
/// In a trait the twin is a provided method for `Self: Sized`, and with `&self` for `Self: Clone + Send + 'static`; there
/// the block must be marked `#[co_wrapper]`.
#[proc_macro_attribute]
pub fn no_co_wrapper(args: TokenStream, item: TokenStream) -> TokenStream {
    attribute::no_co_wrapper(args.into(), item.into()).into()
}
