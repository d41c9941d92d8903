//! Bottom halves: callbacks that run on the home thread, outside any coroutine. Nothing here knows what queues and runs
//! them.

use std::{
    mem::{self, ManuallyDrop},
    panic::RefUnwindSafe,
    ptr::NonNull,
    sync::Arc,
};

use crate::sys::{
    panics,
    sync::{AtomicU8, Ordering, UnsafeCell, is_send},
};

/// A bottom half in a context's queue: one-shot or reusable.
///
/// One word: a [`Once`]'s pointer, or with [`AGAIN_BIT`] that of an `Arc<Reusable>`. So it is passed in registers
/// together with its number. Anything larger is copied in memory, which costs more than everything else about a bottom
/// half.
pub struct Queued(NonNull<Header>);

/// Set in a pointer to a [`Reusable`].
const AGAIN_BIT: usize = 1;
const _: () = assert!(align_of::<Header>() > AGAIN_BIT && align_of::<Reusable>() > AGAIN_BIT);

enum Kind {
    Once(Once),
    Again(Arc<Reusable>),
}

// SAFETY: it owns a `Kind`, which is `Send`.
unsafe impl Send for Queued where Kind: Send {}

impl Queued {
    /// A bottom half that runs `callback` once.
    pub fn once(callback: impl FnOnce() + Send + 'static) -> Self {
        Self(ManuallyDrop::new(Once::new(callback)).0)
    }

    /// A queue entry that runs `reusable`.
    pub fn again(reusable: Arc<Reusable>) -> Self {
        // SAFETY: an `Arc`'s pointer is not null.
        let pointer = unsafe { NonNull::new_unchecked(Arc::into_raw(reusable).cast_mut()) };
        Self(pointer.cast::<Header>().map_addr(|address| address | AGAIN_BIT))
    }

    /// The `Arc`'s pointer, if this is a reusable one.
    fn as_again(&self) -> Option<*const Reusable> {
        let pointer = self.0.as_ptr();
        let again = pointer.addr() & AGAIN_BIT != 0;
        again.then(|| pointer.map_addr(|address| address & !AGAIN_BIT).cast_const().cast())
    }

    /// # Safety
    ///
    /// `self` must not be used again, nor dropped.
    unsafe fn take(&self) -> Kind {
        match self.as_again() {
            // SAFETY: made by `again` from an `Arc`, whose reference this takes over.
            Some(reusable) => Kind::Again(unsafe { Arc::from_raw(reusable) }),
            None => Kind::Once(Once(self.0)),
        }
    }

    /// Called for an entry taken from the queue. Returns it if it is to run now, that is, if it was not cancelled and
    /// is not running in an outer frame. Then it must be run.
    #[inline]
    pub fn settle(self) -> Option<Self> {
        match self.as_again() {
            // SAFETY: made by `again` from an `Arc`, whose reference stays with this.
            Some(reusable) if !ManuallyDrop::new(unsafe { Arc::from_raw(reusable) }).begin() => None,
            _ => Some(self),
        }
    }

    /// Runs it. If its turn came again meanwhile, it is passed to `requeue` afterwards, even if it panics.
    pub fn run(self, requeue: impl Fn(Self)) {
        // SAFETY: `ManuallyDrop` prevents the drop, and it is not used again.
        match unsafe { ManuallyDrop::new(self).take() } {
            Kind::Once(once) => once.run(),
            Kind::Again(reusable) => reusable.run(requeue),
        }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        // SAFETY: it is being dropped, so this is its last use.
        drop(unsafe { self.take() });
    }
}

/// A callback that runs once, behind a thin pointer.
pub struct Once(NonNull<Header>);

/// The header in front of the callback.
struct Header {
    /// Frees the allocation, and runs the callback or drops it.
    end: unsafe fn(NonNull<Header>, run: bool),
}

#[repr(C)]
struct Whole<F> {
    header: Header,
    callback: F,
}

// SAFETY: it owns a callback, which is `Send` by the bound of `new`.
unsafe impl Send for Once {}

impl Once {
    fn new<F: FnOnce() + Send + 'static>(callback: F) -> Self {
        /// # Safety
        ///
        /// `whole` points to a leaked `Box<Whole<F>>`, and is not used again.
        unsafe fn end<F: FnOnce()>(whole: NonNull<Header>, run: bool) {
            // SAFETY: leaked from a box of this type, as the caller promises.
            let whole = unsafe { Box::from_raw(whole.cast::<Whole<F>>().as_ptr()) };
            let callback = whole.callback;
            if run {
                callback();
            }
        }

        let whole = Box::new(Whole { header: Header { end: end::<F> }, callback });
        Self(NonNull::from(Box::leak(whole)).cast())
    }

    fn run(self) {
        ManuallyDrop::new(self).end(true);
    }

    fn end(&self, run: bool) {
        // SAFETY: called once, by `run` or by the drop, with the allocation in which `new` stored this function.
        unsafe { (self.0.as_ref().end)(self.0, run) };
    }
}

impl Drop for Once {
    fn drop(&mut self) {
        self.end(false);
    }
}

/// It is to run.
const SCHEDULED: u8 = 1;
/// It has an entry in the queue: at most one, however often it is scheduled and cancelled between polls.
const QUEUED: u8 = 2;
/// It runs. An `FnMut` cannot be entered twice, so if its turn comes meanwhile, it gets another turn afterwards.
const RUNNING: u8 = 4;
/// Its turn came while it ran.
const AGAIN: u8 = 8;
/// It was deleted.
const GONE: u8 = 16;

