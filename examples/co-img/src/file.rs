//! The driver `file`: regular files and block devices. The system calls run on the reactor's threads for blocking work,
//! so a slow disk stalls neither the caller's context nor the reactor.

use std::fmt::{self, Display, Formatter};
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use imago::Storage;
use imago::io_buffers::{IoBuffer, IoVector, IoVectorMut};
use imago::storage::PreallocateMode;
use imago::storage::drivers::CommonStorageHelper;
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::libc::{O_DIRECT, O_DSYNC, O_NONBLOCK};
use nix::unistd::{Whence, lseek};
use tokio::runtime::Handle;
use tokio::sync::RwLock;

use crate::driver::{Cache, Extent};
use crate::error::refused;
use crate::lock::Locks;

/// What O_DIRECT is content with on every disk.
const DIRECT_ALIGN: usize = 4096;

/// A regular file or a block device.
#[derive(Debug)]
pub struct File {
    file: Arc<fs::File>,
    path: PathBuf,
    size: AtomicU64,
    resizable: bool,
    cache: Cache,
    /// Device and inode, or the device's number.
    identity: (u64, u64),
    reactor: Handle,
    /// Held shared by every system call that modifies, dropped future or not; taken alone to wait for them all.
    modifying: Arc<RwLock<()>>,
    helper: CommonStorageHelper,
}

impl File {
    /// Opens what is at `path`; `reactor` is where its system calls run.
    ///
    /// # Errors
    /// Those of opening; and for what is neither a file nor a block device.
    pub async fn open(path: &Path, writable: bool, cache: Cache, reactor: &Handle) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(writable);
        // Without O_NONBLOCK the open itself would wait for a FIFO's other end.
        let direct = if cache.direct() { O_DIRECT } else { 0 };
        let durable = if cache.writethrough() { O_DSYNC } else { 0 };
        options.custom_flags(O_NONBLOCK | direct | durable);
        let at = path.to_owned();
        let opening = reactor.spawn_blocking(move || -> io::Result<_> {
            let mut file = options.open(at)?;
            let metadata = file.metadata()?;
            let kind = metadata.file_type();
            if kind.is_dir() {
                Err(ErrorKind::IsADirectory.into())
            } else if kind.is_block_device() {
                // A device's metadata does not tell its size.
                Ok((file.seek(SeekFrom::End(0))?, false, (u64::MAX, metadata.rdev()), file))
            } else if kind.is_file() {
                Ok((metadata.len(), true, (metadata.dev(), metadata.ino()), file))
            } else {
                Err(refused("it is neither a file nor a block device"))
            }
        });
        let (size, resizable, identity, file) = opening.await??;
        Ok(File {
            file: Arc::new(file),
            path: path.to_owned(),
            size: size.into(),
            resizable,
            cache,
            identity,
            reactor: reactor.clone(),
            modifying: Arc::default(),
            helper: CommonStorageHelper::default(),
        })
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
        self.run(move |file| locks.take(file)).await
    }

    /// The bytes that it takes on its disk.
    ///
    /// # Errors
    /// Those of `fstat`.
    pub async fn allocated(&self) -> io::Result<u64> {
        self.run(|file| Ok(file.metadata()?.blocks() * 512)).await
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
        self.run(move |file| {
            let find = |at, whence| lseek(file, at, whence).map(|at| at as u64);
            match find(offset as i64, Whence::SeekData) {
                // Nothing but a hole up to the file's end.
                Err(Errno::ENXIO) => Ok(Extent::zero(end - offset)),
                Err(Errno::EINVAL | Errno::ENOTSUP | Errno::ESPIPE) => Ok(Extent::data(end - offset)),
                Err(error) => Err(error.into()),
                Ok(data) if data > offset => Ok(Extent::zero(data.min(end) - offset)),
                Ok(_) => match find(offset as i64, Whence::SeekHole) {
                    Ok(hole) if hole > offset => Ok(Extent::data(hole.min(end) - offset)),
                    Ok(_) | Err(_) => Ok(Extent::data(end - offset)),
                },
            }
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce(&fs::File) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let file = self.file.clone();
        self.reactor.spawn_blocking(move || call(&file)).await?
    }

    /// As [`run`](Self::run), for what modifies: [`settle_writes`](Storage::settle_writes) waits for it even when the
    /// future has been dropped.
    async fn modify<T: Send + 'static>(
        &self,
        call: impl FnOnce(&fs::File) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let guard = self.modifying.clone().read_owned().await;
        self.run(move |file| {
            let _guard = guard;
            call(file)
        })
        .await
    }

    async fn zero(&self, offset: u64, length: u64, how: FallocateFlags) -> io::Result<()> {
        let end = offset.checked_add(length).ok_or_else(|| refused("zeroes past the end of all files"))?;
        let grow = self.resizable && end > self.size.load(Relaxed);
        self.modify(move |file| {
            fallocate(file, how, offset as i64, length as i64).map_err(|error| match error {
                Errno::ENODEV | Errno::EINVAL | Errno::ENOSYS => ErrorKind::Unsupported.into(),
                error => io::Error::from(error),
            })?;
            // Not by `set_len`, which would cut off what another call has written behind the end meanwhile.
            match grow && file.metadata()?.len() < end {
                true => Ok(fallocate(file, FallocateFlags::empty(), end as i64 - 1, 1)?),
                false => Ok(()),
            }
        })
        .await?;
        self.size.fetch_max(if grow { end } else { 0 }, Relaxed);
        Ok(())
    }
}

