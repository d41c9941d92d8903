//! The process's own tokio runtime: its start, its handle, and the question whether its workers make progress.
//!
//! The first call that needs it starts it, and it never ends. Outer schedulers are not considered here (see
//! `outer.rs`).

use std::{
    cell::Cell,
    io,
    panic::Location,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::runtime::{self, Handle, Runtime};

use crate::sys::{fork, sync::plain_lock};

/// The number of worker threads. A task that blocks by means other than our calls holds its worker. If all workers were
/// held, no socket and no timer of the process would go on. So there are several, also on a single processor. An
/// additional worker costs a sleeping thread, and some 20 µs in the process's first call.
const WORKERS: usize = 4;

/// The name of its threads.
const NAME: &str = "co-wrapper-io";

/// Never dropped, because its resources may be in use for as long as the process lives.
static REACTOR: OnceLock<Reactor> = OnceLock::new();

pub(super) struct Reactor {
    pub runtime: Runtime,
    /// The id of its handle, which every call compares.
    pub id: runtime::Id,
}

thread_local! {
    /// Set on the reactor's own threads.
    pub(super) static OURS: Cell<bool> = const { Cell::new(false) };
    /// On a worker of the reactor: the task id that is current there while no task is polled.
    pub(super) static IDLE: Cell<Option<tokio::task::Id>> = const { Cell::new(None) };
}

/// The reactor, started if need be.
///
/// # Errors
///
/// No descriptors or no thread can be had. The next call tries again.
fn start() -> io::Result<&'static Reactor> {
    static STARTING: Mutex<()> = Mutex::new(());

    if let Some(reactor) = REACTOR.get() {
        return Ok(reactor);
    }
    fork::register();
    let _one_at_a_time = plain_lock(&STARTING);
    if let Some(reactor) = REACTOR.get() {
        return Ok(reactor);
    }
    // Tokio panics if it cannot start a worker thread or has no descriptors for its signals, so try both first.
    descriptors()?;
    threads()?;
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        // A blocking call in a task of the reactor keeps its thread while another takes over the worker. At this limit
        // nothing would go on, so it is so high that memory runs out first.
        .max_blocking_threads(32_768)
        .thread_name(NAME)
        .on_thread_start(|| OURS.set(true))
        .on_thread_park(|| IDLE.set(tokio::task::try_id()))
        .enable_all()
        .build()?;
    let id = runtime.handle().id();
    let reactor = REACTOR.get_or_init(|| Reactor { runtime, id });
    reactor.begin_what_waits();
    Ok(reactor)
}

/// Fails unless as many descriptors are available as a reactor takes.
fn descriptors() -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::net::UnixStream;
        // The eight of these four pairs: with all of tokio's features a reactor takes six.
        let _four = [UnixStream::pair()?, UnixStream::pair()?, UnixStream::pair()?, UnixStream::pair()?];
    }
    Ok(())
}

/// Fails unless as many threads can exist at once as the reactor has workers.
fn threads() -> io::Result<()> {
    let all_there = Mutex::new(());
    thread::scope(|scope| {
        let _not_yet = all_there.lock();
        for _ in 0..WORKERS {
            thread::Builder::new().name(NAME.into()).spawn_scoped(scope, || drop(all_there.lock()))?;
        }
        Ok(())
    })
}

/// Starts the reactor, for callers that can report an error.
///
/// # Errors
///
/// No descriptors or no thread can be had. The next call tries again.
pub fn ensure() -> io::Result<()> {
    start().map(drop)
}

/// The reactor's handle, for the function `name`.
///
/// # Panics
///
/// If it cannot be started.
#[track_caller]
pub fn handle(name: &str) -> Handle {
    ours(name).runtime.handle().clone()
}

/// A timer of the reactor's. Dropping it ends it, so that the reactor keeps nothing of a timer that nobody waits for.
#[cfg(any(feature = "coroutine", all(feature = "graph", not(loom))))]
pub struct Alarm(Option<tokio::task::AbortHandle>);

