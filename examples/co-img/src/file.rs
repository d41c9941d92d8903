//! The driver `file`: regular files and block devices, on [`co_wrapper::file`]. What the page cache has is read into place by
//! the thread that asks; writes and `lseek` run there too, as long as they are quick. What waits for a disk waits elsewhere.
//!
//! Past the page cache, writes are of whole blocks. A raw image that ends within one is as long as it is, so the file is cut
//! again behind its last block.
//!
//! Two things are remembered so that the system need not be asked. Behind the end of what was ever written, zeroes need not be
//! written: the file is made as long as they reach by a flush. And the extent that was last asked about is kept, until
//! something is written.

use std::fmt::{self, Display, Formatter};
use std::fs;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::pin::pin;
use std::sync;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

use co_wrapper::file::{ExtentKind, Zeroes};
use imago::Storage;
use imago::io_buffers::{IoVector, IoVectorMut};
use imago::storage::PreallocateMode;
use imago::storage::drivers::CommonStorageHelper;
use nix::libc::{O_DSYNC, O_NONBLOCK};
use tokio::sync::RwLock;

use crate::driver::{Cache, Extent};
use crate::error::refused;
use crate::lock::Locks;

/// What O_DIRECT is content with on every disk.
const DIRECT_ALIGN: u32 = 4096;

/// After so many bytes the system is told to begin writing them to the disk, where that is wished: a sync at the end has
/// less to wait for then.
const WRITE_BACK: u64 = 32 << 20;

/// A regular file or a block device.
#[derive(Debug)]
pub struct File {
    file: co_wrapper::file::File,
    /// How long it is, or will be after a flush.
    size: AtomicU64,
    /// How long it is at least.
    length: AtomicU64,
    /// Nothing was ever written from here on, nor is being written.
    unwritten: AtomicU64,
    resizable: bool,
    /// A regular file that is as long as the image in it, which only `resize` changes.
    exact: AtomicBool,
    cache: Cache,
    /// Device and inode, or the device's number.
    identity: (u64, u64),
    /// Held shared while something is written, and alone to make the file longer, which would cut off what is being written
    /// behind its end.
    writing: RwLock<()>,
    /// Counts beginnings and ends of changes: what was known before one is not known any more.
    changes: AtomicU64,
    known: sync::Mutex<Option<Known>>,
    /// Something was read that the page cache did not have.
    missed: AtomicBool,
    /// See [`File::write_back_early`]: bytes written since that was done, or `u64::MAX` if it is not wished.
    since: AtomicU64,
    helper: CommonStorageHelper,
}

/// An extent that the system told of.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// When it was: see [`File::changes`].
    changes: u64,
    /// Where it was last asked about. Who asks there again, or before that, is told anew: another process may have written.
    asked: u64,
    end: u64,
    data: bool,
}

/// A change, from its beginning to its end, dropped or not.
struct Change<'a>(&'a File);

impl<'a> Change<'a> {
    fn begin(file: &'a File) -> Self {
        file.changes.fetch_add(1, SeqCst);
        Change(file)
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.0.changes.fetch_add(1, SeqCst);
    }
}

impl File {
    /// Opens what is at `path`.
    ///
    /// # Errors
    /// Those of opening; and for what is neither a file nor a block device.
    pub async fn open(path: &Path, writable: bool, cache: Cache) -> io::Result<Self> {
        let mut options = co_wrapper::file::File::options();
        // Without O_NONBLOCK the open itself would wait for a FIFO's other end.
        let durable = if cache.writethrough() { O_DSYNC } else { 0 };
        options.write(writable).custom_flags(O_NONBLOCK | durable).inline(!cache.writethrough());
        if cache.direct() {
            options.direct(true).alignment(DIRECT_ALIGN, DIRECT_ALIGN);
        }
        let file = options.open(path).await.map_err(plain)?;
        let metadata = file.as_std().metadata()?;
        let kind = metadata.file_type();
        let (resizable, identity) = if kind.is_block_device() {
            (false, (u64::MAX, metadata.rdev()))
        } else if kind.is_file() {
            (true, (metadata.dev(), metadata.ino()))
        } else {
            return Err(refused("it is neither a file nor a block device"));
        };
        let size = file.size().await.map_err(plain)?;
        Ok(File {
            file,
            size: size.into(),
            length: size.into(),
            unwritten: size.into(),
            resizable,
            exact: AtomicBool::new(false),
            cache,
            identity,
            writing: RwLock::default(),
            changes: AtomicU64::new(0),
            known: sync::Mutex::default(),
            missed: AtomicBool::new(false),
            since: AtomicU64::new(u64::MAX),
            helper: CommonStorageHelper::default(),
        })
    }

