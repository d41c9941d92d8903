//! The block backend: an image, opened, and what can be done to it. Every function here is async and has a generated
//! blocking twin (`blk_co_pread` → `blk_pread`); the commands call nothing else.

use std::io::{self, ErrorKind};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use co_wrapper::co_wrapper;
use imago::format::{Format, PreallocateMode};
use imago::{FormatAccess, ShallowMapping, Storage};

use crate::driver::{Driver, Protocol};
use crate::error::refused;
use crate::open::Layer;
use crate::tables::Tables;

/// An image, opened with what it is based on.
#[derive(Debug)]
pub struct BlockBackend {
    pub(crate) access: FormatAccess<Driver>,
    /// The image itself, then what it is based on, from the top down.
    pub(crate) layers: Vec<Layer>,
    /// Writes are durable when they return.
    pub(crate) writethrough: bool,
    /// The bytes of tables that imago may keep, if it is not written to.
    pub(crate) tables: Option<Arc<AtomicU64>>,
    /// Where a qcow2 image that is written to has L2 tables, if it was not made by this program just now.
    pub(crate) changes: Option<Arc<Tables>>,
}

/// What an image has in a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct BlockStatus {
    /// Bytes, from where it was asked on.
    pub length: u64,
    /// Which image of the chain it comes from; the topmost is 0.
    pub depth: usize,
    /// That image has it: does not leave it to the next.
    pub present: bool,
    /// It reads as zeroes.
    pub zero: bool,
    /// It takes room on the disk.
    pub data: bool,
    /// It is compressed.
    pub compressed: bool,
    /// Where in that image's file it is.
    pub offset: Option<u64>,
}

pub(crate) const SECTOR: u64 = 512;
/// imago keeps 128 L2 tables of each image of a chain (`qcow2/mod.rs:123`), whatever their size, which is up to 2 MiB.
/// So many bytes of them are kept here.
const MOST_TABLES: u64 = 32 << 20;
/// So many zeroes are written at a time where they are data.
const MOST_ZEROES: u64 = 256 << 10;

impl BlockBackend {
    /// The bytes that are really there; [`blk_getlength`] counts in whole sectors.
    pub fn end(&self) -> u64 {
        self.access.size()
    }

    /// As the user named it.
    pub fn name(&self) -> &str {
        &self.layers[0].name
    }

    /// Whether it is of the format `raw`.
    pub fn is_raw(&self) -> bool {
        self.access.inner().format() == Format::Raw
    }

    /// See [`File::write_back_early`](crate::file::File::write_back_early).
    pub(crate) fn write_back_early(&self) {
        for driver in self.access.inner().collect_storage_dependencies() {
            if let Protocol::File(file) = &driver.protocol {
                file.write_back_early();
            }
        }
    }

    /// To be called now and then while the image is read: keeps the tables bounded.
    async fn trim_tables(&self) {
        let Some(tables) = self.tables.as_ref().filter(|tables| tables.load(Relaxed) > MOST_TABLES) else { return };
        tables.store(0, Relaxed);
        // SAFETY: nothing is dirty in an image that is only read. Tables in use at this moment stay, and are an error,
        // for which another round will come.
        let _ = unsafe { self.access.invalidate_cache() }.await;
    }

    /// Changes a range, in as many parts as it takes turns: see [`Tables`].
    async fn change(
        &self,
        offset: u64,
        length: u64,
        change: impl AsyncFn(u64, u64) -> io::Result<()>,
    ) -> io::Result<()> {
        let fits = offset.checked_add(length).is_some_and(|end| end <= self.end());
        let Some(tables) = self.changes.as_ref().filter(|_| fits) else { return change(offset, length).await };
        let mut done = 0;
        loop {
            let (_turn, part) = tables.turn(&self.access, offset + done, length - done).await?;
            change(offset + done, part).await?;
            done += part;
            if done >= length {
                return Ok(());
            }
        }
    }

    /// Of a range that nobody else changes, the part that is changed next. Before that, tables are written back if they
    /// have to be.
    async fn part(&self, offset: u64, length: u64) -> io::Result<u64> {
        let Some(tables) = &self.changes else { return Ok(length) };
        let (part, makes_table) = tables.part(offset, length);
        if makes_table {
            self.access.flush().await?;
        }
        Ok(part)
    }

