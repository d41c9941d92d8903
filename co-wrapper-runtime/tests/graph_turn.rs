//! The writer's turn: a writer gets the lock after a bounded number of readers' sections, whatever the readers do or
//! fail to do.
//!
//! The bound is on the sections that readers begin between the writer's first wait and its turn. A reader that reads
//! again inside its section must come in at once, and a reader that another one waits for must come in eventually.

#![cfg(feature = "graph")]

mod common;

use std::{
    future::Future,
    hint,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use co_wrapper_runtime::{
    __private::{Wrapper, arg, no_co_read, poll_co, read_lock, read_lock_mixed},
    AioContext, IoThread,
    graph::{GraphLock, GraphRead},
};
use common::{
    main_loop::{NO_CO, change, on_main, poll_once},
    mixed, panic_of, plain, sized,
};
use futures::stream::{FuturesUnordered, StreamExt};

/// What a reader does in its section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    Empty,
    /// Works for so long, without an await.
    Busy(Duration),
    /// Sleeps for so long.
    Sleeps(Duration),
    /// Awaits another task of its context.
    AwaitsATask,
}

const SECTIONS: [Section; 5] = [
    Section::Empty,
    Section::Busy(Duration::from_micros(100)),
    Section::Sleeps(Duration::from_micros(100)),
    Section::Sleeps(Duration::from_millis(5)),
    Section::AwaitsATask,
];

/// The readers of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readers {
    /// Tasks of the main context.
    Main,
    /// Tasks of as many IOThreads' contexts.
    IoThreads(usize),
    /// Of both.
    Mixed,
    /// Branches of one task.
    Joined,
    /// Threads that make blocking calls.
    Threads,
    /// Tasks of a tokio runtime, of so many workers.
    #[cfg(feature = "tokio")]
    Tokio(usize),
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
struct Row {
    readers: Readers,
    tasks: usize,
    section: Section,
    /// How many locks a section takes, one within the other.
    nested: usize,
}

/// The lock, and the counts that its readers keep.
struct Books {
    lock: GraphLock,
    stop: AtomicBool,
    begun: AtomicUsize,
    inside: AtomicUsize,
}

impl Section {
    async fn run(self, ctx: &AioContext) {
        match self {
            Self::Empty => {}
            Self::Busy(time) => {
                let start = Instant::now();
                while start.elapsed() < time {
                    hint::spin_loop();
                }
            }
            Self::Sleeps(time) => ctx.sleep(time).await,
            Self::AwaitsATask => ctx.spawn(async {}).await,
        }
    }
}

