//! The shapes whose expansions are linted: once as they are, and once without the lines that begin with one of our marks.
//! So a mark stands on lines of its own, and `declare!` in column 1.

use co_wrapper::graph::{GraphLock, GraphRead, GraphWrite};
use co_wrapper::{co_wrapper, no_co_wrapper};
use futures::Stream;
#[allow(redundant_imports, reason = "before edition 2024 it is not in the prelude")]
use std::future::Future;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
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
pub struct Disk(pub u8);

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
#[co_wrapper(suffix = "_there", ctx = co_wrapper::AioContext::current(), timeout, interrupt)]
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
    #[co_wrapper(timeout, interrupt)]
    pub fn declared<T: Clone + Send + Sync>(x: &[T; 3], mut _more: u8, (_, _): (u8, u8)) -> [T; 3] = declared_elsewhere;

    /// Methods.
    #[co_wrapper(timeout, interrupt)]
    pub impl DiskNow for Disk {
        /// Reads.
        #[must_use]
        fn read_now(&self, off: u64, _: u8, ab: (u8, u8)) -> u64 = read;
        /// Returns itself.
        fn itself_now(self, with: u8) -> Self = itself;
        /// All.
        fn many_now(&self, one: u8, two: u8, three: u8, four: u8, five: u8, six: u8, seven: u8) -> u8 = many;
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

/// A pool.
#[derive(Debug)]
#[allow(missing_copy_implementations)]
pub struct Pool(u64);

/// A pool for blocking code.
#[derive(Debug, co_wrapper::Blocking)]
pub struct BlockingPool(Pool);

#[co_wrapper(type = BlockingPool, timeout)]
impl Pool {
    /// Opens one.
    pub async fn open(size: u64) -> Self {
        later(Self(size)).await
    }

    /// Takes others.
    ///
    /// # Errors
    ///
    /// Never.
    pub async fn joined(mut self, rest: Vec<Self>, other: &Self) -> Result<(Self, Option<u64>), std::io::Error> {
        self.0 += other.0 + rest.iter().map(|pool| pool.0).sum::<u64>();
        later(Ok((self, None))).await
    }

    /// Changes it.
    pub async fn changed(&mut self, (by, _): (u64, u8), other: Option<Self>) -> Option<Vec<Self>> {
        self.0 += by + other.map_or(0, |pool| pool.0);
        later(None).await
    }

    /// Numbers.
    #[must_use]
    pub fn numbers(&self) -> Pin<Box<dyn Stream<Item = u64> + Send + '_>> {
        Box::pin(futures::stream::iter(0..self.0))
    }

    /// The same, in a result.
    ///
    /// # Errors
    ///
    /// Never.
    pub async fn listed(&self) -> Result<impl Stream<Item = u64> + use<>, std::io::Error> {
        later(Ok(futures::stream::iter(0..self.0))).await
    }

    /// Shares it.
    #[must_use]
    pub async fn shared(self: Arc<Self>) -> Option<Arc<Self>> {
        later(Some(self)).await
    }

    async fn private(&self) -> u64 {
        later(self.0).await
    }

    /// Not async.
    pub fn and_more(&self) -> impl Future<Output = u64> + '_ {
        self.private()
    }
}

/// A reader.
#[allow(async_fn_in_trait)]
#[co_wrapper(trait = BlockingReader: Send, timeout)]
pub trait Reader: Send {
    /// Reads.
    ///
    /// # Errors
    ///
    /// Never.
    async fn read_at(&self, mut off: u64, _: u8, buf: &mut [u8]) -> Result<u64, std::io::Error> {
        off += buf.len() as u64;
        later(Ok(off)).await
    }
}

/// A free one.
#[co_wrapper]
pub async fn co_free<T: Clone + Send + Sync, const N: usize>(x: &[T; N]) -> [T; N] {
    later(x.clone()).await
}

/// A node of a graph.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its graph.
    pub graph: GraphLock,
}

#[co_wrapper]
impl Node {
    /// Under the lock.
    #[co_wrapper(mixed, bdrv_rdlock = self.graph)]
    pub async fn co_size(&self, _graph: &GraphRead, by: u64) -> u64 {
        later(by).await
    }

    /// In time, and under the lock.
    #[co_wrapper(bdrv_rdlock = self.graph, timeout, interrupt)]
    pub async fn co_len(&mut self, (a, _): (u64, u64)) -> u64 {
        later(a).await
    }

    /// A future.
    #[must_use = "it is a future"]
    #[co_wrapper]
    pub fn co_boxed<'a>(&'a self, by: &'a u8) -> Pin<Box<dyn Future<Output = &'a u8> + 'a>> {
        Box::pin(later(by))
    }

    /// Changes the graph.
    #[must_use]
    #[no_co_wrapper(bdrv_wrlock)]
    pub fn attach(&self, _graph: &GraphWrite, name: &str, mut at: usize) -> usize {
        at += name.chars().count();
        at
    }
}

/// Asks the main loop.
#[must_use]
#[no_co_wrapper]
pub fn asked(of: &str, (a, _): (u8, u8)) -> Option<u8> {
    of.is_empty().then_some(a)
}

/// Runs on a stack of its own.
#[must_use]
#[no_co_wrapper(unsafe(coroutine))]
pub fn checked(of: &str, (by, _): (u8, u8)) -> Option<u8> {
    of.is_empty().then_some(by)
}