#[cfg(any(feature = "coroutine", all(feature = "graph", not(loom))))]
impl Alarm {
    /// Wakes `waker` after `duration`, if the reactor can be had.
    pub fn new(duration: Duration, waker: std::task::Waker) -> Self {
        let task = |reactor: &Reactor| {
            reactor.runtime.spawn(async move {
                tokio::time::sleep(duration).await;
                waker.wake();
            })
        };
        Self(start().ok().map(|reactor| task(reactor).abort_handle()))
    }
}

#[cfg(any(feature = "coroutine", all(feature = "graph", not(loom))))]
impl Drop for Alarm {
    fn drop(&mut self) {
        let task = self.0.take();
        if fork::is_child() {
            // Another of the parent's threads may hold a lock of its reactor.
            return std::mem::forget(task);
        }
        task.into_iter().for_each(|task| task.abort());
    }
}

/// A check whether each of the reactor's workers makes progress.
pub struct Question {
    /// Set by a task that any worker may run.
    answered: Arc<AtomicBool>,
    /// What each worker had done when the check began.
    workers: Vec<Done>,
}

/// How often a worker slept and woke, and for how long it has worked. Tokio updates the latter every few dozen polls
/// and whenever the worker sleeps.
#[derive(PartialEq)]
struct Done {
    slept_and_woke: u64,
    worked: Duration,
}

impl Done {
    fn by_each() -> Vec<Self> {
        if let Some(reactor) = REACTOR.get() {
            let metrics = reactor.runtime.metrics();
            let by = |worker| Self {
                slept_and_woke: metrics.worker_park_unpark_count(worker),
                worked: metrics.worker_total_busy_duration(worker),
            };
            return (0..metrics.num_workers()).map(by).collect();
        }
        Vec::new()
    }

    fn sleeps(&self) -> bool {
        !self.slept_and_woke.is_multiple_of(2)
    }
}

impl Question {
    /// Starts a check, if the reactor was started.
    pub fn ask() -> Option<Self> {
        let reactor = REACTOR.get()?;
        let answered = Arc::new(AtomicBool::new(false));
        let answer = Arc::clone(&answered);
        reactor.runtime.spawn(async move { answer.store(true, Ordering::Relaxed) });
        Some(Self { answered, workers: Done::by_each() })
    }

    /// Whether a worker ran the task, and every worker sleeps or has moved since.
    pub fn is_answered(&self) -> bool {
        let goes_on = |(then, now): (&Done, &Done)| now.sleeps() || now != then;
        self.answered.load(Ordering::Relaxed) && self.workers.iter().zip(&Done::by_each()).all(goes_on)
    }
}

/// Returns whether to go on.
type Look = Box<dyn Fn() -> bool + Send>;

/// What to call at intervals once the reactor is started.
static LATER: Mutex<Vec<(Duration, Look)>> = Mutex::new(Vec::new());

/// Has the reactor call `look` at this interval until it returns false, beginning when the reactor starts.
pub fn every(interval: Duration, look: impl Fn() -> bool + Send + 'static) {
    plain_lock(&LATER).push((interval, Box::new(look)));
    if let Some(reactor) = REACTOR.get() {
        reactor.begin_what_waits();
    }
}

impl Reactor {
    fn begin_what_waits(&self) {
        for (interval, look) in plain_lock(&LATER).drain(..) {
            self.runtime.spawn(async move {
                loop {
                    tokio::time::sleep(interval).await;
                    if !look() {
                        return;
                    }
                }
            });
        }
    }
}

/// The reactor, started if need be, for the function `name`.
///
/// # Panics
///
/// If it cannot be started.
#[inline]
#[track_caller]
pub(super) fn ours(name: &str) -> &'static Reactor {
    match REACTOR.get() {
        Some(reactor) => reactor,
        None => start_or_panic(name),
    }
}

/// The reactor, which an earlier [`Entered::look`](super::entered::Entered::look) has started.
#[inline]
pub(super) fn started() -> &'static Reactor {
    REACTOR.get().expect("started by the look before")
}

#[cold]
#[track_caller]
fn start_or_panic(name: &str) -> &'static Reactor {
    match start() {
        Ok(reactor) => reactor,
        Err(error) => panic!(
            "{name}: called at {}, and the tokio reactor that serves blocking calls cannot start: {error}; free file \
             descriptors or threads (ulimit -n, ulimit -u), or start it early with AioContext::new(), which returns the error",
            Location::caller()
        ),
    }
}
