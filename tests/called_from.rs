//! The contract's matrix: where a blocking call may be made from, and what it may wait for there.
//!
//! Every cell is a child process of this test under a watchdog. The table in the guide, `src/guide/called_from.md`,
//! is the one printed here: `cargo test --test called_from -- --nocapture`.

use std::{
    cell::Cell,
    env,
    io::{BufRead, BufReader, Read, Write},
    os::{raw::c_void, unix::net::UnixStream},
    panic::{AssertUnwindSafe, catch_unwind},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicI32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use co_wrapper::{AioContext, IoThread, co_wrapper};
use co_wrapper_test_support::BOUND;
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
    /// A timer of the foreign runtime that the caller runs in.
    HostsTimer,
    HostsSocket,
    /// A task of that runtime.
    HostsTask,
    /// The same while more of its tasks than it has workers wait for it in calls of their own.
    HostsTaskAllWait,
}

const COLUMNS: [(&str, Awaits); 14] = [
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
    ("host's timer", Awaits::HostsTimer),
    ("host's socket", Awaits::HostsSocket),
    ("host's task", Awaits::HostsTask),
    ("host's task, all workers wait", Awaits::HostsTaskAllWait),
];

/// The runtime of this cell that the caller runs in, and its handle, which may be of our reactor.
static RUNTIME: OnceLock<Runtime> = OnceLock::new();
static HOST: OnceLock<Handle> = OnceLock::new();

fn host(mut builder: Builder) -> &'static Runtime {
    let runtime = RUNTIME.get_or_init(|| builder.enable_all().build().unwrap());
    HOST.get_or_init(|| runtime.handle().clone());
    runtime
}

fn multi_thread() -> &'static Runtime {
    host(Builder::new_multi_thread())
}

fn current_thread() -> &'static Runtime {
    host(Builder::new_current_thread())
}

impl Awaits {
    fn needs_tokio(self) -> bool {
        matches!(self, Self::Timer | Self::Socket | Self::Spawn | Self::SpawnBlocking)
    }

    /// Whether it belongs to the caller's runtime.
    fn is_hosts(self) -> bool {
        matches!(self, Self::HostsTimer | Self::HostsSocket | Self::HostsTask | Self::HostsTaskAllWait)
    }

    async fn wait(self) -> u8 {
        let short = short();
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
            Self::HostsTimer => {
                let timer = {
                    let _entered = HOST.get().unwrap().enter();
                    tokio::time::sleep(short)
                };
                timer.await;
            }
            Self::HostsSocket => {
                let (mut here, there) = UnixStream::pair().unwrap();
                there.set_nonblocking(true).unwrap();
                let mut there = {
                    let _entered = HOST.get().unwrap().enter();
                    tokio::net::UnixStream::from_std(there).unwrap()
                };
                let writer = thread::spawn(move || {
                    thread::sleep(short);
                    here.write_all(&[7])
                });
                assert_eq!(there.read_u8().await.unwrap(), 7);
                writer.join().unwrap().unwrap();
            }
            Self::HostsTask => hosts_task().await,
            Self::HostsTaskAllWait => {
                let host = HOST.get().unwrap();
                let (arrived, arrives) = async_channel::unbounded();
                let (release, released) = async_channel::bounded::<()>(1);
                let waiting: Vec<_> = (0..2 * host.metrics().num_workers())
                    .map(|_| host.spawn(waits_in_a_call(arrived.clone(), released.clone())))
                    .collect();
                for _ in &waiting {
                    arrives.recv().await.unwrap();
                }
                host.spawn(async move { drop(release) }).await.unwrap();
                for task in waiting {
                    task.await.unwrap();
                }
                hosts_task().await;
            }
        }
        42
    }
}

/// Waits for a task of the host that waits itself.
async fn hosts_task() {
    let host = HOST.get().unwrap();
    let task = host.spawn(async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        tokio::task::yield_now().await;
    });
    task.await.unwrap();
}

async fn waits_in_a_call(arrived: async_channel::Sender<()>, released: async_channel::Receiver<()>) {
    #[co_wrapper]
    async fn co_wait(arrived: async_channel::Sender<()>, released: async_channel::Receiver<()>) {
        arrived.send(()).await.unwrap();
        assert!(released.recv().await.is_err(), "closed, for all at once");
    }
    wait(arrived, released);
}

#[co_wrapper]
async fn co_call(awaits: Awaits) -> u8 {
    awaits.wait().await
}

#[co_wrapper(mixed)]
async fn co_call_mixed(awaits: Awaits) -> u8 {
    awaits.wait().await
}

