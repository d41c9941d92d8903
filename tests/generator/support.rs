// Of every generated crate.
#![allow(warnings)]
#![recursion_limit = "512"]

pub use async_trait::async_trait;
pub use co_wrapper::{co_wrapper, declare, AioContext, IoThread};
pub use futures_core::stream::{BoxStream, LocalBoxStream};
pub use futures_core::Stream;
pub use std::borrow::Cow;
pub use std::cell::Cell;
pub use std::convert::Into;
pub use std::fmt::Debug;
pub use std::future::Future;
pub use std::io;
pub use std::pin::Pin;
pub use std::rc::Rc;
pub use std::sync::atomic::{AtomicU64, Ordering};
pub use std::sync::{Arc, OnceLock};
pub use std::task::{Context, Poll, Wake, Waker};
pub use std::time::Duration;

pub const LEN: usize = 2;
pub type Wide<const N: usize> = [u8; N];
pub struct Point { pub x: u8, pub y: u8 }
pub struct Unit;
#[derive(Clone, Copy, Debug)]
pub struct View<'a>(pub &'a str);
pub struct Three;

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;
/// A name that says nothing.
pub type Alias<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;
/// What becomes a future when it is awaited.
pub struct Builder<'a, T>(pub Alias<'a, T>);
impl<'a, T> std::future::IntoFuture for Builder<'a, T> {
    type Output = T;
    type IntoFuture = Alias<'a, T>;
    fn into_future(self) -> Self::IntoFuture { self.0 }
}

pub trait Sum: Sized { fn sum(all: &[Self]) -> u64; }
impl Sum for Three { fn sum(all: &[Self]) -> u64 { 3 * all.len() as u64 } }

/// What methods are of.
#[derive(Clone, Debug)]
pub struct Node { n: u64 }
impl Node { pub fn new(n: u64) -> Self { Node { n } } }

pub trait Get {
    fn get(&self) -> u64;
    fn bump(&mut self);
}
impl Get for Node {
    fn get(&self) -> u64 { self.n }
    fn bump(&mut self) { self.n += 1; }
}

#[derive(Clone, Debug)]
pub struct Generic<T>(pub T);
impl<T: Copy + Into<u64> + From<u8>> Get for Generic<T> {
    fn get(&self) -> u64 { self.0.into() }
    fn bump(&mut self) { self.0 = T::from(self.0.into() as u8 + 1); }
}

pub fn double(x: u8) -> u8 { x * 2 }
pub fn tail(x: &str) -> &str { &x[1..] }
pub fn sum(bytes: &[u8]) -> u64 { bytes.iter().map(|byte| u64::from(*byte)).sum() }
pub fn text(len: usize) -> String { "t".repeat(len) }
pub fn debug(x: impl Debug) -> u64 { format!("{:?}", x).len() as u64 }
pub fn show(x: impl Debug) -> String { format!("{:?} {}", x, NOTED.swap(0, Ordering::SeqCst)) }

static NOTED: AtomicU64 = AtomicU64::new(0);
static WAITED: AtomicU64 = AtomicU64::new(0);

/// The digest of a fn that returns nothing to tell it by.
pub fn note(h: u64) { NOTED.store(h + 1, Ordering::SeqCst); }

/// Pending once; every eighth time woken from another thread.
pub struct Wait(bool);
pub fn wait() -> Wait { Wait(false) }
impl Future for Wait {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0 { return Poll::Ready(()); }
        self.0 = true;
        let waker = cx.waker().clone();
        if WAITED.fetch_add(1, Ordering::SeqCst) % 8 == 0 {
            std::thread::spawn(move || waker.wake());
        } else {
            waker.wake();
        }
        Poll::Pending
    }
}

/// A stream that is pending once before each item, and before its end.
pub struct Items<T> { left: std::vec::IntoIter<T>, wait: Wait }
pub fn items<T>(all: Vec<T>) -> Items<T> { Items { left: all.into_iter(), wait: wait() } }
impl<T> Unpin for Items<T> {}
impl<T> Stream for Items<T> {
    type Item = T;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        if Pin::new(&mut self.wait).poll(cx).is_pending() { return Poll::Pending; }
        self.wait = wait();
        Poll::Ready(self.left.next())
    }
}

/// The items of an original's stream, with nothing of ours.
pub async fn collect<S: Stream>(stream: S) -> Vec<S::Item> {
    let mut stream = Box::pin(stream);
    let mut all = Vec::new();
    while let Some(item) = std::future::poll_fn(|cx| stream.as_mut().poll_next(cx)).await { all.push(item); }
    all
}

struct Unpark(std::thread::Thread);
impl Wake for Unpark { fn wake(self: Arc<Self>) { self.0.unpark(); } }

/// Runs the async original, with nothing of ours.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = Box::pin(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) { return output; }
        std::thread::park();
    }
}

/// Another context than the caller's.
pub fn other() -> &'static AioContext {
    static OTHER: OnceLock<IoThread> = OnceLock::new();
    OTHER.get_or_init(|| IoThread::spawn("other").unwrap()).context()
}

pub const LONG: Duration = Duration::from_secs(60);

/// The async original first, then its wrapper, and those that give up if there are any. `waits_surely` is not for a fn that
/// is not async and may return no stream.
pub fn check(seed: u64, waits_surely: bool, original: impl FnOnce() -> String, wrappers: Vec<Box<dyn FnOnce() -> String + '_>>) {
    let before = WAITED.load(Ordering::SeqCst);
    let expected = original();
    let waits = WAITED.load(Ordering::SeqCst) - before;
    for wrapper in wrappers {
        let before = WAITED.load(Ordering::SeqCst);
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(wrapper)).unwrap_or_else(|_| "a panic".to_owned());
        let waited = WAITED.load(Ordering::SeqCst) - before;
        if found != expected || waited != waits || waits_surely && waits == 0 {
            println!("DIFFERS {seed}: {expected:?} after {waits} waits, its wrapper {found:?} after {waited}", seed = seed, expected = expected, waits = waits, found = found, waited = waited);
        }
    }
}
