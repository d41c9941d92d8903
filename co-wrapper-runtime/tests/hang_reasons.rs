//! Programs that hang for a reason which a report can name. Each runs in a process of its own, and the watchdog must
//! name the reason.

#![cfg(not(loom))]

mod common;

use std::{
    env,
    io::Read,
    net::TcpListener,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

#[cfg(feature = "graph")]
use co_wrapper_runtime::{
    __private::no_co_write,
    graph::{GRAPH, GraphLock},
};
use co_wrapper_runtime::{
    __private::{Wrapper, arg, no_co, poll_co_in, poll_co_in_timeout},
    AioContext, IoThread, hang,
};
use common::{mixed, plain};

/// The file that the places in a report are in.
const HERE: &str = file!();

/// What tells the child which program it is.
const ROW: &str = "HANG_REASONS_ROW";

/// A program that hangs, and what its report says.
type Row = (&'static str, fn(), &'static [&'static str]);

/// Calls as a wrapper `remote` with that context.
#[track_caller]
fn remote<F: Future<Output = ()> + Send>(context: &AioContext, future: F) {
    poll_co_in(&Wrapper { name: "remote", target: "co_remote", mixed: false }, context, future, |future| future);
}

/// Like [`remote`], for ten minutes at most.
#[track_caller]
fn remote_for_a_while<F: Future<Output = ()> + Send>(context: &AioContext, future: F) {
    static FOR_A_WHILE: Wrapper = Wrapper { name: "for_a_while", target: "co_for_a_while", mixed: false };
    let _ = poll_co_in_timeout(&FOR_A_WHILE, context, Duration::from_secs(600), future, |future| future);
}

/// A lock, and a task's way of waiting for it.
fn shared() -> (Arc<Mutex<()>>, Arc<Mutex<()>>) {
    let lock = Arc::new(Mutex::new(()));
    (Arc::clone(&lock), lock)
}

/// Has the main context's thread enter it and then do `what`.
fn main_loop(what: impl FnOnce() + Send + 'static) {
    let (running, runs) = mpsc::channel();
    thread::Builder::new()
        .name("loop".into())
        .spawn(move || {
            let _guard = AioContext::main().enter();
            running.send(()).unwrap();
            what();
        })
        .unwrap();
    runs.recv().unwrap();
}

/// An IoThread that does not return from a bottom half.
fn stuck_io_thread() -> IoThread {
    let io = IoThread::spawn("io0").unwrap();
    let (running, runs) = mpsc::channel();
    io.context().schedule_bh(move || {
        running.send(()).unwrap();
        sleeps();
    });
    runs.recv().unwrap();
    io
}

/// A context whose home thread sleeps, outside of any call.
fn home_that_sleeps() -> AioContext {
    let ctx = AioContext::builder().name("theirs").build().unwrap();
    let (running, runs) = mpsc::channel();
    let home = ctx.clone();
    thread::Builder::new()
        .name("home".into())
        .spawn(move || {
            let _guard = home.enter();
            running.send(()).unwrap();
            sleeps();
        })
        .unwrap();
    runs.recv().unwrap();
    ctx
}

/// A context that no thread has entered.
fn no_home() -> AioContext {
    AioContext::builder().name("theirs").build().unwrap()
}

/// Has a thread of that name call into `ctx`.
fn calls_on(name: &str, ctx: &AioContext, call: impl FnOnce(&AioContext) + Send + 'static) {
    let ctx = ctx.clone();
    thread::Builder::new().name(name.into()).spawn(move || call(&ctx)).unwrap();
}

/// A context without a home, into which a thread `first` calls, as `call` does. That thread is its home when this
/// returns: the context must run what sends the first message. Also returns what sends the second, for which that
/// waits.
fn home_for_its_call(
    call: impl FnOnce(&AioContext, mpsc::Sender<()>, async_channel::Receiver<()>) + Send + 'static,
) -> (AioContext, async_channel::Sender<()>) {
    let (running, runs) = mpsc::channel();
    let (tx, rx) = async_channel::bounded(1);
    let ctx = no_home();
    calls_on("first", &ctx, move |ctx| call(ctx, running, rx));
    runs.recv().unwrap();
    (ctx, tx)
}

/// Calls into `ctx` and waits there for a message.
fn receives(ctx: &AioContext, running: mpsc::Sender<()>, rx: async_channel::Receiver<()>) {
    remote(ctx, async move {
        running.send(()).unwrap();
        rx.recv().await.unwrap();
    });
}

/// Waits for a bottom half of the context to run.
#[track_caller]
fn awaits_bottom_half(ctx: &AioContext) {
    let (tx, rx) = async_channel::bounded(1);
    ctx.schedule_bh(move || tx.try_send(()).unwrap());
    plain(rx.recv()).unwrap();
}

/// What the report says of a context whose home thread sleeps, and of one without a home.
const HOME_SLEEPS: &[&str] = &[
    ", called at co-wrapper-runtime/tests/hang_reasons.rs:",
    "thread `home`: AioContext `theirs` has work or timers that wait, and the thread, its home, has been outside our calls for ",
    "or have the thread poll",
];
const NO_HOME: &[&str] = &[
    ", called at co-wrapper-runtime/tests/hang_reasons.rs:",
    "AioContext `theirs` has work or timers that wait, and no thread is home to it",
    "have a thread enter it and poll",
];
/// What it says of a call whose context has a home for the length of another call only.
const HOME_FOR_ITS_CALL: &[&str] = &[
    "remote, called at ",
    "in AioContext `theirs`",
    "depth 1)\n    has not begun: thread `first` is home to that context only for the length of its own call, remote, called \
     at co-wrapper-runtime/tests/hang_reasons.rs:",
    "and starts no other thread's call",
    "IoThread::spawn",
    "AioContext::enter on a thread that polls",
];
const CONDITION: &[&str] = &[
    "the condition of AioContext::poll_while, called at ",
    HERE,
    "has not returned for ",
    "a std lock or blocking I/O?",
];

/// Has a thread of that name take a read guard and keep it, in its sleep.
#[cfg(feature = "graph")]
fn reader_that_sleeps(lock: &'static GraphLock, name: &str) {
    let (running, runs) = mpsc::channel();
    thread::Builder::new()
        .name(name.into())
        .spawn(move || {
            let _reading = AioContext::current().block_on(lock.read());
            running.send(()).unwrap();
            sleeps();
        })
        .unwrap();
    runs.recv().unwrap();
}

/// Nobody wakes it.
async fn never() {
    std::future::pending::<()>().await;
}

fn sleeps() {
    thread::sleep(Duration::from_secs(600));
}

/// Sleeps if this is the call of that number.
fn blocks(call: usize, blocking: usize) -> bool {
    if call == blocking {
        sleeps();
    }
    true
}

const ROWS: &[Row] = &[
    (
        "the caller holds the std lock that the call's first poll wants",
        || {
            let lock = Mutex::new(());
            let _held = lock.lock().unwrap();
            plain(async { drop(lock.lock()) });
        },
        &["plain, called at ", HERE, "polling, 0 polls, depth 1", "its future has not returned for ", "a std lock or"],
    ),
    (
        "the first poll sleeps",
        || plain(async { sleeps() }),
        &["plain, called at ", HERE, "its future has not returned for "],
    ),
    (
        "the first poll waits for blocking I/O",
        || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            plain(async { drop(listener.accept()) });
        },
        &["plain, called at ", HERE, "its future has not returned for ", "blocking I/O"],
    ),
    (
        "the first poll of a nested call blocks",
        || plain(async { mixed(async { sleeps() }) }),
        &[
            "mixed, called at ",
            "depth 2",
            "its future has not returned for ",
            "may be waiting forever for",
            "plain at ",
        ],
    ),
    (
        "the first poll of a call in a bottom half blocks",
        || {
            let ctx = AioContext::new().unwrap();
            ctx.schedule_bh(|| plain(async { sleeps() }));
            ctx.poll(true);
        },
        &["plain, called at ", "its future has not returned for ", "a task or callback that the thread runs"],
    ),
    (
        "the first poll runs another executor that waits",
        || plain(async { futures::executor::block_on(never()) }),
        &["plain, called at ", "its future has not returned for "],
    ),
    (
        "a later poll blocks",
        || {
            let (tx, rx) = async_channel::bounded(1);
            thread::spawn(move || tx.send_blocking(()));
            plain(async {
                rx.recv().await.unwrap();
                AioContext::current().sleep(Duration::from_millis(1)).await;
                sleeps();
            });
        },
        &["plain, called at ", "its future has not returned for "],
    ),
    (
        "the caller holds the std lock that a task wants which the call runs meanwhile",
        || {
            let (held, wanted) = shared();
            let _held = held.lock().unwrap();
            let task = AioContext::current().spawn(async move { drop(wanted.lock()) });
            plain(task);
        },
        &["plain, called at ", "a task that its thread runs meanwhile has not returned for ", "the caller's too"],
    ),
    (
        "a bottom half blocks that the call runs meanwhile",
        || {
            AioContext::current().schedule_bh(sleeps);
            plain(never());
        },
        &["plain, called at ", "a bottom half or handler that its thread runs meanwhile has not returned for "],
    ),
    (
        "a call's future blocks that is polled by what waits above it",
        || {
            let (let_go, go) = async_channel::bounded(1);
            AioContext::current().schedule_bh(move || {
                let_go.try_send(()).unwrap();
                plain(never());
            });
            mixed(async {
                go.recv().await.unwrap();
                sleeps();
            });
        },
        &[
            "plain, called at ",
            "the future of a call lower on its stack that its thread runs meanwhile has not returned for ",
        ],
    ),
    (
        "a callback waits for the caller of the call below it",
        || {
            let (tx, rx) = async_channel::bounded::<()>(1);
            let (let_go, go) = async_channel::bounded(1);
            AioContext::current().schedule_bh(move || {
                let_go.try_send(()).unwrap();
                assert!(plain(rx.recv()).is_err());
            });
            mixed(go.recv()).unwrap();
            drop(tx);
        },
        &[
            "plain, called at ",
            "may be waiting forever for what only something lower on its stack can do: the caller of mixed at ",
            "which goes on when this call has returned",
        ],
    ),
    (
        "a call blocks in a task that the call runs meanwhile",
        || {
            drop(AioContext::current().spawn(async { mixed(async { sleeps() }) }));
            plain(never());
        },
        &["plain, called at ", "a call in what its thread runs meanwhile has not returned for ", "mixed, called at "],
    ),
    (
        "the caller holds the std lock that a task wants on an IoThread",
        || {
            let io = IoThread::spawn("io0").unwrap();
            let (held, wanted) = shared();
            let _held = held.lock().unwrap();
            plain(io.context().spawn(async move { drop(wanted.lock()) }));
        },
        &["thread `io0`: a task has not returned for ", "a std lock or blocking I/O?"],
    ),
    (
        "the IoThread that is to run the call is stuck in a bottom half",
        || {
            let io = stuck_io_thread();
            remote(io.context(), never());
        },
        &[
            "remote, called at ",
            "in AioContext `io0`",
            "thread `io0`, its home, which has not returned from a bottom half or handler for ",
            "thread `io0`: a bottom half or handler has not returned for ",
        ],
    ),
    (
        "the IoThread that is to run the call is stuck in the first poll of another",
        || {
            let io = IoThread::spawn("io0").unwrap();
            io.context().schedule_bh(|| plain(async { sleeps() }));
            remote(io.context(), never());
        },
        &["remote, called at ", "`io0`, its home, which has not returned from a poll of plain, called at "],
    ),
    (
        "the IoThread that is to run the call is stuck and has the caller's name",
        || {
            let io = stuck_io_thread();
            calls_on("io0", io.context(), |ctx| remote(ctx, never()));
            sleeps();
        },
        &[
            "thread `io0`: remote, called at ",
            "thread `io0`, its home, which has not returned from a bottom half or handler",
        ],
    ),
    (
        "the main context is called under a std lock that its thread wants",
        || {
            let (held, wanted) = shared();
            let _held = held.lock().unwrap();
            main_loop(move || drop(wanted.lock()));
            remote(&AioContext::main(), never());
        },
        &["remote, called at ", "thread `loop`, its home, which has been outside our calls for ", "the caller's too"],
    ),
    (
        "a task awaits the main context under a std lock that its thread wants, and nobody blocks in a call",
        || {
            let (held, wanted) = shared();
            let _held = held.lock().unwrap();
            main_loop(move || drop(wanted.lock()));
            AioContext::main().schedule_bh(|| ());
            sleeps();
        },
        &[
            "thread `loop`: AioContext `main` has work that waits for ",
            "its home thread is outside our calls: a std lock or",
        ],
    ),
    (
        "an IoThread is joined that is stuck",
        || {
            stuck_io_thread().join();
        },
        &[
            "IoThread::join, called at ",
            HERE,
            "waits for the thread's end",
            "a bottom half or handler has not returned",
        ],
    ),
    (
        "nothing is known",
        || plain(never()),
        &["plain, called at ", HERE, "nothing on its thread stands in its way: what it awaits has not come"],
    ),
    (
        "an IoThread is dropped that is stuck",
        || drop(stuck_io_thread()),
        &["IoThread::drop, called at ", HERE, "waits for the end of the thread spawned there"],
    ),
    (
        "a call waits for another thread's, which is home to the context for its own call only",
        || {
            let (ctx, tx) = home_for_its_call(receives);
            remote(&ctx, async move { tx.send(()).await.unwrap() });
        },
        HOME_FOR_ITS_CALL,
    ),
    (
        "a call with a timeout waits for another thread's, which is home for its own call only",
        || {
            let (ctx, tx) = home_for_its_call(receives);
            remote_for_a_while(&ctx, async move { tx.send(()).await.unwrap() });
        },
        &[
            "for_a_while, called at ",
            "depth 1)\n    has not begun: thread `first` is home to that context only for the length",
        ],
    ),
    (
        "a call waits for another thread's with a timeout, which is home for its own call only",
        || {
            let (ctx, tx) = home_for_its_call(|ctx, running, rx| {
                remote_for_a_while(ctx, async move {
                    running.send(()).unwrap();
                    rx.recv().await.unwrap();
                });
            });
            remote(&ctx, async move { tx.send(()).await.unwrap() });
        },
        &[
            "depth 1)\n    has not begun: thread `first` is home",
            "of its own call, for_a_while, called at co-wrapper-runtime/",
        ],
    ),
    (
        "a call waits for a bottom half above another thread's call, which is home for that only",
        || {
            let (ctx, tx) = home_for_its_call(|ctx, running, rx| {
                ctx.schedule_bh(move || {
                    running.send(()).unwrap();
                    plain(rx.recv()).unwrap();
                });
                remote(ctx, never());
            });
            remote(&ctx, async move { tx.send(()).await.unwrap() });
        },
        HOME_FOR_ITS_CALL,
    ),
    (
        "a call waits for a mixed one in another thread's call, which is home for that only",
        || {
            let (ctx, tx) = home_for_its_call(|ctx, running, rx| {
                remote(ctx, async move {
                    running.send(()).unwrap();
                    mixed(rx.recv()).unwrap();
                });
            });
            remote(&ctx, async move { tx.send(()).await.unwrap() });
        },
        HOME_FOR_ITS_CALL,
    ),
    (
        "a call waits for one that another thread makes inside a call of its own, which is home for that only",
        || {
            let (ctx, tx) = home_for_its_call(|ctx, running, rx| {
                let ctx = ctx.clone();
                plain(async move {
                    poll_co_in(
                        &Wrapper { name: "inner", target: "co_inner", mixed: true },
                        &ctx,
                        (running, rx),
                        |(running, rx)| async move {
                            running.send(()).unwrap();
                            rx.recv().await.unwrap();
                        },
                    );
                });
            });
            remote(&ctx, async move { tx.send(()).await.unwrap() });
        },
        &[
            "depth 1)\n    has not begun: thread `first` is home",
            "of its own call, inner, called at co-wrapper-runtime/",
        ],
    ),
    (
        "a call waits for one that became the home when another thread's call had ended",
        || {
            let (ctx, tx) = home_for_its_call(receives);
            let (running, runs) = mpsc::channel();
            let (last, is_last) = async_channel::bounded(1);
            calls_on("second", &ctx, move |ctx| {
                static SECOND: Wrapper = Wrapper { name: "second", target: "co_second", mixed: false };
                poll_co_in(&SECOND, ctx, (running, is_last), |(running, is_last)| async move {
                    running.send(()).unwrap();
                    is_last.recv().await.unwrap();
                });
            });
            while !hang::report().calls().iter().any(|call| call.name() == "second") {
                thread::sleep(Duration::from_millis(1));
            }
            tx.try_send(()).unwrap();
            runs.recv().unwrap();
            remote(&ctx, async move { last.send(()).await.unwrap() });
        },
        &[
            "depth 1)\n    has not begun: thread `second` is home",
            "of its own call, second, called at co-wrapper-runtime/tests/",
        ],
    ),
    (
        "two calls wait for another thread's, which is home for its own call only",
        || {
            let (ctx, tx) = home_for_its_call(receives);
            calls_on("second", &ctx, |ctx| remote_for_a_while(ctx, async {}));
            remote(&ctx, async move { tx.send(()).await.unwrap() });
        },
        &[
            "thread `second`: for_a_while, called at ",
            "depth 1)\n    has not begun: thread `first` is home",
            "remote, called at ",
        ],
    ),
    (
        "a call from a bottom half of an IoThread waits for another thread's, which is home for its own call only",
        || {
            let (ctx, tx) = home_for_its_call(receives);
            let io = IoThread::spawn("io0").unwrap();
            io.context().schedule_bh(move || remote(&ctx, async move { tx.send(()).await.unwrap() }));
            sleeps();
        },
        &["thread `io0`: remote, called at ", "\n    has not begun: thread `first` is home"],
    ),
    (
        "a call waits for a block_on, which is home to the context for its own call only",
        || {
            let (ctx, tx) = home_for_its_call(|ctx, running, rx| {
                ctx.block_on(async {
                    running.send(()).unwrap();
                    rx.recv().await.unwrap();
                });
            });
            remote(&ctx, async move { tx.send(()).await.unwrap() });
        },
        &[
            "has not begun: thread `first` is home",
            "of its own call, AioContext::block_on, called at co-wrapper-runtime/tests/",
        ],
    ),
    (
        "a call waits for a poll_while, which is home to the context for its own call only",
        || {
            let (ctx, tx) = home_for_its_call(|ctx, running, rx| {
                ctx.schedule_bh(move || running.send(()).unwrap());
                ctx.poll_while(|| rx.try_recv().is_err());
            });
            remote(&ctx, async move { tx.send(()).await.unwrap() });
        },
        &[
            "has not begun: thread `first` is home",
            "of its own call, AioContext::poll_while, called at co-wrapper-runtime/tests/",
        ],
    ),
    (
        "a call waits for a poll, which is home to the context for its own call only",
        || {
            let (ctx, _tx) = home_for_its_call(|ctx, running, _| {
                let nested = ctx.clone();
                ctx.schedule_bh(move || {
                    running.send(()).unwrap();
                    nested.poll(true);
                });
                ctx.poll(true);
            });
            remote(&ctx, async {});
        },
        &[
            "has not begun: thread `first` is home",
            "of its own call, AioContext::poll, called at co-wrapper-runtime/tests/",
        ],
    ),
    #[cfg(feature = "graph")]
    (
        "a request drains itself",
        || {
            let node = co_wrapper_runtime::graph::Drain::new();
            let _request = plain(node.begin());
            node.drained_begin();
        },
        &["Drain::drained_begin, called at ", HERE, "a request that drains itself waits for its own end"],
    ),
    #[cfg(feature = "graph")]
    (
        "a request drains itself further up its stack",
        || {
            let node = co_wrapper_runtime::graph::Drain::new();
            plain(async {
                let _request = node.begin().await;
                let ctx = AioContext::current();
                futures::future::join(never(), async {
                    let node = &node;
                    let _section = mixed(node.co_drained());
                    drop(ctx);
                })
                .await;
            });
        },
        &["mixed, called at ", "may be waiting forever for what only something lower on its stack can do: plain at "],
    ),
    ("a task is awaited whose home thread sleeps", || plain(home_that_sleeps().spawn(async {})), HOME_SLEEPS),
    ("a bottom half is awaited whose home thread sleeps", || awaits_bottom_half(&home_that_sleeps()), HOME_SLEEPS),
    (
        "a timer is awaited whose home thread sleeps",
        || plain(home_that_sleeps().sleep(Duration::from_secs(600))),
        HOME_SLEEPS,
    ),
    (
        "a task is awaited that awaits one whose home thread sleeps",
        || {
            let ctx = home_that_sleeps();
            plain(AioContext::current().spawn(async move { ctx.spawn(async {}).await }));
        },
        HOME_SLEEPS,
    ),
    (
        "a task on an IoThread awaits a timer whose home thread sleeps",
        || {
            let (io, ctx) = (IoThread::spawn("io0").unwrap(), home_that_sleeps());
            plain(io.context().spawn(ctx.sleep(Duration::from_secs(600))));
        },
        HOME_SLEEPS,
    ),
    (
        "a cancelled task is awaited whose home thread sleeps",
        || _ = plain(home_that_sleeps().spawn(never()).cancel()),
        HOME_SLEEPS,
    ),
    (
        "poll_while waits for a bottom half whose home thread sleeps",
        || {
            let theirs = home_that_sleeps();
            theirs.schedule_bh(|| ());
            AioContext::new().unwrap().poll_while(|| true);
        },
        HOME_SLEEPS,
    ),
    ("a task is awaited that has no home", || plain(no_home().spawn(async {})), NO_HOME),
    ("a bottom half is awaited that has no home", || awaits_bottom_half(&no_home()), NO_HOME),
    ("a timer is awaited that has no home", || plain(no_home().sleep(Duration::from_secs(600))), NO_HOME),
    (
        "a task is awaited whose home thread has left",
        || {
            let ctx = no_home();
            drop(ctx.enter());
            AioContext::current().block_on(ctx.spawn(async {}));
        },
        NO_HOME,
    ),
    (
        "a task is awaited whose home thread has ended",
        || {
            let ctx = thread::spawn(|| {
                let ctx = no_home();
                std::mem::forget(ctx.enter());
                ctx
            });
            plain(ctx.join().unwrap().spawn(async {}));
        },
        NO_HOME,
    ),
    (
        "a blocking function is awaited whose main loop has begun to sleep",
        || {
            main_loop(sleeps);
            static CHECK: Wrapper = Wrapper { name: "co_check", target: "check", mixed: false };
            plain(no_co(&CHECK, (), |()| arg(())));
        },
        &["plain, called at ", "thread `loop`: AioContext `main` has work that waits for "],
    ),
    ("the first condition of poll_while blocks", || no_home().poll_while(|| blocks(1, 1)), CONDITION),
    (
        "a later condition of poll_while blocks",
        || {
            let ctx = no_home();
            ctx.schedule_bh(|| ());
            let mut calls = 0;
            ctx.poll_while(|| {
                calls += 1;
                blocks(calls, 2)
            });
        },
        &[CONDITION[0], CONDITION[2], "its condition has not returned for ", "AioContext::poll_while, called at "],
    ),
    (
        "the condition of poll_while waits for a std lock that the caller holds",
        || {
            let lock = Mutex::new(());
            let _held = lock.lock().unwrap();
            no_home().poll_while(|| lock.lock().is_ok());
        },
        CONDITION,
    ),
    (
        "the condition of a poll_while in a call blocks",
        || plain(async { no_home().poll_while(|| blocks(1, 1)) }),
        CONDITION,
    ),
    (
        "the condition of a poll_while in a bottom half that a call runs blocks",
        || {
            AioContext::current().schedule_bh(|| no_home().poll_while(|| blocks(1, 1)));
            plain(never());
        },
        &[
            CONDITION[0],
            "has not returned for ",
            "plain, called at ",
            "in what its thread runs meanwhile has not returned",
        ],
    ),
    (
        "the main context is called while its thread blocks in the condition of a poll_while",
        || {
            main_loop(|| AioContext::main().poll_while(|| blocks(1, 1)));
            remote(&AioContext::main(), never());
        },
        &[
            "remote, called at ",
            "thread `loop`, its home, which has not returned from the condition of AioContext::poll_while, called at ",
        ],
    ),
    (
        "a call in the condition of a poll_while blocks",
        || no_home().poll_while(|| plain(async { blocks(1, 1) })),
        &["plain, called at ", "its future has not returned for "],
    ),
    (
        "a bottom half that the condition of a poll_while runs blocks",
        || {
            let ctx = no_home();
            ctx.schedule_bh(sleeps);
            ctx.poll_while(|| ctx.poll(true));
        },
        &["a bottom half or handler has not returned for "],
    ),
    #[cfg(feature = "graph")]
    (
        "the graph's writer waits for a reader on another thread",
        || {
            reader_that_sleeps(&GRAPH, "reader");
            let _home = AioContext::main().enter();
            drop(GRAPH.write());
        },
        &[
            "GraphLock::write, called at ",
            "waits for the read guard taken at co-wrapper-runtime/tests/hang_reasons.rs:",
            ", held by thread `reader`",
        ],
    ),
    #[cfg(feature = "graph")]
    (
        "the writer of one of several graph locks waits for two readers",
        || {
            let (wanted, other): (&GraphLock, &GraphLock) = (Box::leak(Box::default()), Box::leak(Box::default()));
            reader_that_sleeps(other, "elsewhere");
            reader_that_sleeps(wanted, "first");
            reader_that_sleeps(wanted, "second");
            let _home = AioContext::main().enter();
            drop(wanted.write());
        },
        &["GraphLock::write, called at ", ", held by thread `first`", ", held by thread `second`"],
    ),
    #[cfg(feature = "graph")]
    (
        "the graph's writer waits for a reader in a task",
        || {
            let io = IoThread::spawn("io0").unwrap();
            let (running, runs) = mpsc::channel();
            drop(io.context().spawn(async move {
                let _reading = GRAPH.read().await;
                running.send(()).unwrap();
                never().await;
            }));
            runs.recv().unwrap();
            let _home = AioContext::main().enter();
            drop(GRAPH.write());
        },
        &["GraphLock::write, called at ", "waits for the read guard taken at ", ", held by a task"],
    ),
    #[cfg(feature = "graph")]
    (
        "the graph's writer waits for a guard that was handed over",
        || {
            std::mem::forget(plain(GRAPH.read()).hand_over());
            let _home = AioContext::main().enter();
            drop(GRAPH.write());
        },
        &["GraphLock::write, called at ", "waits for the read guard taken at ", ", handed over"],
    ),
    #[cfg(feature = "graph")]
    (
        "a blocking function waits for the graph's write lock beside a reader",
        || {
            reader_that_sleeps(&GRAPH, "reader");
            main_loop(|| AioContext::main().poll_while(|| true));
            static CHANGE: Wrapper = Wrapper { name: "co_change", target: "change", mixed: false };
            plain(no_co_write(&CHANGE, GRAPH.clone(), (), |(), _| arg(())));
        },
        &["plain, called at ", "waits for the read guard taken at ", ", held by thread `reader`"],
    ),
    #[cfg(feature = "graph")]
    (
        "a reader waits for the graph's writer, which sleeps",
        || {
            let (running, runs) = mpsc::channel();
            main_loop(move || {
                let _writing = GRAPH.write();
                running.send(()).unwrap();
                sleeps();
            });
            runs.recv().unwrap();
            drop(plain(GRAPH.read()));
        },
        &[
            "plain, called at ",
            "waits for the end of the section that is write-locked at co-wrapper-runtime/tests/hang_reasons.rs:",
            "by thread `loop`",
        ],
    ),
    #[cfg(all(unix, feature = "tokio"))]
    (
        "a descriptor's handler blocks",
        || {
            let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
            let io = IoThread::spawn("io0").unwrap();
            let _handler = io.context().fd_handler(&ours, co_wrapper_runtime::Interest::READABLE, sleeps);
            std::io::Write::write_all(&mut &theirs, b"x").unwrap();
            sleeps();
        },
        &["thread `io0`: a bottom half or handler has not returned for "],
    ),
    #[cfg(feature = "tokio")]
    (
        "nobody drives the current-thread runtime whose handle is entered",
        || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let _entered = runtime.enter();
            let timer = tokio::time::sleep(Duration::from_millis(1));
            plain(timer);
        },
        &["plain, called at ", "the tokio current_thread runtime whose handle is entered here", "works only while"],
    ),
    #[cfg(feature = "tokio")]
    (
        "nobody drives the current-thread runtime of a socket",
        || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
            plain(async { drop(listener.accept().await) });
        },
        &["plain, called at ", "another tokio runtime, a thread must drive that", "current_thread runtime works only"],
    ),
    #[cfg(feature = "tokio")]
    (
        "a LocalSet on a multi-thread root",
        || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, async {
                let (tx, rx) = async_channel::bounded::<()>(1);
                tokio::task::spawn_local(async move {
                    tokio::task::yield_now().await;
                    let _ = tx.send(()).await;
                });
                plain(async { rx.recv().await.unwrap() });
            });
        },
        &["plain, called at ", "tasks of a LocalSet"],
    ),
    #[cfg(all(unix, feature = "tokio"))]
    (
        "tokio is gone when the process exits",
        || {
            extern "C" fn at_exit() {
                plain(never());
            }
            plain(never_pending());
            // SAFETY: the handler does not unwind, and the process has not begun to exit.
            unsafe {
                libc::atexit(at_exit);
                libc::exit(0);
            }
        },
        &["plain, called at ", "tokio, a part of which is gone here", "after main has returned", "#[co_wrapper(ctx = "],
    ),
    #[cfg(feature = "tokio")]
    (
        "tokio is gone in a thread-local destructor",
        || ends_with(|| plain(never())),
        &["plain, called at ", "tokio, a part of which is gone here", "#[co_wrapper(ctx = "],
    ),
];