/// For so many milliseconds a cell waits, in most columns.
const WAITS_FOR: &str = "CO_WRAPPER_CELL_WAITS_FOR";

/// Waits of which each is tried when the one before it was over before the caller went to sleep.
const WAITS: [&str; 3] = ["20", "500", "5000"];

fn short() -> Duration {
    Duration::from_millis(env::var(WAITS_FOR).map_or(20, |text| text.parse().unwrap()))
}

/// Set where `block_on` is called in place of a wrapper.
const BY_BLOCK_ON: &str = "CO_WRAPPER_CELL_BY_BLOCK_ON";

fn blocks(awaits: Awaits) -> u8 {
    if env::var_os(BY_BLOCK_ON).is_some() { co_wrapper::block_on(awaits.wait()) } else { call(awaits) }
}

fn blocks_mixed(awaits: Awaits) -> u8 {
    if env::var_os(BY_BLOCK_ON).is_some() { co_wrapper::block_on(awaits.wait()) } else { call_mixed(awaits) }
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
    /// The panic of a forked child.
    Forked,
    /// It waits for ever, and the watchdog says so.
    Hang,
    /// There is no such cell.
    NoHost,
}

impl Word {
    fn shown(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warned => "ok, warned",
            Self::Coroutine => "panic (w03)",
            Self::NoTokio => "panic",
            Self::Forked => "panic (fork)",
            Self::Hang => "hang report",
            Self::NoHost => "–",
        }
    }
}

struct Row {
    caller: &'static str,
    expected: fn(Awaits) -> Word,
    call: fn(Awaits) -> u8,
}

fn ok(awaits: Awaits) -> Word {
    if awaits.is_hosts() { Word::NoHost } else { Word::Ok }
}

/// A runtime is current, and goes on elsewhere.
fn hosted(_: Awaits) -> Word {
    Word::Ok
}

/// Whoever has to wait there stops the runtime, and is told.
fn warned(awaits: Awaits) -> Word {
    if awaits.is_hosts() {
        return Word::Hang;
    }
    // A self-wake is over before the thread would sleep, and what is ready needs none, however often it is asked.
    if matches!(awaits, Awaits::Nothing | Awaits::SelfWake | Awaits::Operation130) { Word::Ok } else { Word::Warned }
}

fn coroutine(awaits: Awaits) -> Word {
    if awaits.is_hosts() { Word::NoHost } else { Word::Coroutine }
}

fn forked(awaits: Awaits) -> Word {
    if awaits.is_hosts() { Word::NoHost } else { Word::Forked }
}

/// Tokio's own thread-locals are gone.
fn no_tokio(awaits: Awaits) -> Word {
    if awaits.needs_tokio() { Word::NoTokio } else { ok(awaits) }
}