    /// What of the range can be made zeroes without a write, whatever is done beside it meanwhile. Of a qcow2 image, whole
    /// clusters: imago would also take one of which the rest reads as zeroes (`format/access.rs:588`), and write over what
    /// another request has put there since it looked. And it would count a whole cluster back from the end of an image that
    /// is shorter (`:607`). Version 2 has no clusters of zeroes.
    fn clusters_in(&self, range: Range<u64>) -> Range<u64> {
        if self.is_raw() {
            return range;
        }
        let Some(cluster) = self.access.inner().zero_granularity() else { return range.end..range.end };
        let start = range.start.next_multiple_of(cluster).min(range.end);
        // Behind the image's end there is nothing in its last one.
        let end = if range.end == self.end() { range.end } else { range.end / cluster * cluster };
        start..end.max(start)
    }

    fn raw_driver(&self) -> Option<&Driver> {
        self.is_raw().then(|| self.access.inner().collect_storage_dependencies()[0])
    }
}

/// The image's size in bytes, in whole sectors as QEMU counts: behind the end of one that has not, zeroes are read.
///
/// # Errors
/// None of the drivers that there are.
#[co_wrapper(mixed)]
pub async fn blk_co_getlength(blk: &BlockBackend) -> io::Result<u64> {
    Ok(blk.access.size().next_multiple_of(SECTOR))
}

/// Fills `buf` from the bytes at `offset`.
///
/// # Errors
/// Past the image's end; those of the formats and drivers.
#[co_wrapper(mixed)]
pub async fn blk_co_pread(blk: &BlockBackend, offset: u64, buf: &mut [u8]) -> io::Result<()> {
    let length = blk.access.size().next_multiple_of(SECTOR);
    if offset.checked_add(buf.len() as u64).is_none_or(|end| end > length) {
        return Err(refused(format!("{} bytes at {offset} are past the end", buf.len())));
    }
    blk.trim_tables().await;
    blk.access.read(buf, offset).await
}

/// Writes all of `buf` at `offset`; with `fua` it is durable on return.
///
/// # Errors
/// Past the image's end; those of the formats and drivers.
#[co_wrapper(mixed)]
pub async fn blk_co_pwrite(blk: &BlockBackend, offset: u64, buf: &[u8], fua: bool) -> io::Result<()> {
    if let (true, Some(driver @ Driver { protocol: Protocol::Nbd(nbd), .. })) = (fua, blk.raw_driver())
        && (offset | buf.len() as u64).is_multiple_of(nbd.req_align() as u64)
    {
        return driver.synced(nbd.write(offset, buf, true).await);
    }
    let write =
        async |at: u64, length: u64| blk.access.write(&buf[(at - offset) as usize..][..length as usize], at).await;
    blk.change(offset, buf.len() as u64, write).await?;
    if fua || blk.writethrough && !blk.is_raw() { blk_co_flush(blk).await } else { Ok(()) }
}

/// Makes the range read as zeroes, without writing any where the format or the driver can.
///
/// # Errors
/// Past the image's end; those of the formats and drivers.
#[co_wrapper(mixed)]
pub async fn blk_co_pwrite_zeroes(blk: &BlockBackend, offset: u64, length: u64) -> io::Result<()> {
    let end = offset.checked_add(length).ok_or_else(|| refused("zeroes past the end of all images"))?;
    let whole = blk.clusters_in(offset..end);
    write_zeroes_as_data(blk, offset..whole.start).await?;
    if !whole.is_empty() {
        let zeroes = async |at, length| blk.access.write_zeroes(at, length).await;
        blk.change(whole.start, whole.end - whole.start, zeroes).await?;
    }
    write_zeroes_as_data(blk, whole.end..end).await
}

