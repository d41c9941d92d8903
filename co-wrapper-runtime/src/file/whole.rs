//! What is done to a file other than reading and writing: zeroes, discarding, syncing, its size, where it has data.

use std::{future::poll_fn, io, sync::Arc};

use super::{
    buffer::Buffer,
    error::{Error, Operation, Request},
    handle::{File, Shared, ask, change},
    pool,
    syscall::{self, Extent, Zeroes},
};

/// Zeroes that have to be written are written in pieces of this size.
const PIECE: u64 = 1 << 20;

impl File {
    /// Makes the bytes at `offset` read as zeroes. The file grows if they end behind its end. Where the system cannot do it
    /// without writing them, they are written. (QEMU's `bdrv_co_pwrite_zeroes`.)
    ///
    /// The blocking twin is [`write_zeroes_at_blocking`](Self::write_zeroes_at_blocking).
    ///
    /// # Errors
    ///
    /// Those of `fallocate` and `pwritev`.
    ///
    /// # Examples
    ///
    /// ```
    /// # let image = tempfile::NamedTempFile::new()?;
    /// # std::fs::write(image.path(), [7; 3])?;
    /// # let path = image.path();
    /// # co_wrapper::block_on(async {
    /// use co_wrapper::file::{File, Zeroes};
    ///
    /// let file = File::options().write(true).open(path).await?;
    /// file.write_zeroes_at(1, 1, Zeroes::Unmap).await?;
    /// assert_eq!(std::fs::read(path)?, [7, 0, 7]);
    /// # std::io::Result::Ok(())
    /// # })?;
    /// # std::io::Result::Ok(())
    /// ```
    #[doc(alias = "bdrv_co_pwrite_zeroes")]
    pub async fn write_zeroes_at(&self, offset: u64, length: u64, how: Zeroes) -> Result<(), Error> {
        let request = self.shared.check(Operation::WriteZeroes, offset, length)?;
        if length == 0 {
            return Ok(());
        }
        change(&self.shared, request, move |shared| shared.write_zeroes(request, how)).await
    }

    /// Says that nobody needs the bytes at `offset` any more, so that the disk may give back their room. They read as zeroes
    /// afterwards. The file does not grow. (QEMU's `bdrv_co_pdiscard`.)
    ///
    /// The blocking twin is [`discard_at_blocking`](Self::discard_at_blocking).
    ///
    /// # Errors
    ///
    /// Those of `fallocate`; `Unsupported` where the room cannot be given back, and then nothing was done.
    ///
    /// # Examples
    ///
    /// ```
    /// # let image = tempfile::NamedTempFile::new()?;
    /// # std::fs::write(image.path(), [7; 8192])?;
    /// # let path = image.path();
    /// # co_wrapper::block_on(async {
    /// let file = co_wrapper::file::File::options().write(true).open(path).await?;
    /// match file.discard_at(0, 4096).await {
    ///     Ok(()) => assert_eq!(std::fs::read(path)?[..4096], [0; 4096]),
    ///     Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::Unsupported),
    /// }
    /// # std::io::Result::Ok(())
    /// # })?;
    /// # std::io::Result::Ok(())
    /// ```
    #[doc(alias = "bdrv_co_pdiscard")]
    pub async fn discard_at(&self, offset: u64, length: u64) -> Result<(), Error> {
        let request = self.shared.check(Operation::Discard, offset, length)?;
        if length == 0 {
            return Ok(());
        }
        let discard = move |shared: &Shared| {
            syscall::discard(&shared.file, offset, length).map_err(|error| shared.error(request, 0, error))
        };
        change(&self.shared, request, discard).await
    }

    /// Makes durable what was written by operations that have ended (`fdatasync`). (QEMU's `bdrv_co_flush`.)
    ///
    /// The blocking twin is [`sync_blocking`](Self::sync_blocking).
    ///
    /// # Errors
    ///
    /// Those of `fdatasync`. What was written may be lost then, and no later sync says so.
    ///
    /// # Examples
    ///
    /// See [`write_at`](Self::write_at).
    #[doc(alias = "bdrv_co_flush")]
    pub async fn sync(&self) -> Result<(), Error> {
        let request = Request::whole(Operation::Sync);
        let sync = move |shared: &Shared| shared.file.sync_data().map_err(|error| shared.error(request, 0, error));
        ask(&self.shared, request, sync).await?
    }

