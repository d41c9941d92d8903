//! Blocking twins for C: what an `extern "C"` function around a twin needs.
//!
//! No attribute writes these functions, because a signature does not say who owns a pointer, which results are counts
//! and which are objects, and what C's types are called. They are short by hand:
//!
//! ```
//! use std::{ffi::c_int, io};
//! use co_wrapper::{co_wrapper, ffi};
//!
//! pub struct Disk {
//!     content: Vec<u8>,
//! }
//!
//! impl Disk {
//!     #[co_wrapper]
//!     async fn co_read(&self, off: usize, buf: &mut [u8]) -> io::Result<usize> {
//!         let rest = self.content.get(off..).ok_or(io::ErrorKind::InvalidInput)?;
//!         let len = rest.len().min(buf.len());
//!         buf[..len].copy_from_slice(&rest[..len]);
//!         Ok(len)
//!     }
//! }
//!
//! /// `int disk_read(const Disk *disk, size_t off, uint8_t *buf, size_t len, size_t *done);`
//! ///
//! /// # Safety
//! ///
//! /// `disk` is open. `buf` has room for `len` bytes, which nobody else uses during the call. `done` may be written.
//! #[unsafe(no_mangle)]
//! pub unsafe extern "C" fn disk_read(
//!     disk: *const Disk,
//!     off: usize,
//!     buf: *mut u8,
//!     len: usize,
//!     done: *mut usize,
//! ) -> c_int {
//!     // SAFETY: by this function's contract.
//!     unsafe {
//!         ffi::call(done, || {
//!             let (disk, buf) = (ffi::reference(disk)?, ffi::bytes_mut(buf, len)?);
//!             disk.read(off, buf)
//!         })
//!     }
//! }
//!
//! let (disk, mut buf, mut done) = (Disk { content: b"abc".to_vec() }, [0; 8], 0);
//! # unsafe {
//! assert_eq!(disk_read(&disk, 1, buf.as_mut_ptr(), 8, &mut done), 0);
//! assert_eq!((done, &buf[..2]), (2, &b"bc"[..]));
//! assert_eq!(disk_read(&disk, 9, buf.as_mut_ptr(), 8, &mut done), -22); // -EINVAL
//! assert_eq!(disk_read(std::ptr::null(), 0, buf.as_mut_ptr(), 8, &mut done), -14); // -EFAULT
//! # }
//! ```
//!
//! | in Rust | in C | through |
//! |---|---|---|
//! | `&[u8]`, `&mut [u8]` | `const uint8_t *`, `uint8_t *` and a `size_t` | [`bytes`], [`bytes_mut`] |
//! | `&T` | `const T *`, of an incomplete type | [`reference`](reference()) |
//! | `&CStr` | `const char *` | [`c_str`] |
//! | `io::Result<()>` | an `int`: 0 or a negative errno | [`status`] |
//! | `io::Result<T>` | the same, and a `T *` for the result | [`call`] |
//! | a panic | `-EIO`, and its message on stderr | [`status`], [`call`] |
//!
//! An object that C owns is a [`Box::into_raw`], and the function that ends it does [`Box::from_raw`]. The repository's
//! `examples/c` is a whole library with its header, and a C program that uses it.

use std::{
    error::Error,
    ffi::{CStr, c_char, c_int},
    io, ptr, slice,
};

use rustix::io::Errno;

use crate::sys::{
    elapsed::Elapsed,
    interrupts::Interrupted,
    panics::{self, Payload},
};

/// Calls `f`, writes its result to `out` and returns 0; or returns a negative errno, and leaves `out` as it is.
///
/// The errno is that of the error, by [`errno`]. A panic of `f` does not get to C: it is `-EIO`, after the panic hook
/// has printed it, such as that of a plain twin in coroutine context. (A program that is built with `panic = "abort"`
/// ends.) If `f` is unwound because its `Coroutine` was dropped, it is `-ECANCELED`.
///
/// If `out` is null, `f` is not called, and `-EFAULT` is returned.
///
/// # Safety
///
/// Unless `out` is null, a `T` may be written to it after the call of `f`. What is there is not read, and not dropped.
///
/// # Examples
///
/// See the [module](self).
pub unsafe fn call<T>(out: *mut T, f: impl FnOnce() -> io::Result<T>) -> c_int {
    if out.is_null() {
        return -Errno::FAULT.raw_os_error();
    }
    status(|| {
        let result = f()?;
        // SAFETY: by this function's contract.
        unsafe { out.write(result) };
        Ok(())
    })
}

