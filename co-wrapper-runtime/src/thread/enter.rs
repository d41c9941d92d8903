//! Entering a context: makes this thread its home, and the context current, until the guard is dropped.
//!
//! Invariants: a guard stays on its thread. Guards may be dropped in any order, but none inside a call or callback that
//! is nested in the frame where it was made, because that frame may rely on it.

use std::{fmt, panic::Location, rc::Rc, thread};

#[cfg(feature = "coroutine")]
use super::coroutine::Stays;
use super::{
    homes::{Keeps, Stay, move_in, move_out},
    stack::Root,
    state::Thread,
};
use crate::{
    context::AioContext,
    reactor,
    scheduler::Home,
    sys::{
        fork,
        panics::{self, Payload},
    },
    tasks::{activation, task},
};

impl AioContext {
    /// The context that is current on this thread: the one entered last, else the thread's own, which is made on first
    /// use and has its home here until the thread ends.
    ///
    /// # Examples
    ///
    /// ```
    /// use co_wrapper::AioContext;
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
    #[track_caller]
    pub fn current() -> Self {
        let thread = Thread::current("AioContext::current");
        let current = thread.entered().unwrap_or_else(|| thread.own());
        thread.end_if_late();
        current
    }

    /// Makes this thread the context's home, and the context current, until the guard is dropped.
    ///
    /// Entering nests, also in one context. With the feature `tokio` the process's reactor is the current tokio handle
    /// while the outermost guard lives, which makes calls cheaper. Leaving drops, here, the [`spawn_local`](Self::spawn_local)
    /// tasks; other tasks and bottom halves wait for the next home. The thread's end leaves too, if the guard was
    /// forgotten.
    ///
    /// # Panics
    ///
    /// If another thread is the context's home, naming both. The guard's drop panics inside a call that still waits in
    /// the context; the thread then stays home, and the context current, until the thread ends. Tokio panics where the
    /// guard and tokio's own ones are not dropped in reverse order.
    ///
    /// # Examples
    ///
    /// ```
    /// use co_wrapper::AioContext;
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
        const CALLER: &str = "AioContext::enter";
        match EnterGuard::new(self, None, CALLER, Location::caller()) {
            Ok(guard) => guard,
            Err(home) => refuse(self, &home, CALLER),
        }
    }
}

/// Panics because another thread is home to `context`.
#[cold]
#[track_caller]
pub(crate) fn refuse(context: &AioContext, home: &Home, caller: &str) -> ! {
    panic!(
        "{caller}: called at {}, and {context} is polled by thread {}, its home; thread {} cannot, spawn a task or schedule a \
         bottom half there instead",
        Location::caller(),
        home.thread_name,
        Home::name_of(&thread::current()),
    );
}

/// Finishes the calls that a temporary home has started for other threads. Returns the first panic of what ran.
pub(crate) type Finish = fn(&EnterGuard) -> Option<Payload>;

/// A thread is home to a context while this lives. Returned by [`AioContext::enter`].
///
/// It may be kept in a thread-local: at the thread's end the thread leaves the context, whichever thread-local is
/// destroyed first. Otherwise the thread leaves when the last of the context's guards is dropped, in any order. If a
/// destructor of something that is dropped then panics, the panic is only printed, because it could end the process.
///
/// It stays on its thread:
///
/// ```compile_fail,E0277
/// let guard = co_wrapper::AioContext::new()?.enter();
/// std::thread::spawn(move || drop(guard));
/// # std::io::Result::Ok(())
/// ```
///
/// # Examples
///
/// See [`AioContext::enter`](crate::AioContext::enter).
#[must_use = "the thread leaves the context when the guard is dropped"]
pub struct EnterGuard {
    thread: Rc<Thread>,
    context: AioContext,
    site: &'static Location<'static>,
    keeps: Keeps,
    finish: Option<Finish>,
    number: u64,
    stay: Stay,
    /// Where on the stack it was made: it may not be dropped in a nested call or callback.
    made: Root,
    entered: reactor::Entered,
    _guard: Option<reactor::KeptGuard>,
    /// After the reactor's guard, which the coroutine may not be suspended across.
    #[cfg(feature = "coroutine")]
    _stays: Option<Stays>,
}

