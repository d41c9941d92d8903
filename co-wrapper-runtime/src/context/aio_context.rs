//! The handle of a context: what any thread may do with it, whichever thread polls it.
//!
//! Invariant: only handles keep a context alive. Wakers and tasks hold its scheduler, and dropping the last handle
//! closes the context. Methods that need the thread or the poll loop, such as `enter`, `poll` and `block_on`, are in
//! the modules above.

use std::{
    fmt, mem,
    panic::Location,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

#[cfg(all(feature = "tokio", unix))]
use super::handlers::FdHandler;
use super::{
    bottom_half::BottomHalf,
    handlers,
    join::{self, JoinHandle},
    sleep::Sleep,
    spin,
    stats::{self, Stats},
};
use crate::{
    scheduler::Scheduler,
    sys::{fork, panics},
    tasks::{bottom_half::Queued, task},
};

/// Where tasks and bottom halves run: a queue with at most one home thread, which polls it whenever it waits.
///
/// Blocking twins alone need no context: they work on any thread. Make one to run tasks and callbacks while a thread
/// waits, to run calls on a thread of their own, or to write a main loop. For one future, [`block_on`](crate::block_on)
/// is enough.
///
/// # Examples
///
/// ```
/// use co_wrapper::AioContext;
///
/// let ctx = AioContext::new()?;
/// let answer = ctx.spawn(async { 42 });
/// assert_eq!(ctx.block_on(answer), 42); // polls the task, and waits for it
/// # std::io::Result::Ok(())
/// ```
///
/// # Which one
///
/// - [`current()`](Self::current): the one of this thread, for tasks that are to run while this thread waits.
/// - [`IoThread::context`](crate::IoThread::context): one with a thread of its own.
/// - [`main()`](Self::main): the one of the process, for its main loop and for `#[no_co_wrapper]`.
/// - [`new()`](Self::new): another one, for a loop that you write. It has no home until a thread [enters](Self::enter)
///   or polls it.
///
/// # Home
///
/// The home of a context is the one thread that polls it. It does so in [`poll`](Self::poll), in
/// [`block_on`](Self::block_on), and in every blocking twin that has to wait, so tasks spawned there go on. Other threads
/// may spawn, schedule and notify through a handle, which is cheap to clone.
///
/// Without a home, tasks and bottom halves wait for one. A blocking call with `ctx` does not: its caller becomes the
/// home for the length of the call. Such a temporary home runs tasks and bottom halves. It starts no blocking call of
/// another thread, except to break a cycle of blocking calls that wait for each other. The others begin after it has
/// left. So its own call must not wait for something that only one of them does. [Hang reports](crate::hang) name such
/// a call.
///
/// # Its end
///
/// When the last handle is dropped, what still waits in the context is dropped too. A task or handler that holds a handle of
/// its own context therefore keeps the context until it is [closed](Self::close).
///
/// A context owns no thread, and no file descriptor unless it has descriptor handlers: the process's one tokio reactor
/// serves sockets and timers.
#[derive(Clone)]
pub struct AioContext(pub(super) Arc<Inner>);

pub(super) struct Inner {
    /// The name in messages.
    pub(super) name: Arc<str>,
    pub(super) scheduler: Arc<Scheduler>,
    pub(super) handlers: Arc<handlers::Handlers>,
    /// Its index in its home thread's list of contexts. Only that thread uses it.
    pub(super) served_at: AtomicUsize,
    pub(super) spin: spin::Spin,
    pub(super) counters: stats::Counters,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if fork::is_child() {
            // In a forked child it is leaked: what its tasks and callbacks hold is in the parent's epoll set.
            mem::forget((Arc::clone(&self.scheduler), Arc::clone(&self.handlers)));
            return;
        }
        // There is no home thread, because that would hold a handle.
        self.close();
    }
}

impl Inner {
    /// Drops everything that waits, and all handlers, even if a destructor panics.
    fn close(&self) {
        let mut panicked = None;
        panics::catch(&mut panicked, || self.scheduler.close());
        panics::catch(&mut panicked, || self.handlers.close());
        panics::raise(panicked);
    }
}

impl AioContext {
    pub(crate) fn scheduler(&self) -> &Arc<Scheduler> {
        &self.0.scheduler
    }

    pub(crate) fn shared_name(&self) -> &Arc<str> {
        &self.0.name
    }

    pub(crate) fn handlers(&self) -> &handlers::Handlers {
        &self.0.handlers
    }

    pub(crate) fn served_at(&self) -> usize {
        self.0.served_at.load(Ordering::Relaxed)
    }

    pub(crate) fn set_served_at(&self, at: usize) {
        self.0.served_at.store(at, Ordering::Relaxed);
    }

    pub(crate) fn spin(&self) -> &spin::Spin {
        &self.0.spin
    }

