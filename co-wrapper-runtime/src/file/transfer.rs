//! Reading and writing, awaited, with borrowed buffers.
//!
//! Borrowed memory is used by system calls within one poll only. What goes on after it, on the pool, has a buffer of
//! its own, from which the completing poll copies.

use std::io::{IoSlice, IoSliceMut};

use super::{
    buffer::{self, Buffer},
    error::{Error, Operation, Request},
    handle::{File, Shared, ask, change},
    syscall,
};

/// The largest write, in bytes, that is made on the calling thread. Copying more would already take too long there.
const MOST_INLINE: u64 = 1 << 20;

impl File {
    /// Fills `buf` from the bytes at `offset`. (QEMU's `bdrv_co_pread`.)
    ///
    /// If the page cache has them all, one system call on this thread reads them into `buf`, and the future is ready at
    /// its first poll, however often that happens: a loop of such reads keeps other tasks waiting unless it yields now
    /// and then.
    ///
    /// The blocking twin is [`read_at_blocking`](Self::read_at_blocking).
    ///
    /// # Errors
    ///
    /// Those of `preadv`. If the file ends before `buf` is full, `UnexpectedEof`; the error's
    /// [`completed`](Error::completed) says how many bytes were there.
    ///
    /// # Examples
    ///
    /// ```
    /// # let image = tempfile::NamedTempFile::new()?;
    /// # std::fs::write(image.path(), [7; 1024])?;
    /// # let path = image.path();
    /// # co_wrapper::block_on(async {
    /// let file = co_wrapper::file::File::open(path).await?;
    /// let mut buf = [0; 512];
    /// file.read_at(&mut buf, 512).await?;
    /// assert_eq!(buf, [7; 512]);
    /// # std::io::Result::Ok(())
    /// # })?;
    /// # std::io::Result::Ok(())
    /// ```
    #[doc(alias = "bdrv_co_pread")]
    pub async fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), Error> {
        self.readv_at(&mut [IoSliceMut::new(buf)], offset).await
    }

    /// Like [`read_at`](Self::read_at), into several buffers one after the other. (QEMU's `bdrv_co_preadv`.)
    ///
    /// # Errors
    ///
    /// The same as [`read_at`](Self::read_at).
    ///
    /// # Examples
    ///
    /// ```
    /// # let image = tempfile::NamedTempFile::new()?;
    /// # std::fs::write(image.path(), "headbody")?;
    /// # let path = image.path();
    /// # co_wrapper::block_on(async {
    /// use std::io::IoSliceMut;
    ///
    /// let file = co_wrapper::file::File::open(path).await?;
    /// let (mut head, mut body) = ([0; 4], [0; 4]);
    /// file.readv_at(&mut [IoSliceMut::new(&mut head), IoSliceMut::new(&mut body)], 0).await?;
    /// assert_eq!((&head, &body), (b"head", b"body"));
    /// # std::io::Result::Ok(())
    /// # })?;
    /// # std::io::Result::Ok(())
    /// ```
    #[doc(alias = "bdrv_co_preadv")]
    pub async fn readv_at(&self, bufs: &mut [IoSliceMut<'_>], offset: u64) -> Result<(), Error> {
        let request = self.shared.check(Operation::Read, offset, buffer::length(bufs) as u64)?;
        let done = self.shared.read_cached(bufs, offset);
        if done as u64 == request.length {
            return Ok(());
        }
        self.read_apart(bufs, request, done).await
    }

    /// The rest of a read, of which `done` bytes are there.
    pub(super) async fn read_apart(
        &self,
        bufs: &mut [IoSliceMut<'_>],
        request: Request,
        done: usize,
    ) -> Result<(), Error> {
        let (read, buffer) = ask(&self.shared, request, move |shared| shared.read_apart(request, done)).await?;
        buffer.copy_back(bufs, done);
        read
    }

    /// Writes all of `buf` at `offset`. It is durable after the next [`sync`](Self::sync). (QEMU's `bdrv_co_pwrite`.)
    ///
    /// If the file was opened with [`inline`](super::OpenOptions::inline), this thread does it, as long as that is
    /// quick. Otherwise another thread writes a copy of `buf`.
    ///
    /// The blocking twin is [`write_at_blocking`](Self::write_at_blocking).
    ///
    /// # Errors
    ///
    /// Those of `pwritev`; the error's [`completed`](Error::completed) says how many bytes were written before.
    ///
    /// # Examples
    ///
    /// ```
    /// # let image = tempfile::NamedTempFile::new()?;
    /// # let path = image.path();
    /// # co_wrapper::block_on(async {
    /// let file = co_wrapper::file::File::options().write(true).open(path).await?;
    /// file.write_at(b"superblock", 4096).await?;
    /// file.sync().await?;
    /// assert_eq!(file.size().await?, 4106);
    /// # std::io::Result::Ok(())
    /// # })?;
    /// # std::io::Result::Ok(())
    /// ```
    #[doc(alias = "bdrv_co_pwrite")]
    pub async fn write_at(&self, buf: &[u8], offset: u64) -> Result<(), Error> {
        self.writev_at(&[IoSlice::new(buf)], offset).await
    }

    /// Like [`write_at`](Self::write_at), from several buffers one after the other. (QEMU's `bdrv_co_pwritev`.)
    ///
    /// # Errors
    ///
    /// The same as [`write_at`](Self::write_at).
    ///
    /// # Examples
    ///
    /// ```
    /// # let image = tempfile::NamedTempFile::new()?;
    /// # let path = image.path();
    /// # co_wrapper::block_on(async {
    /// use std::io::IoSlice;
    ///
    /// let file = co_wrapper::file::File::options().write(true).open(path).await?;
    /// file.writev_at(&[IoSlice::new(b"head"), IoSlice::new(b"body")], 0).await?;
    /// assert_eq!(std::fs::read(path)?, b"headbody");
    /// # std::io::Result::Ok(())
    /// # })?;
    /// # std::io::Result::Ok(())
    /// ```
    #[doc(alias = "bdrv_co_pwritev")]
    pub async fn writev_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> Result<(), Error> {
        let request = self.shared.check(Operation::Write, offset, buffer::length(bufs) as u64)?;
        let done = self.shared.write_inline(bufs, request);
        if done as u64 == request.length {
            return Ok(());
        }
        self.write_apart(bufs, request, done).await
    }

    /// The rest of a write, of which `done` bytes are written.
    pub(super) async fn write_apart(&self, bufs: &[IoSlice<'_>], request: Request, done: usize) -> Result<(), Error> {
        let buffer = Buffer::copy(bufs, done, self.shared.how.align.memory as usize);
        change(&self.shared, request, move |shared| shared.write_rest(&mut [IoSlice::new(&buffer)], request, done))
            .await
    }
}

impl Shared {
    /// Writes on this thread, if the file was opened with `inline` and such calls were quick lately. Returns how many
    /// bytes were written. The rest is left to the pool, which also reports the error if there is one.
    #[inline]
    pub(super) fn write_inline(&self, parts: &[IoSlice<'_>], request: Request) -> usize {
        if !self.how.inline || request.length > MOST_INLINE {
            return 0;
        }
        match self.pace.here(|| syscall::write(&self.file, parts, request.offset)) {
            Some(Ok(done)) => done,
            Some(Err(_)) | None => 0,
        }
    }
}
