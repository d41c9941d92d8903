//! A disk for C: an async driver, its generated blocking twins, and an `extern "C"` function around each. A pattern to copy.
//!
//! `disk.h` is its header. A test compiles a C program with it, and compares its prototypes with the functions here.
//!
//! Each function is three things: its C signature, the safety contract that C's side has to keep, and one closure, in which
//! pointers become references and a twin is called. `ffi` makes the errno, also of a panic.

#![cfg(unix)]

use std::{
    ffi::{CStr, OsStr, c_char, c_int, c_void},
    io,
    os::unix::ffi::OsStrExt,
    path::Path,
};

use co_wrapper::{co_wrapper, ffi, file::File};

/// An image file. C knows it as an incomplete type.
pub struct Disk(File);

/// What `disk_scan` calls for each chunk: the bytes, how many, and the caller's own pointer. Not 0 ends the scan, with that value.
pub type DiskVisit = unsafe extern "C" fn(*const u8, usize, *mut c_void) -> c_int;

#[co_wrapper(suffix = "_blocking")]
impl Disk {
    async fn open(path: &Path) -> io::Result<Self> {
        Ok(Disk(File::options().write(true).open(path).await?))
    }

    async fn size(&self) -> io::Result<u64> {
        Ok(self.0.size().await?)
    }

    /// Reads what there is, up to the length of `buf`.
    async fn read(&self, off: u64, buf: &mut [u8]) -> io::Result<usize> {
        let rest = self.size().await?.saturating_sub(off);
        let len = buf.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
        self.0.read_at(&mut buf[..len], off).await?;
        Ok(len)
    }

    async fn write(&self, off: u64, data: &[u8]) -> io::Result<()> {
        Ok(self.0.write_at(data, off).await?)
    }

    async fn flush(&self) -> io::Result<()> {
        Ok(self.0.sync().await?)
    }

    /// Calls `visit` for each chunk, inside the future.
    async fn scan(&self, chunk: usize, mut visit: impl FnMut(&[u8]) -> c_int) -> io::Result<c_int> {
        let (mut buf, mut off) = (vec![0; chunk], 0);
        loop {
            let len = self.read(off, &mut buf).await?;
            let said = if len > 0 { visit(&buf[..len]) } else { return Ok(0) };
            if said != 0 {
                return Ok(said);
            }
            off += len as u64;
        }
    }
}

/// Opens an image file.
///
/// # Safety
///
/// `path` ends with a NUL. `disk` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn disk_open(path: *const c_char, disk: *mut *mut Disk) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        ffi::call(disk, || {
            let path = Path::new(OsStr::from_bytes(CStr::to_bytes(ffi::c_str(path)?)));
            Ok(Box::into_raw(Box::new(Disk::open_blocking(path)?)))
        })
    }
}

/// Closes it. Null is closed already.
///
/// # Safety
///
/// `disk` is null or what `disk_open` has made, and is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn disk_close(disk: *mut Disk) {
    if !disk.is_null() {
        // SAFETY: by this function's contract.
        let disk = unsafe { Box::from_raw(disk) };
        ffi::status(|| {
            drop(disk);
            Ok(())
        });
    }
}

/// How many bytes it has.
///
/// # Safety
///
/// `disk` is open. `size` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn disk_size(disk: *const Disk, size: *mut u64) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { ffi::call(size, || ffi::reference(disk)?.size_blocking()) }
}

/// Reads up to `len` bytes, fewer only at the end.
///
/// # Safety
///
/// `disk` is open. `buf` has room for `len` bytes, which nobody else uses during the call. `done` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn disk_read(disk: *const Disk, off: u64, buf: *mut u8, len: usize, done: *mut usize) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        ffi::call(done, || {
            let (disk, buf) = (ffi::reference(disk)?, ffi::bytes_mut(buf, len)?);
            disk.read_blocking(off, buf)
        })
    }
}

/// Writes all `len` bytes.
///
/// # Safety
///
/// `disk` is open. There are `len` bytes at `buf`, which nobody changes during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn disk_write(disk: *const Disk, off: u64, buf: *const u8, len: usize) -> c_int {
    ffi::status(|| {
        // SAFETY: by this function's contract.
        let (disk, buf) = unsafe { (ffi::reference(disk)?, ffi::bytes(buf, len)?) };
        disk.write_blocking(off, buf)
    })
}

/// Flushes.
///
/// # Safety
///
/// `disk` is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn disk_flush(disk: *const Disk) -> c_int {
    // SAFETY: by this function's contract.
    ffi::status(|| unsafe { ffi::reference(disk) }?.flush_blocking())
}

/// Calls `visit` for each chunk of the disk. `visit` runs in coroutine context: there it may not call these functions, which return
/// `-EIO` and say so on stderr.
///
/// # Safety
///
/// `disk` is open. `visit` may be called with `opaque`. `said` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn disk_scan(
    disk: *const Disk,
    chunk: usize,
    visit: Option<DiskVisit>,
    opaque: *mut c_void,
    said: *mut c_int,
) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        ffi::call(said, || {
            let (disk, visit) = (ffi::reference(disk)?, visit.ok_or(io::ErrorKind::InvalidInput)?);
            disk.scan_blocking(chunk, |bytes| visit(bytes.as_ptr(), bytes.len(), opaque))
        })
    }
}

// Other threads use a disk at the same time, because C's do.
const _: fn() = || {
    fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<Disk>();
};
