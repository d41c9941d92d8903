//! Fns that return futures: in a block with a `suffix` they have twins as an `async fn` has, wherever and however.

use super::{later, pending_once};
use co_wrapper::{AioContext, IoThread, co_wrapper, declare};
use futures::FutureExt;
use futures::future::{BoxFuture, FusedFuture, LocalBoxFuture};
use std::fmt::Debug;
use std::future::{Future, IntoFuture};
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// Another crate's names, which say nothing of what they are.
type ReadFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = io::Result<T>> + 'a>>;

#[derive(Clone, Debug, PartialEq)]
struct Disk(u8);

/// What becomes a future when it is awaited, after options.
struct Read<'a> {
    disk: &'a Disk,
    twice: bool,
}

impl Read<'_> {
    fn twice(mut self) -> Self {
        self.twice = true;
        self
    }
}

impl<'a> IntoFuture for Read<'a> {
    type Output = (&'a u8, bool);
    type IntoFuture = LocalBoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        later((&self.disk.0, self.twice)).boxed_local()
    }
}

#[co_wrapper(suffix = "_blocking")]
impl Disk {
    fn opaque(&self) -> impl core::future::Future<Output = u8> + Send {
        later(self.0)
    }

    fn borrowed(&self) -> impl Send + Future<Output = &u8> + use<'_> {
        later(&self.0)
    }

    fn of_one_of_two<'a>(&self, x: &'a u8) -> impl Future<Output = &'a u8> + use<'a> {
        later(x)
    }

    fn itself(self) -> impl Future<Output = Self> {
        later(self)
    }

    fn made() -> std::pin::Pin<std::boxed::Box<dyn std::future::Future<Output = io::Result<Self>> + Send + 'static>> {
        Box::pin(later(Ok(Disk(9))))
    }

    fn pinned<'a>(&'a mut self, by: &'a u8) -> std::pin::Pin<Box<dyn Future<Output = &'a mut u8> + 'a>> {
        Box::pin(async move {
            self.0 += later(*by).await;
            &mut self.0
        })
    }

    fn unpinned(&self) -> Box<dyn Future<Output = u8> + Unpin + '_> {
        Box::new(later(self.0).boxed())
    }

    fn pinned_opaque(&self) -> std::pin::Pin<Box<impl Future<Output = u8>>> {
        Box::pin(later(self.0))
    }

    fn send(&self) -> BoxFuture<'_, io::Result<u8>> {
        later(Ok(self.0)).boxed()
    }

    fn local(&self, rc: Rc<u8>) -> futures::future::LocalBoxFuture<'_, Rc<u8>> {
        later(rc).boxed_local()
    }

    fn fused(&self) -> impl FusedFuture<Output = u8> {
        later(self.0).fuse()
    }

    fn some_trait(&self) -> impl Future<Output = impl Debug + PartialEq<u8> + use<>> {
        later(self.0)
    }

    fn nothing(&self) -> impl Future<Output = ()> {
        pending_once()
    }

    fn many<T: Clone, const N: usize>(x: T) -> impl Future<Output = [T; N]>
    where
        Self: Sized,
    {
        later(std::array::from_fn(|_| x.clone()))
    }

    async fn plain(&self) -> u8 {
        later(self.0).await
    }

    #[co_wrapper(name = unsafely)]
    unsafe fn unsafe_one(&self) -> BoxFuture<'static, u8> {
        later(7).boxed()
    }

    #[co_wrapper(output = io::Result<u8>)]
    fn alias(&self) -> ReadFuture<'_, u8> {
        later(Ok(self.0)).boxed_local()
    }

    #[co_wrapper(output = (&u8, bool))]
    fn builder(&self) -> Read<'_> {
        Read { disk: self, twice: false }.twice()
    }

    fn some_builder<'a>(&'a self) -> impl IntoFuture<Output = (&'a u8, bool)> + use<'a> {
        Read { disk: self, twice: false }
    }

    /// None of these is a future.
    fn not_async(&self) -> u8 {
        self.0
    }

    fn result(&self) -> io::Result<BoxFuture<'_, u8>> {
        Ok(later(self.0).boxed())
    }

    fn unknown(&self) -> ReadFuture<'_, u8> {
        later(Ok(self.0)).boxed_local()
    }

    fn closure(&self) -> impl Fn() -> BoxFuture<'static, u8> {
        || later(1).boxed()
    }

    #[co_wrapper(skip)]
    fn skipped(&self) -> BoxFuture<'_, u8> {
        later(self.0).boxed()
    }
}

