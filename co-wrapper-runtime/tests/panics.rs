//! Panics of users' code: the line w13 of the contract. Each row is a process of its own, so that a hang or an abort
//! fails that row.
//!
//! The rows combine each place where users' code runs with each thing that the code may do there. ARCHITECTURE.md lists
//! the places.

#![cfg(all(feature = "tokio", feature = "graph", not(loom), not(miri)))]

mod common;
#[path = "common/waiting.rs"]
mod waiting;

#[path = "panics/callbacks.rs"]
mod callbacks;
#[path = "panics/destructors.rs"]
mod destructors;
#[cfg(feature = "tracing")]
#[path = "panics/subscribers.rs"]
mod subscribers;
#[path = "panics/wakers.rs"]
mod wakers;

use std::{
    future::{Future, pending},
    mem,
    panic::{AssertUnwindSafe, catch_unwind, panic_any},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker},
    thread,
    time::Duration,
};

use co_wrapper_runtime::{
    __private::{Wrapper, arg, no_co, no_co_read, poll_co_in, poll_co_in_timeout},
    AioContext, EnterGuard, IoThread,
    graph::{Drain, GraphLock},
    in_coroutine,
};
use common::{in_child, message_of, mixed, plain};
use waiting::rounds_until;

const MS: Duration = Duration::from_millis(1);
/// What a row's process says, and ends, if what had to come within [`later`] came after it.
const TOO_LATE: &str = "came too late: the machine did much else too";
const WRAPPER: &Wrapper = &Wrapper { name: "there", target: "co_there", mixed: true };

// The rows

struct Row {
    name: String,
    run: Box<dyn Fn()>,
}

fn row(name: impl Into<String>, run: impl Fn() + 'static) -> Row {
    Row { name: name.into(), run: Box::new(run) }
}

/// All there are, of every table.
fn all() -> Vec<Row> {
    let mut all = Vec::new();
    for table in TABLES {
        all.extend(table());
    }
    all
}

const TABLES: &[fn() -> Vec<Row>] = &[
    wakers::wakers_woken,
    wakers::wakers_woken_while_unwinding,
    wakers::wakers_cloned_and_dropped,
    destructors::destructors,
    callbacks::payloads,
    callbacks::callbacks,
    #[cfg(feature = "tracing")]
    subscribers::rows,
];

/// Runs each row of a table in a process of its own, four at a time.
fn check(table: fn() -> Vec<Row>) {
    let names: Vec<String> = table().into_iter().map(|row| row.name).collect();
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let run =
                        |later| in_child("child_runs_a_row", &[("CO_WRAPPER_ROW", name), ("CO_WRAPPER_LATER", later)]);
                    let mut ran = catch_unwind(|| run("400"));
                    for later in ["2000", "10000"] {
                        match &ran {
                            Err(payload) if message_of(&**payload).contains(TOO_LATE) => {
                                ran = catch_unwind(|| run(later))
                            }
                            _ => break,
                        }
                    }
                    if let Err(payload) = ran {
                        let message = message_of(&*payload).lines().filter(|line| !line.starts_with([' ', '\t']));
                        failed.lock().unwrap().push(format!("{name}: {}", message.collect::<Vec<_>>().join("\n")));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {} rows\n{}", failed.len(), names.len(), failed.join("\n"));
}

#[test]
#[ignore = "a child's part"]
fn child_runs_a_row() {
    // The message alone: what the default adds to a second panic takes a second.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let name = std::env::var("CO_WRAPPER_ROW").unwrap();
    let row = all().into_iter().find(|row| row.name == name).unwrap();
    (row.run)();
}

// What the rows are made of

/// When something is to happen that nothing tells of has to come before it: in so many milliseconds, which are more the
/// next time if it [came too late](came_too_late).
fn later() -> Duration {
    Duration::from_millis(std::env::var("CO_WRAPPER_LATER").map_or(400, |later| later.parse().unwrap()))
}

fn came_too_late() -> ! {
    eprintln!("{TOO_LATE}");
    std::process::exit(1);
}

/// Panics when it is dropped, once.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("of the destructor");
    }
}

/// Counts its drops.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What `run` panicked with, added to `heard`.
fn hear(heard: &mut Vec<String>, run: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        heard
            .push(text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a payload".to_owned()));
        mem::forget(payload);
    }
}

/// Panics with what was heard, if it was one panic at most.
fn raise(heard: Vec<String>) {
    assert!(heard.len() <= 1, "{heard:?}");
    if let Some(text) = heard.first() {
        panic!("{text}");
    }
}

fn heard_of(run: impl FnOnce()) -> Vec<String> {
    let mut heard = Vec::new();
    hear(&mut heard, run);
    heard
}

/// Runs `run` in a destructor while the thread unwinds.
fn while_unwinding(run: impl FnOnce()) {
    struct OnDrop<F: FnOnce()>(Option<F>);
    impl<F: FnOnce()> Drop for OnDrop<F> {
        fn drop(&mut self) {
            assert!(thread::panicking());
            self.0.take().unwrap()();
        }
    }
    let heard = heard_of(|| {
        let _dropped = OnDrop(Some(run));
        panic!("the first");
    });
    assert_eq!(heard, ["the first"]);
}

