//! `Io` over tokio's traits.

use std::{
    io::{self, BufRead, IoSlice, Read, Seek, SeekFrom, Write},
    pin::Pin,
    task::{Context, Waker, ready},
};

use tokio::io::{AsyncBufRead, AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};

use super::io::{Io, Tokio, shown_again};

impl<T> Io<T, Tokio> {
    /// Over what implements tokio's traits, and is [`Unpin`]; `Box::pin` what is not.
    ///
    /// # Examples
    ///
    /// See [`Io`].
    #[track_caller]
    pub fn new(inner: T) -> Self {
        Self::over(inner)
    }
}

impl<T: AsyncWrite + Unpin> Io<T, Tokio> {
    /// Flushes the writer and ends it (tokio's `shutdown`): a socket's peer then reads the end.
    ///
    /// # Errors
    ///
    /// The writer's.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{Read, Write};
    ///
    /// let (mut here, mut there) = {
    ///     let (here, there) = tokio::io::duplex(16);
    ///     (co_wrapper::blocking::Io::new(here), co_wrapper::blocking::Io::new(there))
    /// };
    /// here.write_all(b"all")?;
    /// here.shutdown()?;
    /// let mut text = String::new();
    /// there.read_to_string(&mut text)?;
    /// assert_eq!(text, "all");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn shutdown(&mut self) -> io::Result<()> {
        self.call(&"blocking::Io::shutdown", |inner, cx| inner.poll_shutdown(cx))
    }
}

impl<T: AsyncRead + Unpin> Read for Io<T, Tokio> {
    #[inline]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.call(&"blocking::Io::read", |inner, cx| {
            let mut buf = ReadBuf::new(buf);
            ready!(inner.poll_read(cx, &mut buf))?;
            Ok(buf.filled().len()).into()
        })
    }
}

impl<T: AsyncWrite + Unpin> Write for Io<T, Tokio> {
    #[inline]
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.call(&"blocking::Io::write", |inner, cx| inner.poll_write(cx, data))
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        self.call(&"blocking::Io::write_vectored", |inner, cx| inner.poll_write_vectored(cx, data))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.call(&"blocking::Io::flush", |inner, cx| inner.poll_flush(cx))
    }
}

impl<T: AsyncSeek + Unpin> Seek for Io<T, Tokio> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let mut started = false;
        self.call(&"blocking::Io::seek", |mut inner, cx| {
            if !started {
                // An earlier seek, such as one that timed out, must be completed first.
                ready!(inner.as_mut().poll_complete(cx))?;
                inner.as_mut().start_seek(to)?;
                started = true;
            }
            inner.poll_complete(cx)
        })
    }
}

impl<T: AsyncBufRead + Unpin> BufRead for Io<T, Tokio> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let len = self.call(&"blocking::Io::fill_buf", |inner, cx| inner.poll_fill_buf(cx).map_ok(<[u8]>::len))?;
        if len == 0 {
            return Ok(&[]);
        }
        shown_again(Pin::new(self.get_mut()).poll_fill_buf(&mut Context::from_waker(Waker::noop())))
    }

    fn consume(&mut self, amount: usize) {
        Pin::new(self.get_mut()).consume(amount);
    }
}
