//! `Io` over the traits of `futures`.

use std::{
    io::{self, BufRead, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write},
    pin::Pin,
    task::{Context, Waker},
};

use futures_io::{AsyncBufRead, AsyncRead, AsyncSeek, AsyncWrite};

use super::io::{Futures, Io, shown_again};

impl<T> Io<T, Futures> {
    /// Over what implements the traits of `futures` (the crate `futures-io`), and is [`Unpin`]; `Box::pin` what is not.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{Read, Seek, SeekFrom};
    ///
    /// let mut io = co_wrapper::blocking::Io::futures(futures::io::Cursor::new(b"abcdef"));
    /// io.seek(SeekFrom::End(-2))?;
    /// let mut text = String::new();
    /// io.read_to_string(&mut text)?;
    /// assert_eq!(text, "ef");
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn futures(inner: T) -> Self {
        Self::over(inner)
    }
}

impl<T: AsyncWrite + Unpin> Io<T, Futures> {
    /// Flushes the writer and ends it (the `close` of `futures`): a socket's peer then reads the end.
    ///
    /// # Errors
    ///
    /// The writer's.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut io = co_wrapper::blocking::Io::futures(futures::io::sink());
    /// io.shutdown()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn shutdown(&mut self) -> io::Result<()> {
        self.call(&"blocking::Io::shutdown", |inner, cx| inner.poll_close(cx))
    }
}

impl<T: AsyncRead + Unpin> Read for Io<T, Futures> {
    #[inline]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.call(&"blocking::Io::read", |inner, cx| inner.poll_read(cx, buf))
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.call(&"blocking::Io::read_vectored", |inner, cx| inner.poll_read_vectored(cx, bufs))
    }
}

impl<T: AsyncWrite + Unpin> Write for Io<T, Futures> {
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

impl<T: AsyncSeek + Unpin> Seek for Io<T, Futures> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.call(&"blocking::Io::seek", |inner, cx| inner.poll_seek(cx, to))
    }
}

impl<T: AsyncBufRead + Unpin> BufRead for Io<T, Futures> {
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