/// A context that this thread is home to as long as it lives.
fn entered() -> AioContext {
    let ctx = AioContext::new().unwrap();
    mem::forget(ctx.enter());
    ctx
}

/// The thread and the context are as good as new.
fn is_well(ctx: &AioContext) {
    assert!(!in_coroutine());
    let (c, ran) = (ctx.clone(), Arc::new(AtomicBool::new(false)));
    let run = Arc::clone(&ran);
    ctx.schedule_bh(move || run.store(true, Ordering::Relaxed));
    let task = ctx.spawn(async move {
        c.sleep(MS).await;
        7
    });
    assert_eq!(plain(task), 7);
    assert!(ran.load(Ordering::Relaxed));
}

/// Polls a few times, panic or not.
fn polls(ctx: &AioContext) -> Vec<String> {
    let mut heard = Vec::new();
    (0..6).for_each(|_| hear(&mut heard, || _ = ctx.poll(false)));
    heard
}

/// Waits for what another thread does.
fn until(done: impl Fn() -> bool) {
    while !done() {
        thread::sleep(MS);
    }
}

/// Counts its wakes.
#[derive(Default)]
struct Counts(AtomicUsize);

impl Wake for Counts {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// When a waker's code is to act.
#[derive(Clone, Copy, PartialEq)]
enum On {
    Wake,
    Clone,
    Drop,
}

/// A waker that acts, the first time.
struct Acts {
    on: On,
    act: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Acts {
    fn at(&self, on: On) {
        if self.on == on {
            let act = self.act.lock().unwrap().take();
            if let Some(act) = act {
                act();
            }
        }
    }
}

fn waker(on: On, act: impl FnOnce() + Send + 'static) -> Waker {
    const VTABLE: RawWakerVTable = RawWakerVTable::new(
        |data| {
            // SAFETY: an `Arc`'s, of which this waker has a reference.
            let acts = unsafe { mem::ManuallyDrop::new(Arc::from_raw(data.cast::<Acts>())) };
            acts.at(On::Clone);
            RawWaker::new(Arc::into_raw(Arc::clone(&acts)).cast(), &VTABLE)
        },
        // SAFETY: as above; the reference is this call's.
        |data| unsafe { Arc::from_raw(data.cast::<Acts>()) }.at(On::Wake),
        // SAFETY: as above.
        |data| unsafe { &*data.cast::<Acts>() }.at(On::Wake),
        // SAFETY: as above; the reference is this call's.
        |data| unsafe { Arc::from_raw(data.cast::<Acts>()) }.at(On::Drop),
    );
    let acts = Arc::new(Acts { on, act: Mutex::new(Some(Box::new(act))) });
    // SAFETY: the functions of `VTABLE` keep the count, and `Acts` is `Send` and `Sync`.
    unsafe { Waker::from_raw(RawWaker::new(Arc::into_raw(acts).cast(), &VTABLE)) }
}

/// What `run` does with a context is heard as `expected`, and the context is well.
fn in_context(name: &str, expected: &'static [&str], run: impl Fn(&AioContext) + 'static) -> Row {
    row(name, move || {
        let ctx = entered();
        assert_eq!(heard_of(|| run(&ctx)), expected);
        is_well(&ctx);
    })
}

/// The same with a context of its own, which need not be well after it.
fn with_another(name: &str, expected: &'static [&str], run: impl Fn(AioContext, EnterGuard) + 'static) -> Row {
    in_context(name, expected, move |_| {
        let ctx = AioContext::new().unwrap();
        let guard = ctx.enter();
        run(ctx, guard);
    })
}

const DESTRUCTOR: &[&str] = &["of the destructor"];
const NOTHING: &[&str] = &[];

/// Waits for ever and holds what panics when it is dropped.
async fn holds_a_bomb() {
    let _bomb = Bomb;
    pending::<()>().await;
}

/// Queues two bottom halves that panic when they are dropped, and one that counts it.
fn queue_bombs(ctx: &AioContext) -> Arc<AtomicUsize> {
    let drops = Arc::new(AtomicUsize::new(0));
    let counted = Counted(Arc::clone(&drops));
    for bomb in [Bomb, Bomb] {
        ctx.schedule_bh(move || mem::forget(bomb));
    }
    ctx.schedule_bh(move || mem::forget(counted));
    drops
}

/// An IoThread that stays in a bottom half until it is told.
fn busy() -> (IoThread, impl Fn() + Send + Sync + Clone) {
    let io = IoThread::spawn("io").unwrap();
    let go = Arc::new(AtomicBool::new(false));
    let (begun, told) = (Arc::new(AtomicBool::new(false)), Arc::clone(&go));
    let begins = Arc::clone(&begun);
    io.context().schedule_bh(move || {
        begins.store(true, Ordering::Relaxed);
        until(|| told.load(Ordering::Relaxed));
    });
    until(|| begun.load(Ordering::Relaxed));
    (io, move || go.store(true, Ordering::Relaxed))
}
