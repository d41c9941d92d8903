//! `#[co_wrapper(trait = …)]`: twins as the methods of a second trait, which `dyn` can be of.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    future::{Future, ready},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use co_wrapper::{AioContext, IoThread, co_wrapper};

/// Pending once, so that the call has to wait.
async fn later() {
    struct Once(bool);
    impl Future for Once {
        type Output = ();
        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            if std::mem::replace(&mut self.0, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    }
    Once(false).await;
}

mod node {
    use super::*;

    /// What QEMU's block drivers have, of an async fn each. No `dyn` can be of it.
    #[co_wrapper(trait = BlockingNode: Send + Debug)]
    pub(crate) trait Node: Send + Debug {
        /// No twin is of it.
        const SECTOR: usize;

        async fn size(&self) -> u64;

        async fn read<'a>(&'a self, off: usize, buf: &mut [u8]) -> io::Result<&'a [u8]>;

        async fn write(&mut self, off: usize, buf: &[u8]) {
            later().await;
            let _ = (off, buf);
        }

        async fn boxed(self: Box<Self>) -> u64;

        async fn shared(self: Arc<Self>) -> u64;

        fn future(&self) -> impl Future<Output = u8>;

        #[co_wrapper(timeout, name = waits)]
        async fn stuck(&self, is_stuck: bool) {
            if is_stuck {
                std::future::pending::<()>().await;
            }
        }

        #[co_wrapper(skip)]
        async fn copied<T: From<u8>>(&self) -> T {
            later().await;
            T::from(1)
        }

        #[cfg(any())]
        async fn not_there(&self) -> NoSuchType;

        fn is_empty(&self) -> bool {
            false
        }
    }

    #[derive(Debug)]
    pub(crate) struct Raw(pub(crate) Vec<u8>);

    impl Node for Raw {
        const SECTOR: usize = 1;

        async fn size(&self) -> u64 {
            later().await;
            self.0.len() as u64
        }

        async fn read<'a>(&'a self, off: usize, buf: &mut [u8]) -> io::Result<&'a [u8]> {
            later().await;
            let data = self.0.get(off..off + buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            buf.copy_from_slice(data);
            Ok(data)
        }

        async fn boxed(self: Box<Self>) -> u64 {
            Node::size(&*self).await
        }

        async fn shared(self: Arc<Self>) -> u64 {
            Node::size(&*self).await
        }

        fn future(&self) -> impl Future<Output = u8> {
            ready(self.0[0])
        }
    }

    #[derive(Debug)]
    pub(crate) struct Null;

    impl Node for Null {
        const SECTOR: usize = 2;

        async fn size(&self) -> u64 {
            0
        }

        async fn read<'a>(&'a self, _: usize, buf: &mut [u8]) -> io::Result<&'a [u8]> {
            buf.fill(0);
            Ok(&[])
        }

        async fn boxed(self: Box<Self>) -> u64 {
            0
        }

        async fn shared(self: Arc<Self>) -> u64 {
            0
        }

        fn future(&self) -> impl Future<Output = u8> {
            ready(0)
        }
    }
}

use node::{BlockingNode, Null, Raw};

