//! Messages for wrong use. Every message names the function, the place in the user's file and the cure, and a panic is
//! reported at the user's line.
//!
//! Each row provokes one message in a process of its own. If something panics while somebody else polls it, the panic
//! is reported at a line of ours, and only the text names the user's place.

#![cfg(all(unix, not(loom)))]

mod common;
#[path = "common/waiting.rs"]
mod waiting;

use std::{
    env,
    future::poll_fn,
    panic::{self, AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    task::Poll,
    thread,
    time::Duration,
};

use co_wrapper_runtime::{
    __private::{Wrapper, arg, no_co, poll_co_in},
    AioContext, IoThread, reschedule_self,
};
use common::{in_child, message_of, mixed, plain, until_other_threads_sleep};

/// What tells the child which row it is.
const ROW: &str = "MESSAGES_ROW";

/// The line at which the user goes wrong.
static LINE: AtomicU32 = AtomicU32::new(0);

/// Goes wrong on this very line.
macro_rules! here {
    ($wrong:expr) => {{
        LINE.store(line!(), Ordering::Relaxed);
        $wrong
    }};
}

/// Where a message is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// A panic at the user's line.
    User,
    /// A panic elsewhere, or none. The text names the user's line.
    Text,
}
use At::{Text, User};

/// What is done wrong, how it is reported, and what the message says: the function's name and the cure first.
type Row = (&'static str, At, &'static [&'static str], fn());

static REMOTE: Wrapper = Wrapper { name: "remote", target: "co_remote", mixed: false };
/// Wrappers as `bdrv_rdlock` has them: a plain one, a mixed one, and one that runs in the main context.
#[cfg(feature = "graph")]
mod locked {
    use std::time::Duration;

    use co_wrapper_runtime::{
        __private::{
            Wrapper, arg, no_co_read, no_co_write, poll_co, poll_co_in, poll_co_timeout, read_lock, read_lock_mixed,
        },
        AioContext,
        graph::GraphLock,
    };

    static SIZE: Wrapper = Wrapper { name: "bdrv_size", target: "bdrv_co_size", mixed: false };
    static MIXED: Wrapper = Wrapper { name: "bdrv_flush", target: "bdrv_co_flush", mixed: true };
    static READ: Wrapper = Wrapper { name: "bdrv_co_check", target: "bdrv_check", mixed: false };
    static WRITE: Wrapper = Wrapper { name: "bdrv_co_change", target: "bdrv_change", mixed: false };

    #[track_caller]
    pub fn size(lock: &GraphLock) {
        poll_co(&SIZE, read_lock("bdrv_size", lock), |lock| async { drop(lock.read().await) });
    }

    #[track_caller]
    pub fn size_timeout(lock: &GraphLock) {
        let taken = read_lock("bdrv_size", lock);
        poll_co_timeout(&SIZE, Duration::from_secs(9), taken, |lock| async { drop(lock.read().await) }).unwrap();
    }

    #[track_caller]
    pub fn size_in(context: &AioContext, lock: &GraphLock) {
        poll_co_in(&SIZE, context, read_lock("bdrv_size", lock), |lock| async { drop(lock.read().await) });
    }

    #[track_caller]
    pub fn flush(lock: &GraphLock) {
        poll_co(&MIXED, read_lock_mixed("bdrv_flush", lock), |lock| async { drop(lock.read().await) });
    }

    #[track_caller]
    pub fn flush_in(context: &AioContext, lock: &GraphLock) {
        poll_co_in(&MIXED, context, read_lock_mixed("bdrv_flush", lock), |lock| async { drop(lock.read().await) });
    }

    #[track_caller]
    pub fn check(lock: &GraphLock) -> impl Future<Output = ()> + use<> {
        no_co_read(&READ, lock.clone(), (), |(), _| arg(()))
    }

    #[track_caller]
    pub fn change(lock: &GraphLock) -> impl Future<Output = ()> + use<> {
        no_co_write(&WRITE, lock.clone(), (), |(), _| arg(()))
    }

    /// Does `wrong` within one's own write-locked section.
    pub fn below_writer(wrong: impl FnOnce(&GraphLock)) {
        let _home = AioContext::main().enter();
        let lock = GraphLock::new();
        let _writing = lock.write();
        wrong(&lock);
    }
}

static NO_CO: Wrapper = Wrapper { name: "co_check", target: "check", mixed: false };

/// A thread that is home to what this gives.
fn a_home() -> AioContext {
    let ctx = AioContext::builder().name("theirs").build().unwrap();
    let (running, runs) = mpsc::channel();
    let home = ctx.clone();
    thread::Builder::new()
        .name("home".into())
        .spawn(move || {
            let _guard = home.enter();
            running.send(()).unwrap();
            thread::sleep(Duration::from_secs(600));
        })
        .unwrap();
    runs.recv().unwrap();
    ctx
}

/// Runs `child` in a fork.
fn forked(child: impl FnOnce()) {
    mixed(async {});
    until_other_threads_sleep();
    // SAFETY: nobody else runs here, and the child ends before it comes back.
    let id = unsafe { libc::fork() };
    assert!(id >= 0);
    if id == 0 {
        // SAFETY: sets a timer, which ends the child if it hangs.
        unsafe { libc::alarm(100) };
        let _ = catch_unwind(AssertUnwindSafe(child));
        expect();
        // SAFETY: ends the process.
        unsafe { libc::_exit(0) };
    }
    // SAFETY: waits for the child.
    assert_eq!(unsafe { libc::waitpid(id, &mut 0, 0) }, id);
}

fn deep(depth: usize) {
    if depth == 0 {
        here!(mixed(async {}));
    } else {
        mixed(async { deep(depth - 1) });
    }
}

/// Polls in a bottom half in a poll in a bottom half.
fn deep_polls(ctx: &AioContext) {
    let inner = ctx.clone();
    ctx.schedule_bh(move || deep_polls(&inner));
    here!(ctx.poll(false));
}

/// What stays on its thread, though it looks as if it did not.
struct SentAnyway<T>(T);

// SAFETY: the rows that use it have one thread.
unsafe impl<T> Send for SentAnyway<T> {}

/// Runs `last` when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

const FORK: &str = "exec in the child";
const GUARD: &str = "EnterGuard: thread `";
const DROP_GUARD: &str = "drop the guard where it was made";
#[cfg(feature = "graph")]
const DROP_WRITE: &str = "drop the write guard first";
#[cfg(feature = "graph")]
const SHARE: &str = "take `graph::read().await` first";

const ROWS: &[Row] = &[
    (
        "a plain wrapper in a call's future",
        User,
        &[
            "plain: blocking call in coroutine context",
            "call `co_plain(…).await` there, or mark `co_plain` in crate `messages` #[co_wrapper(mixed)]",
            "inside the future of `mixed`, called at co-wrapper-runtime/tests/messages.rs:",
        ],
        // co-check: allow — the test is about the panic
        || mixed(async { here!(plain(async {})) }),
    ),
    (
        "a plain wrapper in a task",
        User,
        &["plain: blocking call in coroutine context", "co_plain(…).await", "inside a task of AioContext `main`"],
        || {
            let _guard = AioContext::main().enter();
            // co-check: allow — the test is about the panic
            drop(AioContext::main().spawn(async { here!(plain(async {})) }));
            AioContext::main().poll(true);
        },
    ),
    (
        "a plain wrapper in a task that a call runs",
        User,
        &["plain: blocking call in coroutine context", "co_plain(…).await", "inside a task of AioContext `"],
        // co-check: allow — the test is about the panic
        || mixed(AioContext::current().spawn(async { here!(plain(async {})) })),
    ),
    (
        "a plain wrapper in a task, while it unwinds",
        Text,
        &[
            "co_wrapper: plain: blocking call in coroutine context",
            "co_plain(…).await",
            "because the thread is panicking",
        ],
        || {
            mixed(async {
                let _on_drop = OnDrop(|| here!(plain(async {})));
                panic!("it unwinds");
            });
        },
    ),
    ("a call too deep", User, &["mixed: called at ", "recurse through the async function instead"], || deep(256)),
    ("a poll too deep", User, &["AioContext::poll: AioContext `", "return from some"], || {
        deep_polls(&AioContext::new().unwrap())
    }),
    (
        "entering what has another home",
        User,
        &[
            "AioContext::enter: called at ",
            "spawn a task or schedule a bottom half there instead",
            "AioContext `theirs`",
            "`home`",
        ],
        || drop(here!(a_home().enter())),
    ),
    (
        "blocking on what has another home",
        User,
        &[
            "AioContext::block_on: called at ",
            "spawn a task or schedule a bottom half there instead",
            "AioContext `theirs`",
        ],
        || here!(a_home().block_on(async {})),
    ),
    (
        "polling what has another home",
        User,
        &[
            "AioContext::poll: called at ",
            "spawn a task or schedule a bottom half there instead",
            "AioContext `theirs`",
        ],
        || _ = here!(a_home().poll(true)),
    ),
    (
        "polling for long what has another home",
        User,
        &[
            "AioContext::poll_while: called at ",
            "spawn a task or schedule a bottom half there instead",
            "AioContext `theirs`",
        ],
        || here!(a_home().poll_while(|| true)),
    ),
    (
        "a guard that is dropped in a plain call",
        Text,
        &[GUARD, DROP_GUARD, "inside the future of `plain`, called at "],
        || {
            let guard = here!(AioContext::main().enter());
            plain(async { drop(guard) });
        },
    ),
    (
        "a guard that is dropped in a nested mixed call",
        Text,
        &[GUARD, DROP_GUARD, "inside the future of `mixed`, called at co-wrapper-runtime/tests/messages.rs:"],
        || {
            let guard = here!(AioContext::main().enter());
            plain(async { mixed(async { drop(guard) }) });
        },
    ),
    (
        "a guard that is dropped in a later poll of a call",
        Text,
        &[GUARD, DROP_GUARD, "inside the future of `AioContext::block_on`, called at "],
        || {
            let ctx = AioContext::new().unwrap();
            let guard = here!(ctx.enter());
            let mut guard = Some(guard);
            let mut polls = 0;
            ctx.block_on(poll_fn(move |cx| {
                polls += 1;
                cx.waker().wake_by_ref();
                drop(guard.take().filter(|_| polls == 1));
                Poll::<()>::Pending
            }));
        },
    ),
    (
        "a guard that is dropped in a call with a context",
        Text,
        &[GUARD, DROP_GUARD, "inside the future of `remote`, called at "],
        || {
            let guard = SentAnyway(here!(AioContext::main().enter()));
            poll_co_in(&REMOTE, &AioContext::main(), guard, |guard| async { drop(guard) });
        },
    ),
    (
        "a guard that is dropped in a bottom half that a call runs",
        Text,
        &[GUARD, DROP_GUARD, "inside a bottom half or handler of AioContext `main`, within `plain`, called at "],
        || {
            let guard = SentAnyway(here!(AioContext::main().enter()));
            AioContext::main().schedule_bh(|| drop(guard));
            plain(waiting::rounds(2));
        },
    ),
    (
        "a guard that is dropped in a bottom half that AioContext::poll runs",
        Text,
        &[GUARD, DROP_GUARD, "inside a bottom half or handler of AioContext `main`;"],
        || {
            let guard = SentAnyway(here!(AioContext::main().enter()));
            AioContext::main().schedule_bh(|| drop(guard));
            AioContext::main().poll(true);
        },
    ),
    (
        "a guard that is dropped in a bottom half that a poll in a call runs",
        Text,
        &[GUARD, DROP_GUARD, "inside a bottom half or handler of AioContext `main`, within `plain`, called at "],
        || {
            let guard = SentAnyway(here!(AioContext::main().enter()));
            AioContext::main().schedule_bh(|| drop(guard));
            plain(async { AioContext::main().poll(true) });
        },
    ),
    (
        "a guard that is dropped in a bottom half that poll_while runs",
        Text,
        &[GUARD, DROP_GUARD, "AioContext `main`, within `AioContext::poll_while`, called at "],
        || {
            let guard = SentAnyway(here!(AioContext::main().enter()));
            AioContext::main().schedule_bh(|| drop(guard));
            AioContext::main().poll_while(|| true);
        },
    ),
    (
        "a guard that is dropped in a bottom half that a poll_while in a call runs",
        Text,
        &[GUARD, DROP_GUARD, "AioContext `main`, within `AioContext::poll_while`, called at "],
        || {
            let guard = SentAnyway(here!(AioContext::main().enter()));
            AioContext::main().schedule_bh(|| drop(guard));
            plain(async { AioContext::main().poll_while(|| true) });
        },
    ),
    (
        "a guard that is dropped in a call of a bottom half",
        Text,
        &[GUARD, DROP_GUARD, "inside the future of `plain`, called at "],
        || {
            let guard = SentAnyway(here!(AioContext::main().enter()));
            AioContext::main().schedule_bh(|| plain(async { drop(guard) }));
            AioContext::main().poll_while(|| true);
        },
    ),
    (
        "a guard that is dropped in a task that a call runs",
        Text,
        &[GUARD, DROP_GUARD, "inside a task of AioContext `main`, within `plain`, called at "],
        || {
            let guard = SentAnyway(here!(AioContext::main().enter()));
            plain(AioContext::main().spawn(async { drop(guard) }));
        },
    ),
    (
        "a guard that is dropped in a local task that a call runs",
        Text,
        &[GUARD, DROP_GUARD, "inside a local task that still runs there, within `plain`, called at "],
        || {
            let guard = here!(AioContext::main().enter());
            plain(AioContext::main().spawn_local(async { drop(guard) }));
        },
    ),
    (
        "a guard that is dropped in a local task that AioContext::poll runs",
        Text,
        &[GUARD, DROP_GUARD, "inside a task of AioContext `main`;"],
        || {
            let guard = here!(AioContext::main().enter());
            drop(AioContext::main().spawn_local(async { drop(guard) }));
            AioContext::main().poll(true);
        },
    ),
    (
        "a guard that a task makes and drops in a call",
        Text,
        &[GUARD, DROP_GUARD, "inside the future of `mixed`, called at "],
        || {
            let task = async {
                let guard = here!(AioContext::main().enter());
                mixed(async { drop(guard) });
            };
            let _home = AioContext::main().enter();
            plain(AioContext::main().spawn_local(task));
        },
    ),
    (
        "a local task's guard that alone keeps its thread at home",
        Text,
        &[GUARD, DROP_GUARD, "inside a local task that still runs there, within `plain`, called at "],
        || {
            let (ctx, (go, goes)) = (AioContext::new().unwrap(), async_channel::bounded(1));
            let outer = ctx.enter();
            let own = ctx.clone();
            let task = ctx.spawn_local(async move {
                let guard = here!(own.enter());
                goes.recv().await.unwrap();
                drop(guard);
            });
            ctx.poll(false);
            drop(outer);
            go.try_send(()).unwrap();
            plain(task);
        },
    ),
    (
        "a guard that is dropped in a call, while it unwinds",
        Text,
        &[
            "co_wrapper: EnterGuard: thread `",
            DROP_GUARD,
            "inside the future of `plain`, called at co-wrapper-runtime/tests/messages.rs:",
        ],
        || {
            let guard = here!(AioContext::main().enter());
            plain(async {
                let _guard = guard;
                panic!("it unwinds");
            });
        },
    ),
    (
        "a context that is closed under a call",
        User,
        &["remote: AioContext `", "close a context when nobody calls into it any more"],
        || {
            let io = IoThread::spawn("io").unwrap();
            let ctx = io.context().clone();
            thread::spawn(move || {
                while ctx.stats().tasks_live == 0 {
                    thread::yield_now();
                }
                ctx.close();
            });
            here!(poll_co_in(&REMOTE, io.context(), (), |()| std::future::pending::<()>()));
        },
    ),
    ("joining an IoThread on itself", User, &["IoThread::join: called at ", "join it from another one"], || {
        let io = std::sync::Arc::new(IoThread::spawn("io").unwrap());
        let (itself, (ended, ends)) = (io.clone(), mpsc::channel());
        io.context().schedule_bh(move || {
            let _ended = OnDrop(|| ended.send(()).unwrap());
            here!(itself.join());
        });
        ends.recv().unwrap();
    }),
    (
        "spawning locally elsewhere",
        User,
        &["AioContext::spawn_local: called at ", "enter() it first, or spawn() a Send task"],
        || drop(here!(AioContext::new().unwrap().spawn_local(async {}))),
    ),
    ("rescheduling what is no task", Text, &["reschedule_self: called at ", "spawn one"], || {
        let main = AioContext::main();
        mixed(async { here!(reschedule_self(&main)).await });
    }),
    ("awaiting a JoinHandle again", Text, &["JoinHandle: of the task spawned at ", "await it once"], || {
        let ctx = AioContext::current();
        let mut task = here!(ctx.spawn(async {}));
        ctx.block_on(&mut task);
        ctx.block_on(&mut task);
    }),
    (
        "awaiting a task that was dropped",
        Text,
        &[
            "JoinHandle: the task was dropped before it finished, spawned at ",
            "join tasks before you leave their context",
        ],
        || {
            let ctx = AioContext::new().unwrap();
            let task = here!(ctx.spawn(std::future::pending::<()>()));
            ctx.close();
            AioContext::current().block_on(task);
        },
    ),
    (
        "a blocking function without a main loop",
        Text,
        &["co_check: called at ", "enter AioContext::main() on the thread of the main loop", "`check`"],
        || mixed(async { here!(no_co(&NO_CO, (), |()| arg(()))).await }),
    ),
    (
        "a blocking function with the main context closed",
        Text,
        &["co_check: AioContext `main` was closed", "close it when nobody calls into it any more"],
        || {
            AioContext::main().close();
            mixed(async { here!(no_co(&NO_CO, (), |()| arg(()))).await });
        },
    ),
    ("a blocking function awaited again", Text, &["co_check: called at ", "await it once"], || {
        let _guard = AioContext::main().enter();
        mixed(async {
            let mut check = pin!(here!(no_co(&NO_CO, (), |()| arg(()))));
            check.as_mut().await;
            check.await;
        });
    }),
    (
        "a panic in a bottom half while the thread unwinds",
        Text,
        &[
            "co_wrapper: plain, called at ",
            "catch it in the task or bottom half",
            "because the thread is panicking already",
        ],
        || {
            let ctx = AioContext::current();
            let _on_drop = OnDrop(|| {
                let (tx, rx) = async_channel::bounded::<()>(1);
                ctx.schedule_bh(move || {
                    let _tx = &tx;
                    panic!("in a bottom half");
                });
                let received = here!(plain(rx.recv()));
                assert!(received.is_err());
            });
            panic!("it unwinds");
        },
    ),
    ("a fork: a wrapper", User, &["plain, called at ", FORK], || forked(|| here!(plain(async {})))),
    ("a fork: on another thread", User, &["plain, called at ", FORK], || {
        forked(|| _ = thread::spawn(|| here!(plain(async {}))).join());
    }),
    #[cfg(feature = "graph")]
    ("a fork: the graph's read lock, polled by others", Text, &["GraphLock::read, called at ", FORK], || {
        forked(|| {
            let lock = co_wrapper_runtime::graph::GraphLock::new();
            let reading = pin!(here!(lock.read()));
            let _ = reading.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        });
    }),
    #[cfg(feature = "graph")]
    ("a fork: a request of a drained node, polled by others", Text, &["Drain::begin, called at ", FORK], || {
        let node = co_wrapper_runtime::graph::Drain::new();
        node.drained_begin();
        forked(|| {
            let request = pin!(here!(node.begin()));
            let _ = request.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        });
    }),
    ("a fork: in a call", User, &["plain, called at ", FORK], || {
        let mut first = true;
        let fork = poll_fn(move |_| {
            if std::mem::take(&mut first) {
                // SAFETY: nobody else runs here, and the child panics at its next wait.
                let id = unsafe { libc::fork() };
                if id != 0 {
                    // SAFETY: waits for the child.
                    unsafe { libc::waitpid(id, &mut 0, 0) };
                    return Poll::Ready(());
                }
            }
            Poll::<()>::Pending
        });
        let panicked = catch_unwind(AssertUnwindSafe(|| here!(plain(fork)))).is_err();
        if panicked {
            expect();
            // SAFETY: ends the child.
            unsafe { libc::_exit(0) };
        }
    }),
    ("a fork: in a bottom half that a call runs", User, &["plain, called at ", FORK], || {
        let (tx, rx) = async_channel::bounded::<()>(1);
        AioContext::current().schedule_bh(move || {
            // SAFETY: nobody else runs here, and the child panics at its next sleep, for nobody sends to it.
            let id = unsafe { libc::fork() };
            if id != 0 {
                // SAFETY: waits for the child.
                unsafe { libc::waitpid(id, &mut 0, 0) };
                tx.try_send(()).unwrap();
            } else {
                std::mem::forget(tx);
            }
        });
        let panicked = catch_unwind(AssertUnwindSafe(|| here!(plain(rx.recv())).unwrap())).is_err();
        if panicked {
            expect();
            // SAFETY: ends the child.
            unsafe { libc::_exit(0) };
        }
    }),
    ("a fork: current", User, &["AioContext::current, called at ", FORK], || {
        forked(|| drop(here!(AioContext::current())))
    }),
    ("a fork: enter", User, &["AioContext::enter, called at ", FORK], || {
        let ctx = AioContext::new().unwrap();
        forked(move || drop(here!(ctx.enter())));
    }),
    ("a fork: poll", User, &["AioContext::poll, called at ", FORK], || {
        let ctx = AioContext::new().unwrap();
        forked(move || _ = here!(ctx.poll(true)));
    }),
    ("a fork: poll_while", User, &["AioContext::poll_while, called at ", FORK], || {
        let ctx = AioContext::new().unwrap();
        forked(move || here!(ctx.poll_while(|| true)));
    }),
    ("a fork: block_on", User, &["AioContext::block_on, called at ", FORK], || {
        let ctx = AioContext::new().unwrap();
        forked(move || here!(ctx.block_on(async {})));
    }),
    ("a fork: spawn", User, &["AioContext::spawn, called at ", FORK], || {
        let ctx = AioContext::new().unwrap();
        forked(move || drop(here!(ctx.spawn(async {}))));
    }),
    ("a fork: spawn_local", User, &["AioContext::spawn_local, called at ", FORK], || {
        let ctx = AioContext::current();
        forked(move || drop(here!(ctx.spawn_local(async {}))));
    }),
    ("a fork: schedule_bh", User, &["AioContext::schedule_bh, called at ", FORK], || {
        let ctx = AioContext::current();
        forked(move || here!(ctx.schedule_bh(|| ())));
    }),
    ("a fork: a call elsewhere", User, &["remote, called at ", FORK], || {
        let ctx = AioContext::new().unwrap();
        forked(move || here!(poll_co_in(&REMOTE, &ctx, (), |()| async {})));
    }),
    ("a fork: expect_long", User, &["hang::expect_long, called at ", FORK], || {
        forked(|| drop(here!(co_wrapper_runtime::hang::expect_long())));
    }),
    #[cfg(feature = "tokio")]
    ("a fork: fd_handler", User, &["AioContext::fd_handler, called at ", FORK], || {
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let ctx = AioContext::new().unwrap();
        let readable = co_wrapper_runtime::Interest::READABLE;
        forked(move || drop(here!(ctx.fd_handler(&ours, readable, || ()))));
    }),
    #[cfg(all(target_os = "linux", feature = "tokio"))]
    ("no descriptor for a handler", User, &["AioContext::fd_handler: called at ", "ulimit -n"], || {
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let ctx = AioContext::new().unwrap();
        starve();
        drop(here!(ctx.fd_handler(&ours, co_wrapper_runtime::Interest::READABLE, || ())));
    }),
    #[cfg(feature = "tokio")]
    (
        "waiting on the thread of a current-thread runtime",
        Text,
        &[
            "current_thread runtime: plain, called at ",
            "await the async function there, or make the call in spawn_blocking",
        ],
        || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (tx, rx) = async_channel::bounded::<()>(1);
                when_said("current_thread runtime", || drop(tx));
                assert!(here!(plain(rx.recv())).is_err());
            });
        },
    ),
    #[cfg(feature = "tokio")]
    (
        "polling on the thread of a current-thread runtime",
        Text,
        &["current_thread runtime: AioContext::poll, called at ", "await the async function there"],
        || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let ctx = AioContext::new().unwrap();
                let notifier = ctx.clone();
                when_said("current_thread runtime", move || notifier.notify());
                here!(ctx.poll(true));
            });
        },
    ),
    #[cfg(feature = "tokio")]
    (
        "tokio in a thread-local destructor",
        Text,
        &["co_wrapper: plain: called at ", "let a context on another thread run the call: #[co_wrapper(ctx = …)]"],
        || {
            thread_local!(static LAST: OnDrop<fn()> = const { OnDrop(sleeps) });
            fn sleeps() {
                let _ = catch_unwind(|| here!(plain(async { tokio::time::sleep(Duration::from_millis(1)).await })));
            }
            let thread = thread::spawn(|| {
                LAST.with(|_| ());
                plain(async { tokio::task::consume_budget().await });
            });
            thread.join().unwrap();
        },
    ),
    #[cfg(all(target_os = "linux", feature = "tokio"))]
    (
        "no descriptors for the reactor",
        User,
        &["plain: called at ", "ulimit -n", "AioContext::new(), which returns the error"],
        || {
            starve();
            here!(plain(async {}));
        },
    ),
    #[cfg(all(target_os = "linux", feature = "tokio"))]
    ("no descriptors for the reactor, by a method", User, &["AioContext::block_on: called at ", "ulimit -n"], || {
        starve();
        here!(AioContext::main().block_on(async {}));
    }),
    #[cfg(feature = "graph")]
    (
        "writing in a coroutine",
        User,
        &[
            "GraphLock::write: blocking call in coroutine context",
            "#[no_co_wrapper(bdrv_wrlock)]",
            "inside the future of `mixed`",
        ],
        // co-check: allow — the test is about the panic
        || mixed(async { drop(here!(co_wrapper_runtime::graph::write())) }),
    ),
    #[cfg(feature = "graph")]
    (
        "writing without a main loop",
        User,
        &["GraphLock::write: at ", "enter AioContext::main() on the thread of the main loop"],
        || drop(here!(co_wrapper_runtime::graph::write())),
    ),
    #[cfg(feature = "graph")]
    ("writing below a reader", User, &["GraphLock::write: at ", "drop that first"], || {
        let _guard = AioContext::main().enter();
        let _reader = mixed(co_wrapper_runtime::graph::read());
        drop(here!(co_wrapper_runtime::graph::write()));
    }),
    #[cfg(feature = "graph")]
    ("reading below a writer", Text, &["GraphLock::read: at ", "drop the write guard first"], || {
        let _guard = AioContext::main().enter();
        let _writer = co_wrapper_runtime::graph::write();
        drop(mixed(here!(co_wrapper_runtime::graph::read())));
    }),
    #[cfg(feature = "graph")]
    ("a read-locking wrapper below a writer", Text, &["bdrv_size: at ", DROP_WRITE], || {
        locked::below_writer(|lock| here!(locked::size(lock)));
    }),
    #[cfg(feature = "graph")]
    ("a read-locking wrapper with a timeout below a writer", Text, &["bdrv_size: at ", DROP_WRITE], || {
        locked::below_writer(|lock| here!(locked::size_timeout(lock)));
    }),
    #[cfg(feature = "graph")]
    ("a read-locking wrapper with a context below a writer", Text, &["bdrv_size: at ", DROP_WRITE], || {
        locked::below_writer(|lock| here!(locked::size_in(&AioContext::main(), lock)));
    }),
    #[cfg(feature = "graph")]
    ("a mixed read-locking wrapper below a writer", Text, &["bdrv_flush: at ", DROP_WRITE], || {
        locked::below_writer(|lock| here!(locked::flush(lock)));
    }),
    #[cfg(feature = "graph")]
    ("a mixed read-locking wrapper with a context below a writer", Text, &["bdrv_flush: at ", DROP_WRITE], || {
        locked::below_writer(|lock| here!(locked::flush_in(&AioContext::main(), lock)));
    }),
    #[cfg(feature = "graph")]
    ("a read-locking blocking function below a writer", Text, &["bdrv_co_check: at ", DROP_WRITE], || {
        locked::below_writer(|lock| mixed(here!(locked::check(lock))));
    }),
    #[cfg(feature = "graph")]
    ("a write-locking blocking function below a writer", Text, &["bdrv_co_change: at ", DROP_WRITE], || {
        locked::below_writer(|lock| mixed(here!(locked::change(lock))));
    }),
    #[cfg(feature = "graph")]
    ("a write-locking blocking function below a reader", Text, &["bdrv_co_change: at ", "drop that first"], || {
        let _home = AioContext::main().enter();
        let lock = co_wrapper_runtime::graph::GraphLock::new();
        mixed(async {
            let _reading = lock.read().await;
            here!(locked::change(&lock)).await;
        });
    }),
    #[cfg(feature = "graph")]
    ("a mixed read-locking wrapper with nobody to share with", User, &["bdrv_flush: at ", SHARE], || {
        let lock = co_wrapper_runtime::graph::GraphLock::new();
        mixed(async { here!(locked::flush(&lock)) });
    }),
    #[cfg(feature = "graph")]
    ("a mixed read-locking wrapper with a context and nobody to share with", User, &["bdrv_flush: at ", SHARE], || {
        let lock = co_wrapper_runtime::graph::GraphLock::new();
        mixed(async { here!(locked::flush_in(&AioContext::current(), &lock)) });
    }),
    #[cfg(feature = "graph")]
    ("a mixed read-locking wrapper in a task, with nobody to share with", User, &["bdrv_flush: at ", SHARE], || {
        mixed(AioContext::current().spawn(async { here!(locked::flush(&co_wrapper_runtime::graph::GRAPH)) }));
    }),
    #[cfg(feature = "graph")]
    ("a mixed read-locking wrapper in a coroutine, below a writer", User, &["bdrv_flush: at ", SHARE], || {
        locked::below_writer(|lock| mixed(async { here!(locked::flush(lock)) }));
    }),
    #[cfg(feature = "graph")]
    (
        "a plain read-locking wrapper in a coroutine",
        User,
        &["bdrv_size: blocking call in coroutine context", "bdrv_co_size(…).await"],
        || {
            let lock = co_wrapper_runtime::graph::GraphLock::new();
            // co-check: allow — the test is about the panic
            mixed(async { here!(locked::size(&lock)) });
        },
    ),
    #[cfg(feature = "graph")]
    ("a fork: a read-locking wrapper", User, &["bdrv_size, called at ", FORK], || {
        let lock = co_wrapper_runtime::graph::GraphLock::new();
        forked(|| here!(locked::size(&lock)));
    }),
    #[cfg(feature = "graph")]
    ("a fork: a read-locking wrapper that has read before", User, &["bdrv_size, called at ", FORK], || {
        let lock = co_wrapper_runtime::graph::GraphLock::new();
        locked::size(&lock);
        forked(|| here!(locked::size(&lock)));
    }),
    #[cfg(feature = "graph")]
    ("a fork: a read-locking wrapper with a timeout", User, &["bdrv_size, called at ", FORK], || {
        let lock = co_wrapper_runtime::graph::GraphLock::new();
        forked(|| here!(locked::size_timeout(&lock)));
    }),
    #[cfg(feature = "graph")]
    ("a fork: a read-locking wrapper with a context", User, &["bdrv_size, called at ", FORK], || {
        let (ctx, lock) = (AioContext::new().unwrap(), co_wrapper_runtime::graph::GraphLock::new());
        forked(|| here!(locked::size_in(&ctx, &lock)));
    }),
    #[cfg(feature = "graph")]
    ("a fork: a mixed read-locking wrapper", User, &["bdrv_flush, called at ", FORK], || {
        let lock = co_wrapper_runtime::graph::GraphLock::new();
        forked(|| here!(locked::flush(&lock)));
    }),
    #[cfg(feature = "graph")]
    ("a fork: a mixed read-locking wrapper in a coroutine", User, &["bdrv_flush, called at ", FORK], || {
        let lock = co_wrapper_runtime::graph::GraphLock::new();
        mixed(async {
            let _reading = lock.read().await;
            forked(|| here!(locked::flush(&lock)));
        });
    }),
    #[cfg(feature = "graph")]
    ("a fork: a read-locking blocking function", Text, &["bdrv_co_check, called at ", FORK], || {
        let lock = co_wrapper_runtime::graph::GraphLock::new();
        forked(|| {
            let call = pin!(here!(locked::check(&lock)));
            let _ = call.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        });
    }),
    #[cfg(feature = "graph")]
    ("a fork: a write-locking blocking function", Text, &["bdrv_co_change, called at ", FORK], || {
        let lock = co_wrapper_runtime::graph::GraphLock::new();
        forked(|| {
            let call = pin!(here!(locked::change(&lock)));
            let _ = call.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        });
    }),
    #[cfg(feature = "graph")]
    ("sharing nothing", User, &["GraphLock::share: at ", "take `graph::read().await` first"], || {
        drop(here!(co_wrapper_runtime::graph::GraphLock::new().share()))
    }),
    #[cfg(feature = "graph")]
    (
        "draining in a coroutine",
        User,
        &[
            "Drain::drained_begin: blocking call in coroutine context",
            "await `co_drained_begin()`",
            "inside the future of `mixed`",
        ],
        // co-check: allow — the test is about the panic
        || mixed(async { here!(co_wrapper_runtime::graph::Drain::new().drained_begin()) }),
    ),
    #[cfg(feature = "graph")]
    ("draining below a writer", User, &["Drain::drained_begin: at ", "drain first, then lock"], || {
        let _guard = AioContext::main().enter();
        let _writer = co_wrapper_runtime::graph::write();
        here!(co_wrapper_runtime::graph::Drain::new().drained_begin());
    }),
    #[cfg(feature = "graph")]
    ("ending no drained section", User, &["Drain::drained_end: called at ", "begin one first"], || {
        here!(co_wrapper_runtime::graph::Drain::new().drained_end())
    }),
    #[cfg(feature = "graph")]
    ("a fork: writing", User, &["GraphLock::write, called at ", FORK], || {
        forked(|| drop(here!(co_wrapper_runtime::graph::write())));
    }),
    #[cfg(feature = "graph")]
    ("a fork: draining", User, &["Drain::drained_begin, called at ", FORK], || {
        forked(|| here!(co_wrapper_runtime::graph::Drain::new().drained_begin()));
    }),
];

