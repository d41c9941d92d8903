//! Fns that return streams: their twins return iterators, each `next` of which is a call of the twin.

#![cfg(feature = "stream")]

use std::{
    any::Any,
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, Location, catch_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    thread,
    time::Duration,
};

use co_wrapper::{
    AioContext, Blocking, IoThread, block_on,
    blocking::{Iter, IterIn},
    co_wrapper,
};
use futures::stream::{BoxStream, FusedStream, LocalBoxStream, Stream, StreamExt, iter};

async fn later() {
    tokio::task::yield_now().await;
}

/// Gives the bytes, each after it was pending once, and counts its drops.
struct Slow {
    left: VecDeque<u8>,
    is_ready: bool,
    dropped: Arc<AtomicUsize>,
}

impl Stream for Slow {
    type Item = u8;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<u8>> {
        self.is_ready = !self.is_ready;
        if self.is_ready {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.left.pop_front())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left.len(), Some(self.left.len()))
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Clone, Default)]
struct Disk {
    data: Vec<u8>,
    dropped: Arc<AtomicUsize>,
}

impl Disk {
    fn slow(&self) -> Slow {
        Slow { left: self.data.iter().copied().collect(), is_ready: false, dropped: Arc::clone(&self.dropped) }
    }

    fn dropped(&self) -> usize {
        self.dropped.load(Ordering::Relaxed)
    }
}

fn disk() -> Disk {
    Disk { data: vec![1, 2, 3], dropped: Arc::default() }
}

#[co_wrapper(suffix = "_blocking")]
impl Disk {
    fn opaque(&self) -> impl Stream<Item = u8> + Send + use<> {
        self.slow()
    }

    fn borrowed<'a>(&'a self, add: &'a u8) -> impl Stream<Item = &'a u8> + 'a {
        iter(&self.data).chain(iter([add]))
    }

    fn pinned(&self) -> Pin<Box<dyn Stream<Item = u8> + Send + '_>> {
        Box::pin(self.slow())
    }

    fn boxed(&self, times: usize) -> BoxStream<'static, u8> {
        self.slow().map(move |byte| byte * u8::try_from(times).unwrap()).boxed()
    }

    fn local(self: Arc<Self>) -> io::Result<LocalBoxStream<'static, io::Result<u8>>> {
        Ok(self.slow().map(Ok).boxed_local())
    }

    fn unpinned(&self) -> Box<dyn Stream<Item = u8> + Unpin> {
        Box::new(self.slow())
    }

    fn fused(&self) -> impl FusedStream<Item = u8> {
        self.slow().fuse()
    }

    async fn opened(&self, is_there: bool) -> io::Result<impl Stream<Item = u8> + use<>> {
        later().await;
        if is_there { Ok(self.slow()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    async fn perhaps(&self) -> Option<(usize, BoxStream<'_, u8>)> {
        later().await;
        Some((self.data.len(), self.slow().boxed()))
    }

    fn in_a_future(&self) -> impl Future<Output = Option<impl Stream<Item = u8>>> {
        let slow = self.slow();
        async { Some(slow) }
    }

    fn of_each<T: From<u8> + 'static>(&self) -> impl Stream<Item = T> + use<T> {
        self.slow().map(T::from)
    }

    async fn several(&self) -> Vec<BoxStream<'static, u8>> {
        vec![self.slow().boxed(), self.slow().boxed()]
    }

    fn not_a_stream(&self) -> Option<u8> {
        self.data.first().copied()
    }

    /// # Safety
    ///
    /// None needed.
    unsafe fn unchecked(&self) -> BoxStream<'static, u8> {
        self.slow().boxed()
    }

    #[co_wrapper(timeout)]
    async fn stuck(&self, is_stuck: bool) -> BoxStream<'static, u8> {
        if is_stuck {
            std::future::pending::<()>().await;
        }
        self.slow().boxed()
    }

    #[co_wrapper(mixed)]
    fn anywhere(&self) -> BoxStream<'static, u8> {
        self.slow().boxed()
    }

    #[co_wrapper(skip)]
    fn left_out(&self) -> BoxStream<'static, u8> {
        self.slow().boxed()
    }
}

#[test]
fn each_form_gives_an_iterator() {
    let disk = disk();
    let all = [1, 2, 3];
    assert!(disk.opaque_blocking().eq(all));
    assert_eq!(disk.borrowed_blocking(&7).copied().collect::<Vec<_>>(), [1, 2, 3, 7]);
    assert!(disk.pinned_blocking().eq(all));
    let boxed: Iter<BoxStream<'static, u8>> = disk.boxed_blocking(2);
    assert!(boxed.eq([2, 4, 6]));
    let local = Arc::new(disk.clone()).local_blocking().unwrap();
    assert_eq!(local.collect::<io::Result<Vec<_>>>().unwrap(), all);
    assert!(disk.unpinned_blocking().eq(all));
    assert!(disk.fused_blocking().eq(all));
    assert!(disk.opened_blocking(true).unwrap().eq(all));
    assert!(disk.opened_blocking(false).is_err());
    let (len, perhaps) = disk.perhaps_blocking().unwrap();
    assert_eq!((len, perhaps.count()), (3, 3));
    assert!(disk.in_a_future_blocking().unwrap().eq(all));
    assert!(disk.of_each_blocking::<u64>().eq(all.map(u64::from)));
    assert_eq!(disk.several_blocking().into_iter().map(Iterator::count).sum::<usize>(), 6);
    // SAFETY: nothing to keep.
    assert!(unsafe { disk.unchecked_blocking() }.eq(all));
    assert!(disk.stuck_blocking(false).eq(all));
    assert!(disk.stuck_blocking_timeout(false, Duration::ZERO).unwrap().eq(all));
    assert!(disk.stuck_blocking_timeout(true, Duration::from_millis(1)).is_err());
    assert_eq!(disk.not_a_stream(), Some(1));
    assert!(block_on(disk.left_out().collect::<Vec<_>>()).len() == 3);
}

