//! Descriptor handlers: callbacks that run on the home thread while a descriptor is ready. (QEMU's
//! `aio_set_fd_handler`.)
//!
//! They are level-triggered and use only poll(2): each round calls it with a zero timeout, and a thread that is home to
//! handlers sleeps in it. No kernel object keeps state about a descriptor between two calls. So no stale state is
//! reported (a FIFO's hang-up ends when somebody opens it again), and a forked child has nothing of its parent's to
//! damage. The reactor is not involved; the feature `tokio` is needed only because [`Interest`] is tokio's.
//!
//! A handler is a bottom half that is scheduled when a round finds the descriptor ready. So it takes its turn with
//! other work, and a nested wait holds it back like other work (`serve.rs`). Its descriptor is watched only while the
//! bottom half is idle: not while it is scheduled, nor while it runs further out on the stack. So a handler that may
//! not run costs no processor time.

use std::{
    fmt,
    io::{self, PipeReader, PipeWriter, Read, Write},
    iter, mem,
    os::fd::OwnedFd,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
};
use tokio::io::Interest;

use super::bottom_half::BottomHalf;
use crate::{
    scheduler::Scheduler,
    sys::{
        fork, panics,
        park::{EndSleep, Parker},
        sync::{Mutex, lock},
    },
    tasks::bottom_half::Reusable,
};

/// The handlers of one context.
#[derive(Default)]
pub struct Handlers {
    /// How many there are, so that a loop without handlers takes no lock.
    len: AtomicUsize,
    list: Mutex<Vec<Arc<Handler>>>,
    /// Made together with the first handler.
    alarm: OnceLock<Arc<Alarm>>,
}

/// One handler: a descriptor and what runs while it is ready.
struct Handler {
    /// A duplicate of the user's descriptor, because the user may close that at any time.
    fd: Arc<OwnedFd>,
    /// The events to wait for. poll(2) reports errors and hang-ups in any case.
    flags: PollFlags,
    bottom_half: BottomHalf,
}

impl Handlers {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len.load(Ordering::Acquire) == 0
    }

    /// Schedules the handlers whose descriptors are ready.
    pub fn queue_ready(&self) {
        if self.is_empty() {
            return;
        }
        let idle = self.idle();
        let mut fds: Vec<_> = idle.iter().map(|handler| handler.poll_fd()).collect();
        if any_ready(&mut fds) {
            let ready = idle.iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
            ready.for_each(|(handler, _)| handler.bottom_half.schedule());
        }
    }

    /// The handlers that could run now: neither scheduled, nor running further out on the stack, nor removed.
    fn idle(&self) -> Vec<Arc<Handler>> {
        lock(&self.list).iter().filter(|handler| handler.bottom_half.reusable.is_idle()).cloned().collect()
    }

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

    /// Removes all handlers, because the context was closed, and drops their callbacks.
    pub fn close(&self) {
        if fork::is_child() {
            return;
        }
        let mut list = lock(&self.list);
        let handlers = mem::take(&mut *list);
        self.len.store(0, Ordering::Release);
        drop(list);
        let mut panicked = None;
        handlers.iter().for_each(|handler| panics::catch(&mut panicked, || handler.bottom_half.reusable.delete()));
        panics::raise(panicked);
    }
}

impl Handler {
    fn new(
        scheduler: &Arc<Scheduler>,
        fd: OwnedFd,
        interest: Interest,
        mut callback: impl FnMut() + Send + 'static,
    ) -> io::Result<Arc<Self>> {
        /// Deletes a handler whose callback panics; its descriptor would stay ready for ever.
        struct Panicked<'a>(&'a Weak<Handler>);
        impl Drop for Panicked<'_> {
            fn drop(&mut self) {
                if let Some(handler) = self.0.upgrade() {
                    handler.bottom_half.reusable.delete();
                }
            }
        }

        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, interest.is_readable());
        flags.set(PollFlags::OUT, interest.is_writable());
        #[cfg(any(target_os = "linux", target_os = "android"))]
        flags.set(PollFlags::PRI, interest.is_priority());
        // Refuses a descriptor that cannot be polled, which would be ready for ever.
        let mut asked = [PollFd::new(&fd, flags)];
        if any_ready(&mut asked) && asked[0].revents().contains(PollFlags::NVAL) {
            return Err(Errno::BADF.into());
        }
        Ok(Arc::new_cyclic(|this: &Weak<Self>| {
            let (asked, run) = (Weak::clone(this), Weak::clone(this));
            // Something else may have read from the descriptor since a round found it ready.
            let is_ready = move || asked.upgrade().is_some_and(|handler| any_ready(&mut [handler.poll_fd()]));
            let run = move || {
                let panicked = Panicked(&run);
                callback();
                mem::forget(panicked);
            };
            let reusable = Reusable::new(Some(Box::new(is_ready)), Box::new(run));
            Self { fd: Arc::new(fd), flags, bottom_half: BottomHalf::of(scheduler, reusable) }
        }))
    }

    fn poll_fd(&self) -> PollFd<'_> {
        PollFd::new(&self.fd, self.flags)
    }
}