/// Ready at once, by tokio's doing.
#[cfg(feature = "tokio")]
async fn never_pending() {
    tokio::task::consume_budget().await;
}

/// Runs `last` in a thread-local destructor, when tokio has left the thread.
#[cfg(feature = "tokio")]
fn ends_with(last: fn()) {
    struct Last(std::cell::Cell<Option<fn()>>);
    impl Drop for Last {
        fn drop(&mut self) {
            self.0.take().unwrap()();
        }
    }
    thread_local!(static LAST: Last = const { Last(std::cell::Cell::new(None)) });

    let thread = thread::spawn(move || {
        // Before tokio's, so it is destroyed after that.
        LAST.with(|place| place.0.set(Some(last)));
        plain(never_pending());
    });
    thread.join().unwrap();
}

#[test]
#[ignore = "a child's part"]
fn child() {
    // Whatever becomes of the parent.
    thread::spawn(|| {
        thread::sleep(Duration::from_secs(120));
        std::process::exit(9);
    });
    let name = env::var(ROW).unwrap();
    let (_, hangs, _) = ROWS.iter().find(|row| row.0 == name).unwrap();
    hangs();
    unreachable!("it hangs");
}

/// Runs a row until it has said what it should, for `within` at most. The error is what it said instead.
fn run((name, _, says): &Row, limit: Option<&str>, within: Duration) -> Result<(), String> {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "child", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env_remove("CO_WRAPPER_HANG_SECS").env(ROW, name);
    command.envs(limit.map(|limit| ("CO_WRAPPER_HANG_SECS", limit)));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let (part, parts) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = stderr.read(&mut bytes) {
            if part.send(bytes[..read].to_vec()).is_err() {
                break;
            }
        }
    });
    let deadline = Instant::now() + within;
    let mut said = Vec::new();
    let text = loop {
        let part = parts.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        let ended = part.is_err();
        said.extend(part.unwrap_or_default());
        let text = String::from_utf8_lossy(&said).into_owned();
        if ended || says.iter().all(|part| text.contains(part)) {
            break text;
        }
    };
    child.kill().unwrap();
    child.wait().unwrap();
    let missing = says.iter().find(|part| !text.contains(**part));
    missing.map_or(Ok(()), |part| Err(format!("{name}: not said: {part}\n{text}")))
}

