//! An iterator over a stream that lives in a context: made, polled and dropped there, by calls in that context.
//!
//! Between calls the stream lies here, in the iterator, where nobody uses it. Each call lends it to the context.

use std::{
    any::type_name,
    fmt,
    future::{poll_fn, ready},
    iter::FusedIterator,
    panic::Location,
    pin::Pin,
    time::Duration,
};

use futures_core::Stream;

use crate::{
    call::{
        Wrapper,
        in_context::{call_in, refuse_closed},
    },
    context::AioContext,
    sys::{
        elapsed::{Elapsed, deadline},
        fork,
        panics::{self, Payload},
    },
    thread::waiting::Ended,
};

static MAKE: Wrapper = Wrapper { name: "blocking::Iter::in_context", target: "in_context", mixed: true };
static NEXT: Wrapper = Wrapper { name: "blocking::IterIn::next", target: "next", mixed: true };
static DROP: Wrapper = Wrapper { name: "blocking::IterIn::drop", target: "drop", mixed: true };

/// An [`Iterator`] over a `Stream` that lives in a context. Made by [`Iter::in_context`](super::Iter::in_context).
///
/// The stream is made, polled and dropped in the context, on the thread that is its home or by the caller if it has
/// none, as calls marked `ctx = …` are. So there it finds its context current, and spawns its tasks there. It has to be
/// `Send`, because the context's home may change between two calls, and so have its items.
///
/// Dropping the iterator is a blocking call too: it waits until the context has dropped the stream, and raises the
/// panic of the stream's destructor. If the context is closed, the stream is dropped by the thread that drops the
/// iterator.
///
/// After the stream's end the iterator returns `None` and asks the context no more.
///
/// # Examples
///
/// ```
/// use co_wrapper::{IoThread, blocking::Iter};
/// use futures::{StreamExt, stream};
///
/// let io = IoThread::spawn("io")?;
/// let name = || std::thread::current().name().map(str::to_owned);
/// let mut polled_on = Iter::in_context(io.context(), || stream::iter(0..2).map(|n| (n, name())));
/// assert_eq!(polled_on.next(), Some((0, Some("io".to_owned()))));
/// assert_eq!(polled_on.count(), 1);
/// # std::io::Result::Ok(())
/// ```
pub struct IterIn<S: Send> {
    /// `None` once it was given or dropped.
    stream: Option<S>,
    context: AioContext,
    /// What its calls of `next` are calls of, and that wrapper's module or a type of its own.
    wrapper: &'static Wrapper,
    args_type: &'static str,
    made: &'static Location<'static>,
    ended: bool,
}

impl<S: Stream + Unpin + Send> IterIn<S> {
    #[track_caller]
    pub(super) fn make(
        context: &AioContext,
        made: &'static Location<'static>,
        make: impl FnOnce() -> S + Send,
    ) -> Self {
        let stream = match call_in(&MAKE, type_name::<S>(), made, context, None, make, |make| ready(make())) {
            Ok(stream) => stream,
            Err(_) => refuse_closed(&MAKE, context, made),
        };
        Self::over(&NEXT, type_name::<S>(), context, made, stream)
    }

    fn over(
        wrapper: &'static Wrapper,
        args_type: &'static str,
        context: &AioContext,
        made: &'static Location<'static>,
        stream: S,
    ) -> Self {
        Self { stream: Some(stream), context: context.clone(), wrapper, args_type, made, ended: false }
    }

    /// Like [`Iterator::next`], for `timeout` at most. On expiry the context has stopped polling the stream before this
    /// returns, which may take as long as the context takes to look.
    ///
    /// # Errors
    ///
    /// The item did not come in time. The stream is still there: the next call waits on.
    ///
    /// # Panics
    ///
    /// The same as [`Iterator::next`].
    ///
    /// # Examples
    ///
    /// ```
    /// use co_wrapper::{IoThread, blocking::Iter};
    /// use std::time::Duration;
    ///
    /// let io = IoThread::spawn("io")?;
    /// let (tx, rx) = async_channel::bounded(1);
    /// let mut iter = Iter::in_context(io.context(), || Box::pin(rx));
    /// assert!(iter.next_timeout(Duration::from_millis(1)).is_err());
    /// tx.send_blocking(7).unwrap();
    /// assert_eq!(iter.next(), Some(7));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<S::Item>, Elapsed>
    where
        S::Item: Send,
    {
        match self.next_until(Some(timeout)) {
            Ok(item) => Ok(item),
            Err(Ended::Elapsed) => Err(Elapsed::new(timeout)),
            Err(_) => refuse_closed(self.wrapper, &self.context, self.made),
        }
    }

    /// The stream, with the items that the iterator has not given. From now on it is the caller's and lives in no
    /// context.
    ///
    /// # Examples
    ///
    /// ```
    /// use co_wrapper::{AioContext, block_on, blocking::Iter};
    /// use futures::{StreamExt, stream};
    ///
    /// let mut iter = Iter::in_context(&AioContext::new()?, || stream::iter([1, 2]));
    /// iter.next();
    /// assert_eq!(block_on(iter.into_inner().next()), Some(2));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn into_inner(mut self) -> S {
        self.stream.take().expect("taken only here and in `drop`")
    }

    fn next_until(&mut self, timeout: Option<Duration>) -> Result<Option<S::Item>, Ended>
    where
        S::Item: Send,
    {
        let Some(stream) = self.stream.as_mut().filter(|_| !self.ended) else { return Ok(None) };
        let deadline = timeout.and_then(deadline);
        let item = call_in(self.wrapper, self.args_type, self.made, &self.context, deadline, stream, |stream| {
            poll_fn(move |cx| Pin::new(&mut *stream).poll_next(cx))
        })?;
        self.ended = item.is_none();
        Ok(item)
    }
}

/// Like [`iter_of`](super::iter_of), of a twin with a `ctx`, in which the stream was made.
pub fn iter_in_of<S: Stream + Unpin + Send>(
    wrapper: &'static Wrapper,
    module: &'static str,
    made: &'static Location<'static>,
    context: &AioContext,
    stream: S,
) -> IterIn<S> {
    IterIn::over(wrapper, module, context, made, stream)
}

impl<S: Stream<Item: Send> + Unpin + Send> Iterator for IterIn<S> {
    type Item = S::Item;

    fn next(&mut self) -> Option<S::Item> {
        match self.next_until(None) {
            Ok(item) => item,
            Err(_) => refuse_closed(self.wrapper, &self.context, self.made),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.stream.as_ref().filter(|_| !self.ended).map_or((0, Some(0)), |stream| stream.size_hint())
    }
}

impl<S: Stream<Item: Send> + Unpin + Send> FusedIterator for IterIn<S> {}

impl<S: Send> Drop for IterIn<S> {
    fn drop(&mut self) {
        let Some(stream) = self.stream.take() else { return };
        if fork::is_child() {
            // The context's home is a thread of the parent.
            return panics::drop_one(stream);
        }
        // If the context is closed, the call drops its arguments here.
        let call =
            || call_in(&DROP, type_name::<S>(), self.made, &self.context, None, stream, async |stream| drop(stream));
        if let Err(payload) = Payload::of(call) {
            payload.raise();
        }
    }
}

impl<S: Send> fmt::Debug for IterIn<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { context, made, ended, .. } = self;
        let mut debug = f.debug_struct("IterIn");
        debug.field("context", context).field("made", made).field("ended", ended).finish_non_exhaustive()
    }
}