    pub(crate) fn counters(&self) -> &stats::Counters {
        &self.0.counters
    }

    /// Ends a blocking [`poll`](Self::poll): the current one or, if none waits, the next. From any thread. Makes no
    /// system call unless the home thread sleeps.
    ///
    /// # Examples
    ///
    /// ```
    /// let ctx = co_wrapper::AioContext::new()?;
    /// ctx.notify();
    /// assert!(!ctx.poll(true)); // returns at once, nothing ran
    /// # std::io::Result::Ok(())
    /// ```
    #[doc(alias = "aio_notify")]
    pub fn notify(&self) {
        self.scheduler().notify();
    }

    /// Schedules a bottom half: a closure that runs once, on the home thread, outside any coroutine, so it may call
    /// plain blocking wrappers. From any thread. Bottom halves run in the order in which they were scheduled; one that
    /// a bottom half schedules runs in the next poll.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::mpsc;
    ///
    /// let ctx = co_wrapper::AioContext::new()?;
    /// let (tx, rx) = mpsc::channel();
    /// for n in 0..3 {
    ///     let tx = tx.clone();
    ///     ctx.schedule_bh(move || tx.send(n).unwrap());
    /// }
    /// ctx.poll(true);
    /// assert_eq!(rx.try_iter().collect::<Vec<_>>(), [0, 1, 2]);
    /// # std::io::Result::Ok(())
    /// ```
    #[doc(alias = "aio_bh_schedule_oneshot")]
    #[track_caller]
    pub fn schedule_bh(&self, bottom_half: impl FnOnce() + Send + 'static) {
        fork::forbid("AioContext::schedule_bh");
        // A closed context drops it.
        drop(self.scheduler().push_bottom_half(Queued::once(bottom_half)));
    }

    /// Makes a bottom half that can be scheduled repeatedly, without an allocation each time.
    ///
    /// # Examples
    ///
    /// See [`BottomHalf`].
    #[doc(alias = "aio_bh_new")]
    pub fn bh(&self, callback: impl FnMut() + Send + 'static) -> BottomHalf {
        BottomHalf::new(self.scheduler(), callback)
    }