/// Each hang is reported once, as it looks then. On a busy machine that may be before the program has come to where it
/// hangs, if it takes longer to get there than the watchdog's limit. So longer ones are tried too, within so many seconds.
const LIMITS: [(&str, u64); 3] = [("0.3", 20), ("3", 60), ("15", 90)];

/// Catches: a hang whose reason is not named.
#[test]
fn hang_the_watchdog_names_what_it_hangs_for() {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                while let Some(row) = ROWS.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut tries = LIMITS.map(|(limit, within)| (limit, Duration::from_secs(within))).into_iter();
                    let names = |(limit, within)| run(row, Some(limit), within).inspect_err(|said| eprintln!("{said}"));
                    if !tries.any(|tried| names(tried).is_ok()) {
                        failed.lock().unwrap().push(row.0);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{failed:?}");
}

/// Catches: a debug build that watches only when it is asked to, or only what has slept.
#[test]
#[cfg(debug_assertions)]
#[ignore = "takes 40 seconds: .ci/nightly runs it"]
fn hang_a_debug_build_watches_unasked() {
    thread::scope(|scope| {
        for name in ["nothing is known", "the first poll sleeps"] {
            let row = ROWS.iter().find(|row| row.0 == name).unwrap();
            scope.spawn(|| run(row, None, Duration::from_secs(90)).unwrap_or_else(|said| panic!("{said}")));
        }
    });
}

/// Runs a child with growing limits of the watchdog, until it says what is right. A thread that the machine keeps waiting
/// for longer than the limit hangs, as far as the watchdog can tell.
#[track_caller]
fn says_within_a_limit(child: &str, limits: [&str; 3], is_right: impl Fn(&str) -> bool) {
    let mut wrong = String::new();
    for limit in limits {
        let said = common::in_child(child, &[("CO_WRAPPER_HANG_SECS", limit)]);
        if is_right(&said) {
            return;
        }
        wrong += &format!("With a limit of {limit} s:\n{said}");
    }
    panic!("{wrong}");
}

/// The limit in such a child.
fn limit() -> Duration {
    Duration::from_secs_f64(env::var("CO_WRAPPER_HANG_SECS").unwrap().parse().unwrap())
}

#[test]
#[ignore = "a child's part"]
fn child_goes_on_and_on() {
    let until = Instant::now() + limit() * 3;
    let io = IoThread::spawn("io0").unwrap();
    while Instant::now() < until {
        // Always one or the other, and always at the same place.
        plain(async { thread::sleep(Duration::from_millis(5)) });
        plain(io.context().spawn(async { thread::sleep(Duration::from_millis(5)) }));
        io.context().schedule_bh(|| thread::sleep(Duration::from_millis(5)));
    }
}

/// Catches: a call, a task or a bottom half that is taken for the one before it, which was like it.
#[test]
fn hang_what_returns_and_begins_again_does_not_hang() {
    says_within_a_limit("child_goes_on_and_on", ["1", "5", "20"], str::is_empty);
}

#[test]
#[ignore = "a child's part"]
fn child_blocks_for_long() {
    let nap = || thread::sleep(limit() * 15 / 2);
    plain(async { nap() });
    plain(async { nap() });
    AioContext::current().schedule_bh(move || {
        nap();
        // What it calls is neither its end nor another's beginning.
        plain(async {});
        nap();
    });
    AioContext::current().poll(true);
}

/// Catches: a call or bottom half that is reported again and again, or not again when it is the next one.
#[test]
fn hang_what_blocks_is_reported_once() {
    says_within_a_limit("child_blocks_for_long", ["0.2", "0.8", "2.5"], |said| {
        let count = |part| said.matches(part).count();
        count("plain, called at ") == 2
            && count("a bottom half or handler has not returned") == 1
            && count("hang report") == 3 + count(REACTOR_IS_LATE)
    });
}

/// Catches: a report that is not marked, or that the watchdog prints; a guard whose end is not one.
#[test]
fn hang_what_is_expected_to_be_long_is_left_out() {
    says_within_a_limit("child_is_expected_to_be_long", ["0.1", "0.5", "2"], |said| {
        said.matches("blocking call(s) waiting").count() == 2 + said.matches(REACTOR_IS_LATE).count()
            && said.contains(": unexpected at the end, called")
            && said.contains("in a task, called")
    });
}

/// What a report says beside the calls if the machine had other things to do than to run the reactor.
const REACTOR_IS_LATE: &str = "a worker of the tokio reactor";

#[test]
#[ignore = "a child's part"]
fn child_is_expected_to_be_long() {
    #[track_caller]
    fn call<F: Future>(name: &'static str, future: F) -> F::Output {
        let wrapper = Box::leak(Box::new(Wrapper { name, target: "co_call", mixed: true }));
        co_wrapper_runtime::__private::poll_co(wrapper, future, |future| future)
    }
    /// Ready when a report shows a call of that name, in that time and for as long.
    async fn is_shown(name: &'static str, expected: bool) {
        let (done, is_done) = async_channel::bounded::<()>(1);
        thread::spawn(move || {
            let _done = done;
            let since = Instant::now();
            while !hang::report()
                .calls()
                .iter()
                .any(|call| call.name() == name && call.waited() > limit() * 4 && call.is_expected_long() == expected)
            {
                assert!(since.elapsed() < common::BOUND, "{}", hang::report());
                thread::sleep(Duration::from_millis(5));
            }
        });
        assert!(is_done.recv().await.is_err());
    }

    {
        let _long = hang::expect_long();
        call("guarded", is_shown("guarded", true));
        call("in its first poll", async { call("within another", is_shown("within another", true)) });
        call("blocked", async {
            hang::report();
            let name = "blocked";
            let since = Instant::now();
            while !hang::report()
                .calls()
                .iter()
                .any(|call| call.name() == name && call.waited() > limit() * 4 && call.is_expected_long())
            {
                assert!(since.elapsed() < common::BOUND, "{}", hang::report());
                thread::sleep(Duration::from_millis(5));
            }
        });
        // A task's call is another matter, though the one that runs it is guarded.
        let task = AioContext::current().spawn(async { call("in a task", is_shown("in a task", false)) });
        call("guarded again", task);
    }
    call("unexpected at the end", is_shown("unexpected at the end", false));
}
