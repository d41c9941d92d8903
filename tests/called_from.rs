//! The contract's matrix: where a blocking call may be made from, and what it may wait for there.
//!
//! Every cell is a child process of this test under a watchdog. The table that the README shows is the one printed here:
//! `cargo test --test called_from -- --nocapture`.

use std::{
    cell::Cell,
    env,
    io::{Read, Write},
    os::raw::c_void,
    panic::{AssertUnwindSafe, catch_unwind},
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicI32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use co_wrapper::{AioContext, co_wrapper};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::{Builder, Handle, Runtime},
    task::LocalSet,
};

/// What the call waits for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Awaits {
    Nothing,
    SelfWake,
    YieldNow,
    Channel,
    Timer,
    Socket,
    Spawn,
    SpawnBlocking,
    AsyncIo,
    Operation130,
}

const COLUMNS: [(&str, Awaits); 10] = [
    ("nothing", Awaits::Nothing),
    ("self-wake", Awaits::SelfWake),
    ("yield_now", Awaits::YieldNow),
    ("channel", Awaits::Channel),
    ("timer", Awaits::Timer),
    ("socket", Awaits::Socket),
    ("spawn", Awaits::Spawn),
    ("spawn_blocking", Awaits::SpawnBlocking),
    ("async-io", Awaits::AsyncIo),
    ("130th op", Awaits::Operation130),
];

impl Awaits {
    fn needs_tokio(self) -> bool {
        matches!(self, Self::Timer | Self::Socket | Self::Spawn | Self::SpawnBlocking)
    }

    async fn wait(self) -> u8 {
        let short = Duration::from_millis(2);
        match self {
            Self::Nothing => {}
            Self::SelfWake => {
                let mut left = 3;
                std::future::poll_fn(|cx| {
                    cx.waker().wake_by_ref();
                    left -= 1;
                    if left == 0 { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
                })
                .await;
            }
            Self::YieldNow => {
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                }
            }
            Self::Channel => {
                let (tx, rx) = async_channel::bounded(1);
                let sender = thread::spawn(move || {
                    thread::sleep(short);
                    tx.send_blocking(())
                });
                rx.recv().await.unwrap();
                sender.join().unwrap().unwrap();
            }
            Self::Timer => tokio::time::sleep(short).await,
            Self::Socket => {
                let (mut a, mut b) = tokio::net::UnixStream::pair().unwrap();
                let (write, read) = tokio::join!(
                    async {
                        tokio::time::sleep(short).await;
                        a.write_u8(7).await
                    },
                    b.read_u8()
                );
                write.unwrap();
                assert_eq!(read.unwrap(), 7);
            }
            Self::Spawn => tokio::spawn(tokio::time::sleep(short)).await.unwrap(),
            Self::SpawnBlocking => tokio::task::spawn_blocking(move || thread::sleep(short)).await.unwrap(),
            Self::AsyncIo => drop(async_io::Timer::after(short).await),
            Self::Operation130 => {
                let (tx, mut rx) = tokio::sync::mpsc::unbounded_channel();
                for n in 0..130_u8 {
                    tx.send(n).unwrap();
                }
                for n in 0..130 {
                    assert_eq!(rx.recv().await, Some(n));
                }
            }
        }
        42
    }
}

#[co_wrapper]
async fn co_call(awaits: Awaits) -> u8 {
    awaits.wait().await
}

#[co_wrapper(mixed)]
async fn co_call_mixed(awaits: Awaits) -> u8 {
    awaits.wait().await
}

/// What becomes of a cell.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Word {
    Ok,
    /// Ok, with the warning that a current-thread runtime stands still, once.
    Warned,
    /// The panic of a plain wrapper in a coroutine.
    Coroutine,
    /// Tokio's panic that no runtime is there.
    NoTokio,
}

impl Word {
    fn shown(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warned => "ok, warned",
            Self::Coroutine => "panic (w03)",
            Self::NoTokio => "panic",
        }
    }
}

struct Row {
    caller: &'static str,
    expected: fn(Awaits) -> Word,
    call: fn(Awaits) -> u8,
}

fn ok(_: Awaits) -> Word {
    Word::Ok
}

