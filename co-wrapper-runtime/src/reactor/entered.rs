//! Making the reactor's handle current for a call, and remembering which foreign handle was current before. The first
//! poll needs to know that, and so does the search for the outer scheduler when the call waits (`outer.rs`).

use std::{
    cell::RefCell,
    mem::{self, ManuallyDrop},
};

use tokio::runtime::{EnterGuard, Handle, RuntimeFlavor};

use super::{
    ours::{ours, started},
    stopped::Stopped,
};

/// Which tokio handle a call found current. The order lets each question be a single comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Found {
    Ours,
    /// None, and none can be entered.
    Destroyed,
    // For the following two our handle is made current.
    Nothing,
    Foreign,
}

/// The reactor's handle is current while this lives, together with the [`Guard`] where one is needed.
#[derive(Debug)]
pub struct Entered {
    found: Found,
}

/// Makes the reactor's handle current.
pub type Guard = EnterGuard<'static>;

/// A [`Guard`] that may be kept in a thread-local. Tokio's thread-locals may be destroyed before it, and then dropping
/// tokio's guard would panic.
#[derive(Debug)]
pub struct KeptGuard {
    guard: Option<Guard>,
    kept: bool,
}

impl KeptGuard {
    /// `kept`: the user keeps the guard beyond a call.
    #[track_caller]
    pub fn new(kept: bool) -> Self {
        Self { guard: Some(Entered::guard()), kept }
    }
}

impl Drop for KeptGuard {
    fn drop(&mut self) {
        if self.kept && Handle::try_current().is_err_and(|error| error.is_thread_local_destroyed()) {
            mem::forget(self.guard.take());
        }
    }
}

thread_local! {
    /// The foreign handles that the [`Entered`] values on this stack found current, innermost last.
    static FOREIGN: RefCell<Vec<Handle>> = const { RefCell::new(Vec::new()) };
}

impl Entered {
    /// Checks which handle is current, for the function `name`. If [`needs_guard`](Self::needs_guard), the caller also
    /// takes a [`guard`](Self::guard), which must outlive this value.
    ///
    /// # Panics
    ///
    /// If the reactor cannot be started.
    #[inline]
    #[track_caller]
    pub fn look(name: &str) -> Self {
        let ours = ours(name).id;
        // An outer frame's result cannot be used: a foreign `block_on` may lie between that frame and this one. The
        // handle is compared by reference, because moving a value that was just written costs more than the comparison.
        let current = ManuallyDrop::new(Handle::try_current());
        let found = match &*current {
            Ok(current) if current.id() == ours => Found::Ours,
            Ok(_) => Found::Foreign,
            // In a thread-local destructor, after tokio's own ran.
            Err(error) if error.is_thread_local_destroyed() => Found::Destroyed,
            Err(_) => Found::Nothing,
        };
        match found {
            // Nobody misses this reference, because our runtime is never dropped, and to give it back would take a locked
            // instruction. A count of 64 bits does not overflow: that would take centuries of calls.
            Found::Ours if cfg!(target_pointer_width = "64") => {}
            Found::Ours => drop(ManuallyDrop::into_inner(current)),
            Found::Foreign => ManuallyDrop::into_inner(current).into_iter().for_each(push),
            // An error, which owns nothing.
            Found::Nothing | Found::Destroyed => {}
        }
        Self { found }
    }

    /// Whether the caller must take a guard to make our handle current.
    #[inline]
    pub fn needs_guard(&self) -> bool {
        self.found >= Found::Nothing
    }

    /// Whether our handle was current already, and no guard was taken.
    #[cfg(feature = "coroutine")]
    #[inline]
    pub fn is_ours(&self) -> bool {
        self.found == Found::Ours
    }

    /// The guard. Keep it where it is returned: moving it costs as much as the rest of a call.
    #[inline]
    pub fn guard() -> Guard {
        started().runtime.enter()
    }

    /// Whether tokio's thread-locals are destroyed, so that no tokio handle can be entered.
    pub fn is_after_tokio(&self) -> bool {
        self.found == Found::Destroyed
    }

    /// What a hang report should say of a call that stops no scheduler.
    pub(super) fn where_nothing_stands_still(&self) -> Stopped {
        if self.found == Found::Destroyed {
            return Stopped::Ended;
        }
        let flavors = FOREIGN.try_with(|foreign| {
            let foreign = foreign.borrow();
            let of = |flavor| foreign.iter().any(|handle| handle.runtime_flavor() == flavor);
            (of(RuntimeFlavor::CurrentThread), !foreign.is_empty())
        });
        match flavors {
            Ok((true, _)) => Stopped::Undriven,
            Ok((false, true)) => Stopped::LocalSet,
            Ok((false, false)) | Err(_) => Stopped::Nothing,
        }
    }

    /// Whether a task of another runtime may be polling further out on this stack. The call's first poll would use up
    /// that task's cooperative budget. An operation that then waits inside a `FuturesUnordered` is woken only by the
    /// scheduler, which the call blocks; polling the whole future again does not reach it.
    #[inline]
    pub fn may_be_in_a_foreign_task(&self) -> bool {
        // A worker of ours is not such a case: when it is handed on, it passes on the wakes that it kept back.
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

/// Moves the handle, because cloning it takes an atomic operation.
#[cold]
fn push(current: Handle) {
    // In a thread-local destructor the list may be gone, and then nothing reads it.
    let _ = FOREIGN.try_with(|foreign| foreign.borrow_mut().push(current));
}

#[cold]
fn pop() {
    // Dropped after the borrow ends, because it may be the last handle of its runtime.
    let _last = FOREIGN.try_with(|foreign| foreign.borrow_mut().pop());
}

/// The foreign handle that was current before our handle was last made current.
pub(super) fn innermost_foreign() -> Option<Handle> {
    FOREIGN.try_with(|foreign| foreign.borrow().last().cloned()).ok()?
}
