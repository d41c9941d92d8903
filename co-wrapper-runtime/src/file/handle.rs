//! A file that is open: what its handles and the jobs of its operations share, and how one part of it is read or
//! written on whatever thread that is done.
//!
//! Invariant: a job on the pool has its own share, so the descriptor is open for as long as a system call uses it, and
//! is closed when the last handle and the last job are gone.

use std::{
    fs,
    io::{self, IoSlice, IoSliceMut},
    ops::Deref,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

use super::{
    buffer::Buffer,
    error::{Error, Operation, Request},
    pace::Pace,
    pool,
    syscall::{self, Alignment},
};
use crate::sys::sync::plain_lock;

/// A file or a block device, for block drivers: read and written at offsets, several requests at a time, without a
/// position.
///
/// See [the module](super) for which operations run where, and for what happens when a future is dropped. A clone is a
/// handle of the same open file.
///
/// # Examples
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("disk.raw");
/// use co_wrapper::file::File;
///
/// let file = File::options().write(true).create(true).open_blocking(&path)?;
/// co_wrapper::block_on(file.write_at(b"boot", 510))?;
/// let mut sector = [1; 514];
/// file.read_at_blocking(&mut sector, 0)?;
/// assert_eq!((&sector[..2], &sector[510..]), (&[0, 0][..], &b"boot"[..]));
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct File {
    pub(super) shared: Arc<Shared>,
}

/// How a file was opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct How {
    /// Writes and the like run on the calling thread as long as they are quick.
    pub inline: bool,
    /// What requests have to be aligned to.
    pub align: Alignment,
    /// Requests go past the page cache.
    pub direct: bool,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub file: fs::File,
    pub path: Arc<Path>,
    pub how: How,
    pub pace: Pace,
    /// Whether to try reads that never wait. Cleared when the system does not support them for this file.
    cached: AtomicBool,
    pub changes: Arc<Changes>,
}

impl File {
    pub(super) fn new(file: fs::File, path: &Path, how: How) -> Self {
        let path = PathBuf::from(path).into();
        let cached = AtomicBool::new(!how.direct);
        let shared = Shared { file, path, how, pace: Pace::default(), cached, changes: Arc::default() };
        Self { shared: Arc::new(shared) }
    }

    /// The file, as it was named when it was opened.
    ///
    /// # Examples
    ///
    /// ```
    /// # let file = tempfile::NamedTempFile::new()?;
    /// let opened = co_wrapper::file::File::open_blocking(file.path())?;
    /// assert_eq!(opened.path(), file.path());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// What offsets, lengths and buffers have to be multiples of: 1, unless the file was opened
    /// [past the page cache](super::OpenOptions::direct).
    ///
    /// # Examples
    ///
    /// ```
    /// # let file = tempfile::NamedTempFile::new()?;
    /// let opened = co_wrapper::file::File::open_blocking(file.path())?;
    /// assert_eq!(opened.alignment().offset, 1);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn alignment(&self) -> Alignment {
        self.shared.how.align
    }

    /// The standard library's handle, for what this one does not have, such as locks.
    ///
    /// # Examples
    ///
    /// ```
    /// # let file = tempfile::NamedTempFile::new()?;
    /// let opened = co_wrapper::file::File::open_blocking(file.path())?;
    /// assert!(opened.as_std().metadata()?.is_file());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn as_std(&self) -> &fs::File {
        &self.shared.file
    }
}

impl Shared {
    pub fn error(&self, request: Request, completed: u64, source: io::Error) -> Error {
        Error::new(&self.path, request, completed, source)
    }

    /// Refuses what no file can have, and what is not aligned.
    #[inline]
    pub fn check(&self, operation: Operation, offset: u64, length: u64) -> Result<Request, Error> {
        let request = Request { operation, offset, length };
        let end = offset.checked_add(length).filter(|end| *end <= i64::MAX as u64);
        let align = self.how.align.offset;
        if end.is_some() && (align == 1 || (offset | length).is_multiple_of(align.into())) {
            return Ok(request);
        }
        let what = match end {
            None => "no file is that long".to_owned(),
            Some(_) => {
                format!("opened past the page cache, it needs offsets and lengths that are multiples of {align}")
            }
        };
        Err(self.error(request, 0, io::Error::new(io::ErrorKind::InvalidInput, what)))
    }

    /// Refuses what needs another thread where there is none.
    pub fn check_pool(&self, request: Request) -> Result<(), Error> {
        pool::check().map_err(|error| self.error(request, 0, error))
    }

