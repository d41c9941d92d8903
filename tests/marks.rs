//! The marks that take the graph lock, and `#[no_co_wrapper]`: every form of them is made and called.

#![cfg(all(feature = "graph", feature = "tokio"))]
// What is odd about these marks and signatures is what they are here for.
#![allow(clippy::needless_lifetimes, clippy::if_same_then_else)]

use co_wrapper::graph::{GRAPH, GraphLock, GraphRead, GraphWrite};
use co_wrapper::{AioContext, IoThread, co_wrapper, no_co_wrapper};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::task::{Context, Waker};
use std::time::Duration;
use std::{
    future, mem,
    pin::{Pin, pin},
    thread,
};

/// The main context has one home at a time, and one process-wide lock.
static MAIN: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    MAIN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

async fn later<T>(value: T) -> T {
    tokio::time::sleep(Duration::from_millis(1)).await;
    value
}

/// Whether somebody holds the read lock. A share of a lock that nobody holds is a panic.
fn is_read_locked(lock: &GraphLock) -> bool {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(lock.share()))).is_ok()
}

/// Whether somebody holds or wants the write lock.
fn is_closed_to_readers(lock: &GraphLock) -> bool {
    let read = || pin!(lock.read()).poll(&mut Context::from_waker(Waker::noop())).is_pending();
    // On a thread that holds nothing.
    thread::scope(|scope| scope.spawn(read).join().unwrap())
}

#[derive(Clone)]
struct Node {
    graph: GraphLock,
    size: u64,
}

impl Node {
    fn new(size: u64) -> Self {
        Node { graph: GraphLock::new(), size }
    }

    #[co_wrapper(mixed, bdrv_rdlock = self.graph, timeout)]
    async fn co_size<'g>(&self, add: u64, _graph: &'g GraphRead, (a, b): (u64, u64)) -> &u64 {
        assert_eq!((add, a, b), (1, 2, 3));
        assert!(is_read_locked(&self.graph));
        later(&self.size).await
    }

    #[co_wrapper(bdrv_rdlock = if self.size > 0 { &self.graph } else { &self.graph }, timeout, interrupt)]
    async fn co_held(&self, ever: bool) -> bool {
        if ever {
            future::pending::<()>().await;
        }
        later(is_read_locked(&self.graph)).await
    }

    #[co_wrapper(bdrv_rdlock = self.graph)]
    async unsafe fn co_trust(&mut self, _: &GraphRead) -> &mut u64 {
        later(&mut self.size).await
    }

    #[co_wrapper(bdrv_rdlock = self.graph)]
    fn co_boxed<'a>(&'a self, _graph: &'a GraphRead) -> std::pin::Pin<Box<dyn Future<Output = u64> + 'a>> {
        Box::pin(later(self.size))
    }

    #[co_wrapper(mixed, bdrv_rdlock = self.graph)]
    async fn co_panics(&self, _graph: &GraphRead) -> ! {
        later(()).await;
        panic!("as it should")
    }
}

/// Catches: a guard that is dropped before the async fn runs, one that is kept by a call that panics or is late.
#[test]
fn the_lock_is_held_and_given_back() {
    let mut node = Node::new(7);
    assert_eq!(node.size(1, (2, 3)), &7);
    assert!(node.held(false));
    assert!(node.held_timeout(true, Duration::from_millis(2)).is_err());
    assert_eq!(node.held_timeout(false, Duration::from_secs(3600)), Ok(true));
    assert_eq!(node.held_interruptible(false), Ok(true));
    co_wrapper::interrupt::Handle::current().interrupt();
    assert_eq!(node.held_interruptible(true), Err(co_wrapper::interrupt::Interrupted));
    // SAFETY: nothing is trusted.
    *unsafe { node.trust() } += 1;
    assert_eq!(node.boxed(), 8);
    assert!(std::panic::catch_unwind(|| node.panics()).is_err());
    assert!(!is_read_locked(&node.graph));
}

#[test]
fn the_process_s_lock_is_the_default() {
    #[co_wrapper(bdrv_rdlock)]
    async fn co_default(_graph: &co_wrapper::graph::GraphRead) -> bool {
        later(is_read_locked(&GRAPH)).await
    }
    let _alone = alone();
    assert!(default());
    assert!(!is_read_locked(&GRAPH));
}

/// Catches: a mixed wrapper that does not mind that its caller holds nothing. One that took the lock anew would get it too,
/// though not at once.
#[test]
fn a_mixed_one_shares_what_its_coroutine_holds() {
    let node = Node::new(9);
    let context = AioContext::current();
    let size = with_main_loop(|| {
        context.block_on(async {
            let guard = node.graph.read().await;
            let lock = node.graph.clone();
            AioContext::main().schedule_bh(move || drop(lock.write()));
            while !is_closed_to_readers(&node.graph) {
                thread::yield_now();
            }
            let size = node.size_timeout(1, (2, 3), Duration::from_secs(60)).copied();
            drop(guard);
            size
        })
    });
    assert_eq!(size, Ok(9));
    // Without a lock to share it is a panic, and no wait.
    let call = || context.block_on(async { *node.size(1, (2, 3)) });
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).is_err());
}