/// Takes the descriptors away that a reactor would need.
#[cfg(all(target_os = "linux", feature = "tokio"))]
fn starve() {
    let limit = libc::rlimit { rlim_cur: 4, rlim_max: 4 };
    // SAFETY: only reads what it is given.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
}

/// Tells the parent where the user went wrong.
fn expect() {
    eprintln!("EXPECT {}", LINE.load(Ordering::Relaxed));
}

#[test]
#[ignore = "a child's part"]
fn child() {
    panic::set_hook(Box::new(|info| {
        let at = info.location().unwrap();
        let message = catch_unwind(AssertUnwindSafe(|| message_of(info.payload()).to_owned())).unwrap_or_default();
        eprintln!("PANIC {}:{}: {message}", at.file(), at.line());
    }));
    let name = env::var(ROW).unwrap();
    let (.., wrong) = ROWS.iter().find(|row| row.0 == name).unwrap();
    let _ = catch_unwind(wrong);
    expect();
}

/// Calls `then` on another thread when this process has said `what` on stderr, which goes on to where it went.
#[cfg(feature = "tokio")]
fn when_said(what: &'static str, then: impl FnOnce() + Send + 'static) {
    use std::{
        fs::File,
        io::{self, BufRead as _, BufReader, Write as _},
        os::fd::{AsFd as _, AsRawFd as _},
    };

    let mut stderr = File::from(io::stderr().as_fd().try_clone_to_owned().unwrap());
    let (read, write) = io::pipe().unwrap();
    // SAFETY: replaces a descriptor that is open by another that is.
    assert_eq!(unsafe { libc::dup2(write.as_raw_fd(), 2) }, 2);
    drop(write);
    thread::spawn(move || {
        for line in BufReader::new(read).lines() {
            let line = line.unwrap();
            writeln!(stderr, "{line}").unwrap();
            if line.contains(what) {
                // What comes next does not go through here: nobody waits for this thread. The pipe ends.
                // SAFETY: as above.
                assert_eq!(unsafe { libc::dup2(stderr.as_raw_fd(), 2) }, 2);
            }
        }
        then();
    });
}

