//! Reading and writing, awaited, with buffers that the operation owns until it is over. So what goes on after a poll
//! needs no copy.

use std::{
    io::{IoSlice, IoSliceMut},
    sync::Arc,
};

use super::{
    buffer::{self, Buffer},
    error::{Error, Operation, Request},
    handle::{Changes, File, Shared},
    pool,
};

/// The parts of a buffer, to be filled or to be written.
type PartsMut<B> = for<'a> fn(&'a mut B) -> Vec<IoSliceMut<'a>>;
type Parts<B> = for<'a> fn(&'a B) -> Vec<IoSlice<'a>>;

impl File {
    /// Like [`read_at`](Self::read_at), into a buffer that the operation owns meanwhile, which saves the copy where the
    /// page cache does not have it all.
    ///
    /// If the future is dropped before it is ready, the buffer is dropped too.
    ///
    /// # Errors
    ///
    /// The same as [`read_at`](Self::read_at). The buffer comes back with every result.
    ///
    /// # Panics
    ///
    /// If the buffer's `as_mut` does.
    ///
    /// # Examples
    ///
    /// ```
    /// # let image = tempfile::NamedTempFile::new()?;
    /// # std::fs::write(image.path(), [7; 1024])?;
    /// # let path = image.path();
    /// # co_wrapper::block_on(async {
    /// let file = co_wrapper::file::File::open(path).await?;
    /// let (read, buf) = file.read_at_owned(vec![0; 512], 512).await;
    /// read?;
    /// assert_eq!(buf, [7; 512]);
    /// # std::io::Result::Ok(())
    /// # })?;
    /// # std::io::Result::Ok(())
    /// ```
    pub async fn read_at_owned<B>(&self, buf: B, offset: u64) -> (Result<(), Error>, B)
    where
        B: AsMut<[u8]> + Send + 'static,
    {
        self.read_owned(buf, offset, |buf| vec![IoSliceMut::new(buf.as_mut())]).await
    }

    /// Like [`read_at_owned`](Self::read_at_owned), into several buffers one after the other.
    ///
    /// # Errors
    ///
    /// The same as [`read_at`](Self::read_at). The buffers come back with every result.
    ///
    /// # Panics
    ///
    /// If a buffer's `as_mut` does.
    ///
    /// # Examples
    ///
    /// ```
    /// # let image = tempfile::NamedTempFile::new()?;
    /// # std::fs::write(image.path(), "headbody")?;
    /// # let path = image.path();
    /// # co_wrapper::block_on(async {
    /// let file = co_wrapper::file::File::open(path).await?;
    /// let (read, bufs) = file.readv_at_owned(vec![[0; 4], [0; 4]], 0).await;
    /// read?;
    /// assert_eq!(bufs, [*b"head", *b"body"]);
    /// # std::io::Result::Ok(())
    /// # })?;
    /// # std::io::Result::Ok(())
    /// ```
    pub async fn readv_at_owned<B>(&self, bufs: Vec<B>, offset: u64) -> (Result<(), Error>, Vec<B>)
    where
        B: AsMut<[u8]> + Send + 'static,
    {
        self.read_owned(bufs, offset, |bufs| bufs.iter_mut().map(|buf| IoSliceMut::new(buf.as_mut())).collect()).await
    }

    async fn read_owned<B>(&self, mut buf: B, offset: u64, parts: PartsMut<B>) -> (Result<(), Error>, B)
    where
        B: Send + 'static,
    {
        let mut here = parts(&mut buf);
        let checked = self.shared.check(Operation::Read, offset, buffer::length(&here) as u64);
        let done = checked.as_ref().map_or(0, |_| self.shared.read_cached(&mut here, offset));
        drop(here);
        let request = match checked {
            Ok(request) if done as u64 == request.length => return (Ok(()), buf),
            Ok(request) => request,
            Err(error) => return (Err(error), buf),
        };
        if let Err(error) = self.shared.check_pool(request) {
            return (Err(error), buf);
        }
        let shared = Arc::clone(&self.shared);
        pool::run(move || (shared.read_into(&mut parts(&mut buf), request, done), buf)).await
    }

