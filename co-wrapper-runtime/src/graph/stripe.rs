//! The count of readers, split into stripes: one cache line per thread, so that readers on different threads share
//! none.
//!
//! A stripe's word holds a reference count and the bit [`GATED`]. While the bit is clear, a reader enters and leaves
//! with one atomic step each on its own stripe. A writer sets the bit on all stripes; from then on readers enter and
//! leave through the lock's mutex. Because the bit and the count share a word, no fence is needed: a change of the
//! count reads the bit in the same step.
//!
//! The lock holds a reference to each stripe, and so does each reader. So a guard needs no reference to the lock, whose
//! count all threads would share.
//!
//! A stripe is never freed. When its lock has ended and its last reader has left, it is kept for the next lock. So whoever
//! has one may look at it at any time, as at the record of a guard (`held.rs`).

use std::{cell::Cell, sync::Arc};

use crate::sys::sync::{AtomicUsize, Mutex, Ordering, lock};

/// Set while a writer waits or holds the lock.
const GATED: usize = 1;
/// One reference: a reader's or the lock's.
const ONE: usize = 2;

#[repr(align(128))]
pub struct Stripe<T> {
    word: AtomicUsize,
    /// The address of the part of the lock that all stripes share, for guards, which compare it.
    address: AtomicUsize,
    /// That part; `None` while no lock has the stripe.
    shared: Mutex<Option<Arc<T>>>,
}

impl<T> Stripe<T> {
    /// A new stripe, which no lock has.
    pub fn new() -> Self {
        Self { word: AtomicUsize::new(0), address: AtomicUsize::new(0), shared: Mutex::new(None) }
    }

    /// Gives the stripe to a lock, with one reference, the lock's. Nobody else has it.
    pub fn begin(&self, shared: Arc<T>, gated: bool) {
        self.address.store(Arc::as_ptr(&shared).addr(), Ordering::Relaxed);
        *lock(&self.shared) = Some(shared);
        self.word.store(ONE + if gated { GATED } else { 0 }, Ordering::Release);
    }

    /// The lock's part, for whoever has a reference to the stripe.
    pub fn shared(&self) -> Arc<T> {
        lock(&self.shared).clone().expect("there while there is a reference")
    }

    #[inline]
    pub fn address(&self) -> usize {
        self.address.load(Ordering::Relaxed)
    }

    /// Enters and returns true, unless a writer waits or holds the lock.
    #[inline]
    pub fn try_enter(&self) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & GATED == 0 {
            match self.word.compare_exchange_weak(word, word + ONE, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Enters even if a writer waits. The caller holds the mutex, and nobody writes.
    pub fn enter(&self) {
        self.word.fetch_add(ONE, Ordering::Acquire);
    }

    /// Enters if a reader holds the lock. Nobody writes then, so this needs no mutex.
    pub fn try_share(&self) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        while word >= 2 * ONE {
            match self.word.compare_exchange_weak(word, word + ONE, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Leaves and returns true, unless a writer waits or holds the lock; then the caller keeps the reader's reference.
    #[inline]
    pub fn try_leave(&self) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        // Only if another reference remains; the last one is released on the slow path.
        while word & GATED == 0 && word >= 2 * ONE {
            match self.word.compare_exchange_weak(word, word - ONE, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Gives back one reference, the lock's or a reader's. Returns whether that was the last one: then the stripe is the
    /// caller's, and so is the lock's part.
    pub fn release(&self) -> Option<Arc<T>> {
        let last = self.word.fetch_sub(ONE, Ordering::AcqRel) & !GATED == ONE;
        if last { lock(&self.shared).take() } else { None }
    }

    /// Closes or opens the fast path. The caller holds the mutex.
    pub fn set_gated(&self, gated: bool) {
        if gated {
            self.word.fetch_or(GATED, Ordering::AcqRel);
        } else {
            self.word.fetch_and(!GATED, Ordering::Release);
        }
    }

    /// How many readers are counted here. Valid while the lock has its own reference.
    pub fn readers(&self) -> usize {
        self.word.load(Ordering::Acquire) / ONE - 1
    }
}

/// How many stripes a lock has at most. With more threads, some share one.
#[cfg(not(loom))]
pub const STRIPES: usize = 256;
#[cfg(loom)]
pub const STRIPES: usize = 2;

/// The index of this thread's stripe. Threads that live at the same time have different ones, as long as there are
/// enough.
#[cfg(not(loom))]
pub fn index() -> usize {
    use std::sync::Mutex;

    use crate::sys::sync::plain_lock as lock;

    /// The indices of threads that have ended, and the first that was never used.
    static FREE: Mutex<(Vec<usize>, usize)> = Mutex::new((Vec::new(), 0));

    struct GiveBack(usize);
    impl Drop for GiveBack {
        fn drop(&mut self) {
            lock(&FREE).0.push(self.0);
        }
    }

    const NONE: usize = usize::MAX;
    thread_local! {
        static INDEX: Cell<usize> = const { Cell::new(NONE) };
        static END: Cell<Option<GiveBack>> = const { Cell::new(None) };
    }

    #[cold]
    fn first_use() -> usize {
        let free = &mut *lock(&FREE);
        let mine = free.0.pop().unwrap_or_else(|| {
            free.1 += 1;
            free.1 - 1
        });
        // In a thread-local destructor the index may not be given back; that only leaves it unused.
        let _ = END.try_with(|end| end.set(Some(GiveBack(mine))));
        INDEX.set(mine);
        mine
    }

    match INDEX.get() {
        NONE => first_use() % STRIPES,
        index => index % STRIPES,
    }
}

#[cfg(loom)]
loom::thread_local! { static INDEX: Cell<usize> = Cell::new(0) }

/// The index of this thread's stripe, as the model set it.
#[cfg(loom)]
pub fn index() -> usize {
    INDEX.with(Cell::get)
}

/// Sets the index of this thread's stripe.
#[cfg(loom)]
pub fn set_index(index: usize) {
    INDEX.with(|place| place.set(index));
}
