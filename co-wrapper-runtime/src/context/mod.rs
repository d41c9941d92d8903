//! The context: a queue of tasks and bottom halves, and the thread that polls it. (QEMU's `AioContext`.)

pub(crate) mod home;
pub(crate) mod serve;
pub(crate) mod thread;

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

pub use home::EnterGuard;
use thread::Thread;

use crate::{
    reactor,
    tasks::{
        mailbox::Mailbox,
        task::{self, JoinHandle},
    },
};

/// Where tasks and bottom halves run: a queue with at most one home thread, which polls it whenever it waits.
///
/// A blocking wrapper that has to wait serves the contexts of its thread meanwhile, so tasks spawned there go on. The
/// handle is cheap to clone, and whoever holds one, on any thread, may spawn, schedule and notify; only the home thread
/// polls. When the last handle is gone, what still waits in the context is dropped.
///
/// It holds no file descriptor and no thread: sockets and timers are served by the process's one tokio reactor.
///
/// # Examples
///
/// ```
/// use co_wrapper_runtime::AioContext;
///
/// let ctx = AioContext::new()?;
/// let answer = ctx.spawn(async { 42 });
/// assert_eq!(ctx.block_on(answer), 42);
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone)]
pub struct AioContext(Arc<Inner>);

struct Inner {
    number: u64,
    mailbox: Arc<Mailbox>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Whoever was at home held a handle, so nobody is.
        self.mailbox.close();
    }
}

impl AioContext {
    /// Makes a context that has no home yet.
    ///
    /// # Errors
    ///
    /// With the feature `tokio`, if the process's reactor cannot be started: no file descriptors, no thread to be had.
    ///
    /// # Examples
    ///
    /// ```
    /// let ctx = co_wrapper_runtime::AioContext::new()?;
    /// assert!(!ctx.poll(false)); // nothing to do
    /// # std::io::Result::Ok(())
    /// ```
    #[doc(alias = "aio_context_new")]
    pub fn new() -> io::Result<Self> {
        reactor::ensure()?;
        Ok(Self::unstarted())
    }