const ROWS: &[Row] = &[
    Row { caller: "plain thread", expected: ok, call: |awaits| thread::spawn(move || blocks(awaits)).join().unwrap() },
    Row {
        caller: "entered context",
        expected: ok,
        call: |awaits| {
            let ctx = AioContext::new().unwrap();
            let _guard = ctx.enter();
            blocks(awaits)
        },
    },
    Row {
        caller: "bottom half",
        expected: ok,
        call: |awaits| {
            let ctx = AioContext::new().unwrap();
            let (tx, rx) = async_channel::bounded(1);
            ctx.schedule_bh(move || tx.try_send(blocks(awaits)).unwrap());
            assert!(ctx.poll(true));
            rx.try_recv().unwrap()
        },
    },
    Row {
        caller: "IoThread's bottom half",
        expected: ok,
        call: |awaits| {
            let io = IoThread::spawn("called_from").unwrap();
            let (tx, rx) = std::sync::mpsc::channel();
            io.context().schedule_bh(move || tx.send(blocks(awaits)).unwrap());
            rx.recv().unwrap()
        },
    },
    Row {
        caller: "spawn_blocking",
        expected: hosted,
        call: |awaits| {
            multi_thread().block_on(async { tokio::task::spawn_blocking(move || blocks(awaits)).await.unwrap() })
        },
    },
    Row {
        caller: "futures' block_on",
        expected: ok,
        call: |awaits| futures::executor::block_on(async { blocks(awaits) }),
    },
    Row { caller: "smol", expected: ok, call: |awaits| smol::block_on(smol::spawn(async move { blocks(awaits) })) },
    Row { caller: "pollster", expected: ok, call: |awaits| pollster::block_on(async { blocks(awaits) }) },
    Row {
        caller: "bare Handle::enter()",
        expected: hosted,
        call: |awaits| {
            let _entered = multi_thread().enter();
            blocks(awaits)
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
        call: |awaits| {
            thread::Builder::new().stack_size(64 << 10).spawn(move || blocks(awaits)).unwrap().join().unwrap()
        },
    },
    Row { caller: "callback from C", expected: ok, call: callback_from_c },
    Row {
        caller: "our task, mixed",
        expected: ok,
        call: |awaits| {
            let ctx = AioContext::new().unwrap();
            ctx.block_on(ctx.spawn(async move { blocks_mixed(awaits) }))
        },
    },
    Row {
        caller: "our task, plain",
        expected: coroutine,
        call: |awaits| {
            let ctx = AioContext::new().unwrap();
            // co-check: allow — the cell says what happens here
            ctx.block_on(ctx.spawn(async move { blocks(awaits) }))
        },
    },
    Row { caller: "a wrapper's future, mixed", expected: ok, call: |awaits| within(awaits, true) },
    Row { caller: "a wrapper's future, plain", expected: coroutine, call: |awaits| within(awaits, false) },
    Row {
        caller: "task on our reactor",
        expected: hosted,
        call: |awaits| {
            HOST.get_or_init(co_wrapper::reactor);
            // Only the worker itself goes wrong when it is blocked without being told.
            let task = on_our_reactor(async move { blocks(awaits) });
            spawned(task)
        },
    },
    Row {
        caller: "… a foreign block_on in it",
        expected: warned,
        call: |awaits| {
            // Ours is the thread, and not ours to hand on: a foreign runtime is between its worker and the call.
            let task = on_our_reactor(async move {
                tokio::task::block_in_place(|| current_thread().block_on(async { blocks(awaits) }))
            });
            spawned(task)
        },
    },
    Row {
        caller: "tokio multi-thread: task",
        expected: hosted,
        call: |awaits| multi_thread().block_on(async { tokio::spawn(async move { blocks(awaits) }).await.unwrap() }),
    },
    Row {
        caller: "… its one worker",
        expected: hosted,
        call: |awaits| {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(1);
            host(builder).block_on(async { tokio::spawn(async move { blocks(awaits) }).await.unwrap() })
        },
    },
    Row {
        caller: "… a wrapper's future in it, mixed",
        expected: hosted,
        call: |awaits| {
            multi_thread().block_on(async { tokio::spawn(async move { within(awaits, true) }).await.unwrap() })
        },
    },
    Row {
        caller: "… a context's block_on in it",
        expected: hosted,
        call: |awaits| {
            let runtime = multi_thread();
            let task = async move {
                let ctx = AioContext::new().unwrap();
                ctx.block_on(ctx.spawn(async move { awaits.wait().await }))
            };
            runtime.block_on(async { tokio::spawn(task).await.unwrap() })
        },
    },
    Row {
        caller: "… block_in_place",
        expected: hosted,
        call: |awaits| {
            let task = async move { tokio::task::block_in_place(|| blocks(awaits)) };
            multi_thread().block_on(async { tokio::spawn(task).await.unwrap() })
        },
    },
    Row {
        caller: "… block_on root",
        expected: hosted,
        call: |awaits| multi_thread().block_on(async { blocks(awaits) }),
    },
    Row {
        caller: "… LocalSet on a worker",
        expected: hosted,
        call: |awaits| {
            let local = move || async move { tokio::task::spawn_local(async move { blocks(awaits) }).await.unwrap() };
            let blocks = move || Handle::current().block_on(LocalSet::new().run_until(local()));
            let task = async move { tokio::task::block_in_place(blocks) };
            multi_thread().block_on(async { tokio::spawn(task).await.unwrap() })
        },
    },
    Row {
        caller: "… LocalSet",
        expected: hosted,
        call: |awaits| {
            LocalSet::new().block_on(multi_thread(), async {
                tokio::task::spawn_local(async move { blocks(awaits) }).await.unwrap()
            })
        },
    },
    Row {
        caller: "tokio current-thread: task",
        expected: warned,
        call: |awaits| current_thread().block_on(async { tokio::spawn(async move { blocks(awaits) }).await.unwrap() }),
    },
    Row {
        caller: "… block_on root",
        expected: warned,
        call: |awaits| current_thread().block_on(async { blocks(awaits) }),
    },
    Row {
        caller: "… LocalSet",
        expected: warned,
        call: |awaits| {
            LocalSet::new().block_on(current_thread(), async {
                tokio::task::spawn_local(async move { blocks(awaits) }).await.unwrap()
            })
        },
    },
    Row {
        caller: "… in an entered context",
        expected: warned,
        call: |awaits| {
            let ctx = AioContext::new().unwrap();
            let _guard = ctx.enter();
            current_thread().block_on(async { blocks(awaits) })
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
    Row { caller: "forked child", expected: forked, call: in_forked_child },
];

static RESULT: AtomicI32 = AtomicI32::new(0);

/// A thread-local destructor may not panic.
static STORED: Mutex<Option<Result<u8, String>>> = Mutex::new(None);

struct CallsOnDrop(Awaits);

impl Drop for CallsOnDrop {
    fn drop(&mut self) {
        RESULT.store(blocks(self.0).into(), Ordering::Relaxed);
    }
}

struct StoresOnDrop(Awaits);

impl Drop for StoresOnDrop {
    fn drop(&mut self) {
        let result = catch_unwind(AssertUnwindSafe(|| blocks(self.0))).map_err(|payload| message_of(&*payload));
        *STORED.lock().unwrap() = Some(result);
    }
}

/// Calls within a wrapper's future, which first waits, so that the nested loop is a loop within a loop.
fn within(awaits: Awaits, mixed: bool) -> u8 {
    #[co_wrapper]
    async fn co_outer(awaits: Awaits, mixed: bool) -> u8 {
        Awaits::Channel.wait().await;
        // co-check: allow — the cell says what happens here
        if mixed { blocks_mixed(awaits) } else { blocks(awaits) }
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
        RESULT.store(blocks(awaits).into(), Ordering::Relaxed);
        0
    }

    *AWAITS.lock().unwrap() = awaits;
    let mut two = [1_u8, 2];
    // SAFETY: `base` points to as many elements of that size as it says, and `compare` reads none of them.
    unsafe { qsort(two.as_mut_ptr().cast(), two.len(), 1, compare) };
    RESULT.load(Ordering::Relaxed).try_into().unwrap()
}

/// Calls in a fork of this process, which has blocked before, and panics as the call does there.
fn in_forked_child(awaits: Awaits) -> u8 {
    call(Awaits::Timer);
    let (mut told, mut tells) = std::io::pipe().unwrap();
    // SAFETY: the child allocates and takes locks, which the C library makes fit for use after a fork; std's own, of
    // stderr, are free, for no other thread prints.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        let message = match catch_unwind(|| blocks(awaits)) {
            Ok(result) => result.to_string(),
            Err(payload) => message_of(&*payload),
        };
        let written = tells.write_all(message.as_bytes());
        // SAFETY: ends the child without running what belongs to its parent.
        unsafe { libc::_exit(i32::from(written.is_err())) };
    }
    drop(tells);
    let mut message = String::new();
    told.read_to_string(&mut message).unwrap();
    // The parent goes on.
    assert_eq!(call(Awaits::Socket), 42);
    panic!("{message}");
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
    // Thrice where a warning is due, which comes once.
    let times = if (row.expected)(awaits) == Word::Warned { 3 } else { 1 };
    let result = catch_unwind(|| (1..times).fold((row.call)(awaits), |_, _| (row.call)(awaits)));
    assert_eq!(Handle::try_current().is_ok(), before, "w09: no trace is left in the thread");
    match result {
        Ok(result) => println!("CELL ok {result}"),
        Err(payload) => println!("CELL panic {}", message_of(&*payload).replace('\n', " ")),
    }
}

/// A cell's process, and what it has printed so far.
struct Running {
    child: Child,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
    readers: Vec<thread::JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads `pipe` to its end.
fn read(pipe: impl Read + Send + 'static) -> (Arc<Mutex<String>>, thread::JoinHandle<()>) {
    let text = Arc::new(Mutex::new(String::new()));
    let reads = Arc::clone(&text);
    let reader = thread::spawn(move || {
        for line in BufReader::new(pipe).lines() {
            let mut text = reads.lock().unwrap();
            *text += &line.unwrap();
            *text += "\n";
        }
    });
    (text, reader)
}

fn start(row: usize, column: usize, by_block_on: bool, waits_for: &str, expected: Word) -> Running {
    let mut command = Command::new(env::current_exe().unwrap());
    command.env_remove("CO_WRAPPER_HANG_SECS").env_remove(BY_BLOCK_ON);
    if by_block_on {
        command.env(BY_BLOCK_ON, "1");
    }
    if COLUMNS[column].1.is_hosts() {
        // A busy machine does not make a call that ends look stuck.
        command.env("CO_WRAPPER_HANG_SECS", if expected == Word::Hang { "1" } else { "60" });
    }
    let mut child = command
        .args(["--exact", "cell", "--ignored", "--nocapture", "--test-threads=1"])
        .env("CO_WRAPPER_CELL", format!("{row}/{column}"))
        .env(WAITS_FOR, waits_for)
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (stdout, reads_stdout) = read(child.stdout.take().unwrap());
    let (stderr, reads_stderr) = read(child.stderr.take().unwrap());
    Running { child, stdout, stderr, readers: vec![reads_stdout, reads_stderr] }
}

/// What the child did, in the table's words.
fn word_of(mut cell: Running) -> Result<Word, String> {
    let deadline = Instant::now() + BOUND;
    while cell.child.try_wait().unwrap().is_none() {
        if cell.stderr.lock().unwrap().contains("hang report") {
            return Ok(Word::Hang);
        }
        if Instant::now() > deadline {
            return Err("hangs".into());
        }
        thread::sleep(Duration::from_millis(1));
    }
    cell.readers.drain(..).for_each(|reader| reader.join().unwrap());
    let (stdout, stderr) = (cell.stdout.lock().unwrap().clone(), cell.stderr.lock().unwrap().clone());
    let said = stdout.lines().find_map(|line| line.split_once("CELL ")).map(|line| line.1);
    let warnings = stderr.matches("warning: a blocking call waits on the thread of a tokio current_thread").count();
    match said {
        Some("ok 42") if warnings == 0 => Ok(Word::Ok),
        Some("ok 42") if warnings == 1 => Ok(Word::Warned),
        Some(said) if said.starts_with("panic call: blocking call in coroutine context") => Ok(Word::Coroutine),
        Some(said) if said.starts_with("panic co_wrapper: this process is a fork") => Ok(Word::Forked),
        Some(said) if said.starts_with("panic") && said.to_lowercase().contains("tokio") => Ok(Word::NoTokio),
        _ => Err(format!("{} ({warnings} warnings): {stdout}{stderr}", cell.child.wait().unwrap())),
    }
}

/// The table, and the cells that are not as `expected`.
fn table(by_block_on: bool, expected: impl Fn(&Row, Awaits) -> Word) -> (String, Vec<String>) {
    let mut table = String::from("| called from \\ awaits |");
    let mut wrong = Vec::new();
    for (name, _) in COLUMNS {
        table += &format!(" {name} |");
    }
    table += &format!("\n|---|{}\n", "---|".repeat(COLUMNS.len()));
    for (at, row) in ROWS.iter().enumerate() {
        table += &format!("| {} |", row.caller);
        // A row's cells side by side.
        let start = |column: usize, waits_for| {
            let expected = expected(row, COLUMNS[column].1);
            (expected != Word::NoHost).then(|| start(at, column, by_block_on, waits_for, expected))
        };
        let cells: Vec<_> = (0..COLUMNS.len()).map(|column| start(column, WAITS[0])).collect();
        for (column, cell) in cells.into_iter().enumerate() {
            let (name, awaits) = COLUMNS[column];
            let expected = expected(row, awaits);
            let mut shown = cell.map_or(Ok(Word::NoHost), word_of);
            for waits_for in &WAITS[1..] {
                // On a busy machine the wait may be over before the caller sleeps, who is then not warned.
                if (&shown, expected) == (&Ok(Word::Ok), Word::Warned) {
                    shown = word_of(start(column, waits_for).expect("it was there before"));
                }
            }
            table += &format!(" {} |", shown.as_ref().map_or("WRONG", |word| word.shown()));
            if shown != Ok(expected) {
                wrong.push(format!("{} / {name}: expected {expected:?}, got {shown:?}", row.caller));
            }
        }
        table += "\n";
    }
    (table, wrong)
}

/// Catches: whatever breaks a cell. To see it do so: without `unconstrained` the "130th op" of tokio's tasks hangs;
/// without the re-poll `yield_now` there does; without `block_in_place` the row of our reactor, and the host's task in
/// those of multi-thread runtimes; without the watchdog, or without what makes a child of a fork known, the cells of
/// theirs are "hangs".
#[test]
fn called_from() {
    let (table, wrong) = table(false, |row, awaits| (row.expected)(awaits));
    std::io::stdout().write_all(table.as_bytes()).unwrap();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let page = include_str!("../src/guide/called_from.md");
    assert!(page.contains(&table), "src/guide/called_from.md shows another table; put this one in its place");
}

/// Catches: a `block_on` that works in fewer places than a wrapper, or that does not nest in coroutine context.
#[test]
fn block_on_is_called_from_wherever_a_wrapper_is() {
    let (_, wrong) = table(true, |row, awaits| match (row.expected)(awaits) {
        Word::Coroutine => Word::Ok,
        expected => expected,
    });
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
