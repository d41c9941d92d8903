//! `ctx`, `timeout`, `interrupt` and `declare!`, each called and each really waiting.

use super::{later, pending_once};
use co_wrapper::interrupt::{Handle, Interrupted};
use co_wrapper::{AioContext, IoThread, co_wrapper, declare};
use std::cell::Cell;
use std::fmt::Debug;
use std::future::{Future, pending};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(5);
const LONG: Duration = Duration::from_secs(60);

struct Disk {
    ctx: AioContext,
    reads: u32,
}

/// A future that is not `Send`.
async fn place() -> ThreadId {
    let local = Rc::new(Cell::new(thread::current().id()));
    pending_once().await;
    local.get()
}

impl Disk {
    fn behind(&self) -> &&AioContext {
        // Any number of references, and of what else can be looked through.
        Box::leak(Box::new(Box::leak(Box::new(self.ctx.clone())) as &AioContext))
    }

    #[co_wrapper(ctx = self.ctx)]
    async fn co_place(&mut self, (by, _): (u32, u8)) -> (ThreadId, &mut u32) {
        self.reads += by;
        (place().await, &mut self.reads)
    }

    #[co_wrapper(ctx = self.behind(), timeout)]
    async fn co_lent<'a>(&self, text: &'a str, #[cfg(any())] absent: NoSuch) -> (ThreadId, &'a str) {
        (place().await, text)
    }

    #[co_wrapper(ctx = match &self { Disk { ctx, .. } => ctx }, timeout = taken_within)]
    async fn co_taken(self, forever: bool) -> u32 {
        if forever {
            pending::<()>().await;
        }
        later(self.reads).await
    }

    #[co_wrapper(ctx = ctx)]
    async fn co_parameter(ctx: &AioContext, me: Arc<Self>) -> (ThreadId, u32) {
        drop(ctx.clone());
        (place().await, me.reads)
    }

    #[co_wrapper(ctx = ctx)]
    async fn co_generic<T: Send + 'static, const N: usize>(
        ctx: AioContext,
        x: [T; N],
        f: impl Fn(T) -> u8 + Send,
        _me: Option<Self>,
    ) -> Vec<u8> {
        drop(ctx);
        pending_once().await;
        // By value in edition 2018 too.
        IntoIterator::into_iter(x).map(f).collect()
    }
}

#[co_wrapper(suffix = "_there", ctx = self.ctx, timeout, interrupt)]
impl Disk {
    async fn size(&self) -> (ThreadId, usize) {
        (place().await, 512)
    }

    #[co_wrapper(ctx = AioContext::current(), timeout = unwrapped_in)]
    async fn here(&self) -> ThreadId {
        place().await
    }
}

#[test]
fn in_another_context() {
    let io = IoThread::spawn("other").unwrap();
    let there = io.context().block_on_there();
    let mut disk = Disk { ctx: io.context().clone(), reads: 0 };
    let (id, reads) = disk.place((3, 0));
    *reads += 1;
    assert_eq!((id, disk.reads), (there, 4));
    let text = String::from("lent");
    assert_eq!(disk.lent(&text), (there, &*text));
    assert_eq!(disk.lent_timeout(&text, LONG), Ok((there, &*text)));
    assert_eq!(disk.size_there(), (there, 512));
    assert_eq!(disk.size_there_timeout(LONG), Ok((there, 512)));
    assert_eq!(disk.size_there_interruptible(), Ok((there, 512)));
    assert_eq!(disk.here_there(), thread::current().id());
    assert_eq!(disk.unwrapped_in(LONG), Ok(thread::current().id()));
    let disk = Arc::new(disk);
    assert_eq!(Disk::parameter(io.context(), Arc::clone(&disk)), (there, 4));
    assert_eq!(Disk::generic(io.context().clone(), [1, 2], |x| x + 1, None), [2, 3]);
    let new = || Disk { ctx: io.context().clone(), reads: 7 };
    assert_eq!(new().taken(false), 7);
    assert_eq!(new().taken_within(false, LONG), Ok(7));
    assert!(new().taken_within(true, SHORT).is_err());
}

/// Where the context's tasks run.
trait There {
    fn block_on_there(&self) -> ThreadId;
}

