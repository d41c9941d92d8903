//! The primitives that loom can model: std's outside a model, loom's under `cfg(loom)`. Code that a model runs takes
//! its atomics, mutexes and cells from here.

#[cfg(loom)]
pub(crate) use loom::cell::UnsafeCell;
#[cfg(all(loom, feature = "graph"))]
pub(crate) use loom::sync::atomic::AtomicPtr;
#[cfg(all(loom, feature = "coroutine"))]
pub(crate) use loom::sync::atomic::fence;
#[cfg(loom)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};
#[cfg(all(not(loom), feature = "graph"))]
pub(crate) use std::sync::atomic::AtomicPtr;
#[cfg(all(not(loom), feature = "coroutine"))]
pub(crate) use std::sync::atomic::fence;
#[cfg(not(loom))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};

/// Locks, and ignores poisoning: our code never panics while it holds a lock, so the data is consistent.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Compiles only if `T` is `Send` and `Sync`. Stands beside a `SAFETY` comment that relies on it, so that a change of
/// `T` that breaks the claim does not compile.
#[allow(dead_code, reason = "before rustc 1.89 what only a `const _` uses counts as unused")]
pub(crate) const fn is_send_and_sync<T: ?Sized + Send + Sync>() {}

/// Like [`is_send_and_sync`], for `Send` alone.
#[allow(dead_code, reason = "before rustc 1.89 what only a `const _` uses counts as unused")]
pub(crate) const fn is_send<T: ?Sized + Send>() {}

/// An `UnsafeCell` with loom's interface, so that loom sees its accesses.
#[cfg(not(loom))]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    pub fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    /// Passes the pointer to `access`. The caller ensures that nothing else accesses the cell meanwhile.
    #[inline]
    pub fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
        access(self.0.get())
    }
}

/// Like [`lock`], for a mutex that no model covers.
pub(crate) fn plain_lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
