//! The count of readers, in stripes: one cache line a thread, so that readers on different threads share none.
//!
//! A stripe's one word holds a reference count and the bit [`GATED`]. While that is clear a reader enters and leaves by
//! one atomic step each on its own stripe. A writer sets it everywhere: from then on both go through the lock's mutex.
//! The bit and the count in one word are what makes it work without a fence: who changes the count sees the bit as of
//! that very change.
//!
//! The lock holds a reference to each stripe, and so does each reader, so a guard needs no reference to the lock, whose
//! count all threads would share.

use std::{cell::Cell, ptr::NonNull, sync::Arc};

use crate::sys::sync::{AtomicUsize, Ordering};

/// A writer waits or holds the lock.
const GATED: usize = 1;
/// One reader, or the lock itself.
const ONE: usize = 2;

#[repr(align(128))]
pub struct Stripe<T> {
    word: AtomicUsize,
    /// What the lock has beside its stripes.
    shared: Arc<T>,
}

impl<T> Stripe<T> {
    /// One with the lock's own reference.
    pub fn allocate(shared: Arc<T>, gated: bool) -> NonNull<Self> {
        let word = AtomicUsize::new(ONE + if gated { GATED } else { 0 });
        NonNull::from(Box::leak(Box::new(Self { word, shared })))
    }

    pub fn shared(&self) -> &Arc<T> {
        &self.shared
    }

    /// Enters, unless a writer is about.
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

    /// Enters, whoever is about: with the mutex held and nobody writing.
    pub fn enter(&self) {
        self.word.fetch_add(ONE, Ordering::Acquire);
    }

    /// Enters if a reader is in. While one is nobody writes, so this needs no mutex.
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

    /// Leaves, unless a writer is about: then it says so, and the reader's reference is still the caller's.
    ///
    /// By pointer: once the count has changed, another thread may free the stripe, and an argument `&self` would have to
    /// stay valid until this returns.
    ///
    /// # Safety
    ///
    /// The caller holds a reader's reference, and if this says true, uses `this` no more.
    #[inline]
    pub unsafe fn try_leave(this: NonNull<Self>) -> bool {
        // SAFETY: the caller's reference keeps it until the exchange below has succeeded, which is the last use. Of the
        // field alone: a reference to an atomic may be dangling while the atomic's own function returns.
        let count = unsafe { &(*this.as_ptr()).word };
        let mut word = count.load(Ordering::Relaxed);
        // The lock's own reference is there, or this would be the last one: then it is the slow path's.
        while word & GATED == 0 && word >= 2 * ONE {
            match count.compare_exchange_weak(word, word - ONE, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Gives a reference back, the lock's or a reader's.
    ///
    /// # Safety
    ///
    /// The reference is the caller's, who uses `this` no more.
    pub unsafe fn release(this: NonNull<Self>) {
        // SAFETY: the caller's reference keeps it.
        let before = unsafe { this.as_ref() }.word.fetch_sub(ONE, Ordering::AcqRel);
        if before & !GATED == ONE {
            // SAFETY: allocated by `Box`; that was the last reference, and the acquire half of the step orders all uses by
            // others before this.
            drop(unsafe { Box::from_raw(this.as_ptr()) });
        }
    }

    /// With the mutex held: shuts or opens the way past it.
    pub fn set_gated(&self, gated: bool) {
        if gated {
            self.word.fetch_or(GATED, Ordering::AcqRel);
        } else {
            self.word.fetch_and(!GATED, Ordering::Release);
        }
    }

    /// How many readers are in, while the lock has its own reference.
    pub fn readers(&self) -> usize {
        self.word.load(Ordering::Acquire) / ONE - 1
    }
}

/// How many stripes a lock has at most. More threads than that share some.
#[cfg(not(loom))]
pub const STRIPES: usize = 256;
#[cfg(loom)]
pub const STRIPES: usize = 2;

/// This thread's stripe. Threads that live at one time have different ones, as far as there are enough.
#[cfg(not(loom))]
pub fn index() -> usize {
    use std::sync::Mutex;

    use crate::sys::sync::plain_lock as lock;

    /// Those of threads that ended, and the next that nobody had.
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
        // In a thread-local destructor it is not given back.
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

/// This thread's stripe, as the model said.
#[cfg(loom)]
pub fn index() -> usize {
    INDEX.with(Cell::get)
}

/// Which stripe this thread has.
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
        // SAFETY: each of the two who come here holds one reference, and uses the stripe no more.
        unsafe {
            if !Stripe::try_leave(stripe) {
                Stripe::release(stripe);
            }
        }
    }

    /// Catches, below Miri alone: a leave that still has a reference to the stripe when another thread may free it.
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
                // The lock has gone: its reference is now the other thread's.
                let stripe = Stripe::allocate(Arc::clone(&shared), false);
                // SAFETY: just made.
                unsafe { stripe.as_ref() }.enter();
                theirs.store(stripe.as_ptr(), Ordering::Release);
                leave(stripe);
                while !theirs.load(Ordering::Relaxed).is_null() {
                    thread::yield_now();
                }
            }
        });
        // Every stripe is gone, with its reference.
        assert_eq!(Arc::strong_count(&shared), 1);
    }
}
