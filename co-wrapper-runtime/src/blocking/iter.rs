//! An iterator over a stream that is polled where the iterator is used.

use std::{any::type_name, fmt, future::poll_fn, iter::FusedIterator, panic::Location, pin::Pin, time::Duration};

use futures_core::Stream;

use super::iter_in::IterIn;
use crate::{
    call::{Wrapper, block_on::block_on_as, callee::Callee},
    context::AioContext,
    sys::elapsed::{Elapsed, deadline},
};

static BY_HAND: Wrapper = Wrapper { name: "blocking::Iter::next", target: "next", mixed: true };

/// An [`Iterator`] over a `Stream`: each [`next`](Iterator::next) is a blocking call that waits for the stream's next
/// item.
///
/// The stream is polled on the thread that calls `next`, and only then: between two calls it does not move. Dropping
/// the iterator drops the stream, on the thread that does so. The iterator is `Send` if the stream is.
///
/// A stream that is not `Unpin`, such as one of an async block, has to be pinned first: `Iter::new(Box::pin(stream))`,
/// or `Iter::new(std::pin::pin!(stream))` without an allocation. A `BoxStream` is `Unpin`.
///
/// After the stream's end the iterator returns `None` and does not poll the stream again, so it is a [`FusedIterator`]
/// over any stream. A panic of the stream goes to the caller of `next`; the call after that polls the stream again.
///
/// An item of a ready stream costs what any ready call costs. [Hang reports](crate::hang) name the call
/// `blocking::Iter::next`, and where the iterator was made.
///
/// # Examples
///
/// ```
/// use co_wrapper::blocking::Iter;
/// use futures::{StreamExt, stream};
///
/// let squares = Iter::new(stream::iter(1..4).map(|n| n * n));
/// assert_eq!(squares.size_hint(), (3, Some(3)));
/// assert_eq!(squares.collect::<Vec<_>>(), [1, 4, 9]);
///
/// let (tx, rx) = async_channel::bounded(1);
/// let sender = std::thread::spawn(move || (0..3).try_for_each(|n| tx.send_blocking(n)));
/// let mut sum = 0;
/// for n in Iter::new(Box::pin(rx)) {
///     sum += n;
/// }
/// assert_eq!(sum, 3);
/// sender.join().unwrap().unwrap();
/// ```
pub struct Iter<S> {
    stream: S,
    wrapper: &'static Wrapper,
    /// The twin's module, or a type of its own.
    args_type: &'static str,
    /// Where it was made. A `for` loop's calls of `next` have no place of their own, nor have those inside an adapter.
    made: &'static Location<'static>,
    ended: bool,
}

impl<S: Stream + Unpin> Iter<S> {
    /// An iterator over `stream`, which is not polled yet.
    ///
    /// # Examples
    ///
    /// See [`Iter`].
    #[track_caller]
    pub fn new(stream: S) -> Self {
        iter_of(&BY_HAND, type_name::<S>(), Location::caller(), stream)
    }

    /// Like [`Iterator::next`], for `timeout` at most. A stream that has its next item ready gives it even if the
    /// timeout is zero.
    ///
    /// # Errors
    ///
    /// The item did not come in time. The stream is still there, and so is what it has done towards the item: the next
    /// call waits on.
    ///
    /// # Panics
    ///
    /// The same as [`Iterator::next`].
    ///
    /// # Examples
    ///
    /// ```
    /// use co_wrapper::blocking::Iter;
    /// use std::time::Duration;
    ///
    /// let (tx, rx) = async_channel::bounded(1);
    /// let mut iter = Iter::new(Box::pin(rx));
    /// assert!(iter.next_timeout(Duration::from_millis(1)).is_err());
    /// tx.send_blocking(7).unwrap();
    /// assert_eq!(iter.next_timeout(Duration::ZERO), Ok(Some(7)));
    /// ```
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<S::Item>, Elapsed> {
        if self.ended {
            return Ok(None);
        }
        let Self { stream, wrapper, args_type, made, .. } = self;
        let next = poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx));
        let item = block_on_as(Callee::Wrapper(wrapper, args_type), made, deadline(timeout), next)
            .map_err(|_| Elapsed::new(timeout))?;
        self.ended = item.is_none();
        Ok(item)
    }

    /// An iterator over a stream that lives in `context`: `make` is called there, the stream is polled there, and it is
    /// dropped there. See [`IterIn`].
    ///
    /// # Panics
    ///
    /// As a call in another context does: if the context is closed, and with the panic of `make`.
    ///
    /// # Examples
    ///
    /// See [`IterIn`].
    #[track_caller]
    pub fn in_context(context: &AioContext, make: impl FnOnce() -> S + Send) -> IterIn<S>
    where
        S: Send,
    {
        IterIn::make(context, Location::caller(), make)
    }
}

impl<S> Iter<S> {
    /// The stream.
    ///
    /// # Examples
    ///
    /// ```
    /// let iter = co_wrapper::blocking::Iter::new(futures::stream::iter([1, 2]));
    /// assert_eq!(futures::Stream::size_hint(iter.get_ref()), (2, Some(2)));
    /// ```
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// The stream, to change.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures::{future::ready, stream::FuturesUnordered};
    ///
    /// let mut iter = co_wrapper::blocking::Iter::new(FuturesUnordered::new());
    /// iter.get_mut().push(ready(5));
    /// assert_eq!(iter.next(), Some(5));
    /// ```
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The stream, with the items that the iterator has not given. An iterator over a stream that goes on after its end
    /// is made anew in this way.
    ///
    /// # Examples
    ///
    /// ```
    /// use co_wrapper::{block_on, blocking::Iter};
    /// use futures::{StreamExt, stream};
    ///
    /// let mut iter = Iter::new(stream::iter([1, 2]));
    /// iter.next();
    /// assert_eq!(block_on(iter.into_inner().next()), Some(2));
    /// ```
    pub fn into_inner(self) -> S {
        self.stream
    }
}

/// The iterator of a generated twin, whose calls of `next` are that twin's calls. `args_type` is the twin's module, or
/// the name of a type in it, and `made` the place of its call.
pub fn iter_of<S: Stream + Unpin>(
    wrapper: &'static Wrapper,
    args_type: &'static str,
    made: &'static Location<'static>,
    stream: S,
) -> Iter<S> {
    Iter { stream, wrapper, args_type, made, ended: false }
}

impl<S: Stream + Unpin> Iterator for Iter<S> {
    type Item = S::Item;

    #[inline]
    fn next(&mut self) -> Option<S::Item> {
        if self.ended {
            return None;
        }
        let Self { stream, wrapper, args_type, made, .. } = self;
        let next = poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx));
        let Ok(item) = block_on_as(Callee::Wrapper(wrapper, args_type), made, None, next) else {
            unreachable!("a call without a deadline ends when it is done")
        };
        self.ended = item.is_none();
        item
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        if self.ended { (0, Some(0)) } else { self.stream.size_hint() }
    }
}

impl<S: Stream + Unpin> FusedIterator for Iter<S> {}

impl<S> fmt::Debug for Iter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").field("made", &self.made).field("ended", &self.ended).finish_non_exhaustive()
    }
}