/// Catches: a mark that makes every wrapper `mixed`.
#[test]
fn a_plain_one_is_not_for_coroutines_though_they_hold_the_lock() {
    let node = Node::new(9);
    let call = || {
        AioContext::current().block_on(async {
            let _guard = node.graph.read().await;
            // co-check: allow — the test is about the panic
            node.held(false)
        })
    };
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).is_err());
    assert!(!is_read_locked(&node.graph));
}

/// Catches: a lock that is taken where the wrapper is called only, or not by the fns of a block that has it.
#[test]
fn in_another_context_the_lock_is_held_too() {
    struct Remote {
        ctx: AioContext,
        graph: GraphLock,
    }

    #[co_wrapper(ctx = self.ctx, bdrv_rdlock = self.graph)]
    impl Remote {
        #[co_wrapper]
        async fn co_place(&self, _graph: &GraphRead, name: &str) -> (bool, String) {
            later(()).await;
            (is_read_locked(&self.graph), format!("{name}{}", thread::current().name().unwrap()))
        }

        // The block's lock is for this one too, and it need not see the guard.
        #[co_wrapper]
        async fn co_blind(&self) -> bool {
            later(is_read_locked(&self.graph)).await
        }
    }

    struct Free;

    #[co_wrapper(bdrv_rdlock, suffix = "_blocking")]
    impl Free {
        async fn free(_graph: &GraphRead) -> bool {
            later(is_read_locked(&GRAPH)).await
        }
    }

    let io = IoThread::spawn("io-marks").unwrap();
    let remote = Remote { ctx: io.context().clone(), graph: GraphLock::new() };
    assert_eq!(remote.place("on "), (true, "on io-marks".to_owned()));
    assert!(remote.blind());
    assert!(!is_read_locked(&remote.graph));
    let _alone = alone();
    assert!(Free::free_blocking());
}

#[test]
fn in_a_trait_and_declared() {
    #[co_wrapper]
    trait Sized_ {
        fn graph(&self) -> &GraphLock;

        #[co_wrapper(bdrv_rdlock = self.graph())]
        async fn co_len(&self, graph: &GraphRead) -> usize;
    }

    impl Sized_ for Node {
        fn graph(&self) -> &GraphLock {
            &self.graph
        }

        async fn co_len(&self, _graph: &GraphRead) -> usize {
            assert!(is_read_locked(&self.graph));
            later(5).await
        }
    }

    mod elsewhere {
        pub async fn bdrv_co_sum(a: u8, _: &super::GraphRead, b: u8) -> u8 {
            super::later(a + b).await
        }
    }

    co_wrapper::declare! {
        #[co_wrapper(bdrv_rdlock)]
        fn bdrv_sum(a: u8, graph: &GraphRead, b: u8) -> u8 = elsewhere::bdrv_co_sum;
    }

    let _alone = alone();
    assert_eq!(Node::new(0).len(), 5);
    assert_eq!(bdrv_sum(1, 2), 3);
}

#[derive(Clone, Default)]
struct Parent {
    children: Arc<Mutex<Vec<String>>>,
}

impl Parent {
    /// Adds a child.
    #[no_co_wrapper(bdrv_wrlock)]
    fn attach(&self, name: &str, _graph: &GraphWrite, bytes: &[u8]) -> usize {
        assert_eq!(thread::current().name(), Some("main loop"));
        assert!(!co_wrapper::in_coroutine());
        let mut children = self.children.lock().unwrap();
        children.push(format!("{name}{}", bytes.len()));
        children.len()
    }

    #[no_co_wrapper(bdrv_rdlock, name = first_of)]
    fn first(&self, _graph: &GraphRead) -> Option<String> {
        assert!(is_read_locked(&GRAPH));
        self.children.lock().unwrap().first().cloned()
    }

    #[no_co_wrapper]
    fn take_all(self: Arc<Self>) -> Vec<String> {
        mem::take(&mut self.children.lock().unwrap())
    }

    #[no_co_wrapper]
    fn boom(&self) -> u8 {
        panic!("out of a bottom half")
    }
}

#[no_co_wrapper]
fn bdrv_pick<T: Clone + Send + 'static, const N: usize>(all: &[T; N], (at, _): (usize, u8), _: &'static str) -> T {
    all[at].clone()
}

#[co_wrapper]
trait Named {
    #[no_co_wrapper]
    fn name(&self, suffix: &str) -> String;

