//! How a context is made.

use std::{
    io,
    sync::{
        Arc, Weak,
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
use crate::{reactor, scheduler::mailbox::Mailbox, sys::fork, watch::reasons};

/// Makes an [`AioContext`]. Returned by [`AioContext::builder`].
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
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Up to how long its home thread spins before it sleeps, if that has paid lately; zero, the default, for never. It
    /// never spins past the next timer, nor where the process may use one processor only. It costs a processor meanwhile
    /// and turns the 50 µs or so of a wake into less than one. [`IoThread`](crate::IoThread)s have 32 µs.
    #[doc(alias = "poll-max-ns")]
    pub fn spin_max(mut self, max: Duration) -> Self {
        self.spin_max = max;
        self
    }

    /// The factor by which spinning grows, from 4 µs up to the maximum, while waits end within the maximum. 2 by default.
    #[doc(alias = "poll-grow")]
    pub fn spin_grow(mut self, factor: u32) -> Self {
        self.spin_grow = factor;
        self
    }

    /// The divisor by which it shrinks after a wait longer than the maximum; 0, the default, for down to nothing.
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
        let awaited: Weak<Mailbox> = Arc::downgrade(&mailbox);
        reasons::register(&name, awaited);
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
