//! Descriptor handlers: callbacks that run on the home thread while a descriptor is ready. (QEMU's
//! `aio_set_fd_handler`.)
//!
//! Level-triggered: each round asks poll(2) with a zero timeout. The reactor only ends a sleep, for its readiness lags
//! behind: right after a write it misses.

use std::{
    fmt, io,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::io::{Interest, unix::AsyncFd};

use crate::{
    fork,
    reactor::Entered,
    sync::{Mutex, lock},
    tasks::mailbox::Mailbox,
};

/// The handlers of one context.
#[derive(Default)]
pub struct Handlers {
    /// How many there are, so that a loop without any takes no lock.
    len: AtomicUsize,
    list: Mutex<Vec<Arc<Handler>>>,
    waker: OnceLock<Waker>,
}

pub struct Handler {
    fd: Descriptor,
    flags: PollFlags,
    callback: Mutex<State>,
}

enum State {
    Idle(Box<dyn FnMut() + Send>),
    Running,
    /// Removed, or its callback panicked.
    Gone,
}

/// A duplicate of the user's descriptor, so that both may be watched on their own.
enum Descriptor {
    Watched(AsyncFd<OwnedFd>, Interest),
    /// One that the kernel does not watch, because it is ready at any time: a regular file.
    AlwaysReady(OwnedFd),
}

impl Descriptor {
    fn new(fd: OwnedFd, interest: Interest) -> io::Result<Self> {
        let _guard = Entered::look("AioContext::fd_handler").needs_guard().then(Entered::guard);
        // SAFETY: an `OwnedFd` gives the same open descriptor as long as it lives, and lives in the `AsyncFd`.
        match unsafe { AsyncFd::register_with_interest(fd, interest) } {
            Ok(watched) => Ok(Self::Watched(watched, interest)),
            Err(error) => match error.into_parts() {
                (fd, cause) if cause.raw_os_error() == Some(rustix::io::Errno::PERM.raw_os_error()) => {
                    Ok(Self::AlwaysReady(fd))
                }
                (_, cause) => Err(cause),
            },
        }
    }

    /// Has `waker` woken when the descriptor becomes ready after this.
    fn arm(&self, waker: &Waker) {
        let Self::Watched(fd, interest) = self else { return };
        let cx = &mut Context::from_waker(waker);
        // What the reactor has seen so far says nothing about now: forget it until it has seen nothing new.
        while interest.is_readable()
            && let Poll::Ready(Ok(mut seen)) = fd.poll_read_ready(cx)
        {
            seen.clear_ready();
        }
        while interest.is_writable()
            && let Poll::Ready(Ok(mut seen)) = fd.poll_write_ready(cx)
        {
            seen.clear_ready();
        }
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Self::Watched(fd, _) => fd.as_fd(),
            Self::AlwaysReady(fd) => fd.as_fd(),
        }
    }
}

impl Handlers {
    fn add(&self, handler: Arc<Handler>) {
        let mut list = lock(&self.list);
        list.push(handler);
        self.len.store(list.len(), Ordering::Release);
    }

    fn remove(&self, handler: &Arc<Handler>) {
        let mut list = lock(&self.list);
        list.retain(|other| !Arc::ptr_eq(other, handler));
        self.len.store(list.len(), Ordering::Release);
    }

    /// Those that could run now: not gone, not running further down the stack.
    fn idle(&self) -> Vec<Arc<Handler>> {
        if self.is_empty() {
            return Vec::new();
        }
        lock(&self.list).iter().filter(|handler| handler.is_idle()).cloned().collect()
    }

    pub fn is_empty(&self) -> bool {
        self.len.load(Ordering::Acquire) == 0
    }

    /// The handlers whose descriptors are ready.
    pub fn ready(&self) -> Vec<Arc<Handler>> {
        ready_of(self.idle())
    }

    /// Makes a descriptor that becomes ready wake the home thread; false if one is ready.
    pub fn arm(&self, mailbox: &Arc<Mailbox>) -> bool {
        let idle = self.idle();
        if idle.is_empty() {
            return true;
        }
        let waker = self.waker.get_or_init(|| Waker::from(Arc::clone(mailbox)));
        idle.iter().for_each(|handler| handler.fd.arm(waker));
        // Asked after arming, for what came between the last look and it would wake nobody.
        ready_of(idle).is_empty()
    }
}

fn ready_of(mut handlers: Vec<Arc<Handler>>) -> Vec<Arc<Handler>> {
    if handlers.is_empty() {
        return handlers;
    }
    let mut fds: Vec<_> = handlers.iter().map(|handler| PollFd::new(&handler.fd, handler.flags)).collect();
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    while rustix::event::poll(&mut fds, Some(&now)) == Err(rustix::io::Errno::INTR) {}
    let ready: Vec<_> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
    drop(fds);
    let mut ready = ready.into_iter();
    handlers.retain(|_| ready.next() == Some(true));
    handlers
}

impl Handler {
    fn is_idle(&self) -> bool {
        matches!(*lock(&self.callback), State::Idle(_))
    }

    /// Runs the callback, unless it was removed or runs meanwhile. One that panics is removed, for its descriptor would
    /// stay ready for ever.
    pub fn call(&self) {
        let mut state = lock(&self.callback);
        let State::Idle(_) = *state else { return };
        let State::Idle(mut callback) = std::mem::replace(&mut *state, State::Running) else { return };
        drop(state);
        struct Panicked<'a>(&'a Handler);
        impl Drop for Panicked<'_> {
            fn drop(&mut self) {
                *lock(&self.0.callback) = State::Gone;
            }
        }
        let panicked = Panicked(self);
        callback();
        std::mem::forget(panicked);
        let mut state = lock(&self.callback);
        if matches!(*state, State::Running) {
            *state = State::Idle(callback);
        }
    }
}

/// Watches a descriptor while it lives. Made by [`AioContext::fd_handler`](crate::AioContext::fd_handler); dropping it
/// removes the handler, also from within its own callback.
#[must_use = "the handler is removed when this is dropped"]
pub struct FdHandler {
    handlers: Arc<Handlers>,
    handler: Arc<Handler>,
}

impl FdHandler {
    pub(crate) fn new(
        handlers: &Arc<Handlers>,
        fd: OwnedFd,
        interest: Interest,
        callback: impl FnMut() + Send + 'static,
    ) -> io::Result<Self> {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, interest.is_readable());
        flags.set(PollFlags::OUT, interest.is_writable());
        let handler = Arc::new(Handler {
            fd: Descriptor::new(fd, interest)?,
            flags,
            callback: Mutex::new(State::Idle(Box::new(callback))),
        });
        handlers.add(Arc::clone(&handler));
        Ok(Self { handlers: Arc::clone(handlers), handler })
    }
}

impl Drop for FdHandler {
    fn drop(&mut self) {
        if fork::is_child() {
            // The epoll set is the parent's too: what was taken out of it here would be missing there.
            std::mem::forget(Arc::clone(&self.handler));
            return;
        }
        self.handlers.remove(&self.handler);
        let callback = std::mem::replace(&mut *lock(&self.handler.callback), State::Gone);
        drop(callback);
    }
}

impl fmt::Debug for FdHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FdHandler").field("flags", &self.handler.flags).finish_non_exhaustive()
    }
}