    /// Tells the system to begin writing back the `length` bytes at `offset`, and does not wait for it. The next
    /// [`sync`](Self::sync) then has less to do, and it reports errors of this one too. On systems other than Linux
    /// this does nothing.
    ///
    /// Another thread makes the call, which may wait for the disk; so this function is not async.
    ///
    /// # Examples
    ///
    /// ```
    /// # let image = tempfile::NamedTempFile::new()?;
    /// # let path = image.path();
    /// let file = co_wrapper::file::File::options().write(true).open_blocking(path)?;
    /// file.write_at_blocking(&[7; 1 << 16], 0)?;
    /// file.start_writeback(0, 1 << 16);
    /// // … the next 64 KiB are computed …
    /// file.sync_blocking()?;
    /// # std::io::Result::Ok(())
    /// ```
    #[doc(alias = "sync_file_range")]
    pub fn start_writeback(&self, offset: u64, length: u64) {
        if self.shared.check(Operation::Sync, offset, length).is_ok() && pool::check().is_ok() {
            let shared = Arc::clone(&self.shared);
            pool::run(move || syscall::start_writeback(&shared.file, offset, length)).detach();
        }
    }

    /// Has the system begin to read a part of the file into the page cache, and does not wait for it: a read finds it there
    /// later. For who knows what will be read next better than the system, which looks ahead by itself only where reads follow
    /// each other. On systems other than Linux, and past the page cache, it does nothing.
    ///
    /// Another thread makes the call, which may wait for the disk; so this function is not async. For what the page cache
    /// has already, it costs a hand-off to that thread and a look at each page.
    ///
    /// # Examples
    ///
    /// ```
    /// # let image = tempfile::NamedTempFile::new()?;
    /// # std::fs::write(image.path(), [7; 8192])?;
    /// # let path = image.path();
    /// let file = co_wrapper::file::File::open_blocking(path)?;
    /// file.read_ahead(4096, 4096);
    /// // … what comes before that is worked on …
    /// file.read_at_blocking(&mut [0; 4096], 4096)?;
    /// # std::io::Result::Ok(())
    /// ```
    #[doc(alias = "posix_fadvise")]
    pub fn read_ahead(&self, offset: u64, length: u64) {
        let wanted = length > 0 && !self.shared.how.direct;
        if wanted && self.shared.check(Operation::Read, offset, length).is_ok() && pool::check().is_ok() {
            let shared = Arc::clone(&self.shared);
            pool::run(move || syscall::read_ahead(&shared.file, offset, length)).detach();
        }
    }

    /// Its size in bytes. (QEMU's `bdrv_co_getlength`.)
    ///
    /// The blocking twin is [`size_blocking`](Self::size_blocking).
    ///
    /// # Errors
    ///
    /// Those of `fstat`; of `lseek` for a block device.
    ///
    /// # Examples
    ///
    /// See [`write_at`](Self::write_at).
    #[doc(alias = "bdrv_co_getlength")]
    pub async fn size(&self) -> Result<u64, Error> {
        self.look(Request::whole(Operation::Size), |shared| syscall::size(&shared.file)).await
    }

    /// Makes the file shorter, or longer by zeroes. (QEMU's `bdrv_co_truncate`.)
    ///
    /// The blocking twin is [`set_len_blocking`](Self::set_len_blocking).
    ///
    /// # Errors
    ///
    /// Those of `ftruncate`: a block device has the size that it has.
    ///
    /// # Examples
    ///
    /// ```
    /// # let image = tempfile::NamedTempFile::new()?;
    /// # let path = image.path();
    /// # co_wrapper::block_on(async {
    /// let file = co_wrapper::file::File::options().write(true).open(path).await?;
    /// file.set_len(1 << 30).await?;
    /// assert_eq!(file.size().await?, 1 << 30);
    /// # std::io::Result::Ok(())
    /// # })?;
    /// # std::io::Result::Ok(())
    /// ```
    #[doc(alias = "bdrv_co_truncate")]
    pub async fn set_len(&self, length: u64) -> Result<(), Error> {
        let request = Request { operation: Operation::SetLen, offset: length, length: 0 };
        let set = move |shared: &Shared| shared.file.set_len(length).map_err(|error| shared.error(request, 0, error));
        change(&self.shared, request, set).await
    }