    #[no_co_wrapper]
    fn make(size: u64) -> u64 {
        size + 1
    }
}

impl Named for Node {
    fn name(&self, suffix: &str) -> String {
        format!("{}{suffix}", self.size)
    }
}

/// Runs `body` with a main loop on a thread of its own.
fn with_main_loop<T>(body: impl FnOnce() -> T) -> T {
    let _alone = alone();
    let (ready, is_ready) = mpsc::channel();
    let (stop, stopped) = mpsc::channel::<()>();
    let main_loop = thread::Builder::new().name("main loop".to_owned());
    let main_loop = main_loop.spawn(move || {
        let main = AioContext::main();
        let _home = main.enter();
        ready.send(()).unwrap();
        main.poll_while(|| matches!(stopped.try_recv(), Err(mpsc::TryRecvError::Empty)));
    });
    is_ready.recv().unwrap();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
    drop(stop);
    AioContext::main().notify();
    main_loop.unwrap().join().unwrap();
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[test]
fn out_of_coroutines() {
    with_main_loop(|| {
        AioContext::current().block_on(async {
            let parent = Parent::default();
            assert_eq!(parent.co_attach("a", &[1, 2]).await, 1);
            assert_eq!(parent.co_attach(&String::from("b"), &[]).await, 2);
            assert_eq!(parent.first_of().await.as_deref(), Some("a2"));
            assert_eq!(Arc::new(parent).take_co_all().await, ["a2", "b0"]);
            assert_eq!(bdrv_co_pick(&[5, 6, 7], (1, 0), "static").await, 6);
            assert_eq!(Node::new(4).co_name("!").await, "4!");
            assert_eq!(Node::co_make(4).await, 5);
        });
    });
}

/// Catches: a panic that stays in the main loop (then this hangs).
#[test]
fn a_panic_reaches_who_awaits_it() {
    with_main_loop(|| {
        let call = || AioContext::current().block_on(Parent::default().co_boom());
        let panic = std::panic::catch_unwind(call).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"out of a bottom half"));
    });
}

/// Blocking, as they are where nothing is known of us.
mod block {
    use super::{GRAPH, GraphRead, GraphWrite, is_read_locked};
    use std::sync::{Arc, Mutex, mpsc};
    use std::thread;

    #[derive(Clone, Default)]
    pub struct Disk<S>(pub Arc<Mutex<Vec<S>>>);

    impl<S: Clone> Disk<S> {
        pub fn disk_push(&self, graph: &GraphWrite, child: S) -> usize {
            assert_main_loop(is_write_locked(graph));
            let mut children = self.0.lock().unwrap();
            children.push(child);
            children.len()
        }

        pub fn first(&self, _: &GraphRead) -> Option<S> {
            assert_main_loop(is_read_locked(&GRAPH));
            self.0.lock().unwrap().first().cloned()
        }

        pub fn with(size: usize, child: S) -> Self {
            assert_main_loop(!is_read_locked(&GRAPH));
            Disk(Arc::new(Mutex::new(vec![child; size])))
        }

        pub async fn co_len(&self, _: &GraphRead) -> usize {
            assert!(is_read_locked(&GRAPH));
            let len = self.0.lock().unwrap().len();
            super::later(len).await
        }
    }

    pub fn bdrv_open<const N: usize>(name: &str, bytes: [u8; N]) -> String {
        assert_main_loop(!is_read_locked(&GRAPH));
        format!("{name}{bytes:?}")
    }

    pub fn activate(go_on: Arc<Mutex<mpsc::Receiver<()>>>) -> bool {
        assert_main_loop(true);
        go_on.lock().unwrap().recv().unwrap();
        is_read_locked(&GRAPH)
    }

    pub fn detach(graph: &GraphWrite, at: usize) -> usize {
        assert_main_loop(is_write_locked(graph));
        at + 1
    }

    fn is_write_locked(_: &GraphWrite) -> bool {
        super::is_closed_to_readers(&GRAPH)
    }

    #[track_caller]
    fn assert_main_loop(held: bool) {
        assert_eq!(thread::current().name(), Some("main loop"));
        assert!(!co_wrapper::in_coroutine());
        assert!(held, "the lock that it was declared under");
    }
}

co_wrapper::declare! {
    /// Opens it.
    #[no_co_wrapper]
    async fn bdrv_co_open<const N: usize>(name: &str, bytes: [u8; N]) -> String = block::bdrv_open;

    #[no_co_wrapper(bdrv_rdlock)]
    async fn bdrv_activate(go_on: Arc<Mutex<mpsc::Receiver<()>>>) -> bool = block::activate;

    #[no_co_wrapper(bdrv_wrlock)]
    async fn co_detach(graph: &GraphWrite, at: usize) -> usize;

    #[co_wrapper(bdrv_rdlock)]
    impl<S: Clone + Send + 'static> DiskTwins for block::Disk<S> {
        fn len(&self, graph: &GraphRead) -> usize;
        #[no_co_wrapper(bdrv_wrlock)]
        async fn disk_co_push(&self, graph: &GraphWrite, child: S) -> usize;
        #[no_co_wrapper(bdrv_rdlock)]
        async fn co_front(&self, graph: &GraphRead) -> Option<S> = first;
        #[no_co_wrapper]
        async fn co_with(size: usize, child: S) -> Self;
    }
}
use block::detach;

