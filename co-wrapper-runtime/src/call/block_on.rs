//! A blocking call of any future: `block_on` and `AioContext::block_on`.

use std::{panic::Location, time::Duration};

use super::{
    callee::Callee,
    frame::Frame,
    large::{self, Large},
};
use crate::{
    context::AioContext,
    poll_loop::poll::home_for_call,
    reactor::Entered,
    sys::{
        elapsed::{Elapsed, deadline},
        interrupts::Interrupted,
    },
    thread::waiting::{Ended, Limits},
};

/// Makes the call, with a large future in a box. A macro, because in a debug build each function that the future passes
/// through has room for it in its frame.
macro_rules! in_frame {
    ($callee:expr, $site:expr, $limits:expr, $future:ident: $type:ty) => {
        if const { large::is_large::<$type>() } {
            in_frame($callee, $site, $limits, Large::new(Box::pin($future))).map(|output| *output)
        } else {
            in_frame($callee, $site, $limits, $future)
        }
    };
}

/// Polls `future` on this thread until it is ready, as a blocking twin does with the future of its async function. It
/// is for futures that have no twin, such as those of another crate or of an `async` block.
///
/// It works wherever a twin does, also inside other runtimes, and needs no context. The contexts that this thread is
/// home to are served meanwhile. With the feature `tokio`, tokio's sockets, timers and tasks work in it, on the
/// process's reactor. A call whose future is ready costs as little as with a twin.
///
/// May be called in coroutine context, where it nests, as with a twin marked `mixed`. [Hang reports](crate::hang) name
/// it `block_on`.
///
/// # Panics
///
/// If calls nest more than 256 deep; if the reactor cannot be started; in a forked child. A panic of the future goes to
/// the caller. If a bottom half that ran meanwhile panicked, the first such panic goes to the caller once the future is
/// ready.
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
    done(in_frame!(Callee::Own(&"block_on"), Location::caller(), None, future: F))
}

/// Like [`block_on`], for `timeout` at most. A future that is ready when it is first polled is never too late.
///
/// # Errors
///
/// The time was up first. The future has been dropped by then.
///
/// # Panics
///
/// The same as [`block_on`].
///
/// # Examples
///
/// ```
/// use co_wrapper::block_on_timeout;
/// use std::{future::{pending, ready}, time::Duration};
///
/// assert_eq!(block_on_timeout(ready(7), Duration::ZERO), Ok(7));
/// assert!(block_on_timeout(pending::<()>(), Duration::from_millis(1)).is_err());
/// ```
#[track_caller]
pub fn block_on_timeout<F: Future>(future: F, timeout: Duration) -> Result<F::Output, Elapsed> {
    let (name, deadline) = (&"block_on_timeout", deadline(timeout));
    in_frame!(Callee::Own(name), Location::caller(), deadline, future: F).map_err(|_| Elapsed::new(timeout))
}

/// Like [`block_on`], until the call is [interrupted](crate::interrupt). A future that is ready when it is first polled
/// is not interrupted.
///
/// # Errors
///
/// The call was interrupted. The future has been dropped by then.
///
/// # Panics
///
/// The same as [`block_on`].
///
/// # Examples
///
/// ```
/// use co_wrapper::{block_on_interruptible, interrupt::{Handle, Interrupted}};
/// use std::future::{pending, ready};
///
/// Handle::current().interrupt();
/// assert_eq!(block_on_interruptible(ready(7)), Ok(7));
/// assert_eq!(block_on_interruptible(pending::<()>()), Err(Interrupted));
/// ```
#[track_caller]
pub fn block_on_interruptible<F: Future>(future: F) -> Result<F::Output, Interrupted> {
    let name = &"block_on_interruptible";
    in_frame!(Callee::Own(name), Location::caller(), Limits::INTERRUPTIBLE, future: F).map_err(|_| Interrupted)
}

/// The output of a call without a deadline.
#[inline]
pub(crate) fn done<R>(ended: Result<R, Ended>) -> R {
    ended.unwrap_or_else(|_| unreachable!("a wait without a deadline ends when the future is ready"))
}

/// Like [`block_on`], shown as a call of `callee` at `site`, within `limits`.
#[cfg(any(feature = "tokio", feature = "futures-io", feature = "stream"))]
#[inline]
#[track_caller]
pub(crate) fn block_on_as<F: Future>(
    callee: Callee,
    site: &'static Location<'static>,
    limits: impl Into<Limits>,
    future: F,
) -> Result<F::Output, Ended> {
    in_frame!(callee, site, limits, future: F)
}

/// Polls a future that is kept on the stack.
#[inline]
#[track_caller]
fn in_frame<F: Future>(
    callee: Callee,
    site: &'static Location<'static>,
    limits: impl Into<Limits>,
    future: F,
) -> Result<F::Output, Ended> {
    let _guard;
    let frame = Frame::begin(callee, site);
    if frame.needs_guard() {
        _guard = Entered::guard();
    }
    frame.block_on_until(limits, None, || future)
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
        let _home = home_for_call(self, "AioContext::block_on");
        done(in_frame!(Callee::Own(&"AioContext::block_on"), Location::caller(), None, future: F))
    }

    /// Like [`block_on`](Self::block_on), until the call is [interrupted](crate::interrupt). A future that is ready
    /// when it is first polled is not interrupted.
    ///
    /// # Errors
    ///
    /// The call was interrupted. The future has been dropped by then.
    ///
    /// # Panics
    ///
    /// The same as [`block_on`](Self::block_on).
    ///
    /// # Examples
    ///
    /// ```
    /// use co_wrapper::interrupt::{Handle, Interrupted};
    ///
    /// let ctx = co_wrapper::AioContext::new()?;
    /// let main = Handle::current();
    /// // What the context runs may interrupt the call that waits.
    /// ctx.schedule_bh(move || main.interrupt());
    /// assert_eq!(ctx.block_on_interruptible(std::future::pending::<()>()), Err(Interrupted));
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn block_on_interruptible<F: Future>(&self, future: F) -> Result<F::Output, Interrupted> {
        let _home = home_for_call(self, "AioContext::block_on_interruptible");
        let name = &"AioContext::block_on_interruptible";
        in_frame!(Callee::Own(name), Location::caller(), Limits::INTERRUPTIBLE, future: F).map_err(|_| Interrupted)
    }

    /// Like [`block_on`](Self::block_on), for `timeout` at most. A future that is ready when it is first polled is
    /// never too late. To give up waiting for a task without ending it, pass `&mut` its
    /// [`JoinHandle`](crate::JoinHandle).
    ///
    /// # Errors
    ///
    /// The time was up first. The future has been dropped by then.
    ///
    /// # Panics
    ///
    /// The same as [`block_on`](Self::block_on).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let ctx = co_wrapper::AioContext::new()?;
    /// let (tx, rx) = async_channel::bounded(1);
    /// let mut task = ctx.spawn(async move { rx.recv().await });
    /// assert!(ctx.block_on_timeout(&mut task, Duration::from_millis(1)).is_err());
    /// tx.send_blocking(7).unwrap();
    /// assert_eq!(ctx.block_on(task), Ok(7));
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn block_on_timeout<F: Future>(&self, future: F, timeout: Duration) -> Result<F::Output, Elapsed> {
        let _home = home_for_call(self, "AioContext::block_on_timeout");
        let (name, deadline) = (&"AioContext::block_on_timeout", deadline(timeout));
        in_frame!(Callee::Own(name), Location::caller(), deadline, future: F).map_err(|_| Elapsed::new(timeout))
    }
}
