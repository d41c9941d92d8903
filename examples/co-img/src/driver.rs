//! What formats stand on: one of the drivers, under one type, so that an image on one may be based on an image on
//! another; and what a qcow2 file has to put up with when it is read.

use std::fmt::{self, Display, Formatter};
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};

use imago::Storage;
use imago::io_buffers::{IoBuffer, IoVector, IoVectorMut};
use imago::storage::PreallocateMode;
use imago::storage::drivers::CommonStorageHelper;
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use crate::counts::CountsFirst;
use crate::error::refused;
use crate::file::File;
use crate::lock::Locks;
use crate::name::Name;
use crate::nbd::Nbd;
use crate::null::Null;
use crate::qcow2::Header;
use crate::tables::Tables;

/// QEMU's cache modes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cache {
    /// The host's page cache; a flush makes writes durable.
    #[default]
    Writeback,
    /// Past the page cache, with O_DIRECT; a flush makes writes durable.
    None,
    /// The host's page cache; every write is durable.
    Writethrough,
    /// Past the page cache; every write is durable.
    Directsync,
    /// The host's page cache; flushes are ignored.
    Unsafe,
}

impl Cache {
    /// Understands a mode's name.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn parse(text: &str) -> io::Result<Self> {
        Ok(match text {
            "writeback" => Cache::Writeback,
            "none" | "off" => Cache::None,
            "writethrough" => Cache::Writethrough,
            "directsync" => Cache::Directsync,
            "unsafe" => Cache::Unsafe,
            _ => return Err(refused("not none, writeback, writethrough, directsync or unsafe")),
        })
    }

    /// Whether the page cache is passed by.
    pub fn direct(self) -> bool {
        matches!(self, Cache::None | Cache::Directsync)
    }

    /// Whether a write that returned is durable.
    pub fn writethrough(self) -> bool {
        matches!(self, Cache::Writethrough | Cache::Directsync)
    }

    /// Whether every write waits for the disk. Many of them may do so at once.
    pub fn waits_for_the_disk(self) -> bool {
        self.direct() || self.writethrough()
    }

    /// Whether flushes are ignored.
    pub fn unsafe_flush(self) -> bool {
        self == Cache::Unsafe
    }
}

/// What a driver says about a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Bytes, from where it was asked on.
    pub length: u64,
    /// There is room for it on the disk.
    pub data: bool,
    /// It reads as zeroes.
    pub zero: bool,
}

impl Extent {
    /// Something, of so many bytes.
    pub fn data(length: u64) -> Self {
        Extent { length, data: true, zero: false }
    }

    /// A hole.
    pub fn zero(length: u64) -> Self {
        Extent { length, data: false, zero: true }
    }
}

/// The drivers.
#[derive(Debug)]
pub enum Protocol {
    /// `file`
    File(File),
    /// `nbd`
    Nbd(Nbd),
    /// `null-co`
    Null(Null),
}

macro_rules! each {
    ($driver:expr, $d:ident => $result:expr) => {
        match &$driver.protocol {
            Protocol::File($d) => $result,
            Protocol::Nbd($d) => $result,
            Protocol::Null($d) => $result,
        }
    };
}

/// What tells whether two images are in the same place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// See [`File::identity`].
    File((u64, u64)),
    /// As it was named.
    Name(String),
}

/// A driver, opened.
#[derive(Debug)]
pub struct Driver {
    /// Which one.
    pub protocol: Protocol,
    /// It holds a qcow2 image that is only read: see [`Driver::hold_qcow2`].
    qcow2: Option<Held>,
    /// It holds a qcow2 image that is written to: see [`Driver::hold_written_qcow2`].
    counts: Option<CountsFirst>,
    /// Every write is durable when it returns.
    writethrough: bool,
    /// So many syncs were asked for.
    asked: AtomicU64,
    /// One sync comes after another, so that none ends well beside one that fails. Of those that were asked for, the first
    /// so many have been done.
    syncing: Mutex<u64>,
    /// The first sync that failed: see [`Driver::synced`].
    failed: OnceLock<(ErrorKind, String)>,
}

#[derive(Debug)]
struct Held {
    cluster_size: u64,
    tables: Arc<AtomicU64>,
}

