//! How a context is made, and the main one, which is made when it is first asked for.

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
    scheduler::mailbox::Mailbox,
    sys::{fork, registry::Registry},
};

/// Every context's mailbox.
static ALL: Registry<Mailbox> = Registry::new();

/// The contexts that are, by their names.
pub fn all() -> Vec<(Arc<str>, Arc<Mailbox>)> {
    ALL.all()
}

/// Made when it is first asked for.
static MAIN: OnceLock<AioContext> = OnceLock::new();

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
    /// let ctx = co_wrapper::AioContext::new()?;
    /// assert!(!ctx.poll(false)); // nothing to do
    /// # std::io::Result::Ok(())
    /// ```
    #[doc(alias = "aio_context_new")]
    pub fn new() -> io::Result<Self> {
        Self::builder().build()
    }

    /// Makes a context with a name, or one that spins before it sleeps.
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
        Builder::new()
    }

    /// The process's main context. Its home is the thread that enters it, `main`'s as a rule.
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

    /// The same, if it was asked for before.
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
    pub(super) fn new() -> Self {
        Self { name: None, spin_max: Duration::ZERO, spin_grow: 2, spin_shrink: 0 }
    }

    /// What messages call it; a number if it has none.
    ///
    /// # Examples
    ///
    /// See [`Builder`].
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Up to how long its home thread spins before it sleeps, if that has paid lately; zero, the default, for never. It
    /// never spins past the next timer, nor where the process may use one processor only. It costs a processor meanwhile
    /// and turns the 50 µs or so of a wake into less than one. [`IoThread`](crate::IoThread)s have 32 µs.
    ///
    /// # Examples
    ///
    /// See [`Builder`].
    #[doc(alias = "poll-max-ns")]
    pub fn spin_max(mut self, max: Duration) -> Self {
        self.spin_max = max;
        self
    }

    /// The factor by which spinning grows, from 4 µs up to the maximum, while waits end within the maximum. 2 by default.
    ///
    /// # Examples
    ///
    /// See [`Builder`].
    #[doc(alias = "poll-grow")]
    pub fn spin_grow(mut self, factor: u32) -> Self {
        self.spin_grow = factor;
        self
    }

    /// The divisor by which it shrinks after a wait longer than the maximum; 0, the default, for down to nothing.
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
    /// With the feature `tokio`, if the process's reactor cannot be started: no file descriptors, no thread to be had. In a
    /// forked child of a process that had used this crate.
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

    /// Makes it without the reactor, which the first call then starts.
    pub(crate) fn unstarted(self) -> AioContext {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let name = self.name.unwrap_or_else(|| format!("#{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        let (name, mailbox) = (Arc::from(name), Arc::new(Mailbox::new()));
        ALL.register(&name, Arc::downgrade(&mailbox));
        AioContext(Arc::new(Inner {
            name,
            mailbox,
            handlers: Arc::new(handlers::Handlers::default()),
            served_at: AtomicUsize::new(0),
            spin: Spin::new(self.spin_max, self.spin_grow, self.spin_shrink),
            counters: Counters::default(),
        }))
    }
}
