// More shapes, below those of `shapes.rs`: what is odd about them is found without the expansions too.

/// Old, with more arguments than one cares to count, of which one is not looked at.
#[allow(clippy::too_many_arguments, clippy::many_single_char_names)]
#[deprecated]
#[must_use = "for a test"]
#[no_co_wrapper]
pub fn old(_ignored: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8) -> u8 {
    b + c + d + e + f + g + h
}

/// What its user has made clean, so that nothing of its own covers what an expansion adds.
pub mod clean {
    #[allow(redundant_imports, reason = "before edition 2024 it is not in the prelude")]
    use super::Future;
    use super::{GraphRead, co_wrapper, no_co_wrapper};
    use std::future::ready;

    /// A disk.
    #[derive(Clone, Copy, Debug, Default)]
    #[non_exhaustive]
    pub struct Clean;

    #[co_wrapper(suffix = "_blocking")]
    impl Clean {
        /// Reads.
        #[inline]
        #[must_use]
        pub async fn read(&self, offset: u64) -> u64 {
            return ready(offset).await;
        }

        /// Writes.
        ///
        /// # Errors
        ///
        /// Never.
        #[inline]
        pub async fn write(&mut self, offset: usize, (from, _): (&[u8], bool)) -> Result<usize, String> {
            *self = Self;
            let offset = ready(offset).await;
            return Ok(offset + from.len());
        }

        /// Nothing.
        #[inline]
        pub async fn flush(self) {
            ready(()).await;
        }
    }

    /// A driver.
    #[co_wrapper]
    pub trait Driver {
        /// Its size.
        #[co_wrapper]
        fn co_size(&self, from: u64) -> impl Future<Output = u64>;

        /// None.
        #[inline]
        #[co_wrapper(mixed, timeout)]
        fn co_none(&self) -> impl Future<Output = ()> {
            return ready(());
        }
    }

    /// In its context and in time.
    #[co_wrapper(ctx = co_wrapper::AioContext::current(), timeout)]
    #[inline]
    #[must_use]
    pub async fn co_len(text: String) -> usize {
        let len = text.len();
        return ready(len).await;
    }

    /// Under the lock.
    #[co_wrapper(bdrv_rdlock)]
    #[inline]
    #[must_use]
    pub async fn co_count(_graph: &GraphRead, text: &str) -> usize {
        let len = text.len();
        return ready(len).await;
    }

    /// Asked.
    #[no_co_wrapper]
    #[inline]
    #[must_use]
    pub fn asked_of(text: &str) -> usize {
        return text.len();
    }
}

/// Names and results of which a lint has a word to say where the fn is not async.
pub mod named {
    use super::{co_wrapper, later};

    /// A disk.
    #[derive(Clone, Debug, Default)]
    #[non_exhaustive]
    pub struct Named;

    #[co_wrapper]
    impl Named {
        /// Is no constructor.
        #[co_wrapper]
        pub async fn co_new() -> u8 {
            later(1).await
        }

        /// Is no `Default`.
        #[co_wrapper]
        pub async fn co_default() -> Self {
            later(Self).await
        }

        /// Is no iterator's.
        #[co_wrapper]
        pub async fn co_next(&mut self) -> Option<u8> {
            later(Some(1)).await
        }

        /// Is no iterator.
        #[co_wrapper]
        pub async fn co_iter(&self) -> u8 {
            later(1).await
        }

        /// Has no `is_empty` beside it.
        #[co_wrapper]
        pub async fn co_len(&self) -> usize {
            later(1).await
        }

        /// Is no `Display`.
        #[co_wrapper]
        pub async fn co_to_string(&self) -> String {
            later(String::new()).await
        }

        /// Takes a reference.
        #[co_wrapper]
        pub async fn co_into_bytes(&self) -> u8 {
            later(1).await
        }

        /// Fails and does not say why.
        ///
        /// # Errors
        ///
        /// Never.
        #[co_wrapper]
        pub async fn co_fail(&self) -> Result<u8, ()> {
            later(Ok(1)).await
        }
    }
}
