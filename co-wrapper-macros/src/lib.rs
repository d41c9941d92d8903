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
mod mark;
mod name;
mod outer;
mod pieces;
mod signature;
mod spelling;
mod values;

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
/// On an `impl` or `trait` block:
///
/// - **`suffix = "_blocking"`**, **`prefix = "blocking_"`**: *every* `async fn` in the block gets a wrapper, whose name
///   is the whole name with that added. `#[co_wrapper(skip)]` leaves one out; `#[co_wrapper(…)]` on one adds to what
///   the block says of all, and its `name` is the one that counts.
/// - **`mixed`** and **`crate`**: for all wrappers in the block.
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

/// Declares blocking functions whose async twins live elsewhere.
#[proc_macro]
pub fn declare(input: TokenStream) -> TokenStream {
    declare::declare(input.into()).into()
}