/// Whether one of the descriptors is ready, without waiting. Their `revents` then say which.
fn any_ready(fds: &mut [PollFd<'_>]) -> bool {
    loop {
        match rustix::event::poll(fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Ok(ready) => return ready > 0,
            Err(Errno::INTR) => {}
            Err(error) => cannot_poll(fds.len(), error),
        }
    }
}

#[cold]
fn cannot_poll(count: usize, error: Errno) -> ! {
    panic!(
        "co_wrapper: the kernel refuses to poll the {count} descriptors that handlers watch: {error}; it allows as many as \
         RLIMIT_NOFILE says (ulimit -n), which may have been lowered since they were opened"
    );
}

/// What a thread watches while it sleeps: the idle handlers of all contexts that it is home to.
#[derive(Default)]
pub struct Watch {
    handlers: Vec<Arc<Handler>>,
    /// The alarm of one of these contexts; `None` if no descriptor is watched.
    alarm: Option<Arc<Alarm>>,
}

impl Watch {
    /// Adds these handlers.
    pub fn add(&mut self, handlers: &Handlers) {
        if handlers.is_empty() {
            return;
        }
        self.handlers.extend(handlers.idle());
        if !self.handlers.is_empty() && self.alarm.is_none() {
            self.alarm = handlers.alarm.get().cloned();
        }
    }

    /// What is watched, for another thread to watch.
    #[cfg(feature = "coroutine")]
    pub fn into_descriptors(self) -> Vec<Descriptor> {
        self.handlers.iter().map(|handler| Descriptor(Arc::clone(&handler.fd), handler.flags)).collect()
    }

    /// Whether a descriptor is ready now.
    pub fn is_ready(&self) -> bool {
        !self.handlers.is_empty() && any_ready(&mut self.poll_fds().collect::<Vec<_>>())
    }

    /// Sleeps until the thread is woken or a descriptor is ready, at most until `until`, and possibly for less.
    pub fn sleep(&self, parker: &Parker, until: Option<Instant>) {
        let Some(alarm) = &self.alarm else { return parker.park(until) };
        let mut fds: Vec<_> = iter::once(alarm.poll_fd()).chain(self.poll_fds()).collect();
        parker.sleep_in(Arc::clone(alarm) as _, || {
            // A long timeout is cut short, because not every kernel takes any number.
            const MOST: Duration = Duration::from_secs(3_600);
            let timeout = until.map(|until| {
                let left = until.saturating_duration_since(Instant::now()).min(MOST);
                Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos() as _ }
            });
            match rustix::event::poll(&mut fds, timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => cannot_poll(fds.len(), error),
            }
        });
        if !fds[0].revents().is_empty() {
            alarm.silence();
        }
    }

    fn poll_fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.handlers.iter().map(|handler| handler.poll_fd())
    }
}

/// A handler's descriptor, without the handler: whatever of users' code is dropped with that, is not dropped with this.
#[cfg(feature = "coroutine")]
pub struct Descriptor(Arc<OwnedFd>, PollFlags);

#[cfg(feature = "coroutine")]
impl Descriptor {
    pub fn poll_fd(&self) -> PollFd<'_> {
        PollFd::new(&self.0, self.1)
    }
}

#[cfg(feature = "coroutine")]
impl PartialEq for Descriptor {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Ends a sleep in poll(2): a pipe that is polled beside the descriptors. It belongs to a context rather than a thread,
/// so that a lack of descriptors shows when a handler is made, not when a thread sleeps.
struct Alarm {
    reader: PipeReader,
    writer: PipeWriter,
}

impl Alarm {
    fn new() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        Ok(Self { reader, writer })
    }

    fn poll_fd(&self) -> PollFd<'_> {
        PollFd::new(&self.reader, PollFlags::IN)
    }

    /// Empties the pipe. It has something to read: poll(2) has just said so, and only the home thread reads.
    fn silence(&self) {
        let _ = (&self.reader).read(&mut [0; 64]);
    }
}

impl EndSleep for Alarm {
    fn end_sleep(&self) {
        // The pipe cannot fill up: each sleep receives at most one byte, and empties the pipe.
        let _ = (&self.writer).write_all(&[0]);
    }
}

/// Watches a descriptor for as long as it lives. Made by [`AioContext::fd_handler`](crate::AioContext::fd_handler).
/// Dropping it removes the handler, even from within its own callback.
///
/// # Examples
///
/// See [`AioContext::fd_handler`](crate::AioContext::fd_handler).
#[must_use = "the handler is removed when this is dropped"]
pub struct FdHandler {
    handlers: Arc<Handlers>,
    handler: Arc<Handler>,
}

impl FdHandler {
    pub(crate) fn new(
        handlers: &Arc<Handlers>,
        scheduler: &Arc<Scheduler>,
        fd: OwnedFd,
        interest: Interest,
        callback: impl FnMut() + Send + 'static,
    ) -> io::Result<Self> {
        if handlers.alarm.get().is_none() {
            let _ = handlers.alarm.set(Arc::new(Alarm::new()?));
        }
        let handler = Handler::new(scheduler, fd, interest, callback)?;
        handlers.add(Arc::clone(&handler));
        // If a concurrent close did not find the handler in the list, the context is closed by now.
        if scheduler.is_closed() {
            handlers.close();
        }
        // A home thread that sleeps does not watch the handler yet.
        scheduler.ring();
        Ok(Self { handlers: Arc::clone(handlers), handler })
    }
}

impl Drop for FdHandler {
    fn drop(&mut self) {
        if fork::is_child() {
            // The callback belongs to the parent, and may hold something that is in the parent's epoll set.
            mem::forget(Arc::clone(&self.handler));
            return;
        }
        self.handlers.remove(&self.handler);
        // A home thread that sleeps keeps the descriptor open until it is woken.
        self.handler.bottom_half.scheduler.ring();
        // Last, because the callback's destructors are users' code.
        self.handler.bottom_half.reusable.delete();
    }
}

impl fmt::Debug for FdHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FdHandler").field("flags", &self.handler.flags).finish_non_exhaustive()
    }
}