/// Gives the others of its loop a turn.
async fn yield_now() {
    let mut polled = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut polled, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl Books {
    /// Sections without end.
    async fn read(&self, ctx: &AioContext, row: Row) {
        while !self.stop.load(Ordering::Relaxed) {
            let mut guards = vec![self.lock.read().await];
            self.begun.fetch_add(1, Ordering::SeqCst);
            let writers = self.inside.fetch_add(1, Ordering::SeqCst) / WRITER;
            assert_eq!(writers, 0, "a writer is in");
            row.section.run(ctx).await;
            for _ in 1..row.nested {
                guards.push(self.lock.read().await);
                row.section.run(ctx).await;
            }
            self.inside.fetch_sub(1, Ordering::SeqCst);
            // Outermost first, or last.
            if row.tasks.is_multiple_of(2) {
                guards.reverse();
            }
            drop(guards);
            yield_now().await;
        }
    }
}

const WRITER: usize = 1 << 32;

/// Starts the readers of a row; what is returned waits for their end.
fn start(main: &AioContext, books: &Arc<Books>, row: Row) -> Box<dyn FnOnce()> {
    let task = |ctx: &AioContext| {
        let (books, here) = (Arc::clone(books), ctx.clone());
        ctx.spawn(async move { books.read(&here, row).await })
    };
    let (main, ios) = match row.readers {
        Readers::Main | Readers::Joined => (Some(main.clone()), 0),
        Readers::IoThreads(ios) => (None, ios),
        Readers::Mixed => (Some(main.clone()), 2),
        Readers::Threads => {
            let threads: Vec<_> = (0..row.tasks)
                .map(|_| {
                    let books = Arc::clone(books);
                    thread::spawn(move || plain(books.read(&AioContext::current(), row)))
                })
                .collect();
            return Box::new(|| threads.into_iter().for_each(|thread| thread.join().unwrap()));
        }
        #[cfg(feature = "tokio")]
        Readers::Tokio(workers) => {
            let io = IoThread::spawn("timers").unwrap();
            let host = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).build().unwrap();
            let tasks: Vec<_> = (0..row.tasks)
                .map(|_| {
                    let (books, ctx) = (Arc::clone(books), io.context().clone());
                    host.spawn(async move { books.read(&ctx, row).await })
                })
                .collect();
            return Box::new(move || {
                tasks.into_iter().for_each(|task| plain(task).unwrap());
                drop(io);
                host.shutdown_background();
            });
        }
    };
    let ios: Vec<_> = (0..ios).map(|n| IoThread::spawn(&format!("io{n}")).unwrap()).collect();
    let contexts: Vec<_> = main.iter().chain(ios.iter().map(IoThread::context)).cloned().collect();
    let tasks: Vec<_> = if row.readers == Readers::Joined {
        let (books, here) = (Arc::clone(books), contexts[0].clone());
        let joined = async move {
            // Miri rejects `join_all` of futures that borrow from themselves: it takes shared references to them.
            let branches: FuturesUnordered<_> = (0..row.tasks).map(|_| books.read(&here, row)).collect();
            branches.collect::<Vec<()>>().await;
        };
        vec![contexts[0].spawn(joined)]
    } else {
        (0..row.tasks).map(|n| task(&contexts[n % contexts.len()])).collect()
    };
    Box::new(move || {
        let main = AioContext::main();
        tasks.into_iter().for_each(|task| main.block_on(task));
        drop(ios);
    })
}

/// How many sections each reader may begin while the writer waits. Two rounds would do on a machine that does nothing
/// else; here a thread may not run for a while, and each time the lock waits that long the readers get past once more.
const SECTIONS_EACH: usize = 40;

/// How many sections have begun when the main loop runs its next bottom halves. A writer that was about to queue waits
/// by then, or has the lock.
fn begun_when_it_waits(main: &AioContext, books: &Arc<Books>) -> Arc<OnceLock<usize>> {
    let before = Arc::new(OnceLock::new());
    let (note, books) = (Arc::clone(&before), Arc::clone(books));
    main.schedule_bh(move || note.set(books.begun.load(Ordering::SeqCst)).unwrap());
    before
}

/// Writes, on the main loop or by a task that awaits the main loop, and checks how many sections began meanwhile.
fn the_writer_has_its_turn(main: &AioContext, row: Row, awaits: bool) {
    let books = Arc::new(Books {
        lock: GraphLock::new(),
        stop: AtomicBool::new(false),
        begun: AtomicUsize::new(0),
        inside: AtomicUsize::new(0),
    });
    let finish = start(main, &books, row);
    for _ in 0..sized(3, 1) {
        // They are at it.
        let before = books.begun.load(Ordering::SeqCst);
        while books.begun.load(Ordering::SeqCst) < before + row.tasks {
            main.poll(false);
            thread::yield_now();
        }
        let seen = Arc::clone(&books);
        let write = move || {
            let inside = seen.inside.fetch_add(WRITER, Ordering::SeqCst);
            let begun = seen.begun.load(Ordering::SeqCst);
            thread::yield_now();
            seen.inside.fetch_sub(WRITER, Ordering::SeqCst);
            (inside, begun)
        };
        let ((inside, begun), before) = if awaits {
            let mut call = Box::pin(change(&books.lock, move |_| write()));
            // The bottom half that writes is queued by this.
            assert!(poll_once(call.as_mut()).is_pending());
            let before = begun_when_it_waits(main, &books);
            (plain(call), before)
        } else {
            let before = begun_when_it_waits(main, &books);
            let guard = books.lock.write();
            let seen = write();
            drop(guard);
            (seen, before)
        };
        assert_eq!(inside, 0, "{row:?}: a reader is in");
        // If it did not wait, nothing was begun.
        let begun = begun.saturating_sub(before.get().copied().unwrap_or(begun));
        assert!(begun <= row.tasks * SECTIONS_EACH, "{row:?}: {begun} sections were begun while the writer waited");
    }
    books.stop.store(true, Ordering::Relaxed);
    finish();
}

