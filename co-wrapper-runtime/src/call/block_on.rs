//! A blocking call of any future: `block_on` and `AioContext::block_on`.

use std::panic::Location;

use super::{
    frame::{Callee, Frame},
    large::{self, Large},
};
use crate::{context::AioContext, poll_loop::poll::home_for_call, reactor::Entered};

/// Polls `future` on this thread until it is ready, as the blocking twin of an async function does with that function's: for
/// futures that have no twin, of another crate or made on the spot.
///
/// It works wherever a twin does, inside other runtimes too, and needs no context; the contexts that this thread is home to
/// are served meanwhile. With the feature `tokio`, tokio's sockets, timers and tasks work in it, on the process's reactor. A
/// future that is ready costs as little as with a twin.
///
/// May be called in coroutine context, where it nests, as with a twin marked `mixed`. [Hang reports](crate::hang) name it
/// `block_on`.
///
/// # Panics
///
/// If calls nest more than 256 deep; if the reactor cannot be started; in a forked child. A panic of the future goes to the caller, and so does, once the future is ready, the first panic of a bottom half that ran
/// meanwhile.
///
/// # Examples
///
/// ```
/// let (tx, rx) = async_channel::bounded(1);
/// let sender = std::thread::spawn(move || tx.send_blocking(42));
/// assert_eq!(co_wrapper::block_on(rx.recv()), Ok(42));
/// sender.join().unwrap().unwrap();
/// ```
#[inline]
#[track_caller]
pub fn block_on<F: Future>(future: F) -> F::Output {
    if const { large::is_large::<F>() } {
        *block_on_in_place(Large::new(Box::pin(future)))
    } else {
        block_on_in_place(future)
    }
}

/// The same, with the future kept on the stack. A function of its own, so that a debug build's frame of the above has no
/// room for what a large call does not put there.
#[inline]
#[track_caller]
fn block_on_in_place<F: Future>(future: F) -> F::Output {
    let _guard;
    let frame = Frame::begin(Callee::Own(&"block_on"), Location::caller());
    if frame.needs_guard() {
        _guard = Entered::guard();
    }
    frame.block_on(|| future)
}

impl AioContext {
    /// Polls `future` on this thread until it is ready, serving the context, and whatever else this thread is home to,
    /// meanwhile. The context is current; if it has no home, this thread is its home for the length of the call.
    ///
    /// May be called in coroutine context, where it nests.
    ///
    /// # Panics
    ///
    /// If another thread is the context's home; if calls nest more than 256 deep. A panic of the future goes to the
    /// caller, and so does, once the future is ready, the first panic of a bottom half that ran meanwhile.
    ///
    /// # Examples
    ///
    /// ```
    /// let ctx = co_wrapper::AioContext::new()?;
    /// let (tx, rx) = async_channel::bounded(1);
    /// let producer = ctx.spawn(async move { tx.send("from a task").await });
    /// assert_eq!(ctx.block_on(rx.recv()), Ok("from a task"));
    /// # ctx.block_on(producer).unwrap();
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        if const { large::is_large::<F>() } {
            *self.block_on_in_place(Large::new(Box::pin(future)))
        } else {
            self.block_on_in_place(future)
        }
    }

    #[track_caller]
    fn block_on_in_place<F: Future>(&self, future: F) -> F::Output {
        let _home = home_for_call(self, "AioContext::block_on");
        let _guard;
        let frame = Frame::begin(Callee::Own(&"AioContext::block_on"), Location::caller());
        if frame.needs_guard() {
            _guard = Entered::guard();
        }
        frame.block_on(|| future)
    }
}