/// What has no twin may have its name taken.
impl Disk {
    fn not_async_blocking(&self) {}
    fn result_blocking(&self) {}
    fn unknown_blocking(&self) {}
    fn closure_blocking(&self) {}
    fn skipped_blocking(&self) {}
}

#[test]
fn in_an_impl() {
    let mut disk = Disk(1);
    assert_eq!(disk.opaque_blocking(), 1);
    assert_eq!(disk.borrowed_blocking(), &1);
    let long_lived = 5;
    assert_eq!(Disk(0).of_one_of_two_blocking(&long_lived), &5);
    assert_eq!(disk.clone().itself_blocking(), disk);
    assert_eq!(Disk::made_blocking().unwrap(), Disk(9));
    *disk.pinned_blocking(&2) += 1;
    assert_eq!((disk.unpinned_blocking(), disk.pinned_opaque_blocking()), (4, 4));
    assert_eq!(disk.send_blocking().unwrap(), 4);
    assert_eq!(disk.local_blocking(Rc::new(3)), Rc::new(3));
    assert_eq!(disk.fused_blocking(), 4);
    assert!(disk.some_trait_blocking() == 4);
    disk.nothing_blocking();
    assert_eq!(Disk::many_blocking::<_, 2>("a"), ["a", "a"]);
    assert_eq!(disk.plain_blocking(), 4);
    // SAFETY: it asks for nothing.
    assert_eq!(unsafe { disk.unsafely() }, 7);
    assert_eq!(disk.alias_blocking().unwrap(), 4);
    assert_eq!(disk.builder_blocking(), (&4, true));
    assert_eq!(disk.some_builder_blocking(), (&4, false));
    disk.not_async_blocking();
    disk.result_blocking();
    disk.unknown_blocking();
    disk.closure_blocking();
    disk.skipped_blocking();
    let _ = (disk.not_async(), disk.result(), disk.unknown(), disk.closure(), disk.skipped());
}

#[co_wrapper(suffix = "_blocking")]
trait Backend {
    fn size(&self) -> impl Future<Output = u64> + Send;

    fn provided(&self, by: &u64) -> impl Future<Output = u64>
    where
        Self: Sync,
    {
        async move { self.size().await + by }
    }

    fn first<'a>(&'a self) -> BoxFuture<'a, &'a u64>;

    fn copy(&self) -> impl Future<Output = Self> + use<'_, Self>
    where
        Self: Sized;

    fn into_size(self) -> impl Future<Output = u64>
    where
        Self: Sized;
}

/// Of objects.
#[co_wrapper(suffix = "_blocking")]
trait Object {
    fn read<'a>(&'a self, buf: &'a mut [u8]) -> BoxFuture<'a, &'a mut [u8]>;
    fn close(self: Box<Self>) -> LocalBoxFuture<'static, u8>;
}

struct Memory(u64);

#[co_wrapper(suffix = "_blocking")]
impl Backend for Memory {
    async fn size(&self) -> u64 {
        later(self.0).await
    }

    fn first<'a>(&'a self) -> BoxFuture<'a, &'a u64> {
        later(&self.0).boxed()
    }

    async fn copy(&self) -> Self {
        later(Memory(self.0)).await
    }

    fn into_size(self) -> impl Future<Output = u64> {
        later(self.0)
    }
}