/// Every kind of section, by one reader and by several.
fn whatever_the_sections_are(readers: Readers) {
    on_main(move |main| {
        let tasks: &[usize] = if cfg!(miri) { &[3] } else { &[1, 8] };
        let sections = if cfg!(miri) { &SECTIONS[2..4] } else { &SECTIONS[..] };
        for &tasks in tasks {
            for &section in sections {
                for nested in 1..=sized(3, 2) {
                    let row = Row { readers, tasks, section, nested };
                    the_writer_has_its_turn(&main, row, nested == 2);
                }
            }
        }
    });
}

// Each catches: sections that are let past a waiting writer by the clock alone, so that those which read again, or are
// longer than what the clock says, overlap for ever; a second lock that waits for the writer which waits for the first.

#[test]
fn g07_the_writer_has_its_turn_among_tasks_of_its_own_context() {
    whatever_the_sections_are(Readers::Main);
}

#[test]
fn g07_the_writer_has_its_turn_among_tasks_of_another_context() {
    whatever_the_sections_are(Readers::IoThreads(1));
}

#[test]
fn g07_the_writer_has_its_turn_among_tasks_of_several_contexts() {
    whatever_the_sections_are(Readers::IoThreads(3));
}

#[test]
fn g07_the_writer_has_its_turn_among_tasks_of_its_own_context_and_of_others() {
    whatever_the_sections_are(Readers::Mixed);
}

#[test]
fn g07_g05_the_writer_has_its_turn_among_the_branches_of_one_task() {
    whatever_the_sections_are(Readers::Joined);
}

/// Two branches, or more, of which one is always in the middle of its section when the others' end: each reads again
/// beside a branch that was let past the writer, and then needs a second lock without it.
///
/// Catches: rounds that let all branches past, or that let their guards vouch for each other, for ever.
#[test]
fn g07_g05_the_writer_has_its_turn_among_branches_out_of_step() {
    /// Sections without end; each lock is held for `turns` polls before the next is taken.
    async fn branch(lock: &GraphLock, stop: &AtomicBool, begun: &AtomicUsize, nested: usize, turns: usize) {
        while !stop.load(Ordering::Relaxed) {
            let mut guards = Vec::new();
            for _ in 0..nested {
                guards.push(lock.read().await);
                for _ in 0..turns {
                    yield_now().await;
                }
            }
            begun.fetch_add(1, Ordering::Relaxed);
            drop(guards);
            yield_now().await;
        }
    }

    on_main(|main| {
        for branches in if cfg!(miri) { vec![2] } else { vec![2, 3, 8] } {
            for tasks in [1, 2] {
                for (nested, turns) in [(2, 1), (3, 1), (3, 2)] {
                    for apart in 0..=sized(2, 1) {
                        let lock = GraphLock::new();
                        let stop = Arc::new(AtomicBool::new(false));
                        let begun = Arc::new(AtomicUsize::new(0));
                        let tasks: Vec<_> = (0..tasks)
                            .map(|_| {
                                let (lock, stop, begun) = (lock.clone(), Arc::clone(&stop), Arc::clone(&begun));
                                main.spawn(async move {
                                    let (lock, stop, begun) = (&lock, &*stop, &*begun);
                                    let branches: FuturesUnordered<_> = (0..branches)
                                        .map(|n| async move {
                                            for _ in 0..n * apart {
                                                yield_now().await;
                                            }
                                            branch(lock, stop, begun, nested, turns).await;
                                        })
                                        .collect();
                                    branches.collect::<Vec<()>>().await;
                                })
                            })
                            .collect();
                        for _ in 0..branches * apart + 20 {
                            main.poll(false);
                        }
                        let before = begun.load(Ordering::Relaxed);
                        main.block_on(change(&lock, |_| ()));
                        let sections = begun.load(Ordering::Relaxed) - before;
                        let row = (branches, tasks.len(), nested, turns, apart);
                        assert!(sections <= branches * tasks.len() * SECTIONS_EACH, "{row:?}: {sections} sections");
                        stop.store(true, Ordering::Relaxed);
                        tasks.into_iter().for_each(|task| main.block_on(task));
                    }
                }
            }
        }
    });
}