/// Like [`call`], for functions without a result.
///
/// # Examples
///
/// ```
/// use co_wrapper::ffi;
///
/// assert_eq!(ffi::status(|| Ok(())), 0);
/// assert_eq!(ffi::status(|| Err(std::io::ErrorKind::NotFound.into())), -2); // -ENOENT
/// assert_eq!(ffi::status(|| panic!("a bug")), -5); // -EIO
/// ```
pub fn status(f: impl FnOnce() -> io::Result<()>) -> c_int {
    let error = match Payload::of(f) {
        Ok(Ok(())) => return 0,
        Ok(Err(error)) => {
            let errno = errno(&error);
            // Its destructor is users' code.
            panics::discard(error);
            errno
        }
        #[cfg(feature = "coroutine")]
        Err(payload) if payload.is::<crate::suspend::Cancelled>() => Errno::CANCELED.raw_os_error(),
        Err(_) => Errno::IO.raw_os_error(),
    };
    -error
}

/// The errno of an error, which is positive.
///
/// It is the one with which a system call failed, also if that error is the [source](Error::source) of this one.
/// Otherwise it follows from the kind, and is `EIO` if there is none for that. `Interrupted` is `EINTR`, `Elapsed` is
/// `ETIMEDOUT`.
///
/// # Examples
///
/// ```
/// use co_wrapper::{ffi::errno, interrupt::Interrupted};
/// use std::io::{Error, ErrorKind};
///
/// assert_eq!(errno(&Error::from_raw_os_error(28)), 28); // ENOSPC
/// assert_eq!(errno(&Error::new(ErrorKind::NotFound, "no such snapshot")), 2); // ENOENT
/// assert_eq!(errno(&Interrupted.into()), 4); // EINTR
/// assert_eq!(errno(&Error::other("what else")), 5); // EIO
/// ```
pub fn errno(error: &io::Error) -> c_int {
    if let Some(errno) = error.raw_os_error() {
        return errno;
    }
    let mut cause: Option<&(dyn Error + 'static)> = error.get_ref().map(|inner| inner as _);
    while let Some(inner) = cause {
        let of_system = inner.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        if let Some(errno) = of_system {
            return errno;
        }
        if inner.is::<Interrupted>() {
            return Errno::INTR.raw_os_error();
        }
        if inner.is::<Elapsed>() {
            return Errno::TIMEDOUT.raw_os_error();
        }
        // An `io::Error` that contains an error has that one's source, and not that one.
        cause = match inner.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(contained) => Some(contained as _),
            None => inner.source(),
        };
    }
    of_kind(error.kind()).raw_os_error()
}

fn of_kind(kind: io::ErrorKind) -> Errno {
    use io::ErrorKind as Kind;

    match kind {
        Kind::NotFound => Errno::NOENT,
        Kind::PermissionDenied => Errno::ACCESS,
        Kind::ConnectionRefused => Errno::CONNREFUSED,
        Kind::ConnectionReset => Errno::CONNRESET,
        Kind::ConnectionAborted => Errno::CONNABORTED,
        Kind::HostUnreachable => Errno::HOSTUNREACH,
        Kind::NetworkUnreachable => Errno::NETUNREACH,
        Kind::NetworkDown => Errno::NETDOWN,
        Kind::NotConnected => Errno::NOTCONN,
        Kind::AddrInUse => Errno::ADDRINUSE,
        Kind::AddrNotAvailable => Errno::ADDRNOTAVAIL,
        Kind::BrokenPipe => Errno::PIPE,
        Kind::AlreadyExists => Errno::EXIST,
        Kind::WouldBlock => Errno::AGAIN,
        Kind::NotADirectory => Errno::NOTDIR,
        Kind::IsADirectory => Errno::ISDIR,
        Kind::DirectoryNotEmpty => Errno::NOTEMPTY,
        Kind::ReadOnlyFilesystem => Errno::ROFS,
        Kind::StaleNetworkFileHandle => Errno::STALE,
        Kind::InvalidInput | Kind::InvalidData => Errno::INVAL,
        Kind::TimedOut => Errno::TIMEDOUT,
        Kind::StorageFull => Errno::NOSPC,
        Kind::NotSeekable => Errno::SPIPE,
        Kind::QuotaExceeded => Errno::DQUOT,
        Kind::FileTooLarge => Errno::FBIG,
        Kind::ResourceBusy => Errno::BUSY,
        Kind::ExecutableFileBusy => Errno::TXTBSY,
        Kind::Deadlock => Errno::DEADLK,
        Kind::CrossesDevices => Errno::XDEV,
        Kind::TooManyLinks => Errno::MLINK,
        Kind::ArgumentListTooLong => Errno::TOOBIG,
        Kind::Interrupted => Errno::INTR,
        Kind::Unsupported => Errno::NOTSUP,
        Kind::OutOfMemory => Errno::NOMEM,
        _ => Errno::IO,
    }
}