/// Catches: an async twin that runs where it is awaited, or without the lock that it was declared under.
#[test]
fn declared_out_of_coroutines() {
    with_main_loop(|| {
        AioContext::current().block_on(async {
            assert_eq!(bdrv_co_open("disk", [1, 2]).await, "disk[1, 2]");
            let (hold, go_on) = mpsc::channel();
            let mut activated = Box::pin(bdrv_activate(Arc::new(Mutex::new(go_on))));
            poll_once(&mut activated);
            hold.send(()).unwrap();
            assert!(activated.await);
            assert_eq!(co_detach(4).await, 5);
            let disk = block::Disk::co_with(2, 'a').await;
            assert_eq!(disk.disk_co_push('b').await, 3);
            assert_eq!(disk.co_front().await, Some('a'));
            // It waits for the lock as the others do.
            let guard = GRAPH.read().await;
            let mut push = Box::pin(disk.disk_co_push('c'));
            drop(guard);
            poll_once(&mut push);
            assert_eq!(push.await, 4);
        });
        assert_eq!(block::Disk::<u8>::default().len(), 0);
    });
}

/// Counts its drops.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[no_co_wrapper]
fn bdrv_run(began: mpsc::Sender<()>, go_on: Gate, text: &str, result: Counted) -> Counted {
    began.send(()).unwrap();
    go_on.0.lock().unwrap().recv().unwrap();
    // It has outlived what it was the copy of.
    assert_eq!(text, "borrowed");
    result
}

struct Gate(Mutex<mpsc::Receiver<()>>);

struct Run {
    began: mpsc::Receiver<()>,
    go_on: mpsc::Sender<()>,
    drops: Arc<AtomicUsize>,
}

fn run() -> (Run, Pin<Box<dyn Future<Output = Counted>>>) {
    let (began, has_begun) = mpsc::channel();
    let (go_on, gate) = mpsc::channel();
    let drops = Arc::new(AtomicUsize::new(0));
    let text = String::from("borrowed");
    let future = bdrv_co_run(began, Gate(Mutex::new(gate)), &text, Counted(Arc::clone(&drops)));
    (Run { began: has_begun, go_on, drops }, Box::pin(future))
}

fn poll_once<F: Future + ?Sized>(future: &mut Pin<Box<F>>) {
    assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

/// Whatever was scheduled in the main context before has run.
fn settle() {
    let (done, is_done) = mpsc::channel();
    AioContext::main().schedule_bh(move || done.send(()).unwrap());
    is_done.recv().unwrap();
}

/// Catches: a drop that cancels nothing.
#[test]
fn dropped_before_it_starts_it_never_runs() {
    with_main_loop(|| {
        let (run, future) = run();
        drop(future);
        assert_eq!(run.drops.load(Ordering::SeqCst), 1);
        assert!(run.began.recv().is_err());

        // Sent, and held up by another bottom half.
        let (hold, held) = mpsc::channel::<()>();
        AioContext::main().schedule_bh(move || assert!(held.recv().is_err()));
        let (Run { began, go_on, drops }, mut future) = self::run();
        poll_once(&mut future);
        drop(future);
        assert_eq!(drops.load(Ordering::SeqCst), 1);
        drop((hold, go_on));
        settle();
        assert!(began.recv().is_err());
    });
}

/// Catches: a result that is leaked when nobody hears it, a drop that waits (then this hangs).
#[test]
fn dropped_while_it_runs_it_runs_on() {
    with_main_loop(|| {
        let (run, mut future) = run();
        poll_once(&mut future);
        run.began.recv().unwrap();
        drop(future); // does not wait for it: it waits for us
        assert_eq!(run.drops.load(Ordering::SeqCst), 0);
        run.go_on.send(()).unwrap();
        settle();
        assert_eq!(run.drops.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn forgotten_it_has_all_that_it_needs() {
    with_main_loop(|| {
        let (run, mut future) = run();
        poll_once(&mut future);
        run.began.recv().unwrap();
        mem::forget(future); // and with it the frame that its argument was borrowed from
        run.go_on.send(()).unwrap();
        settle();
        // The result is the future's, which will not drop it.
        assert_eq!(run.drops.load(Ordering::SeqCst), 0);
    });
}