    /// From here on it holds a raw image: only what makes that longer or shorter does so to the file.
    pub fn hold_raw(&self) {
        self.exact.store(self.resizable, Relaxed);
    }

    /// Whether it is a device, which is as long as it is.
    pub fn is_device(&self) -> bool {
        !self.resizable
    }

    /// Equal for two names of one file.
    pub fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// Takes these locks, for as long as it is open.
    ///
    /// # Errors
    /// When another program's are in the way.
    pub async fn lock(&self, locks: Locks) -> io::Result<()> {
        locks.take(self.file.as_std()) // which does not wait
    }

    /// The bytes that it takes on its disk.
    ///
    /// # Errors
    /// Those of `fstat`.
    pub async fn allocated(&self) -> io::Result<u64> {
        Ok(self.file.as_std().metadata()?.blocks() * 512)
    }

    /// From now on the system is told to begin writing to the disk what is written, now and then: for who writes much and
    /// syncs once.
    pub fn write_back_early(&self) {
        if self.cache == Cache::Writeback {
            self.since.store(0, Relaxed);
        }
    }

    /// Whether something was read that the page cache did not have. What is read next is likely not to be there either.
    pub fn has_missed(&self) -> bool {
        self.missed.load(Relaxed)
    }

    /// Will be read soon: see [`co_wrapper::file::File::read_ahead`].
    pub fn read_ahead(&self, offset: u64, length: u64) {
        self.file.read_ahead(offset, length);
    }

    /// What there is from `offset` on, and for how long. A file system that cannot tell has data everywhere.
    ///
    /// # Errors
    /// Those of `lseek`.
    pub async fn block_status(&self, offset: u64, length: u64) -> io::Result<Extent> {
        let end = self.size.load(Relaxed).min(offset.saturating_add(length));
        if offset >= end {
            return Ok(Extent::zero(length));
        }
        let of = |known: Known| {
            let length = known.end.min(end) - offset;
            if known.data { Extent::data(length) } else { Extent::zero(length) }
        };
        let changes = self.changes.load(SeqCst);
        if let Some(known) = &mut *self.known.lock().unwrap()
            && known.changes == changes
            && (known.asked + 1..known.end).contains(&offset)
        {
            known.asked = offset;
            return Ok(of(*known));
        }
        let (data, end) = match self.file.extent_at(offset).await.map_err(plain)? {
            Some(extent) => (extent.kind == ExtentKind::Data, offset + extent.length),
            // It is shorter than it will be.
            None => (false, u64::MAX),
        };
        let known = Known { changes, asked: offset, end, data };
        *self.known.lock().unwrap() = Some(known);
        Ok(of(known))
    }

    /// Before bytes up to `end` are written, in whatever way.
    async fn change(&self, end: u64) -> (tokio::sync::RwLockReadGuard<'_, ()>, Change<'_>) {
        let writing = self.writing.read().await;
        self.unwritten.fetch_max(end, Relaxed);
        (writing, Change::begin(self))
    }

    async fn zero(&self, offset: u64, length: u64, how: Zeroes) -> io::Result<()> {
        let end = offset.checked_add(length).ok_or_else(|| refused("zeroes past the end of all files"))?;
        if self.resizable && offset >= self.unwritten.load(Relaxed) {
            self.size.fetch_max(end, Relaxed);
            return Ok(());
        }
        let changing = self.change(end).await;
        self.file.write_zeroes_at(offset, length, how).await.map_err(plain)?;
        drop(changing);
        if self.resizable {
            self.reaches(end);
        }
        Ok(())
    }

    /// Bytes up to `end` are there. Those behind an exact file's end are no part of it.
    fn reaches(&self, end: u64) {
        self.length.fetch_max(end, Relaxed);
        if !self.is_too_long() {
            self.size.fetch_max(end, Relaxed);
        }
    }

    /// Whether a block was written that is longer than what it is to have.
    fn is_too_long(&self) -> bool {
        self.exact.load(Relaxed) && self.length.load(Relaxed) > self.size.load(Relaxed)
    }

    /// Makes it as long as it is to be: as zeroes reach that were not written, and no longer than a raw image.
    async fn grow(&self) -> io::Result<()> {
        if self.size.load(Relaxed) <= self.length.load(Relaxed) && !self.is_too_long() {
            return Ok(());
        }
        let _alone = self.writing.write().await;
        self.file.settle().await;
        let (size, _change) = (self.size.load(Relaxed), Change::begin(self));
        let there = self.file.size().await.map_err(plain)?;
        if there < size || there > size && self.exact.load(Relaxed) {
            self.file.set_len(size).await.map_err(plain)?;
        }
        self.length.store(size, Relaxed);
        Ok(())
    }

