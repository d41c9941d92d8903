//! The process's own tokio runtime: starting it, its handle, and asking it whether it is well.
//!
//! It is started by whoever needs it first, and never ends. What stands above a call is not looked at here.

use std::{
    cell::Cell,
    io,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use tokio::runtime::{self, Runtime};

use crate::fork;

/// Never dropped: its resources may be in use as long as the process lives.
static REACTOR: OnceLock<Reactor> = OnceLock::new();

pub(super) struct Reactor {
    pub runtime: Runtime,
    /// Its handle's, which every call compares.
    pub id: runtime::Id,
}

thread_local! {
    /// Set on the reactor's own threads.
    pub(super) static OURS: Cell<bool> = const { Cell::new(false) };
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
    Ok(REACTOR.get_or_init(|| Reactor { runtime, id }))
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
pub fn wake_after(duration: std::time::Duration, waker: std::task::Waker) {
    if let Ok(reactor) = start() {
        reactor.runtime.spawn(async move {
            tokio::time::sleep(duration).await;
            waker.wake();
        });
    }
}

/// Has the reactor's worker set `answered`, if it was started.
pub fn ask(answered: Arc<AtomicBool>) -> bool {
    let Some(reactor) = REACTOR.get() else { return false };
    reactor.runtime.spawn(async move { answered.store(true, Ordering::Relaxed) });
    true
}

/// The reactor, started if need be.
///
/// # Panics
///
/// If it cannot be started.
#[inline]
#[track_caller]
pub(super) fn reactor() -> &'static Reactor {
    REACTOR.get().unwrap_or_else(|| start_or_panic())
}

#[cold]
#[track_caller]
fn start_or_panic() -> &'static Reactor {
    start().unwrap_or_else(|error| {
        panic!(
            "co_wrapper: the tokio reactor that serves blocking calls cannot start: {error}; free file descriptors or \
             threads (ulimit -n, ulimit -u), or start it early with AioContext::new(), which returns the error"
        )
    })
}
