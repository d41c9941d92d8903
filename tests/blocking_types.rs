//! `#[co_wrapper(type = …)]`: twins in the impl of another type, under the async fns' own names, with `Self` converted.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    future::{Future, ready},
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use co_wrapper::{AioContext, Blocking, BlockingArc, IoThread, co_wrapper};

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

/// The async type, whose field no other module sees.
#[derive(Debug, PartialEq, Clone)]
pub(crate) struct Disk {
    data: Vec<u8>,
}

pub(crate) mod blocking {
    /// A disk for code that is not async.
    #[derive(Debug, PartialEq, Clone, co_wrapper::Blocking)]
    pub(crate) struct Disk(super::Disk);
}

type Both<T> = (T, T);

#[co_wrapper(type = blocking::Disk)]
impl Disk {
    pub(crate) const SECTOR: usize = 2;

    pub(crate) async fn open(data: &[u8]) -> io::Result<Self> {
        later().await;
        if data.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(Disk { data: data.to_vec() }) }
    }

    pub(crate) async fn new() -> Self {
        Disk { data: vec![1, 2, 3, 4] }
    }

    /// By its own name.
    pub(crate) async fn named(data: Vec<u8>) -> Result<Disk, (u8, Disk)> {
        later().await;
        let disk = Disk { data };
        if disk.data.len() > 2 { Err((7, disk)) } else { Ok(disk) }
    }

    pub(crate) async fn size(&self) -> usize {
        later().await;
        self.data.len()
    }

    pub(crate) async fn first(&self) -> Option<&u8> {
        self.data.first()
    }

    pub(crate) async fn sector(&self, at: usize) -> [u8; Self::SECTOR] {
        later().await;
        [self.data[at], self.data[at + 1]]
    }

    pub(crate) async fn write(&mut self, at: usize, buf: &[u8]) {
        later().await;
        self.data[at..at + buf.len()].copy_from_slice(buf);
    }

    pub(crate) async fn into_data(self) -> Vec<u8> {
        later().await;
        self.data
    }

    #[allow(clippy::boxed_local, reason = "the receiver is what is tested")]
    pub(crate) async fn of_box(self: Box<Self>) -> Box<Self> {
        later().await;
        self
    }

    pub(crate) async fn of_arc(
        self: Arc<Self>,
        others: Vec<Arc<Disk>>,
    ) -> Option<(Arc<Self>, Vec<std::sync::Arc<Self>>)> {
        later().await;
        Some((self, others))
    }

    pub(crate) async fn is_same(&self, other: &Self) -> bool {
        later().await;
        self == other
    }

    pub(crate) async fn swap(&mut self, other: &mut Disk, (n, _): (u8, u8)) -> u8 {
        later().await;
        std::mem::swap(self, other);
        n
    }

    pub(crate) async fn joined(self, others: Vec<Self>, more: Option<(Self, u8)>, maybe: Option<&Self>) -> Self {
        later().await;
        let mut data = self.data;
        for disk in others {
            data.extend(disk.data);
        }
        if let Some((disk, byte)) = more {
            data.extend(disk.data);
            data.push(byte);
        }
        data.extend(maybe.iter().flat_map(|disk| &disk.data));
        Disk { data }
    }

    pub(crate) async fn split(&self) -> io::Result<Option<(Self, usize, Vec<Self>)>> {
        later().await;
        let half = self.data.len() / 2;
        let disk = |data: &[u8]| Disk { data: data.to_vec() };
        Ok((half > 0).then(|| (disk(&self.data[..half]), half, vec![disk(&self.data[half..])])))
    }

    pub(crate) async fn each<T: From<u8> + Ord, const N: usize>(&self) -> Option<[T; N]> {
        later().await;
        let all: Vec<T> = self.data.iter().map(|byte| T::from(*byte)).collect();
        all.try_into().ok()
    }

    pub(crate) async fn mapped(&self, f: impl Fn(u8) -> u8) -> Both<u8> {
        later().await;
        (f(self.data[0]), f(self.data[1]))
    }

    pub(crate) fn returned(&self) -> impl Future<Output = io::Result<Self>> + '_ {
        ready(Ok(self.clone()))
    }

    pub(crate) fn pinned(&mut self) -> Pin<Box<dyn Future<Output = Option<Self>> + Send + '_>> {
        Box::pin(async {
            later().await;
            self.data.pop();
            Some(self.clone())
        })
    }

    #[allow(clippy::missing_safety_doc)]
    pub(crate) async unsafe fn get_unchecked(&self, at: usize) -> u8 {
        later().await;
        // SAFETY: the caller's promise.
        unsafe { *self.data.get_unchecked(at) }
    }

    #[co_wrapper(name = shut, vis = pub(crate))]
    pub(crate) async fn close(self) -> usize {
        self.data.len()
    }

    #[co_wrapper(timeout, interrupt)]
    pub(crate) async fn stuck(&self, is_stuck: bool) -> Option<Self> {
        if is_stuck {
            std::future::pending::<()>().await;
        }
        Some(self.clone())
    }

    #[co_wrapper(mixed)]
    pub(crate) async fn anywhere(&self) -> usize {
        later().await;
        self.data.len()
    }

    #[co_wrapper(skip)]
    pub(crate) async fn by_hand(&self) -> BTreeMap<u8, Self> {
        later().await;
        BTreeMap::from([(0, self.clone())])
    }

    #[cfg(any())]
    pub(crate) async fn not_there(&self) -> NoSuchType {}

    /// No async fn.
    pub(crate) fn len(&self) -> usize {
        self.data.len()
    }

    async fn private(&self) -> usize {
        later().await;
        self.data.len()
    }
}

