//! The activation: what this thread runs now, as opposed to the outer frames that wait on its stack. It says whether
//! the current code is a coroutine, which task it belongs to, and which scheduler that task belongs to. A loop that
//! runs something else sets it before and restores it after.
//!
//! Dropping an unfinished future is not a poll: its destructors run outside coroutine context, and may block.

use std::{cell::Cell, ptr};

use super::unit::Unit;

/// Whether the current code is a coroutine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u8);

impl Mark {
    /// No coroutine: the thread's own code, a bottom half, a handler, a destructor.
    pub const NONE: Self = Self(0);
    /// A coroutine that stays on its thread.
    pub const COROUTINE: Self = Self(1);
    /// The outermost code of a stackful coroutine, which suspends where other code blocks. Inside its blocking calls the
    /// mark is [`COROUTINE`](Self::COROUTINE), as inside every call.
    #[cfg(feature = "coroutine")]
    pub const ROOT: Self = Self(4);
    /// A task that may move to another thread. With [`COROUTINE`](Self::COROUTINE) it is being polled, without it
    /// dropped.
    pub const SEND_TASK: Self = Self(2);

    /// Whether this is the outermost code of a stackful coroutine.
    #[cfg(feature = "coroutine")]
    #[inline]
    pub fn is_root(self) -> bool {
        self.has(Self::ROOT)
    }

    #[inline]
    fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// What runs on a thread.
#[derive(Clone, Copy)]
pub struct Activation {
    mark: Mark,
    task: Unit,
    /// The address of the scheduler of the innermost task on the stack; null if there is none. Compared,
    /// never dereferenced.
    scheduler: *const (),
}

struct Now {
    // One byte: a call sets and restores this field and nothing else.
    mark: Cell<Mark>,
    task: Cell<Unit>,
    scheduler: Cell<*const ()>,
}

thread_local! {
    static NOW: Now =
        const { Now { mark: Cell::new(Mark::NONE), task: Cell::new(Unit::NONE), scheduler: Cell::new(ptr::null()) } };
}

/// Whether this is coroutine context.
#[inline]
pub fn is_coroutine() -> bool {
    #[cfg(feature = "coroutine")]
    const ANY: Mark = Mark(Mark::COROUTINE.0 | Mark::ROOT.0);
    #[cfg(not(feature = "coroutine"))]
    const ANY: Mark = Mark::COROUTINE;
    NOW.with(|now| now.mark.get()).has(ANY)
}

/// Whether a plain blocking call is refused here, because it would block the loop that polls the current code. A
/// stackful coroutine is coroutine context too, but a call suspends it and blocks nothing.
#[inline]
pub fn forbids_blocking() -> bool {
    NOW.with(|now| now.mark.get()).has(Mark::COROUTINE)
}

/// Whether the current code is the body of a task that may move to another thread.
pub fn may_move() -> bool {
    NOW.with(|now| now.mark.get()).has(Mark::SEND_TASK)
}

/// The mark of the current code.
#[cfg(feature = "coroutine")]
#[inline]
pub fn current_mark() -> Mark {
    NOW.with(|now| now.mark.get())
}

/// Sets the mark and returns the old one, to be restored.
#[inline]
pub fn mark(mark: Mark) -> Mark {
    NOW.with(|now| now.mark.replace(mark))
}

/// The number of the task that is being polled here; 0 if there is none.
#[cfg(feature = "graph")]
#[inline]
pub fn task() -> u64 {
    NOW.with(|now| now.task.get()).number()
}

/// Whether the innermost task on the stack belongs to the scheduler at this address.
pub fn runs_in<T>(scheduler: *const T) -> bool {
    NOW.with(|now| ptr::eq(now.scheduler.get(), scheduler.cast()))
}

impl Activation {
    /// The current activation.
    #[inline]
    pub fn current() -> Self {
        NOW.with(|now| Self { mark: now.mark.get(), task: now.task.get(), scheduler: now.scheduler.get() })
    }

    /// Makes this the current activation.
    #[inline]
    pub fn set(self) {
        NOW.with(|now| {
            now.mark.set(self.mark);
            now.task.set(self.task);
            now.scheduler.set(self.scheduler);
        });
    }

    /// This activation with another mark.
    #[inline]
    pub fn marked(self, mark: Mark) -> Self {
        Self { mark, ..self }
    }

    /// The activation for polling the dispatched task `task`, which belongs to the scheduler at this address.
    #[inline]
    pub fn polled<T>(self, task: Unit, scheduler: *const T) -> Self {
        Self { mark: Mark(self.mark.0 | Mark::COROUTINE.0), task, scheduler: scheduler.cast() }
    }
}

/// The mark and the task of code that a loop interrupts to run something else.
#[derive(Clone, Copy)]
pub struct Interrupted {
    mark: Mark,
    task: Unit,
}

impl Interrupted {
    /// Whether it belongs to a task, as far as that is known.
    #[inline]
    pub fn is_task(&self) -> bool {
        self.task != Unit::NONE
    }

    /// The task's number; 0 if there is none.
    #[cfg(feature = "graph")]
    pub fn task(&self) -> u64 {
        self.task.number()
    }
}

/// A loop dispatches something, with the mark `mark`. It belongs to no task until it turns out to be a task that is
/// polled. Returns what to [`restore`].
#[inline]
pub fn interrupt(mark: Mark) -> Interrupted {
    NOW.with(|now| Interrupted { mark: now.mark.replace(mark), task: now.task.replace(Unit::NONE) })
}

/// What runs belongs to `task`, until [`restore`].
#[cfg(feature = "coroutine")]
#[inline]
pub fn set_task(task: Unit) {
    NOW.with(|now| now.task.set(task));
}

/// Ends [`interrupt`], which returned `interrupted`.
#[inline]
pub fn restore(interrupted: Interrupted) {
    NOW.with(|now| {
        now.mark.set(interrupted.mark);
        now.task.set(interrupted.task);
    });
}
