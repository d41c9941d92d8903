//! Iterators over streams: `blocking::Iter`, and `IterIn` over one that lives in a context.
#![cfg(all(not(loom), feature = "stream"))]

mod common;

use std::{
    any::type_name,
    cell::Cell,
    fmt::Debug,
    iter::{self, FusedIterator},
    panic::Location,
    pin::{Pin, pin},
    rc::Rc,
    sync::{Arc, Mutex, mpsc},
    task::{Context, Poll},
    thread::{self, ThreadId},
    time::Duration,
};

use co_wrapper_runtime::{
    __private::{Wrapper, iter_of},
    AioContext, IoThread, block_on,
    blocking::{Iter, IterIn},
    hang,
};
use common::*;
use futures::{Stream, StreamExt, stream};

/// A stream that gives a number whenever it was polled a second time, and tells on which thread things happen to it.
struct Told {
    left: u32,
    pending: bool,
    places: Arc<Mutex<Vec<(&'static str, ThreadId)>>>,
}

impl Told {
    fn new(left: u32, places: &Arc<Mutex<Vec<(&'static str, ThreadId)>>>) -> Self {
        let new = Self { left, pending: true, places: Arc::clone(places) };
        new.tell("made");
        new
    }

    fn tell(&self, what: &'static str) {
        let mut places = self.places.lock().unwrap();
        let now = (what, thread::current().id());
        if places.last() != Some(&now) {
            places.push(now);
        }
    }
}

impl Stream for Told {
    type Item = u32;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<u32>> {
        self.tell("polled");
        self.pending = !self.pending;
        if !self.pending {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let item = self.left.checked_sub(1);
        self.left = item.unwrap_or(0);
        Poll::Ready(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.tell("dropped");
    }
}

/// Catches: an item that is lost, given twice or out of order; a size hint that is not the stream's; an end that is not
/// one.
#[test]
fn it_gives_what_the_iterator_of_the_same_items_gives() {
    fn same<T: PartialEq + Debug>(
        what: &str,
        stream: impl Stream<Item = T> + Unpin,
        iterator: impl Iterator<Item = T>,
    ) {
        let (mut ours, mut iterator) = (Iter::new(stream), iterator.fuse());
        for step in 0..8 {
            assert_eq!(ours.size_hint(), iterator.size_hint(), "{what}: hint {step}");
            assert_eq!(ours.next(), iterator.next(), "{what}: item {step}");
        }
    }
    within_bounds(|| {
        same("nothing", stream::empty::<u8>(), iter::empty());
        same("one", stream::iter([1]), [1].into_iter());
        same("some", stream::iter(0..5), 0..5);
        same("endless", stream::repeat(1), iter::repeat(1));
        same("a lower bound only", stream::iter(0..6).chain(stream::iter(7..8)), (0..6).chain(7..8));
        same("boxed", stream::iter(0..5).boxed(), 0..5);
        same("boxed here only", stream::iter(0..5).boxed_local(), 0..5);
        same("pinned here", pin!(stream::iter(0..5)), 0..5);
        let mut lent = stream::iter(0..9);
        assert_eq!(Iter::new(&mut lent).take(4).count(), 4);
        same("what was left", lent, 4..9);
        same("it waits", Told::new(5, &Arc::default()), (0..5).rev());
        let step = |n| async move { (n < 4).then_some((n, n + 1)) };
        // Neither knows how many it will give.
        let mut given = 0..4;
        same("of an async block", Box::pin(stream::unfold(0, step)), iter::from_fn(move || given.next()));
    });
}

/// Catches: a stream that is polled after its end, which many bear badly.
#[test]
fn a_stream_that_has_ended_is_not_polled_again() {
    fn is_fused(iterator: impl FusedIterator<Item = u32>) -> usize {
        let mut iterator = iterator;
        let given = iterator.by_ref().count();
        assert_eq!((iterator.next(), iterator.next(), iterator.size_hint()), (None, None, (0, Some(0))));
        given
    }
    let ends_once = || {
        let mut polls = 0;
        stream::poll_fn(move |_| {
            polls += 1;
            assert!(polls < 3, "polled after its end");
            Poll::Ready((polls < 2).then_some(7))
        })
    };
    within_bounds(move || {
        assert_eq!(is_fused(Iter::new(ends_once())), 1);
        let io = IoThread::spawn("io").unwrap();
        assert_eq!(is_fused(Iter::in_context(io.context(), ends_once)), 1);
        let mut iter = Iter::new(ends_once());
        assert_eq!(iter.by_ref().count(), 1);
        assert_eq!(iter.next_timeout(Duration::ZERO), Ok(None));
        // The stream is still there.
        let again = iter.into_inner();
        assert!(panic_of(|| Iter::new(again).next()).contains("polled after its end"));
    });
}

/// Catches: a wait that does not serve the thread's contexts; a refusal in coroutine context.
#[test]
fn it_waits_as_block_on_does() {
    within_bounds(|| {
        let (tx, rx) = async_channel::bounded(1);
        let ctx = AioContext::new().unwrap();
        let home = ctx.enter();
        let sender = ctx.spawn(async move {
            for n in 0..3 {
                tx.send(n).await.unwrap();
            }
        });
        let mut items = Vec::new();
        for item in Iter::new(Box::pin(rx)) {
            items.push(item);
        }
        assert_eq!(items, [0, 1, 2]);
        ctx.block_on(sender);
        drop(home);
        let nested = async { Iter::new(Told::new(4, &Arc::default())).count() };
        assert_eq!(block_on(nested), 4);
        let task = ctx.spawn(async { Iter::new(Told::new(4, &Arc::default())).count() });
        assert_eq!(ctx.block_on(task), 4);
    });
}

/// Catches: a twin's iterator that is allowed where the twin is not, or does not say whose it is.
#[test]
fn w03_a_twins_iterator_is_refused_where_the_twin_is() {
    static PLAIN: Wrapper = Wrapper { name: "list_blocking", target: "list", mixed: false };
    static MIXED: Wrapper = Wrapper { name: "list_blocking", target: "list", mixed: true };
    within_bounds(|| {
        let args = type_name::<Told>();
        assert_eq!(iter_of(&PLAIN, args, Location::caller(), stream::iter(0..2)).count(), 2);
        let refused =
            panic_of(|| block_on(async { iter_of(&PLAIN, args, Location::caller(), stream::iter(0..2)).count() }));
        assert!(refused.contains("list_blocking: blocking call in coroutine context"), "{refused}");
        assert_eq!(block_on(async { iter_of(&MIXED, args, Location::caller(), stream::iter(0..2)).count() }), 2);
    });
}

/// Catches: a report of a place in this crate or in std.
#[test]
fn hang_reports_name_it_and_where_it_was_made() {
    let (release, released) = async_channel::bounded::<()>(1);
    let (made, place) = mpsc::channel();
    let (made_elsewhere, place_elsewhere) = mpsc::channel();
    let io = IoThread::spawn("home").unwrap();
    let context = io.context().clone();
    let here = released.clone();
    let threads = [
        thread::Builder::new().name("iterating".into()).spawn(move || {
            let (iter, line) = (Iter::new(Box::pin(here)), line!());
            made.send(line).unwrap();
            for () in iter {}
        }),
        thread::Builder::new().name("iterating elsewhere".into()).spawn(move || {
            let (iter, line) = (Iter::in_context(&context, || Box::pin(released)), line!());
            made_elsewhere.send(line).unwrap();
            iter.for_each(drop);
        }),
    ];
    let lines = [place.recv().unwrap(), place_elsewhere.recv().unwrap()];
    let shown = |thread: &'static str| {
        within_bounds(move || {
            loop {
                let report = hang::report();
                if let Some(call) = report.calls().iter().find(|call| call.thread() == thread) {
                    break (call.name().to_owned(), call.site().file(), call.site().line());
                }
                thread::sleep(Duration::from_millis(1));
            }
        })
    };
    let file = Location::caller().file();
    assert_eq!(shown("`iterating`"), ("blocking::Iter::next".to_owned(), file, lines[0]));
    assert_eq!(shown("`iterating elsewhere`"), ("blocking::IterIn::next".to_owned(), file, lines[1]));
    drop(release);
    threads.into_iter().for_each(|thread| thread.unwrap().join().unwrap());
}

/// Catches: a panic that is swallowed, or leaves the call on the stack.
#[test]
fn w05_a_panic_of_the_stream_reaches_the_caller() {
    let panics_once = || {
        let mut polls = 0;
        stream::poll_fn(move |_| {
            polls += 1;
            assert!(polls != 2, "the second");
            Poll::Ready((polls < 4).then_some(polls))
        })
    };
    fn check(mut iter: impl Iterator<Item = u32>) {
        assert_eq!(iter.next(), Some(1));
        assert_eq!(panic_of(|| iter.next()), "the second");
        assert!(!co_wrapper_runtime::in_coroutine());
        assert_eq!(iter.next(), Some(3));
        assert_eq!(iter.next(), None);
    }
    within_bounds(move || {
        check(Iter::new(panics_once()));
        let io = IoThread::spawn("io").unwrap();
        check(Iter::in_context(io.context(), panics_once));
        assert_eq!(
            panic_of(|| Iter::in_context(io.context(), || -> stream::Empty<()> { panic!("in the making") })),
            "in the making"
        );
    });
}

/// Catches: a stream that must be `Send`, or an iterator that is so without its stream.
#[test]
fn it_is_send_if_its_stream_is() {
    fn is_send<T: Send>(_: &T) {}
    is_send(&Iter::new(Told::new(0, &Arc::default())));
    let (here, seen) = (Rc::new(Cell::new(0)), Cell::new(0));
    let stream = stream::iter(0..3).inspect(|n| here.set(*n)).boxed_local();
    for _ in Iter::new(stream) {
        seen.set(seen.get() + 1);
    }
    assert_eq!((here.get(), seen.get()), (2, 3));
}

/// Catches: an item that is lost with the call that gave up; a wait that begins anew.
#[test]
fn w10_a_timeout_loses_nothing() {
    fn check(
        next: impl Fn(Duration) -> Result<Option<u32>, co_wrapper_runtime::Elapsed>,
        tx: &async_channel::Sender<u32>,
    ) {
        let elapsed = next(Duration::from_millis(1)).unwrap_err();
        assert_eq!(elapsed.to_string(), "the call took longer than 1ms");
        assert!(next(Duration::ZERO).is_err());
        tx.send_blocking(1).unwrap();
        tx.send_blocking(2).unwrap();
        assert_eq!(next(Duration::MAX), Ok(Some(1)));
        assert_eq!(next(Duration::MAX), Ok(Some(2)));
        assert!(next(Duration::from_millis(1)).is_err());
        tx.close();
        assert_eq!(next(Duration::MAX), Ok(None));
        assert_eq!(next(Duration::ZERO), Ok(None));
    }
    within_bounds(|| {
        let (tx, rx) = async_channel::bounded(4);
        let iter = std::cell::RefCell::new(Iter::new(Box::pin(rx)));
        check(|timeout| iter.borrow_mut().next_timeout(timeout), &tx);
        let io = IoThread::spawn("io").unwrap();
        let (tx, rx) = async_channel::bounded(4);
        let iter = std::cell::RefCell::new(Iter::in_context(io.context(), || Box::pin(rx)));
        check(|timeout| iter.borrow_mut().next_timeout(timeout), &tx);
    });
}

/// Where the stream of one iterator was made, polled and dropped.
fn places(iterate: impl FnOnce(&Arc<Mutex<Vec<(&'static str, ThreadId)>>>)) -> Vec<(&'static str, ThreadId)> {
    let places = Arc::<Mutex<Vec<_>>>::default();
    iterate(&places);
    places.lock().unwrap().clone()
}

/// Catches: a stream that is made, polled or dropped on another thread than that which is home to its context; a
/// context that has to have a home.
#[test]
fn x02_in_a_context_the_stream_is_made_polled_and_dropped_there() {
    within_bounds(|| {
        let here = thread::current().id();
        let life = |at| vec![("made", at), ("polled", at), ("dropped", at)];
        assert_eq!(places(|told| assert_eq!(Iter::new(Told::new(3, told)).count(), 3)), life(here));

        let io = IoThread::spawn("io").unwrap();
        let there = block_on(io.context().spawn(async { thread::current().id() }));
        let in_io =
            |use_it: fn(IterIn<Told>)| places(|told| use_it(Iter::in_context(io.context(), || Told::new(3, told))));
        assert_eq!(
            in_io(|mut iter| assert_eq!(iter.by_ref().collect::<Vec<_>>(), [2, 1, 0])),
            life(there),
            "to its end"
        );
        let used = in_io(|mut iter| {
            assert_eq!((iter.size_hint(), iter.next(), iter.size_hint()), ((3, Some(3)), Some(2), (2, Some(2))));
        });
        assert_eq!(used, life(there), "dropped before its end");
        assert_eq!(in_io(drop), [("made", there), ("dropped", there)], "never polled");
        let given = in_io(|iter| drop(iter.into_inner()));
        assert_eq!(given, [("made", there), ("dropped", here)], "given to the caller");

        let homeless = AioContext::new().unwrap();
        let at_home = |told: &Arc<_>| assert_eq!(Iter::in_context(&homeless, || Told::new(3, told)).next(), Some(2));
        assert_eq!(places(at_home), life(here), "no home");
        let home = homeless.enter();
        assert_eq!(places(at_home), life(here), "this thread's");
        drop(home);
        let unwinding = places(|told| {
            let told = Arc::clone(told);
            let context = io.context();
            panic_of(move || {
                let mut iter = Iter::in_context(context, || Told::new(3, &told));
                iter.next();
                panic!("drops it");
            });
        });
        assert_eq!(unwinding, life(there), "while unwinding");
        let nested = places(|told| {
            let next = async { Iter::in_context(io.context(), || Told::new(3, told)).next() };
            assert_eq!(block_on(next), Some(2));
        });
        assert_eq!(nested, life(there), "in coroutine context");
        let own = places(|told| {
            let (told, context) = (Arc::clone(told), io.context().clone());
            let task = async move { Iter::in_context(&context, || Told::new(3, &told)).count() };
            assert_eq!(block_on(io.context().spawn(task)), 3);
        });
        assert_eq!(own, life(there), "in a task of the same context");
        let other = IoThread::spawn("other").unwrap();
        let crossed = places(|told| {
            let (told, context) = (Arc::clone(told), io.context().clone());
            let task = async move { Iter::in_context(&context, || Told::new(3, &told)).count() };
            assert_eq!(block_on(other.context().spawn(task)), 3);
        });
        assert_eq!(crossed, life(there), "in a task of another context");
    });
}

/// Catches: an argument that has to be `'static`; a context that is not the current one where the stream is polled.
#[test]
fn x02_in_a_context_the_stream_borrows_from_its_caller() {
    within_bounds(|| {
        let io = IoThread::spawn("io").unwrap();
        let (numbers, name) = (vec![1, 2, 3], io.context().to_string());
        let stream = || stream::iter(&numbers).map(|n| (n, AioContext::current().to_string() == name));
        assert!(Iter::in_context(io.context(), stream).eq(numbers.iter().map(|n| (n, true))));
    });
}

/// Catches: a stream that is lost or never dropped; a drop that panics, or waits for ever.
#[test]
fn w06_a_closed_context_is_said_and_the_stream_is_dropped_by_the_caller() {
    within_bounds(|| {
        let here = thread::current().id();
        let told = places(|told| {
            let io = IoThread::spawn("io").unwrap();
            let mut iter = Iter::in_context(io.context(), || Told::new(3, told));
            io.join();
            let closed = panic_of(|| iter.next());
            assert!(closed.starts_with("blocking::IterIn::next: AioContext `io`"), "{closed}");
            assert!(closed.contains(Location::caller().file()), "{closed}");
        });
        assert_eq!(told.last(), Some(&("dropped", here)));
        assert_eq!(told.len(), 2, "{told:?}");
        let context = AioContext::new().unwrap();
        context.close();
        let closed = panic_of(|| Iter::in_context(&context, || stream::iter([1])));
        assert!(closed.starts_with("blocking::Iter::in_context: "), "{closed}");
    });
}

/// Catches: a panic of a destructor that ends the process, or is lost.
#[test]
fn w13_a_panic_of_the_streams_destructor_is_raised_by_the_drop() {
    struct Panics;
    impl Stream for Panics {
        type Item = ();
        fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<()>> {
            Poll::Ready(None)
        }
    }
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("in its destructor");
        }
    }
    within_bounds(|| {
        let io = IoThread::spawn("io").unwrap();
        assert_eq!(panic_of(|| drop(Iter::new(Panics))), "in its destructor");
        assert_eq!(panic_of(|| drop(Iter::in_context(io.context(), || Panics))), "in its destructor");
        let both = panic_of(|| {
            let _iter = Iter::in_context(io.context(), || Panics);
            panic!("already unwinding");
        });
        assert_eq!(both, "already unwinding");
        assert_eq!(block_on(io.context().spawn(async { 7 })), 7, "the thread goes on");
    });
}