#[test]
fn the_iterator_is_the_stream_s() {
    let disk = disk();
    let mut opaque = disk.opaque_blocking();
    assert_eq!(opaque.size_hint(), (3, Some(3)));
    assert_eq!((opaque.next(), opaque.size_hint()), (Some(1), (2, Some(2))));
    assert_eq!(disk.dropped(), 0);
    // The bounds of the stream are those of the iterator.
    thread::spawn(move || assert_eq!(opaque.next(), Some(2))).join().unwrap();
    assert_eq!(disk.dropped(), 1);
    drop(disk.boxed_blocking(1));
    assert_eq!(disk.dropped(), 2);
}

fn panic_of<T>(f: impl FnOnce() -> T) -> String {
    let payload: Box<dyn Any + Send> = catch_unwind(AssertUnwindSafe(f)).err().expect("it should panic");
    *payload.downcast::<String>().unwrap()
}

#[test]
fn the_calls_are_the_twin_s() {
    let disk = disk();
    let mut anywhere = disk.anywhere_blocking();
    assert_eq!(block_on(async { anywhere.next() }), Some(1));
    assert!(block_on(async { disk.anywhere_blocking().eq([1, 2, 3]) }));
    let mut plain = disk.opaque_blocking();
    let made = Location::caller().line() - 1;
    let refused = panic_of(|| block_on(async { plain.next() }));
    let place = format!("{}:{made}:", file!());
    assert!(refused.contains("opaque_blocking") && refused.contains(&place), "{refused}");
    // Inside a `Result` it is the same.
    let mut plain = disk.opened_blocking(true).unwrap();
    let made = Location::caller().line() - 1;
    let refused = panic_of(|| block_on(async { plain.next() }));
    let place = format!("{}:{made}:", file!());
    assert!(refused.contains("opened_blocking") && refused.contains(&place), "{refused}");
    // co-check: allow — the test is about the panic
    let refused = panic_of(|| block_on(async { disk.pinned_blocking().count() }));
    assert!(refused.contains("pinned_blocking"), "{refused}");
}

#[co_wrapper]
fn co_free(bytes: &[u8]) -> impl Stream<Item = u8> {
    iter(bytes.iter().copied())
}

trait Node {
    #[co_wrapper]
    fn co_list(&self) -> BoxStream<'_, u8>;
}

impl Node for Disk {
    fn co_list(&self) -> BoxStream<'_, u8> {
        self.slow().boxed()
    }
}

#[test]
fn free_fns_and_traits() {
    assert!(free(&[4, 5]).eq([4, 5]));
    assert!(disk().list().eq([1, 2, 3]));
}

/// The name of the thread on which each thing happens.
fn here() -> String {
    thread::current().name().unwrap_or_default().to_owned()
}

struct Told(Arc<std::sync::Mutex<Vec<String>>>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.lock().unwrap().push(here());
    }
}

struct Remote {
    ctx: AioContext,
    dropped: Arc<std::sync::Mutex<Vec<String>>>,
}

#[co_wrapper(ctx = self.ctx)]
impl Remote {
    #[co_wrapper]
    fn co_list(&self) -> BoxStream<'static, String> {
        let (made, told) = (here(), Told(Arc::clone(&self.dropped)));
        iter(0..2)
            .map(move |n| {
                let _told = &told;
                format!("{made} {n} {}", here())
            })
            .boxed()
    }

    #[co_wrapper]
    async fn co_open(&self) -> io::Result<impl Stream<Item = String> + Send + use<>> {
        let made = here();
        Ok(iter(0..1).map(move |_| format!("{made} {}", here())))
    }
}

#[test]
fn with_a_context_the_stream_lives_there() {
    let io = IoThread::spawn("io3").unwrap();
    let remote = Remote { ctx: io.context().clone(), dropped: Arc::default() };
    let mut list: IterIn<BoxStream<'static, String>> = remote.list();
    assert_eq!(list.next().as_deref(), Some("io3 0 io3"));
    assert_eq!(list.size_hint(), (1, Some(1)));
    drop(list);
    assert_eq!(*remote.dropped.lock().unwrap(), ["io3"]);
    assert!(remote.open().unwrap().eq(["io3 io3"]));
    let mut plain = remote.list();
    let refused = panic_of(|| block_on(async { plain.next() }));
    assert!(refused.contains("list: blocking call in coroutine context"), "{refused}");
}

#[derive(Blocking)]
struct BlockingPool(Pool);

struct Pool(Vec<u8>);

#[co_wrapper(type = BlockingPool)]
impl Pool {
    async fn open(bytes: &[u8]) -> Self {
        Pool(bytes.to_vec())
    }

    fn list(&self) -> impl Stream<Item = &u8> {
        iter(&self.0)
    }

    async fn split(self) -> (Self, BoxStream<'static, u8>) {
        (Pool(Vec::new()), iter(self.0).boxed())
    }
}

#[test]
fn in_a_blocking_type() {
    let pool = BlockingPool::open(&[1, 2]);
    assert!(pool.list().eq(&[1, 2]));
    let (empty, bytes) = pool.split();
    assert!(bytes.eq([1, 2]));
    assert_eq!(empty.list().count(), 0);
}