/// A compressed cluster's length is known in sectors only, so its last one may reach past the file's end.
const SECTOR: u64 = 512;
/// Where a qcow2 header has its incompatible features, the lowest byte of which these are, and two that do not matter to
/// who only reads: refcounts are out of date, and something was found to be corrupt.
const FEATURES: u64 = 79;
const HARMLESS: u8 = 0b11;

impl Driver {
    /// Opens what `name` names.
    ///
    /// # Errors
    /// Those of the driver.
    pub async fn open(name: &Name, writable: bool, cache: Cache, reactor: &Handle) -> io::Result<Self> {
        let protocol = match name {
            Name::Path(path) => Protocol::File(File::open(path, writable, cache).await?),
            Name::Null(size) => Protocol::Null(Null::new(*size)),
            Name::Nbd(url) => {
                let nbd = Nbd::open(url, cache, reactor).await?;
                if writable && nbd.read_only() {
                    return Err(io::Error::new(ErrorKind::ReadOnlyFilesystem, "the export is read-only"));
                }
                Protocol::Nbd(nbd)
            }
        };
        Ok(Driver { writethrough: cache.writethrough(), ..protocol.into() })
    }

    /// Takes these locks, for as long as it is open, where there are any.
    ///
    /// # Errors
    /// When another program's are in the way.
    pub async fn lock(&self, locks: Locks) -> io::Result<()> {
        match &self.protocol {
            Protocol::File(file) => file.lock(locks).await,
            Protocol::Nbd(_) | Protocol::Null(_) => Ok(()),
        }
    }

    /// From here on it holds a qcow2 image that is only read. A read that begins past the end, or ends a sector past it,
    /// is then an error, for the file has lost its tail: imago takes zeroes for what is missing. And two header bits that
    /// do not matter to a reader, which imago refuses (`metadata.rs:530`), read as 0. Reads of a whole cluster, among which
    /// all tables are that imago keeps, are counted into `tables`, in bytes.
    pub fn hold_qcow2(&mut self, cluster_size: u64, tables: Arc<AtomicU64>) {
        self.qcow2 = Some(Held { cluster_size, tables });
    }

    /// From here on it holds a raw image, as long as its file is.
    pub fn hold_raw(&self) {
        if let Protocol::File(file) = &self.protocol {
            file.hold_raw();
        }
    }

    /// From here on it holds a qcow2 image that is written to, and that is consistent at every moment: see [`CountsFirst`].
    ///
    /// # Errors
    /// Those of reading.
    pub async fn hold_written_qcow2(&mut self, header: &Header) -> io::Result<()> {
        self.counts = Some(CountsFirst::new(header, self).await?);
        Ok(())
    }

    /// Which parts of that image have L2 tables.
    pub fn tables(&self) -> Option<Arc<Tables>> {
        self.counts.as_ref().map(CountsFirst::tables)
    }

    /// To be called before anything changes there: see [`CountsFirst::settle`].
    async fn settle(&self, offset: u64, length: u64) -> io::Result<()> {
        match &self.counts {
            Some(counts) => counts.settle(self, offset, length).await,
            None => Ok(()),
        }
    }