/// Writes zeroes where something else is read. Other requests may write beside the range meanwhile, in the same cluster.
async fn write_zeroes_as_data(blk: &BlockBackend, range: Range<u64>) -> io::Result<()> {
    let Range { start: mut at, end } = range;
    let mut zeroes = Vec::new();
    while at < end {
        let (zero, length) = match blk_co_block_status(blk, at, end - at).await {
            // Another request has allocated it, and has not written yet.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => (false, end - at),
            found => found.map(|found| (found.zero, found.length))?,
        };
        let length = if zero { length } else { length.min(MOST_ZEROES) };
        if !zero {
            zeroes.resize(zeroes.len().max(length as usize), 0);
            blk_co_pwrite(blk, at, &zeroes[..length as usize], false).await?;
        }
        at += length;
    }
    Ok(())
}

/// Says that nobody needs the range any more, which may then read as anything but what it had before or what an image
/// below has. Takes the image alone: it must not be read meanwhile.
///
/// # Errors
/// Past the image's end; those of the formats and drivers.
#[co_wrapper(mixed)]
pub async fn blk_co_pdiscard(blk: &mut BlockBackend, offset: u64, length: u64) -> io::Result<()> {
    let mut done = 0;
    while done < length {
        let part = blk.part(offset + done, length - done).await?;
        match blk.access.discard_to_any(offset + done, part).await {
            Err(error) if error.kind() == ErrorKind::Unsupported => {}
            done => done?,
        }
        done += part;
    }
    Ok(())
}

/// Waits until nothing of the image is being written any more, by requests that nobody waits for either. Such are left when
/// one of several has failed.
#[co_wrapper(mixed, expect_long)]
pub async fn blk_co_settle(blk: &BlockBackend) {
    for driver in blk.access.inner().collect_storage_dependencies() {
        // Nothing is reported here: whoever asked for those requests has an error already.
        let _ = driver.settle_writes().await;
    }
}

/// Makes all writes that have returned durable.
///
/// # Errors
/// Those of the formats and drivers; what was written may be lost then, and no later flush tells.
#[co_wrapper(mixed, expect_long)]
pub async fn blk_co_flush(blk: &BlockBackend) -> io::Result<()> {
    blk.access.flush().await?;
    blk.access.sync().await
}

/// Makes the image longer, by zeroes, or shorter.
///
/// # Errors
/// When it is a device or an export, or has snapshots that would not know their size; those of the formats and drivers.
#[co_wrapper(mixed)]
pub async fn blk_co_truncate(blk: &mut BlockBackend, size: u64) -> io::Result<()> {
    if let Some(driver) = blk.raw_driver().filter(|driver| !driver.is_resizable() && size != blk.end()) {
        return Err(refused(format!("what the driver {} has does not grow or shrink", driver.kind())));
    }
    if blk.layers[0].header.as_ref().is_some_and(|header| header.version == 2 && header.snapshots > 0) {
        return Err(refused("it is of qcow2 version 2, whose snapshots have no size of their own, and has some"));
    }
    // A new L1 table takes clusters that no other table in the file may refer to: see `Tables`.
    blk.access.flush().await?;
    // Without anything below, what is new reads as zeroes by itself.
    let hidden = blk.layers.get(1).is_some_and(|below| below.size > blk.access.size());
    blk.access.resize(size, if hidden || blk.is_raw() { PreallocateMode::Zero } else { PreallocateMode::None }).await
}

/// Gives all of the image up, so that it has what the image below has, or zeroes.
///
/// # Errors
/// Those of the formats and drivers.
#[co_wrapper(mixed, expect_long)]
pub async fn blk_co_make_empty(blk: &mut BlockBackend) -> io::Result<()> {
    let (mut done, end) = (0, blk.access.size());
    while done < end {
        let part = blk.part(done, end - done).await?;
        blk.access.discard_to_backing(done, part).await?;
        done += part;
    }
    Ok(())
}

/// What there is from `offset` on, and for how long: at least a byte, at most `length`.
///
/// # Errors
/// Past the image's end; those of the formats and drivers; data past the end of a file that has lost its tail.
#[co_wrapper(mixed)]
pub async fn blk_co_block_status(blk: &BlockBackend, offset: u64, length: u64) -> io::Result<BlockStatus> {
    Ok(find(blk, offset, length).await?.0)
}