impl EnterGuard {
    /// Enters `context` for the function `caller`, called at `site`, or returns the present home. `finish` makes this a
    /// temporary home, for the length of a call; it is called before the thread leaves, and finishes the calls that the
    /// thread has started for others.
    #[track_caller]
    pub(crate) fn new(
        context: &AioContext,
        finish: Option<Finish>,
        caller: &'static str,
        site: &'static Location<'static>,
    ) -> Result<Self, Home> {
        let keeps = if finish.is_some() { Keeps::Call } else { Keeps::Guard };
        let thread = Thread::current(caller);
        // First, because it may panic.
        let entered = reactor::Entered::look(caller);
        let guard = entered.needs_guard().then(|| reactor::KeptGuard::new(keeps == Keeps::Guard));
        move_in(&thread.homes, &thread.parker, context, finish.map(|_| (caller, site)))?;
        let made = thread.stack.above_root();
        let (number, stay) = thread.homes.borrow_mut().enter(context, keeps, made);
        #[cfg(feature = "coroutine")]
        let stays = (guard.is_some() && made.runs == 0).then(|| Stays::new(&thread)).flatten();
        Ok(Self {
            thread: Rc::clone(&thread),
            context: context.clone(),
            site,
            keeps,
            finish,
            number,
            stay,
            made,
            entered,
            _guard: guard,
            #[cfg(feature = "coroutine")]
            _stays: stays,
        })
    }

    /// The context.
    pub(crate) fn context(&self) -> &AioContext {
        &self.context
    }

    /// Whether this alone keeps the thread home to the context.
    pub(crate) fn is_last_stay(&self) -> bool {
        self.thread.homes.borrow_mut().is_last_stay(&self.context)
    }

    /// Whether no frame is nested inside the one that made it; such a frame may rely on it. If a coroutine made it that is
    /// not on this stack, the frame that resumed the coroutine last counts as the one that made it.
    pub(crate) fn is_innermost(&self) -> bool {
        let mut now = self.thread.stack.above_root();
        let made = match self.made {
            #[cfg(feature = "coroutine")]
            made if made.coroutine != 0 => self.thread.homes.borrow().away(self.number).unwrap_or(made),
            made => made,
        };
        if now.coroutine != made.coroutine {
            (now.calls, now.runs) = (self.thread.depth(), self.thread.stack.board.runs());
        }
        now.calls <= made.calls && now.runs <= made.runs
    }

    pub(crate) fn thread(&self) -> &Thread {
        &self.thread
    }

    pub(crate) fn entered(&self) -> &reactor::Entered {
        &self.entered
    }
}

impl Drop for EnterGuard {
    fn drop(&mut self) {
        if fork::is_child() {
            return;
        }
        // A local task drops the last guard that keeps its own thread at home. If the thread left, the task could not
        // even be dropped.
        let in_own_task = task::runs_in(self.context.scheduler())
            && !activation::may_move()
            && self.is_last_stay()
            && !self.context.scheduler().has_own_call();
        let is_nested = !self.is_innermost();
        if is_nested || in_own_task {
            let inside = if in_own_task {
                format!("inside a local task that still runs there{}", self.thread.innermost_wait())
            } else {
                self.thread.what_runs()
            };
            let message = format!(
                "EnterGuard: thread {} leaves {}, which it entered at {}, {inside}; drop the guard where it was made",
                Home::name_of(&thread::current()),
                self.context,
                self.site,
            );
            // The thread stays home until it ends.
            if !thread::panicking() {
                panic!("{message}");
            }
            // A second panic would abort, and the outer call is being given up anyway.
            eprintln!("co_wrapper: {message}");
            if in_own_task {
                return;
            }
        }
        let panicked = self.finish.and_then(|finish| finish(self));
        let _left = self.thread.homes.borrow_mut().leave(self.number, self.made);
        move_out(&self.thread.homes, &self.context, self.stay, self.keeps);
        self.thread.end_if_late();
        panics::raise(panicked);
    }
}

impl fmt::Debug for EnterGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EnterGuard").field(&self.context).finish()
    }
}
