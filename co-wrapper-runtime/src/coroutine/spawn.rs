//! `AioContext::spawn_coroutine`.

use super::handle::Coroutine;
use crate::{
    context::{
        AioContext,
        join::{self, JoinHandle},
    },
    sys::fork,
};

impl AioContext {
    /// Spawns a task that runs `f` as a [`Coroutine`](crate::Coroutine), from any thread. The context's home thread
    /// begins it when it polls or waits, and from then on the task stays on that thread, like one of
    /// [`spawn_local`](Self::spawn_local): it is dropped there when the thread leaves home or the context is closed.
    ///
    /// # Safety
    ///
    /// The same as for [`Coroutine::new`](crate::Coroutine::new), where both a closure that keeps the promise and one
    /// that breaks it are shown.
    ///
    /// # Panics
    ///
    /// Awaiting the handle panics like that of [`spawn`](Self::spawn); a panic of `f`, or of the lack of a stack,
    /// reaches the joiner.
    ///
    /// # Examples
    ///
    /// ```
    /// use co_wrapper::{AioContext, block_on};
    ///
    /// let ctx = AioContext::new()?;
    /// let (tx, rx) = async_channel::bounded(1);
    /// // SAFETY: neither closure uses a thread-local.
    /// let (reads, writes) = unsafe {
    ///     (ctx.spawn_coroutine(move || block_on(rx.recv())), ctx.spawn_coroutine(move || block_on(tx.send(7))))
    /// };
    /// assert_eq!(ctx.block_on(reads), Ok(7)); // the first waits, blocking, for the second
    /// ctx.block_on(writes).unwrap();
    /// # std::io::Result::Ok(())
    /// ```
    #[doc(alias = "qemu_coroutine_enter")]
    #[track_caller]
    pub unsafe fn spawn_coroutine<R: Send + 'static>(&self, f: impl FnOnce() -> R + Send + 'static) -> JoinHandle<R> {
        fork::forbid("AioContext::spawn_coroutine");
        let future = async move {
            // SAFETY: as the caller promises.
            unsafe { Coroutine::new(f) }.into_task().await
        };
        // SAFETY: before its first poll the future holds `f` alone, which is `Send`.
        unsafe { join::spawn_pinned(self.scheduler(), future) }
    }
}
