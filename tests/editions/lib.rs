//! What `cargo doc` and clippy see of wrappers, in the editions of the packages around this file: neither may find anything to say.

#![warn(missing_docs, rustdoc::all, rust_2018_idioms, clippy::all, clippy::pedantic)]

use co_wrapper::co_wrapper;
use std::future::{ready, Future};
use std::pin::Pin;

/// A module of the name of a fn.
pub mod co_read {}

/// Reads.
///
/// # Errors
///
/// Never.
///
/// # Examples
///
/// ```compile_fail
/// this_is_not_for_two();
/// ```
#[must_use = "for a test"]
#[co_wrapper]
pub async fn co_read(offset: u64) -> Result<u64, String> {
    ready(Ok(offset)).await
}

/// Seen as its twin only, which must not link to it.
#[co_wrapper(vis = pub)]
async fn co_inner() {
    ready(()).await;
}

/// A keyword.
#[co_wrapper(name = matching)]
pub async fn r#match() {
    ready(()).await;
}

/// A disk.
#[derive(Clone, Debug, Default)]
pub struct Disk(u8);

impl Disk {
    /// A keyword, and its twin is one too.
    #[co_wrapper]
    pub async fn r#co_type(&self) -> u8 {
        ready(self.0).await
    }

    /// Not in the docs.
    #[doc(hidden)]
    #[co_wrapper]
    pub async fn co_hidden(&self) {
        ready(()).await;
    }

    /// Seen as its twin only.
    #[co_wrapper(vis = pub)]
    async fn co_shown(&self) {
        ready(()).await;
    }

    /// A lifetime that only the future needs.
    #[must_use = "it is a future"]
    #[co_wrapper]
    pub fn co_once<'a>(&self, x: &'a u8) -> Pin<Box<dyn Future<Output = u8> + 'a>> {
        let first = self.0;
        Box::pin(async move { ready(first + x).await })
    }

    /// A lifetime that only a bound on the future needs.
    #[must_use = "it is a future"]
    #[co_wrapper]
    pub fn co_bound<'a, 'b: 'a>(&'a self, x: &'b u8) -> impl Future<Output = u8> + 'a {
        let first = self.0;
        async move { ready(first + x).await }
    }

    /// With code in a list:
    ///
    /// - item
    ///   ```
    ///   let y = 1;
    ///   ```
    /// - `x`
    #[co_wrapper]
    pub async fn co_list(self, _ignored: u8) -> Self {
        ready(self).await
    }
}

#[co_wrapper]
impl Disk {
    /// A lifetime that is nowhere but in the future's type.
    #[must_use = "it is a future"]
    #[co_wrapper]
    pub fn co_nowhere<'a>() -> Pin<Box<dyn Future<Output = u8> + 'a>> {
        Box::pin(ready(1))
    }
}

/// A driver.
#[co_wrapper]
pub trait Driver {
    /// Its size.
    #[allow(async_fn_in_trait)]
    #[co_wrapper]
    async fn co_size(&self) -> u8;
}

impl Driver for Disk {
    async fn co_size(&self) -> u8 {
        ready(self.0).await
    }
}

mod private {
    use super::{co_wrapper, ready};

    /// Seen elsewhere.
    #[co_wrapper]
    pub async fn co_reexported() {
        ready(()).await;
    }
}

pub use private::{co_reexported, reexported};