pub struct Reusable {
    state: AtomicU8,
    /// Called on the home thread when its turn comes; if it returns false, the turn is skipped.
    condition: Option<Box<dyn Fn() -> bool + Send + Sync>>,
    /// Belongs to the thread that set `RUNNING` until it clears that bit; otherwise to the thread that set `GONE`.
    callback: UnsafeCell<Option<Box<dyn FnMut() + Send>>>,
}

const _: () = {
    is_send::<Option<Box<dyn FnMut() + Send>>>();
};

// SAFETY: the callback is `Send`, and `state` says which one thread may use it; the changes of `state` order the
// threads' accesses.
unsafe impl Sync for Reusable {}

// A callback that panicked may be run again: nothing says that it is broken.
impl RefUnwindSafe for Reusable {}

/// Ends a run or a skipped turn, even if it panics.
struct End<'a, F: Fn(Queued)> {
    reusable: &'a Arc<Reusable>,
    requeue: F,
}

impl<F: Fn(Queued)> Drop for End<'_, F> {
    fn drop(&mut self) {
        if self.reusable.end() {
            (self.requeue)(Queued::again(Arc::clone(self.reusable)));
        }
    }
}

impl Reusable {
    /// A bottom half that runs `callback` if `condition` holds when its turn comes.
    pub fn new(condition: Option<Box<dyn Fn() -> bool + Send + Sync>>, callback: Box<dyn FnMut() + Send>) -> Arc<Self> {
        Arc::new(Self { state: AtomicU8::new(0), condition, callback: UnsafeCell::new(Some(callback)) })
    }

    /// Schedules it. Returns whether it must be queued. This writes even if it is scheduled already: the write orders
    /// what the caller did before the run that clears the bit, which a load would not.
    #[must_use]
    pub fn schedule(&self) -> bool {
        self.has_to_be_queued(SCHEDULED)
    }

    fn has_to_be_queued(&self, set: u8) -> bool {
        self.state.fetch_or(set | QUEUED, Ordering::AcqRel) & QUEUED == 0
    }

    /// Whether it is scheduled, for messages.
    pub fn is_scheduled(&self) -> bool {
        self.state.load(Ordering::Relaxed) & SCHEDULED != 0
    }

    /// Whether it is neither scheduled nor running, and not deleted.
    #[cfg(all(feature = "tokio", unix))]
    pub fn is_idle(&self) -> bool {
        self.state.load(Ordering::Acquire) == 0
    }

    /// Cancels a scheduled run.
    pub fn unschedule(&self) {
        self.state.fetch_and(!SCHEDULED, Ordering::AcqRel);
    }

    /// Called when its turn has come. Returns whether it is to run; then it counts as running, and may be scheduled
    /// again.
    #[inline]
    fn begin(self: &Arc<Self>) -> bool {
        let turn = |state: u8| match state & !QUEUED {
            rest if rest & SCHEDULED == 0 || rest & GONE != 0 => rest,
            rest if rest & RUNNING != 0 => rest | AGAIN,
            rest => rest & !SCHEDULED | RUNNING,
        };
        let exchange =
            |before| self.state.compare_exchange_weak(before, turn(before), Ordering::AcqRel, Ordering::Relaxed);
        let mut before = self.state.load(Ordering::Relaxed);
        while let Err(now) = exchange(before) {
            before = now;
        }
        if before & RUNNING != 0 || turn(before) & RUNNING == 0 {
            return false;
        }
        let Some(condition) = &self.condition else { return true };
        // The condition cannot have caused another turn, so there is nothing to requeue.
        let end = End { reusable: self, requeue: drop };
        let runs = condition();
        if runs {
            mem::forget(end);
        }
        runs
    }

    /// Ends a run or a skipped turn. Returns whether it must be queued again.
    fn end(&self) -> bool {
        let before = self.state.fetch_and(!(RUNNING | AGAIN), Ordering::AcqRel);
        if before & GONE != 0 {
            // SAFETY: the thread that set `GONE` saw `RUNNING`, and so left the callback to this one.
            panics::drop_one(unsafe { self.take() });
            return false;
        }
        before & AGAIN != 0 && before & SCHEDULED != 0 && self.has_to_be_queued(0)
    }

    fn run(self: Arc<Self>, requeue: impl Fn(Queued)) {
        let _end = End { reusable: &self, requeue };
        self.callback.with_mut(|callback| {
            // SAFETY: `begin` set `RUNNING`, which `end` clears.
            if let Some(callback) = unsafe { &mut *callback } {
                callback();
            }
        });
    }

    /// # Safety
    ///
    /// `GONE` is set, and the callback belongs to the caller.
    unsafe fn take(&self) -> Option<Box<dyn FnMut() + Send>> {
        // SAFETY: as the caller promises.
        self.callback.with_mut(|callback| unsafe { (*callback).take() })
    }

    /// Prevents further runs, and drops the callback, now or when the current run has returned.
    pub fn delete(&self) {
        // If it is running, the end of the run drops the callback; if it was deleted before, that deletion does.
        if self.state.fetch_or(GONE, Ordering::AcqRel) & (RUNNING | GONE) == 0 {
            // SAFETY: no thread runs the callback or ever will, and no other thread drops it.
            panics::drop_one(unsafe { self.take() });
        }
    }
}