    /// Whether system calls may use these parts as they are.
    pub fn are_aligned<T: Deref<Target = [u8]>>(&self, parts: &[T]) -> bool {
        let align = self.how.align.memory as usize;
        let is = |part: &T| part.as_ptr().addr().is_multiple_of(align) && part.len().is_multiple_of(align);
        align == 1 || parts.iter().all(is)
    }

    /// Reads what the page cache has from the first byte on, and says how much that was.
    #[inline]
    pub fn read_cached(&self, parts: &mut [IoSliceMut<'_>], offset: u64) -> usize {
        if !self.cached.load(Relaxed) {
            return 0;
        }
        match syscall::read_cached(&self.file, parts, offset) {
            Ok(done) => done,
            Err(error) => {
                // If the kernel, the file system or a sandbox does not support this call, it will not do so next time
                // either. Any other error is left to the call that may wait, which gets it again and reports it.
                use io::ErrorKind::{PermissionDenied, Unsupported};
                if matches!(error.kind(), Unsupported | PermissionDenied) {
                    self.cached.store(false, Relaxed);
                }
                0
            }
        }
    }

    /// Reads until all parts are full, of which the first `done` bytes were read before. May wait for the disk.
    pub fn read_rest(&self, mut parts: &mut [IoSliceMut<'_>], request: Request, done: usize) -> Result<(), Error> {
        let mut done = done as u64;
        while done < request.length {
            let failed = |error| Err(self.error(request, done, error));
            match syscall::read(&self.file, parts, request.offset + done) {
                Ok(0) => return failed(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    done += n as u64;
                    IoSliceMut::advance_slices(&mut parts, n);
                    // Only the file's end is not aligned; going on from there would be a misaligned request.
                    if !n.is_multiple_of(self.how.align.offset as usize) && done < request.length {
                        return Err(self.error(request, done, io::ErrorKind::UnexpectedEof.into()));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return failed(error),
            }
        }
        Ok(())
    }

    /// Like [`read_rest`](Self::read_rest), into a buffer of its own, for the caller to copy.
    pub fn read_apart(&self, request: Request, done: usize) -> (Result<(), Error>, Buffer) {
        let align = self.how.align.memory as usize;
        let mut buffer = Buffer::zeroed(request.length as usize - done, align);
        let read = self.read_rest(&mut [IoSliceMut::new(&mut buffer)], request, done);
        (read, buffer)
    }

    /// Writes all parts, of which the first `done` bytes were written before. May wait for the disk.
    pub fn write_rest(&self, mut parts: &mut [IoSlice<'_>], request: Request, done: usize) -> Result<(), Error> {
        let mut done = done as u64;
        while done < request.length {
            match syscall::write(&self.file, parts, request.offset + done) {
                Ok(0) => return Err(self.error(request, done, io::ErrorKind::WriteZero.into())),
                Ok(n) => {
                    done += n as u64;
                    IoSlice::advance_slices(&mut parts, n);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.error(request, done, error)),
            }
        }
        Ok(())
    }
}

/// Runs a job on the pool that changes a file. [`File::settle`] waits for it, even if its future was dropped.
pub(super) async fn change<T: Send + 'static>(
    file: &Arc<Shared>,
    request: Request,
    job: impl FnOnce(&Shared) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    file.check_pool(request)?;
    let (shared, change) = (Arc::clone(file), Changes::begin(&file.changes));
    let task = pool::run(move || {
        let _until_it_has_ended = change;
        job(&shared)
    });
    task.await
}

/// Runs a job on the pool that changes nothing.
pub(super) async fn ask<T: Send + 'static>(
    file: &Arc<Shared>,
    request: Request,
    job: impl FnOnce(&Shared) -> T + Send + 'static,
) -> Result<T, Error> {
    file.check_pool(request)?;
    let shared = Arc::clone(file);
    Ok(pool::run(move || job(&shared)).await)
}

/// The changes of a file that have begun and not ended, whether somebody waits for them or not.
#[derive(Debug, Default)]
pub(super) struct Changes(Mutex<(usize, Vec<Waker>)>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Change(Arc<Changes>);

impl Changes {
    pub fn begin(changes: &Arc<Self>) -> Change {
        plain_lock(&changes.0).0 += 1;
        Change(Arc::clone(changes))
    }

    /// Ready when there is none.
    pub fn poll_settled(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = plain_lock(&self.0);
        if state.0 == 0 {
            return Poll::Ready(());
        }
        if !state.1.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.1.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        let mut state = plain_lock(&self.0.0);
        state.0 -= 1;
        let wakers = if state.0 == 0 { std::mem::take(&mut state.1) } else { Vec::new() };
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}