    /// What there is at `offset`, data or a hole, and how far it goes; `None` at the end of the file and behind it. A file
    /// system that cannot tell has data everywhere. (QEMU's `bdrv_co_block_status`.)
    ///
    /// If the file was opened with [`inline`](super::OpenOptions::inline), this thread asks, as long as that is quick.
    /// Otherwise another one does.
    ///
    /// The blocking twin is [`extent_at_blocking`](Self::extent_at_blocking).
    ///
    /// # Errors
    ///
    /// Those of `lseek`.
    ///
    /// # Examples
    ///
    /// ```
    /// # let image = tempfile::NamedTempFile::new()?;
    /// # let path = image.path();
    /// # co_wrapper::block_on(async {
    /// use co_wrapper::file::{ExtentKind, File};
    ///
    /// let file = File::options().write(true).open(path).await?;
    /// file.write_at(&[7; 4096], 0).await?;
    /// let extent = file.extent_at(0).await?.expect("not the end");
    /// assert_eq!((extent.kind, extent.length), (ExtentKind::Data, 4096));
    /// assert_eq!(file.extent_at(4096).await?, None);
    /// # std::io::Result::Ok(())
    /// # })?;
    /// # std::io::Result::Ok(())
    /// ```
    #[doc(alias = "bdrv_co_block_status")]
    pub async fn extent_at(&self, offset: u64) -> Result<Option<Extent>, Error> {
        let request = Request { operation: Operation::Extent, offset, length: 0 };
        self.look(request, move |shared| syscall::extent(&shared.file, offset)).await
    }

    /// Waits until no change of this file is under way. That includes changes whose futures were dropped, which go on,
    /// and changes that begin meanwhile. It makes nothing durable.
    ///
    /// The blocking twin is [`settle_blocking`](Self::settle_blocking).
    ///
    /// # Examples
    ///
    /// ```
    /// # let image = tempfile::NamedTempFile::new()?;
    /// # let path = image.path();
    /// # co_wrapper::block_on(async {
    /// # use std::task::{Context, Poll, Waker};
    /// let file = co_wrapper::file::File::options().write(true).open(path).await?;
    /// {
    ///     let mut write = std::pin::pin!(file.write_at(b"old", 0));
    ///     let _ = write.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    /// }
    /// file.settle().await;
    /// file.write_at(b"new", 0).await?;
    /// assert_eq!(std::fs::read(path)?, b"new");
    /// # std::io::Result::Ok(())
    /// # })?;
    /// # std::io::Result::Ok(())
    /// ```
    pub async fn settle(&self) {
        poll_fn(|cx| self.shared.changes.poll_settled(cx)).await;
    }

    /// Asks the system something that is usually quick: on this thread if the file was opened with `inline` and such
    /// calls were quick lately, otherwise on the pool.
    async fn look<T: Send + 'static>(
        &self,
        request: Request,
        look: impl Fn(&Shared) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let looked = match self.shared.how.inline.then(|| self.shared.pace.here(|| look(&self.shared))) {
            Some(Some(looked)) => looked,
            Some(None) | None => ask(&self.shared, request, look).await?,
        };
        looked.map_err(|error| self.shared.error(request, 0, error))
    }
}

impl Shared {
    /// On a thread of the pool.
    fn write_zeroes(&self, request: Request, how: Zeroes) -> Result<(), Error> {
        match syscall::zero(&self.file, request.offset, request.length, how) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => self.write_all_zeroes(request),
            done => done.map_err(|error| self.error(request, 0, error)),
        }
    }

    fn write_all_zeroes(&self, request: Request) -> Result<(), Error> {
        let zeroes = Buffer::zeroed(request.length.min(PIECE) as usize, self.how.align.memory as usize);
        let mut done = 0;
        while done < request.length {
            let these = &zeroes[..(request.length - done).min(PIECE) as usize];
            let piece = Request { offset: request.offset + done, length: these.len() as u64, ..request };
            self.write_rest(&mut [io::IoSlice::new(these)], piece, 0).map_err(|error| error.within(request, done))?;
            done += piece.length;
        }
        Ok(())
    }
}
