//! The reactor, with the feature `tokio`.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    io,
    panic::Location,
    pin::pin,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use tokio::runtime::{self, EnterGuard, Handle, Runtime, RuntimeFlavor};

use super::Below;
use crate::{fork, hang::watchdog};

/// Never dropped: its resources may be in use as long as the process lives.
static REACTOR: OnceLock<Reactor> = OnceLock::new();

struct Reactor {
    runtime: Runtime,
    /// Its handle's, which every call compares.
    id: runtime::Id,
}

thread_local! {
    /// Set on the reactor's own threads.
    static OURS: Cell<bool> = const { Cell::new(false) };
}

/// The reactor, started if need be.
///
/// # Errors
///
/// No descriptors or no thread for it. The next call tries again.
fn start() -> io::Result<&'static Reactor> {
    static STARTING: Mutex<()> = Mutex::new(());

    if let Some(reactor) = REACTOR.get() {
        return Ok(reactor);
    }
    fork::register();
    let _one_at_a_time = STARTING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(reactor) = REACTOR.get() {
        return Ok(reactor);
    }
    // Tokio panics where no thread can be had for its worker, or no descriptors for its signals, so ask for them first.
    descriptors()?;
    thread::Builder::new().name("co-wrapper-io".into()).spawn(|| ())?.join().expect("an empty thread does not panic");
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(1)
        // A blocking call in a task of the reactor keeps its thread while another goes on, and at the limit nothing
        // would go on: so high that memory ends first.
        .max_blocking_threads(32_768)
        .thread_name("co-wrapper-io")
        .on_thread_start(|| OURS.set(true))
        .enable_all()
        .build()?;
    let id = runtime.handle().id();
    let reactor = REACTOR.get_or_init(|| Reactor { runtime, id });
    watchdog::at_reactor_start();
    Ok(reactor)
}

/// Fails unless as many descriptors can be had as a reactor takes.
fn descriptors() -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::net::UnixStream;
        // Six with all of tokio's features.
        let _four = [UnixStream::pair()?, UnixStream::pair()?, UnixStream::pair()?, UnixStream::pair()?];
    }
    Ok(())
}

/// Starts the reactor, for callers that can report an error.
///
/// # Errors
///
/// As `start`.
pub fn ensure() -> io::Result<()> {
    start().map(drop)
}

/// Wakes `waker` after `duration`, if the reactor can be had.
#[cfg(all(feature = "graph", not(loom)))]
pub fn wake_after(duration: Duration, waker: Waker) {
    if let Ok(reactor) = start() {
        reactor.runtime.spawn(async move {
            tokio::time::sleep(duration).await;
            waker.wake();
        });
    }
}

/// Whether a tokio runtime's task is being polled here, which may go on on another thread.
#[cfg(feature = "graph")]
#[inline]
pub fn in_a_task() -> bool {
    tokio::task::try_id().is_some()
}

/// Has the reactor's worker set `answered`, if it was started.
pub fn ask(answered: Arc<AtomicBool>) -> bool {
    let Some(reactor) = REACTOR.get() else { return false };
    reactor.runtime.spawn(async move { answered.store(true, Ordering::Relaxed) });
    true
}

/// Has the reactor call `look` in such intervals, as long as that says to go on.
pub fn every(interval: Duration, look: impl Fn() -> bool + Send + 'static) {
    let Some(reactor) = REACTOR.get() else { return };
    reactor.runtime.spawn(async move {
        loop {
            tokio::time::sleep(interval).await;
            if !look() {
                return;
            }
        }
    });
}

/// Which tokio handle a call found current. In this order, so that what a call asks is one comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Found {
    Ours,
    /// None, and none can be entered.
    Destroyed,
    // Beside these ours was made current.
    Nothing,
    Foreign,
    ForeignCurrentThread,
}

/// The reactor's handle is current while this lives, together with the [`Guard`] that it needs.
#[derive(Debug)]
pub struct Entered {
    found: Found,
}

/// Makes the reactor's handle current.
pub type Guard = EnterGuard<'static>;

/// How many [`Entered`] on a stack found a foreign handle.
#[derive(Clone, Copy)]
struct Foreign {
    any: u32,
    current_thread: u32,
}

thread_local! {
    static FOREIGN: Cell<Foreign> = const { Cell::new(Foreign { any: 0, current_thread: 0 }) };
}

impl Entered {
    /// Looks, for the function `name`, which handle is current. Where that is not ours the caller takes [`guard`](Self::guard) too, and keeps it for
    /// longer than this.
    ///
    /// # Panics
    ///
    /// If the reactor cannot be started.
    #[inline]
    #[track_caller]
    pub fn look(name: &str) -> Self {
        let ours = match REACTOR.get() {
            Some(reactor) => reactor.id,
            None => start_or_panic(name).id,
        };
        // What another frame entered says nothing: a foreign `block_on` may be between it and us. By reference: to move
        // what was just written costs more than to ask.
        let found = match &Handle::try_current() {
            Ok(current) if current.id() == ours => Found::Ours,
            Ok(current) if current.runtime_flavor() == RuntimeFlavor::CurrentThread => Found::ForeignCurrentThread,
            Ok(_) => Found::Foreign,
            // A thread-local destructor, after tokio's own was run.
            Err(error) if error.is_thread_local_destroyed() => Found::Destroyed,
            Err(_) => Found::Nothing,
        };
        if found >= Found::Foreign {
            found.count(1);
        }
        Self { found }
    }

