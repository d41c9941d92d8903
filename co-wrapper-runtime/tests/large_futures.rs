//! Futures that are larger than the caller's stack (w14). This must also hold in a debug build, which really makes each
//! copy of a future.

mod common;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use co_wrapper_runtime::{
    __private::{Wrapper, poll_co, poll_co_in, poll_co_in_timeout, poll_co_timeout},
    AioContext, IoThread, block_on, block_on_timeout,
};
use common::{message_of, on_stack_of};

const SMALL_STACK: usize = 64 << 10;
const MIB: usize = 1 << 20;

static WRAPPER: Wrapper = Wrapper { name: "large", target: "co_large", mixed: true };

/// Yields once, and is woken at once.
async fn a_turn() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if yielded {
            return std::task::Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

/// What a large future does with `SIZE` bytes that it keeps while it waits.
#[derive(Clone, Copy, Debug)]
enum Body {
    Ready,
    Waits,
    /// Awaits a future as large as itself.
    Nests,
    Panics,
    /// Never ends; the call has so much time.
    Hangs(Duration),
}

/// How many futures that hang have begun, and how many were dropped.
static BEGUN: AtomicUsize = AtomicUsize::new(0);
static DROPPED: AtomicUsize = AtomicUsize::new(0);

struct CountsDrop;

impl Drop for CountsDrop {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

async fn co_large<const SIZE: usize>(body: Body) -> usize {
    let _counts = matches!(body, Body::Hangs(_)).then(|| {
        BEGUN.fetch_add(1, Ordering::Relaxed);
        CountsDrop
    });
    let bytes = [1_u8; SIZE];
    match body {
        Body::Ready => {}
        Body::Waits => a_turn().await,
        Body::Nests => return co_inner::<SIZE>().await + usize::from(bytes[SIZE - 1]) - 1,
        Body::Panics => {
            a_turn().await;
            panic!("a large future's panic");
        }
        Body::Hangs(_) => std::future::pending().await,
    }
    bytes.iter().map(|byte| usize::from(*byte)).sum()
}

async fn co_inner<const SIZE: usize>() -> usize {
    let bytes = [1_u8; SIZE];
    a_turn().await;
    bytes.iter().map(|byte| usize::from(*byte)).sum()
}

/// A way to make the call, on a thread whose stack is small.
type Way = fn(Body) -> Option<usize>;

/// Ends the call that hangs, and no other.
fn timeout(body: Body) -> Duration {
    if let Body::Hangs(time) = body { time } else { Duration::MAX }
}

fn ways<const SIZE: usize>() -> [(&'static str, Way); 7] {
    [
        ("here", |body| Some(poll_co(&WRAPPER, body, co_large::<SIZE>))),
        ("here, entered", |body| {
            let ctx = AioContext::new().unwrap();
            let _home = ctx.enter();
            Some(poll_co(&WRAPPER, body, co_large::<SIZE>))
        }),
        ("here, with a timeout", |body| poll_co_timeout(&WRAPPER, timeout(body), body, co_large::<SIZE>).ok()),
        ("in a context without a home", |body| {
            Some(poll_co_in(&WRAPPER, &AioContext::new().unwrap(), body, co_large::<SIZE>))
        }),
        ("in an IoThread", |body| {
            let thread = IoThread::spawn("large").unwrap();
            Some(poll_co_in(&WRAPPER, thread.context(), body, co_large::<SIZE>))
        }),
        ("in an IoThread, with a timeout", |body| {
            let thread = IoThread::spawn("large").unwrap();
            poll_co_in_timeout(&WRAPPER, thread.context(), timeout(body), body, co_large::<SIZE>).ok()
        }),
        // The future of one large call makes the next.
        ("in the future of such a call", |body| {
            let outer = async move || {
                let bytes = [0_u8; SIZE];
                a_turn().await;
                let inner = poll_co(&WRAPPER, body, co_large::<SIZE>);
                inner + usize::from(bytes[0])
            };
            Some(poll_co(&WRAPPER, (), |()| outer()))
        }),
    ]
}

fn works_with<const SIZE: usize>() {
    for (name, way) in ways::<SIZE>() {
        for body in [Body::Ready, Body::Waits, Body::Nests] {
            let sum = on_stack_of(SMALL_STACK, move || way(body));
            assert_eq!(sum, Some(SIZE), "{name}, {body:?}, {SIZE} bytes");
        }
    }
}

#[test]
fn w14_a_future_of_a_mebibyte_works_on_a_stack_of_64_kib() {
    works_with::<MIB>();
}

/// Just below and above what is kept in a box, and what a stack of that size could not hold twice.
#[test]
fn w14_futures_of_other_sizes_work_there() {
    works_with::<{ 15 << 10 }>();
    works_with::<{ 17 << 10 }>();
    works_with::<{ 48 << 10 }>();
    works_with::<{ 300 << 10 }>();
}

#[test]
fn w14_the_panic_of_a_large_future_reaches_the_caller() {
    for (name, way) in ways::<MIB>() {
        on_stack_of(SMALL_STACK, move || {
            let payload = catch_unwind(AssertUnwindSafe(|| way(Body::Panics))).unwrap_err();
            assert_eq!(message_of(&*payload), "a large future's panic", "{name}");
            // The thread makes its next call as if nothing had been.
            assert_eq!(way(Body::Waits), Some(MIB), "{name}");
        });
    }
}

#[test]
fn w14_a_large_future_that_timed_out_was_dropped() {
    for (name, way) in ways::<MIB>().into_iter().filter(|(name, _)| name.ends_with("timeout")) {
        let before = BEGUN.load(Ordering::Relaxed);
        // The shortest in which the call begins, also where a thread waits for its turn.
        for time in (0..).map(|doubled| Duration::from_millis(10 << doubled)) {
            assert_eq!(on_stack_of(SMALL_STACK, move || way(Body::Hangs(time))), None, "{name}");
            let begun = BEGUN.load(Ordering::Relaxed);
            assert_eq!(DROPPED.load(Ordering::Relaxed), begun, "{name}");
            if begun > before {
                break;
            }
        }
    }
}

const LARGE: usize = 100 << 10;

/// A future, an argument or a result that is handed over by value lies on the caller's stack in any case; beyond that a call
/// takes less of it than another crate's `block_on` would.
#[test]
fn w14_what_is_handed_over_by_value_is_copied_seldom() {
    /// What a generated twin is: its arguments packed, an entry, the call.
    #[inline(never)]
    fn takes(bytes: [u8; LARGE]) -> usize {
        async fn co_takes(bytes: [u8; LARGE]) -> usize {
            a_turn().await;
            bytes.iter().map(|byte| usize::from(*byte)).sum()
        }
        struct Args<A0> {
            bytes: A0,
        }
        poll_co(&WRAPPER, Args { bytes }, |args| co_takes(args.bytes))
    }
    #[inline(never)]
    fn gives() -> [u8; LARGE] {
        async fn co_gives() -> [u8; LARGE] {
            a_turn().await;
            [1; LARGE]
        }
        poll_co(&WRAPPER, (), |()| co_gives())
    }
    type Way = fn() -> usize;
    let ways: [(&str, Way, usize); 6] = [
        ("block_on", || block_on(co_inner::<LARGE>()), 256 << 10),
        ("AioContext::block_on", || AioContext::new().unwrap().block_on(co_inner::<LARGE>()), 256 << 10),
        ("block_on_timeout", || block_on_timeout(co_inner::<LARGE>(), Duration::MAX).unwrap(), 256 << 10),
        (
            "AioContext::block_on_timeout",
            || AioContext::new().unwrap().block_on_timeout(co_inner::<LARGE>(), Duration::MAX).unwrap(),
            256 << 10,
        ),
        ("an argument", || takes([1; LARGE]), 512 << 10),
        ("a result", || gives().iter().map(|byte| usize::from(*byte)).sum(), 512 << 10),
    ];
    for (name, way, stack) in ways {
        assert_eq!(on_stack_of(stack, way), LARGE, "{name}");
    }
}
