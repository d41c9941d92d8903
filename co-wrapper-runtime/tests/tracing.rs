//! The feature `tracing`: a span for every blocking call, and events.

#![cfg(all(feature = "tracing", not(loom)))]

mod common;

use std::{
    cell::RefCell,
    fmt,
    future::poll_fn,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use co_wrapper_runtime::{
    __private::{Wrapper, poll_co_in},
    AioContext, IoThread, hang,
};
use common::{mixed, plain};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// Keeps what it is told.
#[derive(Default)]
struct Keeps {
    spans: AtomicU64,
    /// The wrappers of the spans, by id.
    wrappers: Mutex<Vec<String>>,
    events: Mutex<Vec<String>>,
}

thread_local! { static CURRENT: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) } }

/// The fields, as text.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0 += &format!("{field}={value:?} ");
    }
}

impl Subscriber for &'static Keeps {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "co_wrapper"
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut text = Text::default();
        attributes.record(&mut text);
        self.wrappers.lock().unwrap().push(text.0);
        span::Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        self.events.lock().unwrap().push(text.0);
    }

    fn enter(&self, span: &span::Id) {
        CURRENT.with_borrow_mut(|current| current.push(span.into_u64()));
    }

    fn exit(&self, span: &span::Id) {
        let left = CURRENT.with_borrow_mut(|current| current.pop());
        assert_eq!(left, Some(span.into_u64()));
    }
}

/// One subscriber a process, so one test.
///
/// Catches: no span, or not current in some poll, the first, a later one, in another context; one current after the call,
/// or while other work runs; an event left out.
#[test]
fn tracing_a_span_is_current_in_every_poll_and_events_tell_of_waits() {
    let keeps: &'static Keeps = Box::leak(Box::default());
    tracing::subscriber::set_global_default(keeps).unwrap();
    let current = || {
        let id = CURRENT.with_borrow(|current| current.last().copied())?;
        Some(keeps.wrappers.lock().unwrap()[id as usize - 1].clone())
    };
    let told = |what: &str| keeps.events.lock().unwrap().iter().any(|event| event.contains(what));

    plain(async { assert!(current().unwrap().contains("wrapper=\"plain\"")) });
    assert_eq!(current(), None);

    let ctx = AioContext::current();
    ctx.schedule_bh(move || assert_eq!(current(), None));
    let mut polls = 0;
    plain(poll_fn(|cx| {
        assert!(current().unwrap().contains("wrapper=\"plain\""), "in poll {polls}");
        polls += 1;
        cx.waker().wake_by_ref();
        if polls == 3 { Poll::Ready(()) } else { Poll::Pending }
    }));

    let io = IoThread::spawn("io").unwrap();
    let wrapper = &Wrapper { name: "remote", target: "co_remote", mixed: false };
    let seen = poll_co_in(wrapper, io.context(), (), |()| async move { current() });
    assert!(seen.unwrap().contains("wrapper=\"remote\""));

    assert!(!told("stall"));
    hang::watch(Duration::from_millis(50));
    plain(async {
        let (tx, rx) = async_channel::bounded::<()>(1);
        let waker = thread::spawn(move || {
            let deadline = Instant::now() + common::BOUND;
            while !told("stall wrapper=\"mixed\"") && Instant::now() < deadline {
                thread::sleep(common::ms(1));
            }
            drop(tx);
        });
        assert!(mixed(rx.recv()).is_err());
        waker.join().unwrap();
    });
    for event in ["park", "nested wrapper=\"mixed\" depth=2", "stall wrapper=\"mixed\""] {
        assert!(told(event), "{event}: {:?}", keeps.events.lock().unwrap());
    }
}

/// Has no span for anybody.
struct Panics;

impl Subscriber for Panics {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "co_wrapper"
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        panic!("no span");
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// Catches: the thread left in coroutine context, where every plain wrapper panics.
#[test]
fn a_subscriber_that_panics_leaves_the_thread_as_it_was() {
    let call = || plain(std::future::ready(1));
    let panic = tracing::subscriber::with_default(Panics, || std::panic::catch_unwind(call)).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"no span"));
    assert!(!co_wrapper_runtime::in_coroutine());
    assert_eq!(call(), 1);
}