    /// Whether ours is not current without a guard.
    #[inline]
    pub fn needs_guard(&self) -> bool {
        self.found >= Found::Nothing
    }

    /// The guard. To be kept where it is returned: to move it costs a call as much as all the rest.
    #[inline]
    pub fn guard() -> Guard {
        REACTOR.get().expect("started by the look before").runtime.enter()
    }
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        if self.found >= Found::Foreign {
            self.found.count(-1);
        }
    }
}

impl Found {
    #[cold]
    fn count(self, change: i32) {
        let Foreign { any, current_thread } = FOREIGN.get();
        let one = i32::from(self == Self::ForeignCurrentThread) * change;
        FOREIGN.set(Foreign {
            any: any.wrapping_add_signed(change),
            current_thread: current_thread.wrapping_add_signed(one),
        });
    }
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

impl Entered {
    /// Whether another runtime's task may be above, whose cooperative budget the call's first poll would use up. What then waits
    /// inside a `FuturesUnordered` is woken by the scheduler alone, which the call blocks: polling the whole again does
    /// not reach it.
    #[inline]
    pub fn may_be_in_a_foreign_task(&self) -> bool {
        // A worker of ours passes on what it kept back when it hands its work on.
        self.found >= Found::Foreign
    }

    /// Whether tokio's thread-locals are gone here, so that none of its handles can be entered.
    pub fn is_after_tokio(&self) -> bool {
        self.found == Found::Destroyed
    }

    /// More of what stands still below a call that blocks, for hang reports, where `below` is nothing that we know of.
    pub fn below(&self, below: Below) -> Below {
        let foreign = FOREIGN.get();
        match below {
            Below::Nothing if self.found == Found::Destroyed => Below::Ended,
            Below::Nothing if foreign.current_thread > 0 => Below::Undriven,
            Below::Nothing if foreign.any > 0 => Below::LocalSet,
            below => below,
        }
    }

    /// What stands above a call on this thread that is about to block.
    pub fn above(&self) -> Above {
        if !wakes_are_deferred() {
            return Above::Nothing;
        }
        let foreign = FOREIGN.get();
        // Elsewhere, in a `LocalSet` say, handing on panics, and nothing public tells where; on a worker of ours with
        // nobody else's handle on the stack it is legal.
        if OURS.get() && self.found == Found::Ours && foreign.any == 0 {
            return Above::OurWorker;
        }
        if foreign.current_thread == 0 {
            return Above::Scheduler(Below::Worker);
        }
        Above::Scheduler(Below::CurrentThread)
    }
}

/// What stands above a call that is about to block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Above {
    /// Nobody who minds.
    Nothing,
    /// A worker of our reactor, which lets its work go on elsewhere when told.
    OurWorker,
    /// A tokio scheduler that is stopped by us, and that keeps back wakes such as `yield_now`'s until we return.
    Scheduler(Below),
}

impl Above {
    /// Whether wakes may come only after we returned.
    pub fn defers_wakes(self) -> bool {
        matches!(self, Self::Scheduler(_))
    }

    /// What stands still meanwhile.
    pub fn below(self) -> Below {
        match self {
            Self::Nothing | Self::OurWorker => Below::Nothing,
            Self::Scheduler(below) => below,
        }
    }
}

/// A waker that knows whether it was woken.
struct Probe(AtomicBool);

impl Wake for Probe {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn probe() -> (Arc<Probe>, Waker) {
    let probe = Arc::new(Probe(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&probe));
    (probe, waker)
}

// One a thread, so that asking allocates nothing. A wake that was kept back comes on this thread, between two questions.
thread_local! { static PROBE: (Arc<Probe>, Waker) = probe(); }

/// Makes what this thread's calls need when they sleep, so that the first to sleep, which may be any, allocates nothing.
pub fn prepare_thread() {
    // In thread-local destructors it may be gone.
    let _ = PROBE.try_with(|_| ());
}

/// Asks tokio: a scheduler keeps `yield_now`'s wake for later, and without one it comes at once. Nothing public tells.
fn wakes_are_deferred() -> bool {
    fn ask(probe: &Arc<Probe>, waker: &Waker) -> bool {
        probe.0.store(false, Ordering::Relaxed);
        let first = pin!(tokio::task::yield_now()).poll(&mut Context::from_waker(waker));
        debug_assert!(first.is_pending());
        !probe.0.load(Ordering::Relaxed)
    }
    PROBE.try_with(|(probe, waker)| ask(probe, waker)).unwrap_or_else(|_| {
        let (probe, waker) = probe();
        ask(&probe, &waker)
    })
}

/// The one gate that everything of ours passes which blocks: a worker of our reactor hands its work on first.
pub fn gate<R>(above: Above, block: impl FnOnce() -> R) -> R {
    match above {
        Above::Nothing => block(),
        Above::OurWorker => tokio::task::block_in_place(block),
        Above::Scheduler(_) => block(),
    }
}

/// Runs `polls` without tokio's cooperative budget, which a task above may have used up: in it the 129th operation on a
/// tokio resource would wait for a scheduler that we block.
pub fn unconstrained<R>(polls: impl FnOnce() -> R) -> R {
    let mut polls = Some(polls);
    let once = poll_fn(|_| Poll::Ready(polls.take().expect("polled once")()));
    match pin!(tokio::task::unconstrained(once)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => unreachable!("the closure is ready at once"),
    }
}