    /// To be called when it was cut to nothing. ext4, XFS and btrfs begin to write such a file to the disk when a handle of it
    /// is closed the next time, for programs that forget to sync. So one is closed now, while there is nothing to write.
    fn write_nothing_at_close(&self) {
        drop(fs::File::open(format!("/proc/self/fd/{}", self.file.as_std().as_raw_fd())));
    }

    fn wrote(&self, length: u64) {
        let before = self.since.load(Relaxed);
        if before == u64::MAX {
            return;
        }
        if self.since.fetch_add(length, Relaxed) + length >= WRITE_BACK {
            self.since.store(0, Relaxed);
            self.file.start_writeback(0, 0);
        }
    }
}

/// The system's own error: who asked names the image.
fn plain(error: co_wrapper::file::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => error.into(),
    }
}

impl Storage for File {
    fn mem_align(&self) -> usize {
        self.file.alignment().memory as usize
    }

    fn req_align(&self) -> usize {
        self.file.alignment().offset as usize
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.size.load(Relaxed))
    }

    async unsafe fn pure_readv(&self, bufv: IoVectorMut<'_>, offset: u64) -> io::Result<()> {
        let mut parts = bufv.into_inner();
        let read = {
            let mut reading = pin!(self.file.readv_at(&mut parts, offset));
            poll_fn(|cx| {
                let read = reading.as_mut().poll(cx);
                if read.is_pending() {
                    self.missed.store(true, Relaxed);
                }
                read
            })
            .await
        };
        match read {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                let mut there = error.completed() as usize;
                for part in &mut parts {
                    let here = there.min(part.len());
                    part[here..].fill(0);
                    there -= here;
                }
                Ok(())
            }
            done => done.map_err(plain),
        }
    }

    async unsafe fn pure_writev(&self, bufv: IoVector<'_>, offset: u64) -> io::Result<()> {
        let length = bufv.len();
        let end = offset.checked_add(length).ok_or_else(|| refused("a write past the end of all files"))?;
        let changing = self.change(end).await;
        self.file.writev_at(&bufv.into_inner(), offset).await.map_err(plain)?;
        drop(changing);
        self.reaches(end);
        self.wrote(length);
        if self.is_too_long() { self.grow().await } else { Ok(()) }
    }

    async unsafe fn pure_write_zeroes(&self, offset: u64, length: u64) -> io::Result<()> {
        self.zero(offset, length, Zeroes::Unmap).await
    }

    async unsafe fn pure_write_allocated_zeroes(&self, offset: u64, length: u64) -> io::Result<()> {
        self.zero(offset, length, Zeroes::Allocate).await
    }

    async unsafe fn pure_discard(&self, offset: u64, length: u64) -> io::Result<()> {
        let length = length.min(self.unwritten.load(Relaxed).saturating_sub(offset));
        if length == 0 {
            return Ok(());
        }
        let _changing = self.change(0).await;
        self.file.discard_at(offset, length).await.map_err(plain)
    }

    async fn flush(&self) -> io::Result<()> {
        self.grow().await // no other buffers but the system's
    }

    async fn sync(&self) -> io::Result<()> {
        self.grow().await?;
        match self.cache.unsafe_flush() {
            true => Ok(()),
            false => self.file.sync().await.map_err(plain),
        }
    }

    async fn settle_writes(&self) -> io::Result<()> {
        self.file.settle().await;
        self.changes.fetch_add(1, SeqCst);
        Ok(())
    }

    async unsafe fn invalidate_cache(&self) -> io::Result<()> {
        *self.known.lock().unwrap() = None;
        Ok(())
    }

    fn get_storage_helper(&self) -> &CommonStorageHelper {
        &self.helper
    }

    async fn resize(&self, new_size: u64, mode: PreallocateMode) -> io::Result<()> {
        if !matches!(mode, PreallocateMode::None | PreallocateMode::Zero) {
            return Err(ErrorKind::Unsupported.into());
        }
        if self.resizable {
            let _alone = self.writing.write().await;
            self.file.settle().await;
            let _change = Change::begin(self);
            self.file.set_len(new_size).await.map_err(plain)?;
            if new_size == 0 && self.cache.unsafe_flush() {
                self.write_nothing_at_close();
            }
            self.size.store(new_size, Relaxed);
            self.length.store(new_size, Relaxed);
            self.unwritten.fetch_min(new_size, Relaxed); // what is cut off and comes back is zeroes
            return Ok(());
        }
        match new_size <= self.size.load(Relaxed) {
            true => Ok(()),
            false => Err(refused("a block device does not grow")),
        }
    }
}

impl Display for File {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.file.path().display().fmt(f)
    }
}
