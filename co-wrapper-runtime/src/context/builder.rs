//! Making a context: the builder, and the main context, which is made on first use.

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{
    aio_context::{AioContext, Inner},
    handlers,
    spin::Spin,
    stats::Counters,
};
use crate::{
    reactor,
    scheduler::Scheduler,
    sys::{fork, registry::Registry},
};

/// The schedulers of all contexts.
pub static ALL: Registry<Scheduler> = Registry::new();

/// Made on first use.
static MAIN: OnceLock<AioContext> = OnceLock::new();

impl AioContext {
    /// Makes a context that has no home yet.
    ///
    /// # Errors
    ///
    /// With the feature `tokio`, if the process's reactor cannot be started: no file descriptors or threads are left.
    ///
    /// # Examples
    ///
    /// ```
    /// let ctx = co_wrapper::AioContext::new()?;
    /// assert!(!ctx.poll(false)); // nothing to do
    /// # std::io::Result::Ok(())
    /// ```
    #[doc(alias = "aio_context_new")]
    pub fn new() -> io::Result<Self> {
        Self::builder().build()
    }

    /// Makes a context with options: a name, or spinning before it sleeps.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use co_wrapper::AioContext;
    ///
    /// let ctx = AioContext::builder().name("backups").spin_max(Duration::from_micros(32)).build()?;
    /// assert_eq!(ctx.to_string(), "AioContext `backups`");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn builder() -> Builder {
        Builder { name: None, spin_max: Duration::ZERO, spin_grow: 2, spin_shrink: 0 }
    }

    /// The process's main context. Its home is the thread that enters it, usually the one that runs `main`.
    ///
    /// # Examples
    ///
    /// ```
    /// use co_wrapper::AioContext;
    ///
    /// let _guard = AioContext::main().enter();
    /// assert_eq!(AioContext::current(), AioContext::main());
    /// ```
    #[doc(alias = "qemu_get_aio_context")]
    pub fn main() -> Self {
        MAIN.get_or_init(|| Self::builder().name("main").unstarted()).clone()
    }

    /// The main context, if it has been made.
    pub(crate) fn main_if_made() -> Option<&'static Self> {
        MAIN.get()
    }
}

/// Makes an [`AioContext`]. Returned by [`AioContext::builder`].
///
/// # Examples
///
/// ```
/// use co_wrapper::AioContext;
/// use std::time::Duration;
///
/// let spins = AioContext::builder()
///     .name("fast")
///     .spin_max(Duration::from_micros(32))
///     .spin_grow(4)
///     .spin_shrink(2)
///     .build()?;
/// assert_eq!(spins.to_string(), "AioContext `fast`");
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is made before `build`"]
pub struct Builder {
    name: Option<String>,
    spin_max: Duration,
    spin_grow: u32,
    spin_shrink: u32,
}

impl Builder {
    /// The name in messages. The default is a number.
    ///
    /// # Examples
    ///
    /// See [`Builder`].
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How long its home thread spins at most before it sleeps, while spinning has paid lately. Zero, the default,
    /// means never. It never spins past the next timer, nor if the process may use only one processor. Spinning
    /// occupies a processor, and reduces the 50 µs or so of a wake to less than one. [`IoThread`](crate::IoThread)s
    /// spin for up to 32 µs.
    ///
    /// Where the threads that bring the work run on this thread's own processor, spinning only delays them. Then spins fail
    /// however long they are, and after a few of them the context goes without for up to 1024 waits before it tries again.
    ///
    /// # Examples
    ///
    /// See [`Builder`].
    #[doc(alias = "poll-max-ns")]
    pub fn spin_max(mut self, max: Duration) -> Self {
        self.spin_max = max;
        self
    }

    /// The factor by which the spinning time grows, from 4 µs up to the maximum, while waits end within the maximum. 2
    /// by default.
    ///
    /// # Examples
    ///
    /// See [`Builder`].
    #[doc(alias = "poll-grow")]
    pub fn spin_grow(mut self, factor: u32) -> Self {
        self.spin_grow = factor;
        self
    }

    /// The divisor by which the spinning time shrinks after a wait longer than the maximum. 0, the default, ends
    /// spinning at once.
    ///
    /// # Examples
    ///
    /// See [`Builder`].
    #[doc(alias = "poll-shrink")]
    pub fn spin_shrink(mut self, divisor: u32) -> Self {
        self.spin_shrink = divisor;
        self
    }

    /// Makes the context.
    ///
    /// # Errors
    ///
    /// With the feature `tokio`, if the process's reactor cannot be started: no file descriptors or threads are left.
    /// Also in a forked child of a process that had used this crate.
    ///
    /// # Examples
    ///
    /// See [`AioContext::builder`].
    pub fn build(self) -> io::Result<AioContext> {
        fork::check()?;
        fork::register();
        reactor::ensure()?;
        Ok(self.unstarted())
    }

    /// Makes the context without starting the reactor; the first call starts it.
    pub(crate) fn unstarted(self) -> AioContext {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let name = self.name.unwrap_or_else(|| format!("#{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        let (name, scheduler) = (Arc::from(name), Arc::new(Scheduler::new()));
        ALL.register(&name, Arc::downgrade(&scheduler));
        AioContext(Arc::new(Inner {
            name,
            scheduler,
            handlers: Arc::new(handlers::Handlers::default()),
            served_at: AtomicUsize::new(0),
            spin: Spin::new(self.spin_max, self.spin_grow, self.spin_shrink),
            counters: Counters::default(),
        }))
    }
}