    /// Sleeps for `duration`, with a timer of this context, which fires when its home thread polls or waits. Timers
    /// that are due fire in order of their times; timers with the same time fire in the order in which they were first
    /// polled. Needs no tokio.
    ///
    /// The future holds no handle of the context. But `AioContext::current().sleep(d).await` holds one, because Rust
    /// keeps the temporary until the end of the statement. A task that sleeps this way keeps its own context alive
    /// after the last other handle is dropped. In such a task, write two statements:
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use co_wrapper::AioContext;
    /// # let task = async {
    /// let sleep = AioContext::current().sleep(Duration::from_millis(1));
    /// sleep.await;
    /// # };
    /// # AioContext::current().block_on(task);
    /// ```
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let ctx = co_wrapper::AioContext::new()?;
    /// let start = Instant::now();
    /// ctx.block_on(ctx.sleep(Duration::from_millis(5)));
    /// assert!(start.elapsed() >= Duration::from_millis(5));
    /// # std::io::Result::Ok(())
    /// ```
    #[doc(alias = "qemu_co_sleep_ns")]
    #[doc(alias = "timer_mod")]
    pub fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::new(Arc::clone(self.scheduler()), duration)
    }

    /// Calls `callback` on the home thread, outside any coroutine, in each round of its loop in which `fd` is ready:
    /// level-triggered, as defined by poll(2). An error or a hang-up counts as ready whatever the interest (QEMU
    /// ignores a hang-up if only `io_write` is set); with [`Interest::ERROR`](crate::Interest::ERROR) nothing else
    /// does. A regular file is always ready to be read and written.
    ///
    /// The callback takes its turn like a bottom half that is scheduled when its descriptor is found ready, and nested
    /// waits hold it back in the same way. It is not called if the descriptor is no longer ready when its turn comes,
    /// nor again while it runs. It stays registered until the handler is dropped or the context closed. A handler whose
    /// callback panics is removed.
    ///
    /// The descriptor is duplicated, so it may be closed, or watched elsewhere, at any time. A context's first handler
    /// takes two more descriptors. Each round calls poll(2) once for all handlers of a context, and once more for each
    /// handler that runs. On Unix, with the feature `tokio`.
    ///
    /// # Panics
    ///
    /// If no descriptor is left for the duplicate, or the kernel refuses to watch it. A wait of the home thread panics
    /// if RLIMIT_NOFILE was lowered below the number of watched descriptors, because poll(2) then refuses them.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::{io::{Read, Write}, os::unix::net::UnixStream};
    /// use co_wrapper::{AioContext, Interest};
    ///
    /// let ctx = AioContext::new()?;
    /// let (mut ours, mut theirs) = UnixStream::pair()?;
    /// let watched = ours.try_clone()?;
    /// let _handler = ctx.fd_handler(&watched, Interest::READABLE, move || {
    ///     ours.read_exact(&mut [0; 5]).unwrap();
    /// });
    /// assert!(!ctx.poll(false));
    /// theirs.write_all(b"hello")?;
    /// assert!(ctx.poll(false));
    /// # std::io::Result::Ok(())
    /// ```
    #[cfg(all(feature = "tokio", unix))]
    #[doc(alias = "aio_set_fd_handler")]
    #[track_caller]
    pub fn fd_handler(
        &self,
        fd: impl std::os::fd::AsFd,
        interest: tokio::io::Interest,
        callback: impl FnMut() + Send + 'static,
    ) -> FdHandler {
        fork::forbid("AioContext::fd_handler");
        let handler = fd
            .as_fd()
            .try_clone_to_owned()
            .and_then(|fd| FdHandler::new(&self.0.handlers, self.scheduler(), fd, interest, callback));
        match handler {
            Ok(handler) => handler,
            Err(error) => panic!(
                "AioContext::fd_handler: called at {}, and {self} cannot watch the descriptor: {error}; free descriptors \
                 (ulimit -n)",
                Location::caller()
            ),
        }
    }

    /// Closes the context. Tasks and bottom halves that wait in it are dropped, on its home thread if it has one. Its
    /// descriptor handlers are removed. Callers whose `ctx` call is pending here panic with a message that says so.
    /// Whatever is spawned or scheduled from now on is dropped at once. A task that is running is dropped when it next
    /// returns to the loop. Closing again does nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// let ctx = co_wrapper::AioContext::new()?;
    /// let task = ctx.spawn(std::future::pending::<()>());
    /// ctx.close();
    /// assert!(task.is_finished());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn close(&self) {
        self.0.close();
    }

    /// What the context has done so far.
    ///
    /// # Examples
    ///
    /// See [`Stats`].
    pub fn stats(&self) -> Stats {
        let counters = self.counters();
        Stats {
            polls: counters.polls.get(),
            parks: counters.parks.get(),
            spins: counters.spins.get(),
            spins_paid: counters.spins_paid.get(),
            deepest_nesting: counters.deepest.get(),
            held_back_runs: counters.held_back_runs.get(),
            tasks_live: self.scheduler().live() as u64,
            tasks_leaked: task::leaked() as u64,
            spin_budget: self.spin().budget().as_nanos() as u64,
        }
    }

    /// Spawns a task, from any thread. It runs on the context's home thread whenever that polls or waits; if there is
    /// no home thread, it runs once there is. Woken tasks run in the order in which they were woken.
    ///
    /// Inside a task plain wrappers panic and mixed ones nest; see [`in_coroutine`](crate::in_coroutine).
    ///
    /// # Examples
    ///
    /// ```
    /// let ctx = co_wrapper::AioContext::new()?;
    /// let task = std::thread::scope(|s| s.spawn(|| ctx.spawn(async { 6 * 7 })).join()).unwrap();
    /// assert_eq!(ctx.block_on(task), 42);
    /// # std::io::Result::Ok(())
    /// ```
    #[doc(alias = "aio_co_enter")]
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        fork::forbid("AioContext::spawn");
        join::spawn(self.scheduler(), future)
    }

    /// Spawns a task that need not be `Send`. Only this thread polls and drops it; it is dropped when the thread leaves
    /// home.
    ///
    /// # Panics
    ///
    /// If this thread is not the context's home, because then no thread could poll the task.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::rc::Rc;
    /// use co_wrapper::AioContext;
    ///
    /// let ctx = AioContext::current();
    /// let text = Rc::new("not Send");
    /// let task = ctx.spawn_local({
    ///     let text = Rc::clone(&text);
    ///     async move { text.len() }
    /// });
    /// assert_eq!(ctx.block_on(task), text.len());
    /// ```
    #[track_caller]
    pub fn spawn_local<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        fork::forbid("AioContext::spawn_local");
        assert!(
            self.scheduler().is_home_here(),
            "AioContext::spawn_local: called at {}, and this thread is not the home of {self}; enter() it first, or \
             spawn() a Send task",
            Location::caller()
        );
        join::spawn_local(self.scheduler(), future)
    }
}

/// Two handles are equal if they are handles of one context.
impl PartialEq for AioContext {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for AioContext {}

impl fmt::Display for AioContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AioContext `{}`", self.0.name)
    }
}

impl fmt::Debug for AioContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let home = self.scheduler().home().map(|home| home.thread_name);
        f.debug_struct("AioContext").field("name", &self.0.name).field("home", &home).finish()
    }
}