/// Two branches that read hand over hand: each next guard is taken before the last but one is dropped. When a branch
/// asks, the lock cannot tell it from one that begins.
///
/// Catches: branches of which each read waits until nothing has moved for a while: the writer waits for minutes.
#[test]
#[cfg_attr(miri, ignore = "a few steps take longer there than a round")]
fn g07_g05_the_writer_has_its_turn_among_branches_that_read_hand_over_hand() {
    on_main(|main| {
        let lock = GraphLock::new();
        let stop = Arc::new(AtomicBool::new(false));
        let task = {
            let (lock, stop) = (lock.clone(), Arc::clone(&stop));
            main.spawn(async move {
                let (lock, stop) = (&lock, &*stop);
                let branch = |reads: usize| async move {
                    while !stop.load(Ordering::Relaxed) {
                        let mut guards = Vec::new();
                        for _ in 0..reads {
                            guards.push(lock.read().await);
                            yield_now().await;
                            if guards.len() > 2 {
                                drop(guards.remove(0));
                            }
                        }
                        drop(guards);
                        yield_now().await;
                    }
                };
                futures::join!(branch(20), branch(23));
            })
        };
        for _ in 0..10 {
            for _ in 0..100 {
                main.poll(false);
            }
            main.block_on(change(&lock, |_| ()));
        }
        stop.store(true, Ordering::Relaxed);
        main.block_on(task);
    });
}

#[test]
fn g07_the_writer_has_its_turn_among_blocking_calls() {
    whatever_the_sections_are(Readers::Threads);
}

#[cfg(feature = "tokio")]
#[test]
fn g07_the_writer_has_its_turn_among_tokio_tasks_of_one_thread() {
    whatever_the_sections_are(Readers::Tokio(1));
}

#[cfg(feature = "tokio")]
#[test]
fn g07_the_writer_has_its_turn_among_tokio_tasks() {
    whatever_the_sections_are(Readers::Tokio(3));
}

/// Catches: one reader's patience for all: a long section during which short ones come and go.
#[test]
fn g07_long_sections_among_short_ones() {
    on_main(|main| {
        let books = Arc::new(Books {
            lock: GraphLock::new(),
            stop: AtomicBool::new(false),
            begun: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
        });
        let row = |ms, nested| Row {
            readers: Readers::Mixed,
            tasks: 2,
            section: Section::Sleeps(Duration::from_millis(ms)),
            nested,
        };
        let finish = [row(0, 2), row(15, 1), row(40, 2)].map(|row| start(&main, &books, row));
        for _ in 0..sized(5, 2) {
            main.block_on(main.sleep(Duration::from_millis(3)));
            let before = begun_when_it_waits(&main, &books);
            let guard = books.lock.write();
            let begun = books.begun.load(Ordering::SeqCst);
            let begun = begun.saturating_sub(before.get().copied().unwrap_or(begun));
            drop(guard);
            assert!(begun <= 6 * SECTIONS_EACH, "{begun} sections were begun while the writer waited");
        }
        books.stop.store(true, Ordering::Relaxed);
        finish.into_iter().for_each(|finish| finish());
    });
}