/// Whoever has to wait there stops the runtime, and is told.
fn warned(awaits: Awaits) -> Word {
    // A self-wake and the 130th operation are over before the thread would sleep.
    if matches!(awaits, Awaits::Nothing | Awaits::SelfWake) { Word::Ok } else { Word::Warned }
}

fn coroutine(_: Awaits) -> Word {
    Word::Coroutine
}

/// Tokio's own thread-locals are gone.
fn no_tokio(awaits: Awaits) -> Word {
    if awaits.needs_tokio() { Word::NoTokio } else { Word::Ok }
}

const ROWS: &[Row] = &[
    Row { caller: "plain thread", expected: ok, call: |awaits| thread::spawn(move || call(awaits)).join().unwrap() },
    Row {
        caller: "entered context",
        expected: ok,
        call: |awaits| {
            let ctx = AioContext::new().unwrap();
            let _guard = ctx.enter();
            call(awaits)
        },
    },
    Row {
        caller: "bottom half",
        expected: ok,
        call: |awaits| {
            let ctx = AioContext::new().unwrap();
            let (tx, rx) = async_channel::bounded(1);
            ctx.schedule_bh(move || tx.try_send(call(awaits)).unwrap());
            assert!(ctx.poll(true));
            rx.try_recv().unwrap()
        },
    },
    Row {
        caller: "spawn_blocking",
        expected: ok,
        call: |awaits| {
            let host = Runtime::new().unwrap();
            host.block_on(async { tokio::task::spawn_blocking(move || call(awaits)).await.unwrap() })
        },
    },
    Row {
        caller: "futures' block_on",
        expected: ok,
        call: |awaits| futures::executor::block_on(async { call(awaits) }),
    },
    Row { caller: "smol", expected: ok, call: |awaits| smol::block_on(smol::spawn(async move { call(awaits) })) },
    Row { caller: "pollster", expected: ok, call: |awaits| pollster::block_on(async { call(awaits) }) },
    Row {
        caller: "bare Handle::enter()",
        expected: ok,
        call: |awaits| {
            let host = Runtime::new().unwrap();
            let _entered = host.handle().enter();
            call(awaits)
        },
    },
    Row {
        caller: "destructor",
        expected: ok,
        call: |awaits| {
            drop(CallsOnDrop(awaits));
            RESULT.load(Ordering::Relaxed).try_into().unwrap()
        },
    },
    Row {
        caller: "destructor, unwinding",
        expected: ok,
        call: |awaits| {
            let unwound = catch_unwind(|| {
                let _calls = CallsOnDrop(awaits);
                panic!("unwinding, as it should");
            });
            assert!(unwound.is_err());
            RESULT.load(Ordering::Relaxed).try_into().unwrap()
        },
    },
    Row {
        caller: "64 KiB stack",
        expected: ok,
        call: |awaits| thread::Builder::new().stack_size(64 << 10).spawn(move || call(awaits)).unwrap().join().unwrap(),
    },
    Row { caller: "callback from C", expected: ok, call: callback_from_c },
    Row {
        caller: "our task, mixed",
        expected: ok,
        call: |awaits| {
            let ctx = AioContext::new().unwrap();
            ctx.block_on(ctx.spawn(async move { call_mixed(awaits) }))
        },
    },
    Row {
        caller: "our task, plain",
        expected: coroutine,
        call: |awaits| {
            let ctx = AioContext::new().unwrap();
            ctx.block_on(ctx.spawn(async move { call(awaits) }))
        },
    },
    Row { caller: "a wrapper's future, mixed", expected: ok, call: |awaits| within(awaits, true) },
    Row { caller: "a wrapper's future, plain", expected: coroutine, call: |awaits| within(awaits, false) },
    Row {
        caller: "task on our reactor",
        expected: ok,
        call: |awaits| {
            // Only the worker itself goes wrong when it is blocked without being told.
            let task = on_our_reactor(async move { call(awaits) });
            spawned(task)
        },
    },
    Row {
        caller: "… a foreign block_on in it",
        expected: warned,
        call: |awaits| {
            // Ours is the thread, and not ours to hand on: a foreign runtime is between its worker and the call.
            let task = on_our_reactor(async move {
                tokio::task::block_in_place(|| current_thread().block_on(async { call(awaits) }))
            });
            spawned(task)
        },
    },
    Row {
        caller: "tokio multi-thread: task",
        expected: ok,
        call: |awaits| {
            let host = Runtime::new().unwrap();
            host.block_on(async { tokio::spawn(async move { call(awaits) }).await.unwrap() })
        },
    },
    Row {
        caller: "… its one worker",
        expected: ok,
        call: |awaits| {
            let host = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            host.block_on(async { tokio::spawn(async move { call(awaits) }).await.unwrap() })
        },
    },
    Row {
        caller: "… block_on root",
        expected: ok,
        call: |awaits| Runtime::new().unwrap().block_on(async { call(awaits) }),
    },
    Row {
        caller: "… LocalSet",
        expected: ok,
        call: |awaits| {
            let host = Runtime::new().unwrap();
            LocalSet::new()
                .block_on(&host, async { tokio::task::spawn_local(async move { call(awaits) }).await.unwrap() })
        },
    },
    Row {
        caller: "tokio current-thread: task",
        expected: warned,
        call: |awaits| current_thread().block_on(async { tokio::spawn(async move { call(awaits) }).await.unwrap() }),
    },
    Row {
        caller: "… block_on root",
        expected: warned,
        call: |awaits| current_thread().block_on(async { call(awaits) }),
    },
    Row {
        caller: "… LocalSet",
        expected: warned,
        call: |awaits| {
            LocalSet::new().block_on(&current_thread(), async {
                tokio::task::spawn_local(async move { call(awaits) }).await.unwrap()
            })
        },
    },
    Row {
        caller: "… in an entered context",
        expected: warned,
        call: |awaits| {
            let ctx = AioContext::new().unwrap();
            let _guard = ctx.enter();
            current_thread().block_on(async { call(awaits) })
        },
    },
    Row {
        caller: "… a context's block_on in it",
        // The task is polled by our loop, which has no budget to run out of.
        expected: |awaits| if awaits == Awaits::Operation130 { Word::Ok } else { warned(awaits) },
        call: |awaits| {
            let ctx = AioContext::new().unwrap();
            current_thread().block_on(async { ctx.block_on(ctx.spawn(async move { awaits.wait().await })) })
        },
    },
    Row {
        caller: "thread-local destructor",
        expected: no_tokio,
        call: |awaits| {
            thread_local! { static LAST: Cell<Option<StoresOnDrop>> = const { Cell::new(None) } }
            thread::spawn(move || {
                LAST.set(Some(StoresOnDrop(awaits)));
                // So that tokio's thread-locals are there, and gone first.
                call(Awaits::Timer);
            })
            .join()
            .unwrap();
            match STORED.lock().unwrap().take().expect("the destructor has run") {
                Ok(result) => result,
                Err(message) => panic!("{message}"),
            }
        },
    },
];