#[test]
fn dyn_calls_what_the_async_trait_s_dyn_could_not() {
    let mut nodes: BTreeMap<&str, Box<dyn BlockingNode>> = BTreeMap::new();
    nodes.insert("raw", Box::new(Raw(vec![1, 2, 3])));
    nodes.insert("null", Box::new(Null));
    assert_eq!(nodes.values().map(|node| node.size()).collect::<Vec<_>>(), [0, 3]);
    assert_eq!(format!("{nodes:?}"), r#"{"null": Null, "raw": Raw([1, 2, 3])}"#);

    let raw = nodes.get_mut("raw").unwrap();
    let mut buf = [0; 2];
    assert_eq!(raw.read(1, &mut buf).unwrap(), [2, 3]);
    assert_eq!(buf, [2, 3]);
    assert!(raw.read(2, &mut buf).is_err());
    raw.write(0, &[]);
    raw.waits(false);
    assert_eq!(raw.waits_timeout(false, Duration::ZERO), Ok(()));
    assert!(raw.waits_timeout(true, Duration::from_millis(1)).is_err());
    assert_eq!(raw.future(), 1);
    let raw = nodes.remove("raw").unwrap();
    assert_eq!(std::thread::spawn(move || raw.boxed()).join().unwrap(), 3);
    let shared: Arc<dyn BlockingNode> = Arc::new(Raw(vec![1]));
    assert_eq!(shared.shared(), 1);
    // And without `dyn`.
    assert_eq!(Raw(vec![7]).size(), 1);
    // What has no twin is in the async trait alone.
    assert_eq!((<Raw as node::Node>::SECTOR, node::Node::is_empty(&Null)), (1, false));
    assert_eq!(co_wrapper::block_on(node::Node::copied::<u16>(&Null)), 1);
}

/// A generic trait over others, in a context.
#[co_wrapper(trait = BlockingPool: BlockingBase, ctx = self.context())]
trait Pool<'a, S, const N: usize = 1>: Base
where
    S: Send + Sync + 'a,
{
    fn context(&self) -> &AioContext;

    async fn get(&self, items: &'a [S; N], at: usize) -> (&'a S, Option<String>);
}

#[co_wrapper(trait = BlockingBase)]
trait Base: Sync {
    async fn base(&self) -> u8 {
        later().await;
        7
    }
}

struct Home(AioContext);

impl Base for Home {}

impl<'a, S: Send + Sync + 'a> Pool<'a, S, 2> for Home {
    fn context(&self) -> &AioContext {
        &self.0
    }

    async fn get(&self, items: &'a [S; 2], at: usize) -> (&'a S, Option<String>) {
        later().await;
        (&items[at], std::thread::current().name().map(str::to_owned))
    }
}

#[test]
fn generics_supertraits_and_a_context() {
    let io = IoThread::spawn("io9").unwrap();
    let home = Home(io.context().clone());
    let pool: &dyn BlockingPool<'_, &str, 2> = &home;
    assert_eq!(pool.get(&["a", "b"], 1), (&"b", Some("io9".to_owned())));
    assert_eq!(pool.base(), 7);
}

#[co_wrapper(trait = BlockingOuter)]
#[async_trait]
trait Outer: Send + Sync {
    async fn size(&self, add: &u64) -> u64;
}

#[async_trait]
#[co_wrapper(trait = BlockingInner)]
trait Inner: Send + Sync {
    async fn size(&self, add: &u64) -> u64;
}

struct Both;

#[async_trait]
impl Outer for Both {
    async fn size(&self, add: &u64) -> u64 {
        later().await;
        1 + add
    }
}

#[async_trait]
impl Inner for Both {
    async fn size(&self, add: &u64) -> u64 {
        later().await;
        2 + add
    }
}

#[test]
fn with_async_trait() {
    assert_eq!(<dyn BlockingOuter>::size(&Both, &1), 2);
    assert_eq!(<dyn BlockingInner>::size(&Both, &1), 3);
    // Of a `dyn` of the async trait, which `async_trait` makes possible.
    let both: &dyn Outer = &Both;
    assert_eq!(BlockingOuter::size(both, &2), 3);
}

/// Where both traits are in scope, the twins want names of their own.
#[co_wrapper(trait = BlockingCount, suffix = "_blocking")]
trait Count {
    async fn count(&self) -> u8;

    #[co_wrapper(name = more)]
    async fn count_more(&self) -> u8 {
        later().await;
        self.count().await + 1
    }
}

impl Count for Both {
    async fn count(&self) -> u8 {
        later().await;
        3
    }
}

#[test]
fn with_a_suffix() {
    let count: &dyn BlockingCount = &Both;
    assert_eq!((count.count_blocking(), count.more()), (3, 4));
    assert_eq!(co_wrapper::block_on(Both.count()), 3);
}

#[test]
fn a_plain_one_names_itself_where_it_is_refused() {
    let context = AioContext::new().unwrap();
    // co-check: allow — the test is about the panic
    let refused = std::panic::catch_unwind(|| context.block_on(async { Null.size() })).unwrap_err();
    let message = refused.downcast_ref::<String>().unwrap();
    assert!(message.contains("BlockingNode::size") && message.contains("`Node::size(…).await`"), "{message}");
}