/// How a reader comes to read again while a writer waits.
#[derive(Clone, Copy, Debug)]
enum Again {
    /// In the same coroutine.
    Same,
    /// In a future that it polls together with others.
    Joined,
    /// In a call of a mixed wrapper.
    Mixed,
    /// In two of them, one in the other.
    MixedTwice,
    /// In a mixed wrapper that takes the lock by its mark.
    Marked,
    /// By a share.
    Shared,
}

/// Catches: a reader that reads again and waits for the writer that waits for it. The writer is there before each, and no
/// time passes: what would come through when its patience ends does not do so at once.
#[test]
fn g07_who_reads_already_reads_again_at_once() {
    static MARKED: Wrapper = Wrapper { name: "bdrv_read", target: "bdrv_co_read", mixed: true };

    /// The first poll is to be ready.
    async fn at_once<F: Future>(future: F) -> F::Output {
        match poll_once(pin!(future)) {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("it waits for the writer that waits for it"),
        }
    }

    async fn read_again(lock: &GraphLock, again: Again) {
        match again {
            Again::Same => drop(at_once(lock.read()).await),
            Again::Joined => _ = at_once(futures::future::join_all((0..5).map(|_| lock.read()))).await,
            Again::Mixed => mixed(async { drop(at_once(lock.read()).await) }),
            Again::MixedTwice => mixed(async { mixed(async { drop(at_once(lock.read()).await) }) }),
            Again::Marked => {
                poll_co(&MARKED, read_lock_mixed(MARKED.name, lock), |lock| async { drop(at_once(lock.read()).await) });
            }
            Again::Shared => drop(lock.share()),
        }
    }

    on_main(|main| {
        let io = IoThread::spawn("io").unwrap();
        for again in [Again::Same, Again::Joined, Again::Mixed, Again::MixedTwice, Again::Marked, Again::Shared] {
            let lock = GraphLock::new();
            let reader = |lock: GraphLock, entered: async_channel::Sender<()>, go_on: async_channel::Receiver<()>| async move {
                let outer = lock.read().await;
                entered.send(()).await.unwrap();
                go_on.recv().await.unwrap();
                read_again(&lock, again).await;
                // And deeper, while those are held.
                let second = at_once(lock.read()).await;
                read_again(&lock, again).await;
                drop((outer, second));
            };
            let ((entered, enter), (go_on, goes_on)) = (async_channel::unbounded(), async_channel::unbounded());
            let readers = [
                main.spawn(reader(lock.clone(), entered.clone(), goes_on.clone())),
                main.spawn_local(reader(lock.clone(), entered.clone(), goes_on.clone())),
                io.context().spawn(reader(lock.clone(), entered.clone(), goes_on.clone())),
            ];
            let future = || reader(lock.clone(), entered.clone(), goes_on.clone());
            let threads = Vec::from([
                thread::spawn({
                    let future = future();
                    move || plain(future)
                }),
                #[cfg(feature = "tokio")]
                thread::spawn({
                    let future = future();
                    let host = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
                    move || host.block_on(host.spawn(future)).unwrap()
                }),
            ]);
            let count = readers.len() + threads.len();
            for _ in 0..count {
                main.block_on(enter.recv()).unwrap();
            }
            let mut writer = Box::pin(change(&lock, |_| ()));
            assert!(poll_once(writer.as_mut()).is_pending());
            main.poll(false);
            assert!(poll_once(pin!(lock.read())).is_pending(), "a writer waits");
            for _ in 0..count {
                go_on.try_send(()).unwrap();
            }
            for reader in readers {
                main.block_on(reader);
            }
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            main.block_on(writer);
        }
    });
}