impl blocking::Disk {
    /// What no attribute writes may be written by hand beside it.
    pub(crate) fn by_hand(&self) -> BTreeMap<u8, Self> {
        let all = co_wrapper::block_on(self.as_async().by_hand());
        all.into_iter().map(|(key, disk)| (key, disk.into())).collect()
    }
}

#[test]
fn results_and_arguments_are_converted() {
    let disk = blocking::Disk::open(&[1, 2, 3, 4]).unwrap();
    assert_eq!(blocking::Disk::open(&[]).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(blocking::Disk::new(), disk);
    let (seven, named) = blocking::Disk::named(vec![1, 2, 3, 4]).unwrap_err();
    assert_eq!((seven, &named), (7, &disk));
    assert_eq!(blocking::Disk::named(vec![1]).unwrap().size(), 1);

    assert_eq!((disk.size(), disk.first()), (4, Some(&1)));
    assert_eq!(disk.sector(1), [2, 3]);
    assert!(disk.is_same(&named));
    let (first, half, second) = disk.split().unwrap().unwrap();
    assert_eq!((first.size(), half, second[0].sector(0)), (2, 2, [3, 4]));
    assert_eq!(disk.each::<u32, 4>(), Some([1, 2, 3, 4]));
    assert_eq!(disk.mapped(|byte| byte * 2), (2, 4));
    assert_eq!(disk.returned().unwrap(), disk);
    // SAFETY: there are four bytes.
    assert_eq!(unsafe { disk.get_unchecked(3) }, 4);
    assert_eq!(disk.private(), 4);

    let mut other = blocking::Disk::open(&[9]).unwrap();
    let mut changed = disk.clone();
    assert_eq!(changed.swap(&mut other, (5, 6)), 5);
    assert_eq!((changed.size(), other.size()), (1, 4));
    other.write(0, &[8]);
    assert_eq!(other.first(), Some(&8));
    assert_eq!(other.pinned().unwrap().size(), 3);

    let boxed: Box<blocking::Disk> = Box::new(changed).of_box();
    let all = boxed.joined(vec![first], Some((second[0].clone(), 5)), Some(&other));
    assert_eq!(all.clone().into_data(), [9, 1, 2, 3, 4, 5, 8, 2, 3]);
    assert_eq!(all.clone().shut(), 9);
    assert_eq!(all.by_hand()[&0], all);
    let all: Disk = all.into();
    assert_eq!(all.len(), 9);
    assert_eq!(blocking::Disk::from(all).as_async_mut().len(), 9);
}

/// Catches: an `Arc` that is another one behind its conversion, and so a value of its own, or a count that is off by one.
#[test]
fn an_arc_stays_the_same_one() {
    let held: Vec<Arc<Disk>> = (0..3).map(|n| Arc::new(Disk { data: vec![n] })).collect();
    let blocking = held.iter().cloned().map(blocking::Disk::from_async_arc).collect::<Vec<_>>();
    let weak = Arc::downgrade(&blocking[2]);
    let [first, others @ ..] = &blocking[..] else { unreachable!() };
    let (itself, rest) = first.clone().of_arc(others.to_vec()).unwrap();
    assert!(Arc::ptr_eq(&itself, first) && rest.iter().zip(others).all(|(one, other)| Arc::ptr_eq(one, other)));
    assert_eq!(held.iter().map(Arc::strong_count).collect::<Vec<_>>(), [3; 3]);
    assert_eq!((itself.size(), rest[1].first()), (1, Some(&2)));
    drop((blocking, itself, rest));
    assert_eq!(held.iter().map(Arc::strong_count).collect::<Vec<_>>(), [1; 3]);
    // Whichever is the last one drops the value, and a `Weak` is of both.
    let last = blocking::Disk::into_async_arc(weak.upgrade().unwrap());
    drop(held);
    assert_eq!(last.data, [2]);
    drop(last);
    assert!(weak.upgrade().is_none());
}

#[test]
fn options_are_those_of_other_twins() {
    let disk = blocking::Disk::new();
    assert_eq!(disk.stuck(false), Some(disk.clone()));
    assert_eq!(disk.stuck_timeout(false, Duration::ZERO), Ok(Some(disk.clone())));
    assert!(disk.stuck_timeout(true, Duration::from_millis(1)).is_err());
    assert_eq!(disk.stuck_interruptible(false).unwrap(), Some(disk.clone()));
    let context = AioContext::new().unwrap();
    assert_eq!(context.block_on(async { disk.anywhere() }), 4);
    // co-check: allow — the test is about the panic
    let refused = std::panic::catch_unwind(|| context.block_on(async { disk.size() })).unwrap_err();
    let message = refused.downcast_ref::<String>().unwrap();
    assert!(message.contains("blocking::Disk::size") && message.contains("`Disk::size`"), "{message}");
}

/// A generic type, in a context of its own, over any storage.
pub(crate) struct Pool<S: Clone> {
    ctx: AioContext,
    storage: S,
}

#[derive(Blocking)]
pub(crate) struct BlockingPool<S: Clone> {
    inner: Pool<S>,
}

#[co_wrapper(type = BlockingPool<S>, ctx = self.ctx)]
impl<S: Clone + Send + Sync> Pool<S>
where
    S: PartialEq,
{
    #[co_wrapper(ctx = none)]
    pub(crate) async fn open(ctx: AioContext, storage: S) -> Self {
        later().await;
        Pool { ctx, storage }
    }

    pub(crate) async fn whose(&self) -> Option<String> {
        later().await;
        std::thread::current().name().map(str::to_owned)
    }

    pub(crate) async fn replaced(&mut self, storage: S) -> (Option<String>, S) {
        later().await;
        (std::thread::current().name().map(str::to_owned), std::mem::replace(&mut self.storage, storage))
    }

    pub(crate) async fn closed(self) -> (Option<String>, Box<Self>) {
        later().await;
        (std::thread::current().name().map(str::to_owned), Box::new(self))
    }

    #[allow(clippy::needless_arbitrary_self_type, reason = "the type's own name is what is tested")]
    pub(crate) async fn holds(self: &Pool<S>, storage: &S) -> bool {
        later().await;
        self.storage == *storage
    }
}

#[test]
fn the_context_is_one_of_the_async_value() {
    let io = IoThread::spawn("io7").unwrap();
    let mut pool = BlockingPool::open(io.context().clone(), "one");
    let name = Some("io7".to_owned());
    assert_eq!(pool.whose(), name);
    assert_eq!(pool.replaced("two"), (name.clone(), "one"));
    assert!(pool.holds(&"two"));
    let (closed_on, pool) = pool.closed();
    assert_eq!(closed_on, name);
    assert_eq!(pool.inner.storage, "two");
}

/// What another type's `Drop` calls.
pub(crate) struct Log(Rc<RefCell<Vec<u8>>>);

#[derive(Blocking)]
#[blocking(has_drop)]
pub(crate) struct BlockingLog(Log);

#[co_wrapper(type = BlockingLog)]
impl Log {
    pub(crate) async fn flush(&mut self) {
        later().await;
        self.0.borrow_mut().push(1);
    }
}

impl Drop for BlockingLog {
    fn drop(&mut self) {
        self.flush();
    }
}

#[test]
fn a_destructor_may_call() {
    let flushed = Rc::new(RefCell::new(Vec::new()));
    drop(BlockingLog::from(Log(flushed.clone())));
    assert_eq!(*flushed.borrow(), [1]);
}

/// Not ours.
mod foreign {
    use super::*;

    #[derive(Debug, PartialEq)]
    pub(crate) struct Format<S> {
        pub(crate) ctx: AioContext,
        storage: S,
    }

    impl<S: Clone + PartialEq + Send + Sync> Format<S> {
        pub(crate) const SIZE: usize = 2;

        pub(crate) async fn open(ctx: AioContext, storage: S) -> io::Result<Self> {
            later().await;
            Ok(Format { ctx, storage })
        }

        pub(crate) async fn read(&self, buf: &mut [u8; 2]) -> Option<&S> {
            later().await;
            buf.fill(9);
            Some(&self.storage)
        }

        pub(crate) async fn layered(self, on: Option<&Self>) -> (Self, bool) {
            later().await;
            let is_same = on.is_some_and(|on| on.storage == self.storage);
            (self, is_same)
        }

        pub(crate) async fn here(&mut self) -> Option<String> {
            later().await;
            std::thread::current().name().map(str::to_owned)
        }
    }
}

#[derive(Debug, PartialEq, Blocking)]
pub(crate) struct Format<S>(foreign::Format<S>);

co_wrapper::declare! {
    #[co_wrapper(mixed)]
    #[allow(dead_code, reason = "all are called")]
    impl<S: Clone + PartialEq + Send + Sync> Format<S> {
        /// Opens one.
        pub(crate) fn open(ctx: AioContext, storage: S) -> io::Result<Self>;
        pub(crate) fn read_two(&self, buf: &mut [u8; 2]) -> Option<&S> = read;
        #[co_wrapper(timeout)]
        fn layered(self, on: Option<&Self>) -> (Self, bool);
        #[co_wrapper(ctx = self.ctx)]
        fn here(&mut self) -> Option<String>;
    }
}

#[test]
fn declared_for_a_foreign_type() {
    let io = IoThread::spawn("io8").unwrap();
    let mut format = Format::open(io.context().clone(), "s").unwrap();
    let mut buf = [0; foreign::Format::<u8>::SIZE];
    assert_eq!((format.read_two(&mut buf), buf), (Some(&"s"), [9, 9]));
    assert_eq!(format.here().as_deref(), Some("io8"));
    let other = Format::open(io.context().clone(), "s").unwrap();
    let (format, is_same) = format.layered(Some(&other));
    assert!(is_same);
    let (format, is_same) = format.layered_timeout(None, Duration::from_secs(3600)).unwrap();
    assert!(!is_same);
    assert_eq!(format, other);
}

mod reexporting {
    pub(crate) use ::co_wrapper as inner;
}

/// Made by a macro of another crate, whose path is its own.
macro_rules! pair {
    ($ty:ident, $blocking:ident, $result:ty) => {
        pub(crate) struct $ty(u8);

        #[derive(reexporting::inner::Blocking)]
        #[blocking(crate = reexporting::inner)]
        pub(crate) struct $blocking($ty);

        #[co_wrapper(type = $blocking, crate = reexporting::inner)]
        impl $ty {
            pub(crate) async fn made(byte: u8) -> $result {
                later().await;
                Some($ty(byte))
            }

            pub(crate) async fn with(&self, other: &$ty) -> u8 {
                later().await;
                self.0 + other.0
            }
        }
    };
}
pair!(Made, BlockingMade, Option<Made>);

#[test]
fn what_a_macro_makes() {
    let made: BlockingMade = BlockingMade::made(3).unwrap();
    assert_eq!(made.with(&made), 6);
}