impl There for AioContext {
    fn block_on_there(&self) -> ThreadId {
        let (tx, rx) = std::sync::mpsc::channel();
        self.schedule_bh(move || tx.send(thread::current().id()).unwrap());
        rx.recv().unwrap()
    }
}

#[co_wrapper(timeout, interrupt)]
async fn co_wait(timeout: u8, forever: bool) -> u8 {
    if forever {
        pending::<()>().await;
    }
    later(timeout).await
}

#[co_wrapper(mixed, timeout = numbers_within, interrupt = numbers_or_none)]
async fn co_numbers<'a>(of: &'a [u8]) -> impl Iterator<Item = u8> + 'a {
    later(of.iter().copied()).await
}

#[co_wrapper(timeout, interrupt)]
fn co_boxed() -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async { pending_once().await })
}

#[co_wrapper]
trait Timed {
    #[co_wrapper(timeout, interrupt)]
    async fn co_own(self) -> Self;
}

impl Timed for u8 {
    async fn co_own(self) -> u8 {
        later(self).await
    }
}

#[test]
fn in_time() {
    assert_eq!(wait(3, false), 3);
    assert_eq!(wait_timeout(3, false, LONG), Ok(3));
    assert!(wait_timeout(3, true, SHORT).unwrap_err().to_string().contains("5ms"));
    assert_eq!(numbers_within(&[1, 2], LONG).unwrap().sum::<u8>(), 3);
    assert_eq!(numbers(&[1, 2]).sum::<u8>(), 3);
    boxed();
    assert_eq!(boxed_timeout(LONG), Ok(()));
    assert_eq!(5u8.own(), 5);
    assert_eq!(5u8.own_timeout(LONG), Ok(5));
}

#[test]
fn interrupted() {
    let interrupt = || Handle::current().interrupt();
    assert_eq!(wait_interruptible(3, false), Ok(3));
    assert_eq!(numbers_or_none(&[1, 2]).unwrap().sum::<u8>(), 3);
    assert_eq!(boxed_interruptible(), Ok(()));
    assert_eq!(5u8.own_interruptible(), Ok(5));
    interrupt();
    assert_eq!(wait_interruptible(3, true), Err(Interrupted));
    interrupt();
    assert!(numbers_or_none(&[1, 2]).is_err());
    interrupt();
    assert_eq!(boxed_interruptible(), Err(Interrupted));
    interrupt();
    assert_eq!(5u8.own_interruptible(), Err(Interrupted));
}

/// What `declare!` finds elsewhere.
mod elsewhere {
    use super::super::later;

    pub async fn bdrv_co_pread(off: u64, buf: &mut [u8]) -> Option<&u8> {
        buf[0] = off as u8;
        later(buf.first()).await
    }

    pub async fn co_flush() {
        later(()).await;
    }

    pub async fn any<T: Default, const N: usize>() -> (T, usize) {
        later((T::default(), N)).await
    }

    pub async unsafe fn danger(at: *const u8) -> u8 {
        let value = unsafe { *at };
        later(value).await
    }

    pub mod deep {
        pub struct Foreign<S>(pub S);

        impl<S: Clone> Foreign<S> {
            pub async fn read(&self) -> S {
                super::later(self.0.clone()).await
            }

            pub async fn co_swap(&mut self, with: S) -> &S {
                self.0 = with;
                super::later(&self.0).await
            }

            pub async fn into<T: From<S>>(self) -> T {
                super::later(T::from(self.0)).await
            }

            pub async fn make(from: impl Into<S>) -> Self {
                super::later(Foreign(from.into())).await
            }

            pub async fn many(n: usize, like: &Self) -> Vec<Self> {
                super::later((0..n).map(|_| Foreign(like.0.clone())).collect()).await
            }

            pub async unsafe fn raw(&self, at: *const S) -> S {
                let value = unsafe { (*at).clone() };
                super::later(value).await
            }

            pub fn future(&self) -> impl std::future::Future<Output = S> + '_ {
                super::later(self.0.clone())
            }
        }
    }
}

use elsewhere::bdrv_co_pread;
use elsewhere::deep::Foreign;