/// Catches: a reader taken for another, which then gets past the writer: on another thread, in another task of the same
/// one, in a tokio task that comes to the same thread.
#[test]
fn g07_who_does_not_read_waits_for_the_writer() {
    on_main(|main| {
        let lock = GraphLock::new();
        let (in_task, held) = (lock.clone(), Arc::new(AtomicBool::new(false)));
        let (hold, flag) = (async_channel::bounded::<()>(1), Arc::clone(&held));
        let holder = main.spawn(async move {
            let _guard = in_task.read().await;
            flag.store(true, Ordering::Relaxed);
            hold.1.recv().await.unwrap();
        });
        while !held.load(Ordering::Relaxed) {
            main.poll(false);
        }
        let mut writer = Box::pin(change(&lock, |_| ()));
        assert!(poll_once(writer.as_mut()).is_pending());
        main.poll(false);
        let waits = |lock: &GraphLock| poll_once(pin!(lock.read())).is_pending();
        assert!(waits(&lock));
        let (one, other, third) = (lock.clone(), lock.clone(), lock.clone());
        assert!(main.block_on(main.spawn(async move { waits(&one) })));
        assert!(plain(async move { waits(&other) }));
        assert!(thread::spawn(move || waits(&third)).join().unwrap());
        hold.0.try_send(()).unwrap();
        main.block_on(holder);
        main.block_on(writer);
    });
}

/// What becomes of a reader's future that waited for a writer, and was let in.
#[derive(Clone, Copy, Debug)]
enum Left {
    /// It lost a `select!` and is kept.
    Kept,
    /// It is forgotten.
    Forgotten,
    /// It is dropped.
    Dropped,
    /// It is kept, and polled again much later.
    PolledLater,
}

/// Catches: readers that are counted when they are let in and not when they come in: nobody polls them.
#[test]
fn g07_a_reader_that_is_not_polled_bars_nobody() {
    type Reading = Pin<Box<dyn Future<Output = GraphRead> + Send>>;

    on_main(|main| {
        for left in [Left::Kept, Left::Forgotten, Left::Dropped, Left::PolledLater] {
            for how_many in [1, 5] {
                for behind_one_that_waits in [false, true] {
                    let row = (left, how_many, behind_one_that_waits);
                    let lock: &'static GraphLock = Box::leak(Box::new(GraphLock::new()));
                    let in_task = main.spawn(async move {
                        // One task that waits for the lock in one branch, gives it up, and writes in another.
                        let mut readings: Vec<Reading> = Vec::new();
                        let guard = lock.read().await.hand_over();
                        let mut first = Box::pin(change(lock, |_| ()));
                        if behind_one_that_waits {
                            assert!(futures::poll!(first.as_mut()).is_pending());
                            // Until the main loop has it.
                            while !poll_once(pin!(lock.read())).is_pending() {
                                yield_now().await;
                            }
                        }
                        for _ in 0..how_many {
                            let mut reading: Reading = Box::pin(lock.read());
                            if futures::poll!(reading.as_mut()).is_pending() {
                                readings.push(reading);
                            }
                        }
                        drop(guard);
                        first.await;
                        match left {
                            Left::Dropped => drop(std::mem::take(&mut readings)),
                            Left::Forgotten => std::mem::take(&mut readings).into_iter().for_each(std::mem::forget),
                            Left::Kept | Left::PolledLater => {}
                        }
                        // None was polled since it was let in.
                        for _ in 0..3 {
                            change(lock, |_| ()).await;
                        }
                        if matches!(left, Left::PolledLater) {
                            for reading in readings.drain(..) {
                                drop(reading.await);
                            }
                            change(lock, |_| ()).await;
                        }
                    });
                    main.block_on(in_task);
                    drop(lock.write());
                    assert!(poll_once(pin!(lock.read())).is_ready(), "{row:?}");
                }
            }
        }
    });
}

