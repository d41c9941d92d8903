//! The driver `null-co`: reads as zeroes, forgets what is written, never waits.

use std::fmt::{self, Display, Formatter};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use imago::Storage;
use imago::io_buffers::{IoVector, IoVectorMut};
use imago::storage::PreallocateMode;
use imago::storage::drivers::CommonStorageHelper;

/// Nothing, of a size.
#[derive(Debug)]
pub struct Null {
    size: AtomicU64,
    helper: CommonStorageHelper,
}

impl Null {
    /// Of so many bytes.
    pub fn new(size: u64) -> Self {
        Null { size: size.into(), helper: CommonStorageHelper::default() }
    }
}

impl Storage for Null {
    fn size(&self) -> io::Result<u64> {
        Ok(self.size.load(Relaxed))
    }

    async unsafe fn pure_readv(&self, mut bufv: IoVectorMut<'_>, _: u64) -> io::Result<()> {
        bufv.fill(0);
        Ok(())
    }

    async unsafe fn pure_writev(&self, bufv: IoVector<'_>, offset: u64) -> io::Result<()> {
        self.size.fetch_max(offset.saturating_add(bufv.len()), Relaxed);
        Ok(())
    }

    async unsafe fn pure_write_zeroes(&self, offset: u64, length: u64) -> io::Result<()> {
        self.size.fetch_max(offset.saturating_add(length), Relaxed);
        Ok(())
    }

    async unsafe fn pure_write_allocated_zeroes(&self, offset: u64, length: u64) -> io::Result<()> {
        self.size.fetch_max(offset.saturating_add(length), Relaxed);
        Ok(())
    }

    async fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    async fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    async unsafe fn invalidate_cache(&self) -> io::Result<()> {
        Ok(())
    }

    fn get_storage_helper(&self) -> &CommonStorageHelper {
        &self.helper
    }

    async fn resize(&self, new_size: u64, _: PreallocateMode) -> io::Result<()> {
        self.size.store(new_size, Relaxed);
        Ok(())
    }
}

impl Display for Null {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "null-co://{}", self.size.load(Relaxed))
    }
}
