//! std's readers and writers over async ones: the type, and the blocking call that each of its functions makes. Which
//! async traits they are is in `tokio_io.rs` and `futures_io.rs`.

use std::{
    fmt,
    future::poll_fn,
    io,
    marker::PhantomData,
    panic::Location,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use crate::{
    call::{block_on::block_on_as, callee::Callee},
    sys::elapsed::{Elapsed, deadline},
};

/// As the second parameter of [`Io`]: over tokio's traits.
#[derive(Debug)]
pub enum Tokio {}

/// As the second parameter of [`Io`]: over the traits of `futures`.
#[derive(Debug)]
pub enum Futures {}

/// std's [`Read`](io::Read), [`Write`](io::Write), [`Seek`](io::Seek) and [`BufRead`](io::BufRead) over an async reader
/// or writer, as far as that has them. Each of their functions is a blocking call that waits for its async namesake.
///
/// `Io::new` takes what implements tokio's traits, and `Io::futures` what implements those of `futures`; the second
/// parameter says which. The reader is polled on the calling thread. Sockets, files and timers of tokio belong to the
/// runtime in which they were made; made in a blocking call, they belong to the process's reactor, and work everywhere.
///
/// Results and errors are the async function's own: a read of no bytes is the end, a write of no bytes is one that the
/// writer refuses, and [`Interrupted`](io::ErrorKind::Interrupted) is left to std's `read_exact`, `write_all` and their
/// like, which try again. Nothing is buffered here, and dropping it flushes nothing: call [`flush`](io::Write::flush)
/// where the writer buffers, as `tokio::fs::File` does. Vectored writes reach the writer as they are; so do vectored
/// reads with `futures`, while tokio's readers have none and fill the first buffer that is not empty.
///
/// A call that need not wait costs 20 to 45 ns besides the reader's own work, so wrap a socket that is read byte by byte
/// in a [`BufReader`](io::BufReader) as one does with std's. [Hang reports](crate::hang) name the function, such as
/// `blocking::Io::read`, and where the `Io` was made.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "tokio")] {
/// use co_wrapper::{block_on, blocking::Io};
/// use std::io::{BufRead, BufReader, Write};
/// use tokio::net::{TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// let listener = block_on(TcpListener::bind("127.0.0.1:0"))?;
/// let address = listener.local_addr()?;
/// let server = std::thread::spawn(move || Io::new(block_on(listener.accept())?.0).write_all(b"hello\n"));
///
/// let mut line = String::new();
/// BufReader::new(Io::new(block_on(TcpStream::connect(address))?)).read_line(&mut line)?;
/// assert_eq!(line, "hello\n");
/// server.join().unwrap()?;
/// # Ok(()) }
/// # main().unwrap(); }
/// ```
pub struct Io<T, Of = Tokio> {
    inner: T,
    /// Where it was made. The calls of `read_exact`, `io::copy` and their like have no place in the user's code.
    made: &'static Location<'static>,
    timeout: Option<Duration>,
    of: PhantomData<fn() -> Of>,
}

impl<T, Of> Io<T, Of> {
    #[track_caller]
    pub(super) fn over(inner: T) -> Self {
        Self { inner, made: Location::caller(), timeout: None, of: PhantomData }
    }

    /// From now on each call fails with [`TimedOut`](io::ErrorKind::TimedOut) when it has waited for so long; with
    /// `None`, as in the beginning, calls wait for ever. The counterpart of a std socket's `set_read_timeout`.
    ///
    /// A read that timed out has read nothing. A write, flush or seek that timed out may take place later or not, as
    /// far as the writer goes on by itself.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "tokio")] {
    /// use std::{io::{ErrorKind, Read}, time::Duration};
    ///
    /// let (here, _there) = tokio::io::duplex(16);
    /// let mut here = co_wrapper::blocking::Io::new(here);
    /// here.set_timeout(Some(Duration::from_millis(1)));
    /// assert_eq!(here.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
    /// # }
    /// ```
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// The reader or writer.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "tokio")] {
    /// let io = co_wrapper::blocking::Io::new(&b"abc"[..]);
    /// assert_eq!(io.get_ref().len(), 3);
    /// # }
    /// ```
    pub fn get_ref(&self) -> &T {
        &self.inner
    }

    /// The reader or writer, to change.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "tokio")] {
    /// let mut io = co_wrapper::blocking::Io::new(std::io::Cursor::new([7, 8]));
    /// io.get_mut().set_position(1);
    /// assert_eq!(std::io::Read::bytes(io).next().unwrap().unwrap(), 8);
    /// # }
    /// ```
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.inner
    }

    /// The reader or writer. Nothing is flushed and nothing is lost, because nothing is buffered here.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "tokio")] {
    /// use std::io::Write;
    ///
    /// let mut io = co_wrapper::blocking::Io::new(Vec::new());
    /// io.write_all(b"abc").unwrap();
    /// assert_eq!(io.into_inner(), b"abc");
    /// # }
    /// ```
    pub fn into_inner(self) -> T {
        self.inner
    }
}

impl<T: Unpin, Of> Io<T, Of> {
    /// Polls `poll` until it is ready, as a call of the function `name`.
    #[inline]
    pub(super) fn call<R>(
        &mut self,
        name: &'static &'static str,
        mut poll: impl FnMut(Pin<&mut T>, &mut Context<'_>) -> Poll<io::Result<R>>,
    ) -> io::Result<R> {
        let Self { inner, made, timeout, .. } = self;
        let future = poll_fn(|cx| poll(Pin::new(&mut *inner), cx));
        let ended = block_on_as(Callee::Own(name), made, timeout.and_then(deadline), future);
        ended.unwrap_or_else(|_| Err(Elapsed::new(timeout.unwrap_or_default()).into()))
    }
}

/// The bytes of a buffered reader that was ready just before, and so must be ready when it is polled again.
pub(super) fn shown_again(polled: Poll<io::Result<&[u8]>>) -> io::Result<&[u8]> {
    match polled {
        Poll::Ready(shown) => shown,
        Poll::Pending => Err(io::Error::other("poll_fill_buf: had bytes in its buffer, and then waited for some")),
    }
}

impl<T: fmt::Debug, Of> fmt::Debug for Io<T, Of> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inner, made, timeout, .. } = self;
        f.debug_struct("Io").field("inner", inner).field("made", made).field("timeout", timeout).finish()
    }
}