/// Has the data of a range read into the page cache, as far as it is scattered over files that are not all there, and
/// does not wait for it. The system looks ahead by itself where all is in one piece, in larger units, and stops where
/// there are holes. Compressed data is left to it.
///
/// # Errors
/// The same as [`blk_block_status`].
#[co_wrapper(mixed)]
pub async fn blk_co_read_ahead(blk: &BlockBackend, offset: u64, length: u64) -> io::Result<()> {
    if !blk.access.inner().collect_storage_dependencies().into_iter().any(Driver::has_missed) {
        return Ok(());
    }
    let (mut at, end) = (offset, offset + length);
    let mut parts: Vec<(&Driver, u64, u64)> = Vec::new();
    while at < end {
        let (found, file) = find(blk, at, end - at).await?;
        at += found.length;
        let Some((file, from)) = file.zip(found.offset).filter(|_| !found.zero) else { continue };
        match parts.last_mut() {
            Some((same, start, length)) if std::ptr::eq(*same, file) && *start + *length == from => {
                *length += found.length;
            }
            _ => parts.push((file, from, found.length)),
        }
    }
    if parts.len() > 1 {
        parts.into_iter().for_each(|(file, from, length)| file.read_ahead(from, length));
    }
    Ok(())
}

/// Like [`blk_block_status`], and the file that has it.
async fn find(blk: &BlockBackend, offset: u64, length: u64) -> io::Result<(BlockStatus, Option<&Driver>)> {
    let all = blk.access.size().next_multiple_of(SECTOR);
    let mut length = length.min(all.saturating_sub(offset));
    if length == 0 {
        return Err(refused(format!("nothing is at {offset}, past the end")));
    }
    blk.trim_tables().await;
    let (mut layer, mut depth) = (&blk.access, 0);
    loop {
        if offset >= layer.size() {
            // The rest of a last sector; what an image below ends before was taken care of above it.
            let length = length.min(layer.size().next_multiple_of(SECTOR) - offset);
            let offset = (layer.inner().format() == Format::Raw).then_some(offset);
            return Ok((BlockStatus { offset, ..BlockStatus::zero(length, depth, true) }, None));
        }
        let (mapping, n) = layer.get_shallow_mapping(offset, length.min(layer.size() - offset)).await?;
        length = n;
        match mapping {
            ShallowMapping::Raw { storage, offset: at, .. } if layer.inner().format() == Format::Raw => {
                let found = storage.block_status(at, length).await?;
                let status = BlockStatus { data: found.data, offset: Some(at), ..BlockStatus::zero(0, depth, true) };
                let status = BlockStatus { length: found.length.min(length), zero: found.zero, ..status };
                return Ok((status, Some(storage)));
            }
            ShallowMapping::Raw { storage, offset: at, .. } => {
                let size = storage.size()?;
                if at.checked_add(length).is_none_or(|end| end > size) {
                    let what = format!(
                        "bytes {offset} to {} should be at {at} of a file of {size}: truncated or corrupt",
                        offset + length
                    );
                    return Err(io::Error::new(ErrorKind::UnexpectedEof, what));
                }
                let mut status = BlockStatus { data: true, offset: Some(at), ..BlockStatus::zero(length, depth, true) };
                status.zero = false;
                if blk.layers[depth].preallocated {
                    let found = storage.block_status(at, length).await?;
                    (status.length, status.zero) = (found.length.min(length), found.zero);
                }
                return Ok((status, Some(storage)));
            }
            ShallowMapping::Special { .. } => {
                let status = BlockStatus { data: true, compressed: true, ..BlockStatus::zero(length, depth, true) };
                return Ok((BlockStatus { zero: false, ..status }, None));
            }
            ShallowMapping::Indirect { layer: below, offset: at, .. } if at == offset => {
                if offset >= below.size().next_multiple_of(SECTOR) {
                    return Ok((BlockStatus::zero(length, depth, false), None));
                }
                (layer, depth) = (below, depth + 1);
            }
            ShallowMapping::Zero { explicit, .. } => return Ok((BlockStatus::zero(length, depth, explicit), None)),
            other => return Err(io::Error::other(format!("imago maps {offset} to {other:?}"))),
        }
    }
}

impl BlockStatus {
    fn zero(length: u64, depth: usize, present: bool) -> Self {
        BlockStatus { length, depth, present, zero: true, data: false, compressed: false, offset: None }
    }
}