    /// Reads past what this type does for formats. Behind the end there are zeroes.
    pub(crate) async fn plain_read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let align = self.req_align() as u64;
        let start = offset / align * align;
        let whole = (offset - start + length as u64).next_multiple_of(align);
        let mut bytes = IoBuffer::new(whole as usize, self.mem_align())?;
        // SAFETY: the request and the buffer are aligned as the driver asks.
        each!(self, d => unsafe { d.pure_readv((&mut bytes).into(), start) }.await)?;
        Ok(bytes.as_ref().into_slice()[(offset - start) as usize..][..length].to_vec())
    }

    /// Writes past what this type does for formats; in whole blocks.
    pub(crate) async fn plain_write(&self, data: IoVector<'_>, offset: u64) -> io::Result<()> {
        let owned = data.try_into_owned(self.mem_align())?;
        // SAFETY: the request is one of whole blocks, and the buffer is aligned as the driver asks.
        self.wrote(each!(self, d => unsafe { d.pure_writev((&owned).into(), offset) }.await))
    }

    /// Syncs past what this type does for formats. See [`synced`](Self::synced).
    ///
    /// All who ask while a sync is under way share the next one. Who asks has had his writes end before that, so any sync
    /// that begins afterwards makes them durable. One that is under way already need not.
    pub(crate) async fn plain_sync(&self) -> io::Result<()> {
        let mine = self.asked.fetch_add(1, SeqCst);
        let mut done = self.syncing.lock().await;
        if let Some((kind, why)) = self.failed.get() {
            return Err(io::Error::new(*kind, format!("an earlier flush failed: {why}")));
        }
        if *done > mine {
            return Ok(());
        }
        let asked = self.asked.load(SeqCst);
        self.synced(each!(self, d => d.sync().await))?;
        *done = asked;
        Ok(())
    }

    /// How something ended that makes writes durable. Once that has failed, all syncs fail: what was written may be lost, of
    /// which Linux tells once, and it may have told imago, which goes on after some errors (`qcow2/allocation.rs:298`). QEMU
    /// remembers it, too (`page_cache_inconsistent`).
    pub(crate) fn synced(&self, done: io::Result<()>) -> io::Result<()> {
        done.inspect_err(|error| _ = self.failed.set((error.kind(), error.to_string())))
    }

    /// How something ended that writes.
    fn wrote(&self, done: io::Result<()>) -> io::Result<()> {
        match done {
            Err(error) if self.writethrough && error.kind() != ErrorKind::Unsupported => self.synced(Err(error)),
            done => done,
        }
    }

    /// What there is from `offset` on, and for how long: at least a byte, at most `length`.
    ///
    /// # Errors
    /// Those of the driver.
    pub async fn block_status(&self, offset: u64, length: u64) -> io::Result<Extent> {
        match &self.protocol {
            Protocol::File(file) => file.block_status(offset, length).await,
            Protocol::Nbd(nbd) => nbd.block_status(offset, length).await,
            Protocol::Null(_) => Ok(Extent::zero(length)),
        }
    }

    /// Whether reading ahead is likely to be of use.
    pub fn has_missed(&self) -> bool {
        matches!(&self.protocol, Protocol::File(file) if file.has_missed())
    }

    /// Will be read soon.
    pub fn read_ahead(&self, offset: u64, length: u64) {
        match &self.protocol {
            Protocol::File(file) => file.read_ahead(offset, length),
            Protocol::Nbd(_) | Protocol::Null(_) => {}
        }
    }

    /// The bytes that it takes on its disk, where that can be known.
    ///
    /// # Errors
    /// Those of the driver.
    pub async fn allocated(&self) -> io::Result<Option<u64>> {
        match &self.protocol {
            Protocol::File(file) => file.allocated().await.map(Some),
            Protocol::Null(_) => Ok(Some(0)),
            Protocol::Nbd(_) => Ok(None),
        }
    }

    /// Equal for two names of one file or device, and for one name of an export. Nothing is in no place.
    pub fn identity(&self) -> Option<Identity> {
        match &self.protocol {
            Protocol::File(file) => Some(Identity::File(file.identity())),
            Protocol::Nbd(_) => Some(Identity::Name(self.to_string())),
            Protocol::Null(_) => None,
        }
    }

    /// Whether it is as long as it is.
    pub fn is_fixed(&self) -> bool {
        match &self.protocol {
            Protocol::File(file) => file.is_device(),
            Protocol::Nbd(_) => true,
            Protocol::Null(_) => false,
        }
    }

    /// Whether it can be made longer and shorter, and what it has stays.
    pub fn is_resizable(&self) -> bool {
        matches!(&self.protocol, Protocol::File(file) if !file.is_device())
    }

    /// The driver's name, as QEMU has it.
    pub fn kind(&self) -> &'static str {
        match &self.protocol {
            Protocol::File(file) if file.is_device() => "host_device",
            Protocol::File(_) => "file",
            Protocol::Nbd(_) => "nbd",
            Protocol::Null(_) => "null-co",
        }
    }
}

impl From<Protocol> for Driver {
    fn from(protocol: Protocol) -> Self {
        let (qcow2, counts, writethrough, asked) = (None, None, false, AtomicU64::new(0));
        Driver { protocol, qcow2, counts, writethrough, asked, syncing: Mutex::default(), failed: OnceLock::new() }
    }
}

impl Storage for Driver {
    fn mem_align(&self) -> usize {
        each!(self, d => d.mem_align())
    }