fn error(errno: Errno) -> io::Error {
    io::Error::from_raw_os_error(errno.raw_os_error())
}

/// Checks an address that C has given.
fn check<T>(pointer: *const T) -> io::Result<()> {
    if pointer.is_null() {
        return Err(error(Errno::FAULT));
    }
    if !pointer.is_aligned() {
        return Err(error(Errno::INVAL));
    }
    Ok(())
}

/// What `pointer` points to.
///
/// # Errors
///
/// `EFAULT` for null, `EINVAL` for an address that is not aligned.
///
/// # Safety
///
/// Otherwise there is a `T`, which stays there, and which nobody changes, while the reference is used.
///
/// # Examples
///
/// See the [module](self).
pub unsafe fn reference<'a, T>(pointer: *const T) -> io::Result<&'a T> {
    check(pointer)?;
    // SAFETY: neither null nor unaligned; the rest is this function's contract.
    Ok(unsafe { &*pointer })
}

/// The `len` bytes at `pointer`. If `len` is 0, `pointer` may be anything, as in C.
///
/// # Errors
///
/// `EFAULT` for null; `EINVAL` for a length that no object has, such as a negative one.
///
/// # Safety
///
/// Otherwise there are so many bytes, which were written, stay there and are not changed while the slice is used.
///
/// # Examples
///
/// ```
/// use co_wrapper::ffi;
///
/// unsafe {
///     assert_eq!(ffi::bytes(b"abc".as_ptr(), 2)?, b"ab");
///     assert_eq!(ffi::bytes(std::ptr::null(), 0)?, b"");
///     assert!(ffi::bytes(std::ptr::null(), 1).is_err());
/// }
/// # std::io::Result::Ok(())
/// ```
pub unsafe fn bytes<'a>(pointer: *const u8, len: usize) -> io::Result<&'a [u8]> {
    let pointer = start(pointer.cast_mut(), len)?;
    // SAFETY: not null, and not longer than any object; the rest is this function's contract.
    Ok(unsafe { slice::from_raw_parts(pointer, len) })
}

/// Like [`bytes`], to be written to.
///
/// # Errors
///
/// The same as [`bytes`].
///
/// # Safety
///
/// The same as [`bytes`], and nobody else reads or writes the bytes while the slice is used. They count as written if C
/// allocated them.
///
/// # Examples
///
/// See the [module](self).
pub unsafe fn bytes_mut<'a>(pointer: *mut u8, len: usize) -> io::Result<&'a mut [u8]> {
    let pointer = start(pointer, len)?;
    // SAFETY: not null, and not longer than any object; the rest is this function's contract.
    Ok(unsafe { slice::from_raw_parts_mut(pointer, len) })
}

/// The start of a slice.
fn start(pointer: *mut u8, len: usize) -> io::Result<*mut u8> {
    if len == 0 {
        return Ok(ptr::dangling_mut());
    }
    check(pointer)?;
    isize::try_from(len).map_err(|_| error(Errno::INVAL))?;
    Ok(pointer)
}

/// The text at `pointer`, up to its NUL.
///
/// # Errors
///
/// `EFAULT` for null.
///
/// # Safety
///
/// Otherwise there is a text that ends with a NUL, stays there and is not changed while it is used.
///
/// # Examples
///
/// ```
/// use co_wrapper::ffi;
///
/// let name = unsafe { ffi::c_str(c"disk.img".as_ptr())? };
/// assert_eq!(name.to_str(), Ok("disk.img"));
/// # std::io::Result::Ok(())
/// ```
pub unsafe fn c_str<'a>(pointer: *const c_char) -> io::Result<&'a CStr> {
    check(pointer)?;
    // SAFETY: not null; the rest is this function's contract.
    Ok(unsafe { CStr::from_ptr(pointer) })
}