declare! {
    #[co_wrapper(mixed, timeout)]
    pub fn bdrv_pread(off: u64, buf: &mut [u8]) -> Option<&u8>;

    fn flush_now() = elsewhere::co_flush;
    fn any_one<T: Default, const N: usize>() -> (T, usize) = elsewhere::any;
    fn any_three() -> (u8, usize) = elsewhere::any::<u8, 3>;
    unsafe fn danger(at: *const u8) -> u8 = elsewhere::danger;
    fn made<const N: usize>(_: [u8; N]) -> Foreign<u8> = made_of;
    #[cfg(any())]
    fn absent(x: NoSuchType) = no::such::function;
    #[co_wrapper(ctx = ctx)]
    fn in_ctx(ctx: &AioContext) -> ThreadId = in_context;
}

async fn made_of<const N: usize>(array: [u8; N]) -> Foreign<u8> {
    later(Foreign(array[0])).await
}

async fn in_context(_: &AioContext) -> ThreadId {
    place().await
}

mod interface {
    use super::{Debug, Foreign, later};

    co_wrapper::declare! {
        /// A complete blocking interface.
        #[co_wrapper(suffix = "_blocking")]
        pub impl<S: Clone + Debug> Blocking for Foreign<S>
        where
            S: 'static,
        {
            /// Reads.
            fn read_blocking(&self) -> S;
            #[co_wrapper(mixed, timeout = swapped_within)]
            #[must_use]
            fn swap(&mut self, with: S) -> &S = co_swap;
            fn into_blocking<T: From<S>>(self) -> T;
            fn make_blocking(from: impl Into<S>) -> Self;
            fn many_blocking(n: usize, like: &Self) -> Vec<Self>;
            unsafe fn raw_blocking(&self, at: *const S) -> S;
            fn future_blocking(&self) -> S;
            #[cfg(any())]
            fn absent_blocking(&self, x: NoSuchType);
        }

        // By QEMU's rule, of a type of this crate, whose lifetime the trait has too.
        impl<'a> Words for Text<'a> {
            fn first(&self) -> &'a str;
        }

        // Of every type with a trait.
        impl<T: Source + ?Sized> Sourced for T {
            fn next(&mut self) -> u8;
        }
    }

    pub(super) struct Text<'a>(pub &'a str);

    impl<'a> Text<'a> {
        async fn co_first(&self) -> &'a str {
            later(self.0.split(' ').next().unwrap()).await
        }
    }

    #[allow(async_fn_in_trait)]
    pub trait Source {
        async fn co_next(&mut self) -> u8;
    }

    impl Source for u8 {
        async fn co_next(&mut self) -> u8 {
            *self += 1;
            later(*self).await
        }
    }

    pub(super) fn local() {
        assert_eq!(Text("a b").first(), "a");
        assert_eq!(3u8.next(), 4);
    }
}

#[test]
fn declared() {
    let mut buf = [0; 2];
    assert_eq!(bdrv_pread(7, &mut buf), Some(&7));
    assert_eq!(bdrv_pread_timeout(8, &mut buf, LONG), Ok(Some(&8)));
    flush_now();
    assert_eq!(any_one::<u8, 2>(), (0, 2));
    assert_eq!(any_three(), (0, 3));
    assert_eq!(unsafe { danger(&4) }, 4);
    assert_eq!(made([6]).0, 6);
    let io = IoThread::spawn("declared").unwrap();
    assert_eq!(in_ctx(io.context()), io.context().block_on_there());
}

#[test]
fn declared_on_a_foreign_type() {
    use interface::Blocking;

    let mut foreign = Foreign::<u16>::make_blocking(3u8);
    assert_eq!(foreign.read_blocking(), 3);
    assert_eq!(*foreign.swap(4), 4);
    assert_eq!(foreign.swapped_within(5, LONG), Ok(&5));
    assert_eq!(foreign.future_blocking(), 5);
    assert_eq!(Foreign::many_blocking(3, &foreign).len(), 3);
    assert_eq!(unsafe { foreign.raw_blocking(&6) }, 6);
    assert_eq!(foreign.into_blocking::<u32>(), 5);
    interface::local();
}
