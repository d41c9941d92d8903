//! The expansion is clean under every lint group that a user may deny.

#![deny(
    warnings,
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    missing_docs,
    future_incompatible,
    nonstandard_style,
    rust_2018_idioms,
    rust_2021_compatibility,
    rust_2024_compatibility,
    unused,
    keyword_idents,
    let_underscore,
    absolute_paths_not_starting_with_crate,
    elided_lifetimes_in_paths,
    explicit_outlives_requirements,
    ffi_unwind_calls,
    macro_use_extern_crate,
    meta_variable_misuse,
    missing_abi,
    missing_copy_implementations,
    missing_debug_implementations,
    non_ascii_idents,
    redundant_imports,
    redundant_lifetimes,
    single_use_lifetimes,
    trivial_casts,
    trivial_numeric_casts,
    unit_bindings,
    unnameable_types,
    unreachable_pub,
    unsafe_code,
    unused_crate_dependencies,
    unused_extern_crates,
    unused_import_braces,
    unused_lifetimes,
    unused_macro_rules,
    unused_qualifications,
    unused_results,
    variant_size_differences
)]
#![forbid(unsafe_code)]
#![allow(unused_crate_dependencies)]

use co_wrapper::co_wrapper;
use std::future::poll_fn;
use std::task::Poll;

/// Pending once, so that each wrapper really waits.
async fn later<T>(value: T) -> T {
    let mut polled = false;
    poll_fn(|cx| {
        if polled {
            return Poll::Ready(());
        }
        polled = true;
        let waker = cx.waker().clone();
        drop(std::thread::spawn(move || waker.wake()));
        Poll::Pending
    })
    .await;
    value
}

/// A disk.
#[derive(Debug)]
pub struct Disk(u8);

impl Drop for Disk {
    fn drop(&mut self) {}
}

#[co_wrapper(suffix = "_blocking")]
impl Disk {
    /// Opens one.
    pub async fn open(_name: &str) -> Self {
        later(Self(1)).await
    }

    /// Reads.
    #[must_use]
    pub async fn read(&self, mut off: u64, _: u8, (a, b): (u8, u8)) -> u64 {
        off += u64::from(a + b + self.0);
        later(off).await
    }

    /// Writes.
    ///
    /// # Errors
    ///
    /// Never.
    pub async fn write<'a>(&mut self, buf: &'a [u8], by: impl FnOnce(&'a [u8]) -> u8) -> Result<(), std::io::Error> {
        self.0 = by(buf);
        later(Ok(())).await
    }

    /// Nothing at all.
    pub async fn nothing() {
        later(()).await;
    }

    #[expect(unused_variables, clippy::unused_async)]
    /// Expects of the async fn what is not so in its wrapper.
    pub async fn unused(&self, x: u8) {}

    /// Old.
    #[deprecated]
    pub async fn old(&self) {
        later(()).await;
    }

    /// Returns itself, and one lint more than that.
    pub async fn itself(self, _with: u8) -> Self {
        later(self).await
    }

    /// Many.
    #[allow(clippy::too_many_arguments, clippy::many_single_char_names)]
    pub async fn many(&self, a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8) -> u8 {
        later(a + b + c + d + e + f + g).await
    }
}

/// In another context, and in time.
#[co_wrapper(suffix = "_there", ctx = co_wrapper::AioContext::current(), timeout)]
impl Disk {
    /// Sent there.
    ///
    /// # Errors
    ///
    /// Never.
    pub async fn sent(&mut self, mut by: u8, _: u8, (a, b): (u8, u8)) -> Result<&mut u8, std::io::Error> {
        by += a + b;
        self.0 += by;
        later(Ok(&mut self.0)).await
    }

    /// Old.
    #[deprecated]
    #[must_use]
    pub async fn older(&self) -> u8 {
        later(self.0).await
    }

    /// Itself.
    pub async fn this(self, _by: u8) -> Self {
        later(self).await
    }
}

co_wrapper::declare! {
    /// Declared.
    #[co_wrapper(timeout)]
    pub fn declared<T: Clone + Send + Sync>(x: &[T; 3], mut _more: u8, (_, _): (u8, u8)) -> [T; 3] = declared_elsewhere;

    /// Methods.
    #[co_wrapper(timeout)]
    pub impl DiskNow for Disk {
        /// Reads.
        #[must_use]
        fn read_now(&self, off: u64, _: u8, ab: (u8, u8)) -> u64 = read;
        /// Returns itself.
        fn itself_now(self, with: u8) -> Self = itself;
        /// All.
        #[allow(clippy::too_many_arguments, clippy::many_single_char_names)]
        fn many_now(&self, a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8) -> u8 = many;
    }
}

async fn declared_elsewhere<T: Clone + Send + Sync>(x: &[T; 3], _more: u8, _: (u8, u8)) -> [T; 3] {
    later(x.clone()).await
}

/// A trait.
#[allow(async_fn_in_trait)]
#[co_wrapper(suffix = "_blocking")]
pub trait Driver {
    /// Reads.
    async fn read(&self, _offset: u64) -> u64 {
        later(1).await
    }

    /// Returns itself.
    async fn itself(self, x: Self) -> Self
    where
        Self: Sized;
}

/// A free one.
#[co_wrapper]
pub async fn co_free<T: Clone + Send + Sync, const N: usize>(x: &[T; N]) -> [T; N] {
    later(x.clone()).await
}

#[test]
fn all() {
    let mut disk = Disk::open_blocking("x");
    assert_eq!(disk.read_blocking(1, 2, (3, 4)), 9);
    disk.write_blocking(&[7], |buf| buf[0]).unwrap();
    assert_eq!(disk.0, 7);
    disk.unused_blocking(1);
    Disk::nothing_blocking();
    assert_eq!(disk.many_blocking(1, 2, 3, 4, 5, 6, 7), 28);
    assert_eq!(disk.sent_there(1, 0, (1, 1)).map(|x| *x).unwrap(), 10);
    disk.0 = 7;
    assert_eq!(disk.read_now(1, 2, (3, 4)), 15);
    assert_eq!(declared(&[1, 2, 3], 1, (1, 1)), [1, 2, 3]);
    assert_eq!(disk.itself_blocking(1).0, 7);
    assert_eq!(free(&[1, 2]), [1, 2]);
}
