//! The reactor's handle made current for a call, and what was current before: for the first poll, and for what stands
//! above the call when it waits (`above.rs`).

use std::{cell::RefCell, mem::ManuallyDrop};

use tokio::runtime::{EnterGuard, Handle, RuntimeFlavor};

use super::{
    below::Below,
    ours::{ours, started},
};

/// Which tokio handle a call found current. In this order, so that what a call asks is one comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Found {
    Ours,
    /// None, and none can be entered.
    Destroyed,
    // Beside these ours was made current.
    Nothing,
    Foreign,
}

/// The reactor's handle is current while this lives, together with the [`Guard`] that it needs.
#[derive(Debug)]
pub struct Entered {
    found: Found,
}

/// Makes the reactor's handle current.
pub type Guard = EnterGuard<'static>;

/// The same for who may be kept in a thread-local: tokio's own may be gone when that is dropped, and then tokio's guard
/// panics.
#[derive(Debug)]
pub struct KeptGuard {
    guard: ManuallyDrop<Guard>,
    kept: bool,
}

impl KeptGuard {
    /// `kept`: it is the user's to keep, not a call's.
    #[track_caller]
    pub fn new(kept: bool) -> Self {
        Self { guard: ManuallyDrop::new(Entered::guard()), kept }
    }
}

impl Drop for KeptGuard {
    fn drop(&mut self) {
        if !self.kept || !Handle::try_current().is_err_and(|error| error.is_thread_local_destroyed()) {
            // SAFETY: dropped here and nowhere else.
            unsafe { ManuallyDrop::drop(&mut self.guard) };
        }
    }
}

thread_local! {
    /// The foreign handles that the [`Entered`] on this stack found current, innermost last.
    static FOREIGN: RefCell<Vec<Handle>> = const { RefCell::new(Vec::new()) };
}

impl Entered {
    /// Looks, for the function `name`, which handle is current. Where that is not ours the caller takes [`guard`](Self::guard) too, and keeps it for
    /// longer than this.
    ///
    /// # Panics
    ///
    /// If the reactor cannot be started.
    #[inline]
    #[track_caller]
    pub fn look(name: &str) -> Self {
        let ours = ours(name).id;
        // What another frame entered says nothing: a foreign `block_on` may be between it and us. By reference: to move
        // what was just written costs more than to ask.
        let current = Handle::try_current();
        let found = match &current {
            Ok(current) if current.id() == ours => Found::Ours,
            Ok(_) => Found::Foreign,
            // A thread-local destructor, after tokio's own was run.
            Err(error) if error.is_thread_local_destroyed() => Found::Destroyed,
            Err(_) => Found::Nothing,
        };
        if found == Found::Foreign
            && let Ok(current) = current
        {
            push(current);
        }
        Self { found }
    }

    /// Whether ours is not current without a guard.
    #[inline]
    pub fn needs_guard(&self) -> bool {
        self.found >= Found::Nothing
    }

    /// The guard. To be kept where it is returned: to move it costs a call as much as all the rest.
    #[inline]
    pub fn guard() -> Guard {
        started().runtime.enter()
    }

    /// Whether tokio's thread-locals are gone here, so that none of its handles can be entered.
    pub fn is_after_tokio(&self) -> bool {
        self.found == Found::Destroyed
    }

    /// What a hang report should know of a call below which nothing stands still.
    pub(super) fn where_nothing_stands_still(&self) -> Below {
        if self.found == Found::Destroyed {
            return Below::Ended;
        }
        let flavors = FOREIGN.try_with(|foreign| {
            let foreign = foreign.borrow();
            let of = |flavor| foreign.iter().any(|handle| handle.runtime_flavor() == flavor);
            (of(RuntimeFlavor::CurrentThread), !foreign.is_empty())
        });
        match flavors {
            Ok((true, _)) => Below::Undriven,
            Ok((false, true)) => Below::LocalSet,
            Ok((false, false)) | Err(_) => Below::Nothing,
        }
    }

    /// Whether another runtime's task may be above, whose cooperative budget the call's first poll would use up. What then waits
    /// inside a `FuturesUnordered` is woken by the scheduler alone, which the call blocks: polling the whole again does
    /// not reach it.
    #[inline]
    pub fn may_be_in_a_foreign_task(&self) -> bool {
        // A worker of ours passes on what it kept back when it hands its work on.
        self.found == Found::Foreign
    }
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        if self.found == Found::Foreign {
            pop();
        }
    }
}

/// The handle moves there as it is, for to clone it takes an atomic step.
#[cold]
fn push(current: Handle) {
    // In a thread-local destructor it may be gone, and then nobody asks.
    let _ = FOREIGN.try_with(|foreign| foreign.borrow_mut().push(current));
}

#[cold]
fn pop() {
    // Dropped after the borrow ends: it may be the last that keeps its runtime.
    let _last = FOREIGN.try_with(|foreign| foreign.borrow_mut().pop());
}

/// The foreign handle that was current before ours was made so last.
pub(super) fn innermost_foreign() -> Option<Handle> {
    FOREIGN.try_with(|foreign| foreign.borrow().last().cloned()).ok()?
}
