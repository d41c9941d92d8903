//! The system calls on Linux, by rustix where it has them.

use std::{
    ffi::{c_int, c_long, c_uint},
    fs,
    io::{self, IoSlice, IoSliceMut},
    num::NonZeroU64,
    os::fd::{AsFd, AsRawFd},
};

use rustix::{
    fs::{
        Advice, AtFlags, FallocateFlags, OFlags, SeekFrom, StatxFlags, fadvise, fallocate, ioctl_blksszget, seek, statx,
    },
    io::{Errno, ReadWriteFlags, preadv, preadv2, pwritev, retry_on_intr},
};

use super::{Alignment, Extent, ExtentKind, Zeroes, is_device};

/// The most parts that one system call takes (`UIO_MAXIOV`).
const PARTS: usize = 1024;

/// The flag of `open` for I/O past the page cache.
pub const DIRECT: Option<i32> = Some(OFlags::DIRECT.bits() as i32);

/// Reads what the page cache has. Fewer bytes than were asked for, or none, do not mean the end of the file.
///
/// # Errors
///
/// `WouldBlock` if the page cache has not the first byte. Others may mean that the system or the file system does not have
/// this call.
#[inline]
pub fn read_cached(file: &fs::File, parts: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<usize> {
    let most = parts.len().min(PARTS);
    Ok(preadv2(file, &mut parts[..most], offset, ReadWriteFlags::NOWAIT)?)
}

pub fn read(file: &fs::File, parts: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<usize> {
    let most = parts.len().min(PARTS);
    Ok(preadv(file, &mut parts[..most], offset)?)
}

#[inline]
pub fn write(file: &fs::File, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
    let most = parts.len().min(PARTS);
    Ok(pwritev(file, &parts[..most], offset)?)
}

/// Makes zeroes of a part of the file, which grows if the part ends behind its end.
///
/// # Errors
///
/// `Unsupported` where it has to be written instead.
pub fn zero(file: &fs::File, offset: u64, length: u64, how: Zeroes) -> io::Result<()> {
    match how {
        Zeroes::Allocate => change(file, FallocateFlags::ZERO_RANGE, offset, length),
        Zeroes::Unmap => {
            discard(file, offset, length)?;
            let (end, metadata) = (offset + length, file.metadata()?);
            // Not by `set_len`, which would cut off what another thread writes behind the end meanwhile.
            if metadata.is_file() && metadata.len() < end {
                change(file, FallocateFlags::empty(), end - 1, 1)?;
            }
            Ok(())
        }
    }
}

/// Gives back the room of a part of the file, as far as there is such a part.
///
/// # Errors
///
/// `Unsupported` where that cannot be done.
pub fn discard(file: &fs::File, offset: u64, length: u64) -> io::Result<()> {
    change(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, length)
}

fn change(file: &fs::File, mode: FallocateFlags, offset: u64, length: u64) -> io::Result<()> {
    match retry_on_intr(|| fallocate(file, mode, offset, length)) {
        // The file system or the device does not know it; a device does not know it for parts of its blocks; a sandbox
        // forbids it.
        Err(Errno::OPNOTSUPP | Errno::NODEV | Errno::INVAL | Errno::NOSYS | Errno::PERM) => {
            Err(io::ErrorKind::Unsupported.into())
        }
        done => Ok(done?),
    }
}

/// What is at `offset`. `None` if that is at the end or behind it.
pub fn extent(file: &fs::File, offset: u64) -> io::Result<Option<Extent>> {
    let of = |kind, end: u64| Ok((end > offset).then(|| Extent { kind, length: end - offset }));
    match seek(file, SeekFrom::Data(offset)) {
        Ok(data) if data > offset => of(ExtentKind::Hole, data),
        // The hole cannot be found if the file was cut short meanwhile. Then the size says how far the data goes.
        Ok(_) => match seek(file, SeekFrom::Hole(offset)) {
            Ok(hole) => of(ExtentKind::Data, hole),
            Err(_) => of(ExtentKind::Data, size(file)?),
        },
        // There is no data any more, or `offset` is behind the end.
        Err(Errno::NXIO) => of(ExtentKind::Hole, size(file)?),
        // It cannot tell, so all of it is data.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => of(ExtentKind::Data, size(file)?),
        Err(error) => Err(error.into()),
    }
}

pub fn size(file: &fs::File) -> io::Result<u64> {
    if is_device(file)? { Ok(seek(file, SeekFrom::End(0))?) } else { Ok(file.metadata()?.len()) }
}

/// What `O_DIRECT` asks for, if the system tells.
pub fn alignment(file: &fs::File) -> io::Result<Option<Alignment>> {
    if let Ok(told) = statx(file.as_fd(), c"", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN)
        && StatxFlags::from_bits_retain(told.stx_mask).contains(StatxFlags::DIOALIGN)
    {
        return match (told.stx_dio_offset_align, told.stx_dio_mem_align) {
            (0, _) => Err(io::Error::new(io::ErrorKind::Unsupported, "the file system has no O_DIRECT for it")),
            (offset, memory) => Ok(Some(Alignment { offset, memory: memory.max(1) })),
        };
    }
    // Before Linux 6.1. A device's sector is what it asks for, in both.
    let sector = ioctl_blksszget(file).ok();
    Ok(sector.map(|sector| Alignment { offset: sector, memory: sector }))
}

/// Has the system begin to read a part of the file from the disk. That it does is not sure, nor needed.
pub fn read_ahead(file: &fs::File, offset: u64, length: u64) {
    let _ = fadvise(file, offset, NonZeroU64::new(length), Advice::WillNeed);
}

/// Has the system begin to write a part of the file to the disk. What goes wrong there, the next sync tells.
pub fn start_writeback(file: &fs::File, offset: u64, length: u64) {
    const SYNC_FILE_RANGE_WRITE: c_uint = 2;

    unsafe extern "C" {
        fn sync_file_range(fd: c_int, offset: i64, length: i64, flags: c_uint) -> c_int;
    }

    // SAFETY: the descriptor is open, and no memory is passed. The C library has this function on every Linux, with 64 bits
    // for both numbers.
    unsafe { sync_file_range(file.as_raw_fd(), offset as i64, length as i64, SYNC_FILE_RANGE_WRITE) };
}

/// How often this thread has waited for anything but a processor, if that is known.
#[cfg(target_pointer_width = "64")]
pub fn waits() -> Option<u64> {
    const RUSAGE_THREAD: c_int = 1;
    /// Which of the numbers of a `struct rusage` is `ru_nvcsw`; the first four are two times.
    const VOLUNTARY_SWITCHES: usize = 16;

    unsafe extern "C" {
        fn getrusage(who: c_int, usage: *mut [c_long; 18]) -> c_int;
    }

    let mut usage = [0; 18];
    // SAFETY: with 64 bits, a `struct rusage` is 18 numbers of the type `long`, in every C library for Linux.
    let done = unsafe { getrusage(RUSAGE_THREAD, &raw mut usage) };
    (done == 0).then(|| usage[VOLUNTARY_SWITCHES] as u64)
}

/// As above, where the layout of what the C library tells depends on it.
#[cfg(not(target_pointer_width = "64"))]
pub fn waits() -> Option<u64> {
    None
}
