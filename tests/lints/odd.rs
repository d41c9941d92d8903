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
        #[co_wrapper(mixed, timeout, interrupt)]
        fn co_none(&self) -> impl Future<Output = ()> {
            return ready(());
        }
    }

    /// In its context and in time.
    #[co_wrapper(ctx = co_wrapper::AioContext::current(), timeout, interrupt)]
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

/// What a lint says of a fn that is not async, and does not look for in one that is.
pub mod results {
    #[allow(redundant_imports, reason = "before edition 2024 it is not in the prelude")]
    use super::Future;
    use super::{Pin, co_wrapper, later};
    use std::borrow::Cow;
    use std::collections::{HashMap, LinkedList};
    use std::rc::Rc;
    use std::sync::Mutex;

    /// A small one.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct Small(pub u8);

    /// An error of some size.
    #[derive(Debug)]
    pub struct Large(pub [u64; 64]);

    /// What a result may be called.
    pub type Answer<T> = Result<T, Large>;

    #[co_wrapper(suffix = "_blocking")]
    impl Small {
        /// Fails with nothing to say.
        ///
        /// # Errors
        ///
        /// Never.
        pub async fn unit_error(&self) -> Result<u8, ()> {
            later(Ok(self.0)).await
        }

        /// Fails at length.
        pub async fn large_error(self) -> Answer<u8> {
            later(Ok(self.0)).await
        }

        /// Returns something of a complex type.
        pub async fn complex(&self) -> Result<Vec<Option<(Box<dyn Fn(u8) -> u8>, HashMap<u8, Vec<u8>>)>>, String> {
            later(Ok(Vec::new())).await
        }

        /// Returns a box of a box, in a list.
        pub async fn boxed(&self) -> Vec<Box<u64>> {
            later(vec![Box::new(1)]).await
        }

        /// Returns a box of what has a size.
        pub async fn single(&self) -> Box<u64> {
            later(Box::new(1)).await
        }

        /// Returns a shared lock.
        pub async fn shared(&self) -> (Rc<Mutex<u8>>, Rc<Box<u8>>) {
            later((Rc::new(Mutex::new(1)), Rc::new(Box::new(1)))).await
        }

        /// Returns none of none.
        pub async fn option(&self) -> (Option<Option<u8>>, Cow<'static, String>, LinkedList<u8>) {
            later((None, Cow::Owned(String::new()), LinkedList::new())).await
        }

        /// Takes what is small by a reference.
        pub async fn by_reference(of: &Small, by: &u8) -> u8 {
            later(of.0 + by).await
        }

        /// Names what need not be named.
        pub async fn named<'a>(&'a self, by: &u8) -> Option<&'a u8> {
            later(Some(&self.0).filter(|x| **x > *by)).await
        }

        /// Elides what only an async fn may.
        pub async fn elided(&self, all: impl Iterator<Item = &u8>) -> u8 {
            later(all.sum()).await
        }

        /// Returns a future that borrows, with a result that does not.
        pub fn future<'a>(&'a self, by: &'a u8) -> Pin<Box<dyn Future<Output = Result<u8, Large>> + 'a>> {
            Box::pin(async move { later(Ok(self.0 + by)).await })
        }

        /// Returns a future of one lifetime that nothing else has.
        pub fn lasting<'a>(by: u8) -> Pin<Box<dyn Future<Output = u8> + 'a>> {
            Box::pin(later(by))
        }

        /// Goes on for more lines than one cares to read.
        pub async fn long(&self, mut sum: u64) -> u64 {
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            sum += 1;
            later(sum).await
        }
    }

    mod private {
        use super::{Cow, LinkedList, Mutex, Rc, co_wrapper, later};

        pub struct Private;

        #[co_wrapper(suffix = "_blocking")]
        impl Private {
            async fn boxed(&self) -> Vec<Box<u64>> {
                later(vec![Box::new(1)]).await
            }

            async fn single(&self) -> Box<u64> {
                later(Box::new(1)).await
            }

            async fn shared(&self) -> (Rc<Mutex<u8>>, Rc<Box<u8>>, Rc<String>) {
                later((Rc::new(Mutex::new(1)), Rc::new(Box::new(1)), Rc::default())).await
            }

            async fn option(&self) -> (Option<Option<u8>>, Cow<'static, String>, LinkedList<u8>) {
                later((None, Cow::Owned(String::new()), LinkedList::new())).await
            }

            async fn reference<'a>(&self, of: &'a Option<Box<u8>>) -> (&'a Box<u8>, &'a Option<Box<u8>>) {
                later((of.as_ref().unwrap(), of)).await
            }
        }

        #[co_wrapper(suffix = "_blocking", timeout, interrupt)]
        impl Private {
            async fn used(&self) -> u8 {
                later(1).await
            }

            pub async fn used_by_others(&self) -> u8 {
                self.used().await
            }

            pub(crate) async fn used_in_here(&self) -> u8 {
                self.used_by_others().await
            }
        }

        #[co_wrapper(suffix = "_blocking")]
        pub(crate) trait Inside {
            async fn inside(&self) -> u8;
        }

        #[co_wrapper(suffix = "_blocking")]
        impl Inside for Private {
            async fn inside(&self) -> u8 {
                later(2).await
            }
        }
    }

    /// Uses the async fns of the private type, and none of their twins.
    pub async fn used() -> u8 {
        use private::Inside;
        private::Private.used_in_here().await + private::Private.inside().await
    }
}

#[co_wrapper(suffix = "_blocking")]
mod module {
    use super::{Pin, later};
    #[allow(redundant_imports, reason = "before edition 2024 it is not in the prelude")]
    use super::Future;

    pub(crate) async fn used(x: &u8) -> Result<&u8, ()> {
        later(Ok(x)).await
    }

    pub(crate) fn boxed(x: &u8) -> Pin<Box<dyn Future<Output = u8> + '_>> {
        Box::pin(later(*x))
    }

    pub struct Inner;

    impl Inner {
        pub(super) async fn method(&self) {
            later(()).await;
        }
    }
}

/// Uses the async fns of the module, and none of their twins.
pub async fn of_the_module() -> u8 {
    module::Inner.method().await;
    let _ = module::used(&1).await;
    module::boxed(&2).await
}