static RESULT: AtomicI32 = AtomicI32::new(0);

/// A thread-local destructor may not panic.
static STORED: Mutex<Option<Result<u8, String>>> = Mutex::new(None);

struct CallsOnDrop(Awaits);

impl Drop for CallsOnDrop {
    fn drop(&mut self) {
        RESULT.store(call(self.0).into(), Ordering::Relaxed);
    }
}

struct StoresOnDrop(Awaits);

impl Drop for StoresOnDrop {
    fn drop(&mut self) {
        let result = catch_unwind(AssertUnwindSafe(|| call(self.0))).map_err(|payload| message_of(&*payload));
        *STORED.lock().unwrap() = Some(result);
    }
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Calls within a wrapper's future, which first waits, so that the nested loop is a loop within a loop.
fn within(awaits: Awaits, mixed: bool) -> u8 {
    #[co_wrapper]
    async fn co_outer(awaits: Awaits, mixed: bool) -> u8 {
        Awaits::Channel.wait().await;
        if mixed { call_mixed(awaits) } else { call(awaits) }
    }
    outer(awaits, mixed)
}

/// Spawns on the runtime that serves blocking calls.
#[co_wrapper]
async fn co_on_our_reactor(task: impl Future<Output = u8> + Send + 'static) -> tokio::task::JoinHandle<u8> {
    tokio::spawn(task)
}

#[co_wrapper]
async fn co_spawned(task: tokio::task::JoinHandle<u8>) -> u8 {
    task.await.unwrap()
}

unsafe extern "C" {
    fn qsort(base: *mut c_void, count: usize, size: usize, compare: extern "C" fn(*const c_void, *const c_void) -> i32);
}

fn callback_from_c(awaits: Awaits) -> u8 {
    static AWAITS: Mutex<Awaits> = Mutex::new(Awaits::Nothing);

    extern "C" fn compare(_: *const c_void, _: *const c_void) -> i32 {
        let awaits = *AWAITS.lock().unwrap();
        RESULT.store(call(awaits).into(), Ordering::Relaxed);
        0
    }

    *AWAITS.lock().unwrap() = awaits;
    let mut two = [1_u8, 2];
    // SAFETY: `base` points to as many elements of that size as it says, and `compare` reads none of them.
    unsafe { qsort(two.as_mut_ptr().cast(), two.len(), 1, compare) };
    RESULT.load(Ordering::Relaxed).try_into().unwrap()
}

fn message_of(payload: &(dyn std::any::Any + Send)) -> String {
    payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| payload.downcast_ref::<&str>().map(|message| (*message).to_owned()))
        .unwrap_or_default()
}

