//! The primitives that loom can model: std's outside a model, loom's under `cfg(loom)`.

#[cfg(loom)]
pub(crate) use loom::cell::UnsafeCell;
#[cfg(all(loom, feature = "graph"))]
pub(crate) use loom::sync::atomic::AtomicPtr;
#[cfg(loom)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};
#[cfg(all(not(loom), feature = "graph"))]
pub(crate) use std::sync::atomic::AtomicPtr;
#[cfg(not(loom))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};

/// Locks, also after a panic elsewhere: nothing of ours panics while it holds a lock, so what a poisoned one guards is
/// whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Compiles where `T` may be sent and shared. What a `SAFETY` comment claims of a type is asserted with it, in place, so
/// that a change of that type which breaks the claim does not compile.
#[allow(dead_code, reason = "before rustc 1.89 what only a `const _` uses counts as unused")]
pub(crate) const fn is_send_and_sync<T: ?Sized + Send + Sync>() {}

/// The same where `T` may be sent.
#[allow(dead_code, reason = "before rustc 1.89 what only a `const _` uses counts as unused")]
pub(crate) const fn is_send<T: ?Sized + Send>() {}

/// A cell whose accesses loom sees, with loom's interface.
#[cfg(not(loom))]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    pub fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    /// Gives `access` the pointer, which is its alone for as long.
    #[inline]
    pub fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
        access(self.0.get())
    }

    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

/// The same for a mutex that no model goes through.
pub(crate) fn plain_lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