fn run(&(name, at, says, _): &Row) {
    let said = in_child("child", &[(ROW, name)]);
    for part in says {
        assert!(said.contains(part), "{name}: not said: {part}\n{said}");
    }
    // A fork's parent tells too, but what it has not done has no line.
    let line = said.lines().filter_map(|line| line.strip_prefix("EXPECT ")).find(|line| *line != "0");
    let place = format!("{}:{}", file!(), line.unwrap_or("?"));
    let message = said.lines().find(|line| line.contains(says[0])).unwrap();
    let (_, text) = message.split_once(says[0]).unwrap();
    assert!(text.contains(&place), "{name}: {place} is not named: {message}");
    if at == User {
        assert!(message.starts_with(&format!("PANIC {place}:")), "{name}: not at {place}: {message}");
    }
}

/// Catches: a message without the function, the user's line or what helps; a panic at a line of ours.
#[test]
fn messages_name_the_function_the_users_line_and_what_helps() {
    thread::scope(|scope| {
        let rows: Vec<_> = ROWS.iter().map(|row| (row.0, scope.spawn(|| run(row)))).collect();
        let failed: Vec<_> = rows.into_iter().filter_map(|(name, row)| row.join().is_err().then_some(name)).collect();
        assert!(failed.is_empty(), "{failed:#?}");
    });
}