    /// Like [`write_at`](Self::write_at), from a buffer that the operation owns meanwhile, which saves the copy where
    /// another thread writes it.
    ///
    /// If the future is dropped before it is ready, the buffer is dropped too; what had begun is written.
    ///
    /// # Errors
    ///
    /// The same as [`write_at`](Self::write_at). The buffer comes back with every result.
    ///
    /// # Panics
    ///
    /// If the buffer's `as_ref` does.
    ///
    /// # Examples
    ///
    /// ```
    /// # let image = tempfile::NamedTempFile::new()?;
    /// # let path = image.path();
    /// # co_wrapper::block_on(async {
    /// let file = co_wrapper::file::File::options().write(true).open(path).await?;
    /// let (written, buf) = file.write_at_owned(vec![7; 512], 0).await;
    /// written?;
    /// assert_eq!(std::fs::read(path)?, buf);
    /// # std::io::Result::Ok(())
    /// # })?;
    /// # std::io::Result::Ok(())
    /// ```
    pub async fn write_at_owned<B>(&self, buf: B, offset: u64) -> (Result<(), Error>, B)
    where
        B: AsRef<[u8]> + Send + 'static,
    {
        self.write_owned(buf, offset, |buf| vec![IoSlice::new(buf.as_ref())]).await
    }

    /// Like [`write_at_owned`](Self::write_at_owned), from several buffers one after the other.
    ///
    /// # Errors
    ///
    /// The same as [`write_at`](Self::write_at). The buffers come back with every result.
    ///
    /// # Panics
    ///
    /// If a buffer's `as_ref` does.
    ///
    /// # Examples
    ///
    /// ```
    /// # let image = tempfile::NamedTempFile::new()?;
    /// # let path = image.path();
    /// # co_wrapper::block_on(async {
    /// let file = co_wrapper::file::File::options().write(true).open(path).await?;
    /// let (written, _) = file.writev_at_owned(vec!["head", "body"], 0).await;
    /// written?;
    /// assert_eq!(std::fs::read(path)?, b"headbody");
    /// # std::io::Result::Ok(())
    /// # })?;
    /// # std::io::Result::Ok(())
    /// ```
    pub async fn writev_at_owned<B>(&self, bufs: Vec<B>, offset: u64) -> (Result<(), Error>, Vec<B>)
    where
        B: AsRef<[u8]> + Send + 'static,
    {
        self.write_owned(bufs, offset, |bufs| bufs.iter().map(|buf| IoSlice::new(buf.as_ref())).collect()).await
    }

    async fn write_owned<B>(&self, buf: B, offset: u64, parts: Parts<B>) -> (Result<(), Error>, B)
    where
        B: Send + 'static,
    {
        let here = parts(&buf);
        let checked = self.shared.check(Operation::Write, offset, buffer::length(&here) as u64);
        let done = checked.as_ref().map_or(0, |request| self.shared.write_inline(&here, *request));
        drop(here);
        let request = match checked {
            Ok(request) if done as u64 == request.length => return (Ok(()), buf),
            Ok(request) => request,
            Err(error) => return (Err(error), buf),
        };
        if let Err(error) = self.shared.check_pool(request) {
            return (Err(error), buf);
        }
        let (shared, change) = (Arc::clone(&self.shared), Changes::begin(&self.shared.changes));
        let write = move || {
            let _until_it_has_ended = change;
            (shared.write_from(&parts(&buf), request, done), buf)
        };
        pool::run(write).await
    }
}

impl Shared {
    /// The rest of a read, of which `done` bytes are there, into these parts of a buffer, on any thread.
    pub(super) fn read_into(&self, parts: &mut [IoSliceMut<'_>], request: Request, done: usize) -> Result<(), Error> {
        if self.are_aligned(parts) {
            return self.read_rest(&mut buffer::rest_mut(parts, done), request, done);
        }
        let (read, buffer) = self.read_apart(request, done);
        buffer.copy_back(parts, done);
        read
    }

    /// The rest of a write, of which `done` bytes are written, from these parts of a buffer, on any thread.
    pub(super) fn write_from(&self, parts: &[IoSlice<'_>], request: Request, done: usize) -> Result<(), Error> {
        if self.are_aligned(parts) {
            return self.write_rest(&mut buffer::rest(parts, done), request, done);
        }
        let buffer = Buffer::copy(parts, done, self.how.align.memory as usize);
        self.write_rest(&mut [IoSlice::new(&buffer)], request, done)
    }
}
