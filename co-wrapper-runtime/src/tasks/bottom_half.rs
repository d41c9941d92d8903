//! Bottom halves: callbacks that run on the home thread, outside any coroutine. Who queues and runs them is not known
//! here.

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

/// A bottom half in a context's queue: one that runs once, or one that can be scheduled again.
///
/// One word, a [`Once`]'s pointer or with [`AGAIN_BIT`] that of an `Arc<Reusable>`: so it goes through registers together
/// with its number. What is larger is copied from place to place, which costs more than all else that a bottom half takes.
pub struct Queued(NonNull<Header>);

/// Set in a pointer to a [`Reusable`].
const AGAIN_BIT: usize = 1;
const _: () = assert!(align_of::<Header>() > AGAIN_BIT && align_of::<Reusable>() > AGAIN_BIT);

enum Kind {
    Once(Once),
    Again(Arc<Reusable>),
}

// SAFETY: both kinds are.
unsafe impl Send for Queued where Kind: Send {}

impl Queued {
    /// One that runs `callback`, once.
    pub fn once(callback: impl FnOnce() + Send + 'static) -> Self {
        Self(ManuallyDrop::new(Once::new(callback)).0)
    }

    /// One that is to run `reusable`.
    pub fn again(reusable: Arc<Reusable>) -> Self {
        // SAFETY: an `Arc`'s pointer is not null.
        let pointer = unsafe { NonNull::new_unchecked(Arc::into_raw(reusable).cast_mut()) };
        Self(pointer.cast::<Header>().map_addr(|address| address | AGAIN_BIT))
    }

    /// The `Arc`'s pointer, if it is one.
    fn as_again(&self) -> Option<*const Reusable> {
        let pointer = self.0.as_ptr();
        let again = pointer.addr() & AGAIN_BIT != 0;
        again.then(|| pointer.map_addr(|address| address & !AGAIN_BIT).cast_const().cast())
    }

    /// # Safety
    ///
    /// This is the last use of it, its drop included.
    unsafe fn take(&self) -> Kind {
        match self.as_again() {
            // SAFETY: made by `again` of an `Arc`, whose reference this was.
            Some(reusable) => Kind::Again(unsafe { Arc::from_raw(reusable) }),
            None => Kind::Once(Once(self.0)),
        }
    }

    /// Itself, taken from the queue, if it is to run now: it was not cancelled, and does not run further down the stack.
    /// Then it has to be run.
    #[inline]
    pub fn settle(self) -> Option<Self> {
        match self.as_again() {
            // SAFETY: made by `again` of an `Arc`, whose reference this stays.
            Some(reusable) if !ManuallyDrop::new(unsafe { Arc::from_raw(reusable) }).begin() => None,
            _ => Some(self),
        }
    }

    /// Runs it. If its turn came again meanwhile, it is given to `requeue` afterwards, also where it panics.
    pub fn run(self, requeue: impl Fn(Self)) {
        // SAFETY: it is not dropped.
        match unsafe { ManuallyDrop::new(self).take() } {
            Kind::Once(once) => once.run(),
            Kind::Again(reusable) => reusable.run(requeue),
        }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        // SAFETY: it is being dropped.
        drop(unsafe { self.take() });
    }
}

/// A callback that runs once, behind a thin pointer.
pub struct Once(NonNull<Header>);

/// What is in front of the callback.
struct Header {
    /// Frees the whole, and runs the callback or drops it.
    end: unsafe fn(NonNull<Header>, run: bool),
}

#[repr(C)]
struct Whole<F> {
    header: Header,
    callback: F,
}

// SAFETY: it owns a callback, which `new` asks to be `Send`.
unsafe impl Send for Once {}

impl Once {
    fn new<F: FnOnce() + Send + 'static>(callback: F) -> Self {
        /// # Safety
        ///
        /// It is the pointer of a `Whole<F>`, and this is the last use of it.
        unsafe fn end<F: FnOnce()>(whole: NonNull<Header>, run: bool) {
            // SAFETY: made of a box of that type, as the caller promises.
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
        // SAFETY: called once, by `run` or by the drop, and with what belongs to it.
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
/// It has an entry in the queue: at most one, however often it is scheduled and cancelled while nobody polls.
const QUEUED: u8 = 2;
/// It runs. An `FnMut` cannot be entered twice, so if its turn comes meanwhile it has another one after.
const RUNNING: u8 = 4;
/// Its turn came while it ran.
const AGAIN: u8 = 8;
/// Nobody wants it any more.
const GONE: u8 = 16;

pub struct Reusable {
    state: AtomicU8,
    /// Asked on the home thread when its turn comes: if it answers no, that turn is none.
    condition: Option<Box<dyn Fn() -> bool + Send + Sync>>,
    /// Belongs to whoever set `RUNNING`, until that clears it; else to whoever set `GONE`.
    callback: UnsafeCell<Option<Box<dyn FnMut() + Send>>>,
}

const _: () = {
    is_send::<Option<Box<dyn FnMut() + Send>>>();
};

// SAFETY: the callback, which may be sent, is touched by one at a time, as `state` says, whose changes order them.
unsafe impl Sync for Reusable {}

// A callback that panicked is whole for all that we know: it may be run again.
impl RefUnwindSafe for Reusable {}

/// Ends a run, or a turn that was none, also where it panics.
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
    /// One that runs `callback`, if `condition` holds when its turn comes.
    pub fn new(condition: Option<Box<dyn Fn() -> bool + Send + Sync>>, callback: Box<dyn FnMut() + Send>) -> Arc<Self> {
        Arc::new(Self { state: AtomicU8::new(0), condition, callback: UnsafeCell::new(Some(callback)) })
    }

    /// Schedules it, and says whether it is to be queued. A write also where it is scheduled already: it orders what its
    /// caller did before the run that takes the mark up, which a mere look would not.
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

    /// Whether it neither waits for its turn nor runs, and was not deleted.
    #[cfg(all(feature = "tokio", unix))]
    pub fn is_idle(&self) -> bool {
        self.state.load(Ordering::Acquire) == 0
    }

    /// Takes a scheduling back.
    pub fn unschedule(&self) {
        self.state.fetch_and(!SCHEDULED, Ordering::AcqRel);
    }

    /// Its turn has come: whether it is to run. Then it runs from now on, and may be scheduled again.
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
        // It has run nothing that could have had its turn come again.
        let end = End { reusable: self, requeue: drop };
        let runs = condition();
        if runs {
            mem::forget(end);
        }
        runs
    }

    /// It runs no more, or its turn was none. Returns whether it is to be queued once more.
    fn end(&self) -> bool {
        let before = self.state.fetch_and(!(RUNNING | AGAIN), Ordering::AcqRel);
        if before & GONE != 0 {
            // SAFETY: whoever set `GONE` saw `RUNNING`, and left the callback here.
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
    /// `GONE` is set, and the callback is the caller's.
    unsafe fn take(&self) -> Option<Box<dyn FnMut() + Send>> {
        // SAFETY: as the caller promises.
        self.callback.with_mut(|callback| unsafe { (*callback).take() })
    }

    /// Has it never run again, and drops its callback, now or when that has returned.
    pub fn delete(&self) {
        // If it runs, that drops it; and what was deleted before is dropped by whoever did that.
        if self.state.fetch_or(GONE, Ordering::AcqRel) & (RUNNING | GONE) == 0 {
            // SAFETY: nobody runs it, nobody will, and nobody else drops it.
            panics::drop_one(unsafe { self.take() });
        }
    }
}