/// The child's part: one cell.
#[test]
#[ignore = "a cell, run by called_from"]
fn cell() {
    let Ok(cell) = env::var("CO_WRAPPER_CELL") else { return };
    let (row, column) = cell.split_once('/').unwrap();
    let row = &ROWS[row.parse::<usize>().unwrap()];
    let awaits = COLUMNS[column.parse::<usize>().unwrap()].1;
    let before = Handle::try_current().is_ok();
    let result = catch_unwind(|| (row.call)(awaits));
    assert_eq!(Handle::try_current().is_ok(), before, "w09: no trace is left in the thread");
    match result {
        Ok(result) => println!("CELL ok {result}"),
        Err(payload) => println!("CELL panic {}", message_of(&*payload).replace('\n', " ")),
    }
}

fn start(row: usize, column: usize) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "cell", "--ignored", "--nocapture", "--test-threads=1"])
        .env("CO_WRAPPER_CELL", format!("{row}/{column}"))
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What the child did, in the table's words.
fn word_of(mut child: Child) -> Result<Word, String> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            return Err("hangs".into());
        }
        thread::sleep(Duration::from_millis(1));
    }
    let (mut stdout, mut stderr) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    let said = stdout.lines().find_map(|line| line.split_once("CELL ")).map(|line| line.1);
    let warnings = stderr.matches("warning: a blocking call waits on the thread of a tokio current_thread").count();
    match said {
        Some("ok 42") if warnings == 0 => Ok(Word::Ok),
        Some("ok 42") if warnings == 1 => Ok(Word::Warned),
        Some(said) if said.starts_with("panic call: blocking call in coroutine context") => Ok(Word::Coroutine),
        Some(said) if said.starts_with("panic") && said.to_lowercase().contains("tokio") => Ok(Word::NoTokio),
        _ => Err(format!("{} ({warnings} warnings): {stdout}{stderr}", child.wait().unwrap())),
    }
}

/// Catches: whatever breaks a cell. To see it do so: without `unconstrained` the "130th op" of tokio's tasks hangs;
/// without the re-poll `yield_now` there does; without `block_in_place` the row of our reactor.
#[test]
fn called_from() {
    let mut table = String::from("| called from \\ awaits |");
    let mut wrong = Vec::new();
    for (name, _) in COLUMNS {
        table += &format!(" {name} |");
    }
    table += &format!("\n|---|{}\n", "---|".repeat(COLUMNS.len()));
    for (at, row) in ROWS.iter().enumerate() {
        table += &format!("| {} |", row.caller);
        // A row's cells side by side.
        let children: Vec<_> = (0..COLUMNS.len()).map(|column| start(at, column)).collect();
        for (child, (name, awaits)) in children.into_iter().zip(COLUMNS) {
            let (shown, expected) = (word_of(child), (row.expected)(awaits));
            table += &format!(" {} |", shown.as_ref().map_or("WRONG", |word| word.shown()));
            if shown != Ok(expected) {
                wrong.push(format!("{} / {name}: expected {expected:?}, got {shown:?}", row.caller));
            }
        }
        table += "\n";
    }
    std::io::stdout().write_all(table.as_bytes()).unwrap();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let readme = include_str!("../README.md");
    assert!(readme.contains(&table), "the README shows another table; put this one in its place");
}