impl Object for Memory {
    fn read<'a>(&'a self, buf: &'a mut [u8]) -> BoxFuture<'a, &'a mut [u8]> {
        async move {
            buf.fill(later(self.0 as u8).await);
            buf
        }
        .boxed()
    }

    fn close(self: Box<Self>) -> LocalBoxFuture<'static, u8> {
        later(self.0 as u8).boxed_local()
    }
}

#[test]
fn in_a_trait() {
    let memory = Memory(3);
    assert_eq!((memory.size_blocking(), memory.provided_blocking(&1), memory.first_blocking()), (3, 4, &3));
    assert_eq!(memory.copy_blocking().into_size_blocking(), 3);
    let object: Box<dyn Object> = Box::new(memory);
    assert_eq!(object.read_blocking(&mut [0, 0]), [3, 3]);
    assert_eq!(object.close_blocking(), 3);
}

struct Elsewhere {
    ctx: AioContext,
    left: u8,
}

#[co_wrapper(suffix = "_there", ctx = self.ctx, timeout)]
impl Elsewhere {
    fn boxed<'a>(&'a mut self, by: &'a u8) -> BoxFuture<'a, &'a mut u8> {
        async move {
            assert_eq!(AioContext::current(), self.ctx);
            self.left -= later(*by).await;
            &mut self.left
        }
        .boxed()
    }

    fn opaque(&self) -> impl Future<Output = bool> {
        let rc = Rc::new(AioContext::current());
        later(()).map(move |()| *rc == AioContext::current())
    }

    #[co_wrapper(output = (u8, bool))]
    fn builder(&self) -> Counted {
        Counted(self.left)
    }
}

struct Counted(u8);

impl IntoFuture for Counted {
    type Output = (u8, bool);
    type IntoFuture = BoxFuture<'static, (u8, bool)>;

    fn into_future(self) -> Self::IntoFuture {
        later((self.0, true)).boxed()
    }
}

#[test]
fn in_another_context_and_in_time() {
    let io = IoThread::spawn("io0").unwrap();
    let mut there = Elsewhere { ctx: io.context().clone(), left: 3 };
    assert_eq!(there.boxed_there(&1), &mut 2);
    assert_eq!(there.boxed_there_timeout(&1, Duration::from_secs(60)), Ok(&mut 1));
    assert!(there.opaque_there() && there.opaque_there_timeout(Duration::from_secs(60)).unwrap());
    assert_eq!(there.builder_there(), (1, true));
    assert_eq!(there.builder_there_timeout(Duration::from_secs(60)), Ok((1, true)));
}

declare! {
    fn declared<'a>(disk: &'a mut Disk, by: &'a u8) -> &'a mut u8 = Disk::pinned;

    impl Declared for Disk {
        fn size_now(&self) -> io::Result<u8> = send;
    }
}

#[test]
fn declared_elsewhere() {
    let mut disk = Disk(1);
    assert_eq!(declared(&mut disk, &1), &mut 2);
    assert_eq!(disk.size_now().unwrap(), 2);
}

#[cfg(feature = "graph")]
mod under_the_lock {
    use super::*;
    use co_wrapper::graph::{GraphLock, GraphRead};

    struct Node(GraphLock, u8);

    #[co_wrapper(suffix = "_blocking", bdrv_rdlock = self.0)]
    impl Node {
        fn boxed<'a>(&'a self, _graph: &'a GraphRead) -> BoxFuture<'a, u8> {
            later(self.1).boxed()
        }

        fn opaque(&self, by: u8, _graph: &GraphRead) -> impl Future<Output = &u8> {
            assert_eq!(by, 1);
            later(&self.1)
        }

        #[co_wrapper(output = (u8, bool))]
        fn builder(&self, _graph: &GraphRead) -> Counted {
            Counted(self.1)
        }
    }

    #[test]
    fn all() {
        let node = Node(GraphLock::new(), 4);
        assert_eq!((node.boxed_blocking(), node.opaque_blocking(1), node.builder_blocking()), (4, &4, (4, true)));
    }
}
