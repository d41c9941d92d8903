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

use std::{cell::Cell, ptr::NonNull, sync::Arc};

use crate::sys::sync::{AtomicUsize, Ordering};

/// Set while a writer waits or holds the lock.
const GATED: usize = 1;
/// One reference: a reader's or the lock's.
const ONE: usize = 2;

#[repr(align(128))]
pub struct Stripe<T> {
    word: AtomicUsize,
    /// The part of the lock that all stripes share.
    shared: Arc<T>,
}

impl<T> Stripe<T> {
    /// A stripe with one reference, the lock's.
    pub fn allocate(shared: Arc<T>, gated: bool) -> NonNull<Self> {
        let word = AtomicUsize::new(ONE + if gated { GATED } else { 0 });
        NonNull::from(Box::leak(Box::new(Self { word, shared })))
    }

    pub fn shared(&self) -> &Arc<T> {
        &self.shared
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
    ///
    /// Takes a pointer: once the count has changed, another thread may free the stripe, but an argument `&self` would
    /// have to stay valid until this returns.
    ///
    /// # Safety
    ///
    /// The caller holds a reader's reference, and does not use `this` again if this returns true.
    #[inline]
    pub unsafe fn try_leave(this: NonNull<Self>) -> bool {
        // SAFETY: the caller's reference keeps the stripe until the exchange below succeeds, which is the last use. The
        // reference is to the field alone: a reference to an atomic may be dangling while the atomic's own function
        // returns.
        let count = unsafe { &(*this.as_ptr()).word };
        let mut word = count.load(Ordering::Relaxed);
        // Only if another reference remains; the last one is released on the slow path.
        while word & GATED == 0 && word >= 2 * ONE {
            match count.compare_exchange_weak(word, word - ONE, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Gives back one reference, the lock's or a reader's.
    ///
    /// # Safety
    ///
    /// The caller owns the reference and does not use `this` again.
    pub unsafe fn release(this: NonNull<Self>) {
        // SAFETY: the caller's reference keeps the stripe alive.
        let before = unsafe { this.as_ref() }.word.fetch_sub(ONE, Ordering::AcqRel);
        if before & !GATED == ONE {
            // SAFETY: allocated by `Box`. That was the last reference, and the acquire half of the step orders all
            // earlier uses by other threads before this.
            drop(unsafe { Box::from_raw(this.as_ptr()) });
        }
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

#[cfg(all(test, not(loom)))]
mod tests {
    use std::{
        ptr,
        sync::atomic::{AtomicPtr, Ordering},
        thread,
    };

    use super::*;

    fn leave(stripe: NonNull<Stripe<()>>) {
        // SAFETY: each of the two threads that call this holds one reference, and does not use the stripe again.
        unsafe {
            if !Stripe::try_leave(stripe) {
                Stripe::release(stripe);
            }
        }
    }

    /// Catches, under Miri only: a leaving reader that still has a reference to the stripe when another thread may free
    /// it.
    #[test]
    fn a_stripe_is_freed_by_one_reader_while_the_other_leaves() {
        let rounds = if cfg!(miri) { 40 } else { 1_000 };
        let shared = Arc::new(());
        let theirs = AtomicPtr::<Stripe<()>>::new(ptr::null_mut());
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..rounds {
                    let stripe = loop {
                        match NonNull::new(theirs.swap(ptr::null_mut(), Ordering::Acquire)) {
                            Some(stripe) => break stripe,
                            None => thread::yield_now(),
                        }
                    };
                    leave(stripe);
                }
            });
            for _ in 0..rounds {
                // Stands for a lock that has ended: its reference now belongs to the other thread.
                let stripe = Stripe::allocate(Arc::clone(&shared), false);
                // SAFETY: just allocated.
                unsafe { stripe.as_ref() }.enter();
                theirs.store(stripe.as_ptr(), Ordering::Release);
                leave(stripe);
                while !theirs.load(Ordering::Relaxed).is_null() {
                    thread::yield_now();
                }
            }
        });
        // Every stripe was freed, and with it its reference.
        assert_eq!(Arc::strong_count(&shared), 1);
    }
}
