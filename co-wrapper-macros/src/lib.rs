//! The attribute macros of [co-wrapper](https://docs.rs/co-wrapper), which re-exports them. Use them through it: what
//! they expand to is made of its parts.
//!
//! The way through this crate: `attribute` parses with `args` and `item`, checks with `name`, `signature` and `attrs`,
//! and expands with `expand`; an attribute on a block goes through `outer` instead. To see what comes out, read
//! `tests/expand/` in the repository.

mod args;
mod attribute;
mod attrs;
mod context;
mod declare;
mod docs;
mod errors;
mod expand;
mod item;
mod lock;
mod mark;
mod name;
mod no_co;
mod outer;
mod pieces;
mod signature;
mod spelling;
mod values;
mod witness;

use proc_macro::{Span, TokenStream};

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
/// It goes on free functions, on methods, and on the `impl` and `trait` blocks around them. The function may be
/// `unsafe`, and generic in every way; arguments and result may borrow, and need not be `Send`. Besides an `async fn`,
/// one that returns `impl Future<Output = R>` or `Pin<Box<dyn Future<Output = R> + …>>` will do; its twin returns `R`.
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
/// On a function:
///
/// - **`mixed`**: the wrapper may be called in coroutine context too.
/// - **`name = read_blocking`**: what the wrapper is called.
/// - **`ctx = self.ctx`**: the context that the call runs in. Arguments and result must be `Send`, the future need not.
/// - **`timeout`**: beside the wrapper there is one of the name and `_timeout`, which gives up; `timeout = read_within`
///   gives it another name.
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
/// It expands to the same as without, but for
///
/// ```text
/// let ctx = AioContext::clone(&self.ctx);
/// poll_co_in(&Wrapper { … }, &ctx, WhoseArgs { __self: arg(self) }, |args| …)
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
/// On an `impl` or `trait` block:
///
/// - **`suffix = "_blocking"`**, **`prefix = "blocking_"`**: *every* `async fn` in the block gets a wrapper, whose name
///   is the whole name with that added. `#[co_wrapper(skip)]` leaves one out; `#[co_wrapper(…)]` on one adds to what
///   the block says of all, and its `name` is the one that counts.
/// - **`mixed`**, **`ctx`**, **`timeout`** and **`crate`**: for all wrappers in the block.
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
/// Without `suffix` and `prefix`, only the functions that are marked themselves get a wrapper. Then the attribute on
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
/// | `co_wrapper_bdrv_rdlock`, `co_wrapper_mixed_bdrv_rdlock` | the word `bdrv_rdlock` is reserved for it |
///
/// # Edge cases
///
/// - Parameters may be patterns; the wrapper has a name in their place. `#[cfg]` on a parameter works.
/// - A free function with a parameter of its own name is refused, as the wrapper could not call it.
/// - In a trait, a wrapper that takes or returns `Self` itself is for `Self: Sized`. A wrapper in the impl of a trait
///   must be declared by that trait.
/// - The body is never parsed, so what is being typed still has its wrapper.
#[proc_macro_attribute]
pub fn co_wrapper(args: TokenStream, item: TokenStream) -> TokenStream {
    // No macro is told the name that it was imported under, but marks inside a block must be known by it.
    let source = Span::call_site().source_text();
    let import = source.and_then(|source| mark::import_name(&source));
    attribute::co_wrapper(args.into(), item.into(), import).into()
}

/// Declares blocking functions whose async twins live elsewhere: in another module or crate, or as the methods of a
/// type that is not yours.
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
/// Before a declaration may stand `#[co_wrapper(…)]`, with the options `mixed`, `ctx`, `timeout` and `crate`. All other
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
/// It expands to
///
/// ```text
/// pub trait DiskBlocking<S: Clone> {
///     fn read_blocking(&self, off: u64) -> S;
///     unsafe fn discard(&mut self);
/// }
/// impl<S: Clone> DiskBlocking<S> for Disk<S> { … }
/// ```
///
/// `suffix` and `prefix` on the `impl` say what to leave out for the async fn's name; else it is QEMU's rule, as above,
/// or what stands after the `=`: a method's name alone. A method that mentions `Self` is for `Self: Sized`.
#[proc_macro]
pub fn declare(input: TokenStream) -> TokenStream {
    declare::declare(input.into()).into()
}

/// Reserved for the async twin of a blocking fn, as QEMU's `no_co_wrapper` makes one. It checks the fn, and then says
/// that it cannot be expanded yet.
#[proc_macro_attribute]
pub fn no_co_wrapper(args: TokenStream, item: TokenStream) -> TokenStream {
    no_co::no_co_wrapper(args.into(), item.into()).into()
}