impl Storage for File {
    fn mem_align(&self) -> usize {
        if self.cache.direct() { DIRECT_ALIGN } else { 1 }
    }

    fn req_align(&self) -> usize {
        self.mem_align()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.size.load(Relaxed))
    }

    async unsafe fn pure_readv(&self, mut bufv: IoVectorMut<'_>, offset: u64) -> io::Result<()> {
        let mut buf = IoBuffer::new(bufv.len() as usize, self.mem_align())?;
        let buf = self
            .run(move |file| {
                let bytes = buf.as_mut().into_slice();
                let mut done = 0;
                while done < bytes.len() {
                    match file.read_at(&mut bytes[done..], offset + done as u64) {
                        Ok(0) => break,
                        Ok(n) => done += n,
                        Err(error) if error.kind() == ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
                bytes[done..].fill(0);
                Ok(buf)
            })
            .await?;
        bufv.copy_from_slice(buf.as_ref().into_slice());
        Ok(())
    }

    async unsafe fn pure_writev(&self, bufv: IoVector<'_>, offset: u64) -> io::Result<()> {
        let end = offset.checked_add(bufv.len()).ok_or_else(|| refused("a write past the end of all files"))?;
        let buf = bufv.try_into_owned(self.mem_align())?;
        self.modify(move |file| file.write_all_at(buf.as_ref().into_slice(), offset)).await?;
        self.size.fetch_max(end, Relaxed);
        Ok(())
    }

    async unsafe fn pure_write_zeroes(&self, offset: u64, length: u64) -> io::Result<()> {
        self.zero(offset, length, FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE).await
    }

    async unsafe fn pure_write_allocated_zeroes(&self, offset: u64, length: u64) -> io::Result<()> {
        self.zero(offset, length, FallocateFlags::FALLOC_FL_ZERO_RANGE).await
    }

    async unsafe fn pure_discard(&self, offset: u64, length: u64) -> io::Result<()> {
        let size = self.size.load(Relaxed);
        let length = length.min(size.saturating_sub(offset));
        match length {
            0 => Ok(()),
            _ => {
                self.zero(offset, length, FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE)
                    .await
            }
        }
    }

    async fn flush(&self) -> io::Result<()> {
        Ok(()) // no buffers but the system's
    }

    async fn sync(&self) -> io::Result<()> {
        match self.cache.unsafe_flush() {
            true => Ok(()),
            false => self.run(|file| file.sync_data()).await,
        }
    }

    async fn settle_writes(&self) -> io::Result<()> {
        drop(self.modifying.write().await);
        Ok(())
    }

    async unsafe fn invalidate_cache(&self) -> io::Result<()> {
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
            self.modify(move |file| file.set_len(new_size)).await?;
            self.size.store(new_size, Relaxed);
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
        self.path.display().fmt(f)
    }
}