    pub(crate) fn unstarted() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(Arc::new(Inner { number, mailbox: Arc::new(Mailbox::new()) }))
    }

    pub(crate) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.0.mailbox
    }

    /// The context that is current on this thread: the one entered last, else the thread's own, which is made on first
    /// use and has its home here until the thread ends.
    ///
    /// # Examples
    ///
    /// ```
    /// use co_wrapper_runtime::AioContext;
    ///
    /// let own = AioContext::current();
    /// let ctx = AioContext::new()?;
    /// {
    ///     let _guard = ctx.enter();
    ///     assert_eq!(AioContext::current(), ctx);
    /// }
    /// assert_eq!(AioContext::current(), own);
    /// # std::io::Result::Ok(())
    /// ```
    #[doc(alias = "qemu_get_current_aio_context")]
    pub fn current() -> Self {
        let thread = Thread::current();
        thread.entered().unwrap_or_else(|| home::own(&thread))
    }

    /// Makes this thread the context's home, and the context current, until the guard is dropped.
    ///
    /// Entering nests, also in one context. With the feature `tokio` the process's reactor is the current tokio handle
    /// while the guard lives, which makes calls cheaper. Leaving drops, here, the [`spawn_local`](Self::spawn_local)
    /// tasks; other tasks and bottom halves wait for the next home. The thread's end leaves too, if the guard was
    /// forgotten.
    ///
    /// # Panics
    ///
    /// If another thread is the context's home, naming both. The guard's drop panics inside a call that still waits in
    /// the context.
    ///
    /// # Examples
    ///
    /// ```
    /// use co_wrapper_runtime::AioContext;
    ///
    /// let ctx = AioContext::new()?;
    /// let _guard = ctx.enter();
    /// let other = ctx.clone();
    /// let refused = std::thread::spawn(move || drop(other.enter())).join();
    /// assert!(refused.is_err()); // its home is here
    /// # std::io::Result::Ok(())
    /// ```
    #[doc(alias = "qemu_set_current_aio_context")]
    #[track_caller]
    pub fn enter(&self) -> EnterGuard {
        EnterGuard::new(self, "AioContext::enter")
    }

    /// Runs what the context holds: the bottom halves and tasks that are ready when this is called, in the order in
    /// which they came. Returns whether anything ran.
    ///
    /// With `blocking`, waits if there is nothing to run, until something was run or [`notify`](Self::notify) was
    /// called; meanwhile it serves the other contexts that this thread is home to. A thread that polls a context
    /// without a home is its home for the length of the call.
    ///
    /// May be called within a task or bottom half: that runs the rest of the outer batch first, then its own.
    ///
    /// # Panics
    ///
    /// If another thread is the context's home. A panic in a bottom half goes to the caller; what was left of the batch
    /// stays queued.
    ///
    /// # Examples
    ///
    /// ```
    /// use co_wrapper_runtime::AioContext;
    ///
    /// let ctx = AioContext::new()?;
    /// ctx.schedule_bh(|| println!("run"));
    /// assert!(ctx.poll(false));
    /// assert!(!ctx.poll(false));
    /// # std::io::Result::Ok(())
    /// ```
    #[doc(alias = "aio_poll")]
    #[track_caller]
    pub fn poll(&self, blocking: bool) -> bool {
        let home = EnterGuard::new(self, "AioContext::poll");
        serve::poll(home.thread(), home.entered(), self, blocking)
    }

    /// Ends a blocking [`poll`](Self::poll), this one or, if none waits, the next. From any thread; no system call
    /// unless the home thread sleeps.
    ///
    /// # Examples
    ///
    /// ```
    /// let ctx = co_wrapper_runtime::AioContext::new()?;
    /// ctx.notify();
    /// assert!(!ctx.poll(true)); // returns at once, nothing ran
    /// # std::io::Result::Ok(())
    /// ```
    #[doc(alias = "aio_notify")]
    pub fn notify(&self) {
        self.mailbox().notify();
    }

    /// Schedules a bottom half: a closure that runs once, on the home thread, outside any coroutine, so it may call
    /// plain blocking wrappers. From any thread; first come, first run. One scheduled by a bottom half runs in the next
    /// poll.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::mpsc;
    ///
    /// let ctx = co_wrapper_runtime::AioContext::new()?;
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
    pub fn schedule_bh(&self, bottom_half: impl FnOnce() + Send + 'static) {
        // A mailbox closes when its context's last handle goes, and this is one.
        let queued = self.mailbox().push_bottom_half(Box::new(bottom_half));
        debug_assert!(queued.is_ok());
    }

    /// Spawns a task, from any thread. It runs on the context's home thread whenever that polls or waits; without a
    /// home it waits for one. Woken tasks run first come, first run.
    ///
    /// Inside a task plain wrappers panic and mixed ones nest; see [`in_coroutine`](crate::in_coroutine).
    ///
    /// # Examples
    ///
    /// ```
    /// let ctx = co_wrapper_runtime::AioContext::new()?;
    /// let task = std::thread::scope(|s| s.spawn(|| ctx.spawn(async { 6 * 7 })).join()).unwrap();
    /// assert_eq!(ctx.block_on(task), 42);
    /// # std::io::Result::Ok(())
    /// ```
    #[doc(alias = "aio_co_enter")]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        task::spawn(self.mailbox(), future)
    }

    /// Spawns a task that need not be `Send`. It is polled and dropped on this thread alone: leaving home drops it.
    ///
    /// # Panics
    ///
    /// If this thread is not the context's home, for then nobody could poll the task.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::rc::Rc;
    /// use co_wrapper_runtime::AioContext;
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
        let home = self.mailbox().home();
        assert!(
            home.is_some_and(|home| home.thread == crate::park::here()),
            "AioContext::spawn_local: this thread is not the home of {self}; enter() it first, or spawn() a Send task"
        );
        task::spawn_local(self.mailbox(), future)
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
        write!(f, "AioContext #{}", self.0.number)
    }
}

impl fmt::Debug for AioContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let home = self.mailbox().home();
        f.debug_struct("AioContext").field("number", &self.0.number).field("home", &home).finish()
    }
}