/// How the main loop writes again and again.
type Writes = (&'static str, fn(&GraphLock));

const WRITES: &[Writes] = &[
    ("a write", |lock| drop(lock.write())),
    ("a write that has no time", |lock| drop(lock.write_timeout(Duration::ZERO))),
    ("a bottom half that writes", |lock| plain(change(lock, |_| ()))),
    #[cfg(all(feature = "coroutine", not(miri)))]
    ("a coroutine that writes", |lock| {
        let lock = lock.clone();
        // SAFETY: it has no scope in a thread-local while a call waits.
        co_wrapper_runtime::block_on(unsafe { co_wrapper_runtime::Coroutine::new(move || drop(lock.write())) });
    }),
];

/// Catches: a writer that does not wait for readers that the last writer let in: writers in succession would keep
/// readers out for ever. One that waits for them by the clock alone: the first write after a pause, in which their loop did
/// not run, would come too soon, and all that follow too.
#[test]
fn g07_writers_in_a_row_let_the_readers_in_that_wait() {
    on_main(|main| {
        for &(what, write) in WRITES {
            for pause in [Duration::ZERO, Duration::from_millis(30)] {
                for readers in [1, 5] {
                    let lock = GraphLock::new();
                    let guard = lock.write();
                    let came_in = Arc::new(AtomicUsize::new(0));
                    for _ in 0..readers {
                        let (in_task, came_in) = (lock.clone(), Arc::clone(&came_in));
                        drop(main.spawn(async move {
                            let _guard = in_task.read().await;
                            came_in.fetch_add(1, Ordering::Relaxed);
                        }));
                    }
                    main.poll(false);
                    drop(guard);
                    // Longer than a writer waits for those that the last one let in.
                    thread::sleep(pause);
                    let mut writes = 0;
                    while came_in.load(Ordering::Relaxed) < readers {
                        // Its loop runs one of them at least.
                        write(&lock);
                        writes += 1;
                        assert!(writes <= 10 * readers, "{what} after {pause:?}: {writes} went before a reader");
                    }
                }
            }
        }
    });
}

/// Catches: a lock that nobody holds, and that is not taken in time because a reader that was let in is not polled.
#[test]
fn g07_w10_a_write_that_has_no_time_does_not_wait_for_a_reader_that_is_not_polled() {
    on_main(|main| {
        let lock = GraphLock::new();
        let guard = lock.write();
        let (kept, in_task) = (Arc::new(Mutex::new(None)), lock.clone());
        let keeps = Arc::clone(&kept);
        // A task, for here it would be refused.
        drop(main.spawn(async move {
            let mut reading = Box::pin(async move { in_task.read().await });
            assert!(poll_once(reading.as_mut()).is_pending());
            *keeps.lock().unwrap() = Some(reading);
        }));
        main.poll(false);
        assert!(kept.lock().unwrap().is_some());
        drop(guard);
        // It waits until the reader has had its time.
        drop(lock.write());
        assert!(lock.write_timeout(Duration::ZERO).is_ok());
        #[cfg(all(feature = "coroutine", not(miri)))]
        for timeout in [Duration::ZERO, Duration::from_millis(1)] {
            let own = lock.clone();
            // SAFETY: it has no scope in a thread-local while a call waits.
            let writes = unsafe { co_wrapper_runtime::Coroutine::new(move || own.write_timeout(timeout).is_ok()) };
            assert!(main.block_on(writes), "{timeout:?}");
        }
        drop(kept);
    });
}

/// Catches: readers that give up while the writer waits for them, at any of their stages; a writer that gives up.
#[test]
fn g07_g04_readers_and_writers_that_give_up_while_others_wait() {
    on_main(|main| {
        let books = Arc::new(Books {
            lock: GraphLock::new(),
            stop: AtomicBool::new(false),
            begun: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
        });
        let row = Row {
            readers: Readers::Mixed,
            tasks: sized(4, 2),
            section: Section::Sleeps(Duration::from_micros(100)),
            nested: 2,
        };
        let finish = start(&main, &books, row);
        let gives_up = {
            let (books, ctx) = (Arc::clone(&books), main.clone());
            main.spawn(async move {
                let mut kept = Vec::new();
                while !books.stop.load(Ordering::Relaxed) {
                    // Reads, against a timeout that wins at one time or another.
                    let mut reading = Box::pin(async { books.lock.read().await });
                    let timeout = pin!(ctx.sleep(Duration::from_micros(300)));
                    match futures::future::select(reading.as_mut(), timeout).await {
                        futures::future::Either::Left((guard, _)) => drop(guard),
                        futures::future::Either::Right(_) if kept.len() < 5 => {
                            let lock = books.lock.clone();
                            let mut another = Box::pin(async move { drop(lock.read().await) });
                            if futures::poll!(another.as_mut()).is_pending() {
                                kept.push(another);
                            }
                        }
                        futures::future::Either::Right(_) => {}
                    }
                    yield_now().await;
                }
            })
        };
        for n in 0..sized(20, 2) {
            let mut cancelled = Box::pin(change(&books.lock, |_| ()));
            let _ = poll_once(cancelled.as_mut());
            main.block_on(main.sleep(Duration::from_micros(200)));
            if n % 2 == 0 {
                drop(cancelled);
                drop(books.lock.write());
            } else {
                drop(books.lock.write());
                drop(cancelled);
            }
        }
        books.stop.store(true, Ordering::Relaxed);
        main.block_on(gives_up);
        finish();
        drop(books.lock.write());
    });
}

/// Catches: one that a reader waits for and that reads often, each time held back for longer.
#[test]
fn g01_a_reader_that_waits_for_one_that_reads_often_goes_on() {
    on_main(|main| {
        let lock = GraphLock::new();
        let (tx, rx) = async_channel::bounded(1);
        let (outer, inner) = (lock.clone(), lock.clone());
        let holder = main.spawn(async move {
            let _guard = outer.read().await;
            rx.recv().await.unwrap()
        });
        main.poll(false);
        let worker = main.spawn(async move {
            for _ in 0..sized(12, 3) {
                drop(inner.read().await);
                yield_now().await;
            }
            tx.send(5).await.unwrap();
        });
        drop(lock.write());
        assert_eq!(main.block_on(holder), 5);
        main.block_on(worker);
    });
}

/// A reading bottom half, and one that reads by its mark in another context, behind a writer that waits.
///
/// Catches: readers that are polled by something other than their waiter and are therefore never let in.
#[test]
fn g01_reading_calls_of_every_kind_get_past_a_writer_that_waits_for_who_awaits_them() {
    on_main(|main| {
        let lock = GraphLock::new();
        let io = IoThread::spawn("io").unwrap();
        let (in_task, there) = (lock.clone(), io.context().clone());
        let (entered, enter) = async_channel::bounded(1);
        let (go_on, goes_on) = async_channel::bounded::<()>(1);
        let reader = main.spawn(async move {
            let _guard = in_task.read().await;
            entered.send(()).await.unwrap();
            goes_on.recv().await.unwrap();
            let half = no_co_read(&NO_CO, in_task.clone(), (), |(), _: &GraphRead| arg(1)).await;
            let lock = read_lock("bdrv_read", &in_task);
            let task = there.spawn(async move {
                let _guard = lock.read().await;
                2
            });
            half + task.await
        });
        main.block_on(enter.recv()).unwrap();
        main.schedule_bh(move || go_on.try_send(()).unwrap());
        drop(lock.write());
        assert_eq!(main.block_on(reader), 3);
    });
}

/// Catches: g03 lost to guards that were taken while a writer waited.
#[test]
fn g03_writing_where_one_has_read_again_is_refused() {
    on_main(|main| {
        let lock = GraphLock::new();
        let in_task = lock.clone();
        let task = main.spawn(async move {
            let outer = in_task.read().await;
            // co-check: allow — the test is about the panic
            let mut writer = Box::pin(async { panic_of(|| mixed(async { drop(in_task.write()) })) });
            let message = futures::poll!(writer.as_mut());
            drop(outer);
            message
        });
        let Poll::Ready(message) = main.block_on(task) else { panic!("it waits") };
        assert!(message.contains("GraphLock::write"), "{message}");
    });
}