/// Does something when a thread goes to sleep, once.
struct AtPark(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Subscriber for AtPark {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "co_wrapper"
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        if text.0.contains("park")
            && let Some(act) = self.0.lock().unwrap().take()
        {
            act();
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// Catches: a thread that sleeps though the event of its going to sleep had something come in for it: its own wakes give
/// no token.
#[test]
fn what_a_subscriber_does_at_park_is_heard_of() {
    common::within_bounds(|| {
        let ctx = AioContext::current();
        let call = |act: fn(AioContext, async_channel::Sender<()>)| {
            let (tx, rx) = async_channel::bounded(1);
            let ctx = ctx.clone();
            let subscriber = AtPark(Mutex::new(Some(Box::new(move || act(ctx, tx)))));
            tracing::subscriber::with_default(subscriber, || plain(rx.recv())).unwrap();
        };
        call(|_, tx| tx.try_send(()).unwrap());
        call(|ctx, tx| ctx.schedule_bh(move || tx.try_send(()).unwrap()));
    });
}

/// A subscriber that knows which span is current, as most do.
#[cfg(all(feature = "coroutine", not(miri)))]
mod coroutines {
    use std::{
        sync::{
            Mutex,
            atomic::{AtomicU64, Ordering},
        },
        task::{Context, Waker},
    };

    use co_wrapper_runtime::{Coroutine, block_on};
    use futures::FutureExt;
    use tracing::{Event, Metadata, Span, Subscriber, span, subscriber::with_default};

    use tracing_core::span::Current;

    #[derive(Default)]
    struct Stack {
        spans: AtomicU64,
        metadata: Mutex<Vec<&'static Metadata<'static>>>,
        entered: Mutex<Vec<u64>>,
    }

    impl Subscriber for Stack {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
            self.metadata.lock().unwrap().push(attributes.metadata());
            span::Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed) + 1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

        fn event(&self, _: &Event<'_>) {}

        fn enter(&self, span: &span::Id) {
            self.entered.lock().unwrap().push(span.into_u64());
        }

        fn exit(&self, span: &span::Id) {
            assert_eq!(self.entered.lock().unwrap().pop(), Some(span.into_u64()), "left in the order of entering");
        }

        fn current_span(&self) -> Current {
            match self.entered.lock().unwrap().last() {
                None => Current::none(),
                Some(id) => {
                    let metadata = self.metadata.lock().unwrap()[usize::try_from(*id).unwrap() - 1];
                    Current::new(span::Id::from_u64(*id), metadata)
                }
            }
        }
    }

    #[test]
    fn c06_a_coroutines_spans_are_its_own() {
        with_default(Stack::default(), || {
            let name = || Span::current().metadata().map(Metadata::name);
            let (tx, rx) = async_channel::bounded::<()>(1);
            // SAFETY: its spans are left while it is suspended.
            let mut first = unsafe {
                Coroutine::new(move || {
                    let _outer = tracing::info_span!("outer of the first").entered();
                    let _inner = tracing::info_span!("inner of the first").entered();
                    for _ in 0..2 {
                        assert!(block_on(rx.recv()).is_ok());
                        assert_eq!(name(), Some("inner of the first"));
                    }
                })
            };
            let mut poll = || first.poll_unpin(&mut Context::from_waker(Waker::noop()));
            assert!(poll().is_pending());
            assert_eq!(name(), None);
            let entered = tracing::info_span!("the thread's").entered();
            tx.try_send(()).unwrap();
            assert!(poll().is_pending());
            assert_eq!(name(), Some("the thread's"));
            drop(entered);
            tx.try_send(()).unwrap();
            assert!(poll().is_ready());
            assert_eq!(name(), None);
        });
    }
}