    fn req_align(&self) -> usize {
        each!(self, d => d.req_align())
    }

    fn zero_align(&self) -> usize {
        each!(self, d => d.zero_align())
    }

    fn discard_align(&self) -> usize {
        each!(self, d => d.discard_align())
    }

    fn size(&self) -> io::Result<u64> {
        each!(self, d => d.size())
    }

    async unsafe fn pure_readv(&self, mut bufv: IoVectorMut<'_>, offset: u64) -> io::Result<()> {
        let Some(held) = &self.qcow2 else {
            // SAFETY: what the caller promised of this one holds for the driver's.
            return each!(self, d => unsafe { d.pure_readv(bufv, offset) }.await);
        };
        if bufv.len() == held.cluster_size {
            held.tables.fetch_add(held.cluster_size, Relaxed);
        }
        let (size, length) = (self.size()?, bufv.len());
        let spare = SECTOR.max(self.req_align() as u64); // what alignment may add
        if length > 0 && (offset >= size || length - (size - offset).min(length) >= spare) {
            let end = offset.saturating_add(length);
            let what = format!("it refers to bytes {offset} to {end} of a file of {size}: truncated or corrupt");
            return Err(io::Error::new(ErrorKind::UnexpectedEof, what));
        }
        if !(offset..offset.saturating_add(length)).contains(&FEATURES) {
            // SAFETY: as above.
            return each!(self, d => unsafe { d.pure_readv(bufv, offset) }.await);
        }
        let mut bytes = IoBuffer::new(length as usize, self.mem_align())?;
        // SAFETY: as above, and the buffer is aligned as the driver asks.
        each!(self, d => unsafe { d.pure_readv((&mut bytes).into(), offset) }.await)?;
        bytes.as_mut().into_slice()[(FEATURES - offset) as usize] &= !HARMLESS;
        bufv.copy_from_slice(bytes.as_ref().into_slice());
        Ok(())
    }

    async unsafe fn pure_writev(&self, bufv: IoVector<'_>, offset: u64) -> io::Result<()> {
        self.settle(offset, bufv.len()).await?;
        if let Some(counts) = self.counts.as_ref().filter(|counts| counts.concerns(self, offset, bufv.len())) {
            return counts.write(self, bufv, offset).await;
        }
        // SAFETY: what the caller promised of this one holds for the driver's.
        self.wrote(each!(self, d => unsafe { d.pure_writev(bufv, offset) }.await))
    }

    async unsafe fn pure_write_zeroes(&self, offset: u64, length: u64) -> io::Result<()> {
        self.settle(offset, length).await?;
        // SAFETY: what the caller promised of this one holds for the driver's.
        self.wrote(each!(self, d => unsafe { d.pure_write_zeroes(offset, length) }.await))
    }

    async unsafe fn pure_write_allocated_zeroes(&self, offset: u64, length: u64) -> io::Result<()> {
        self.settle(offset, length).await?;
        // SAFETY: what the caller promised of this one holds for the driver's.
        self.wrote(each!(self, d => unsafe { d.pure_write_allocated_zeroes(offset, length) }.await))
    }

    async unsafe fn pure_discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.settle(offset, length).await?;
        // SAFETY: what the caller promised of this one holds for the driver's.
        self.wrote(each!(self, d => unsafe { d.pure_discard(offset, length) }.await))
    }

    async fn flush(&self) -> io::Result<()> {
        each!(self, d => d.flush().await)
    }

    async fn sync(&self) -> io::Result<()> {
        self.plain_sync().await
    }

    async fn settle_writes(&self) -> io::Result<()> {
        each!(self, d => d.settle_writes().await)
    }

    async unsafe fn invalidate_cache(&self) -> io::Result<()> {
        // SAFETY: what the caller promised of this one holds for the driver's.
        each!(self, d => unsafe { d.invalidate_cache() }.await)
    }

    fn get_storage_helper(&self) -> &CommonStorageHelper {
        each!(self, d => d.get_storage_helper())
    }

    async fn resize(&self, new_size: u64, mode: PreallocateMode) -> io::Result<()> {
        each!(self, d => d.resize(new_size, mode).await)
    }
}

impl Display for Driver {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        each!(self, d => d.fmt(f))
    }
}
