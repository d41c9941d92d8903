//! What C's side of a twin gets: errors and panics as an errno, and pointers that are checked. The lines e01 and e02 of the
//! contract; `examples/c` has a C program.

#![cfg(all(unix, feature = "tokio", not(loom)))]

mod common;

use std::{
    error::Error,
    fmt,
    io::{self, ErrorKind},
    ptr,
    sync::Arc,
    time::Duration,
};

use co_wrapper_runtime::{block_on, block_on_timeout, ffi, interrupt::Interrupted};
use common::{mixed, plain};

/// An error with a cause.
#[derive(Debug)]
struct Because(Box<dyn Error + Send + Sync>);

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("because")
    }
}

impl Error for Because {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

fn system(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

/// Catches: an errno that is lost because the error was wrapped, or that is made up although there is one.
#[test]
fn e01_an_error_has_the_errno_of_its_cause() {
    let elapsed = block_on_timeout(std::future::pending::<()>(), Duration::ZERO).unwrap_err();
    let rows: Vec<(io::Error, i32)> = vec![
        (system(libc::ENOSPC), libc::ENOSPC),
        (io::Error::new(ErrorKind::NotFound, Because(system(libc::ELOOP).into())), libc::ELOOP),
        (io::Error::other(system(libc::EDQUOT)), libc::EDQUOT),
        (io::Error::other(io::Error::other(system(libc::EXDEV))), libc::EXDEV),
        (io::Error::other(Because(Because(io::Error::other(system(libc::EMFILE)).into()).into())), libc::EMFILE),
        (Interrupted.into(), libc::EINTR),
        (io::Error::other(Because(Interrupted.into())), libc::EINTR),
        (elapsed.into(), libc::ETIMEDOUT),
        (io::Error::other(Because(elapsed.into())), libc::ETIMEDOUT),
        // By the kind alone.
        (ErrorKind::UnexpectedEof.into(), libc::EIO),
        (ErrorKind::InvalidInput.into(), libc::EINVAL),
        (ErrorKind::Unsupported.into(), libc::ENOTSUP),
        (io::Error::new(ErrorKind::PermissionDenied, "no"), libc::EACCES),
        (io::Error::other("what else"), libc::EIO),
    ];
    for (error, errno) in rows {
        let shown = format!("{error:?}");
        assert_eq!(ffi::errno(&error), errno, "{shown}");
        assert_eq!(ffi::status(|| Err(error)), -errno, "{shown}");
    }
    // Each errno that has a kind keeps it there and back, but for synonyms.
    for errno in 1..=133 {
        let kind = system(errno).kind();
        if let Some(back) = Some(ffi::errno(&kind.into())).filter(|back| *back != libc::EIO) {
            assert_eq!(system(back).kind(), kind, "errno {errno}");
        }
    }
}

/// Catches: a panic that gets to C, or that is taken for success; a result that is written although there is none; a
/// destructor of an error that panics.
#[test]
fn e01_a_panic_is_an_errno_and_the_result_is_untouched() {
    struct Bomb;
    impl fmt::Debug for Bomb {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Bomb")
        }
    }
    impl fmt::Display for Bomb {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a bomb")
        }
    }
    impl Error for Bomb {}
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("on purpose, in a destructor");
        }
    }
    type Row = (&'static str, fn() -> io::Result<u32>, i32);
    let rows: &[Row] = &[
        ("a panic", || panic!("on purpose"), -libc::EIO),
        ("one whose payload panics", || std::panic::panic_any(Bomb), -libc::EIO),
        // co-check: allow — the test is about the panic
        ("a plain twin in coroutine context", || block_on(async { Ok(plain(async { 7 })) }), -libc::EIO),
        ("a panic of a future", || Ok(plain(async { panic!("on purpose") })), -libc::EIO),
        ("an error", || Err(ErrorKind::NotFound.into()), -libc::ENOENT),
        ("one whose destructor panics", || Err(io::Error::new(ErrorKind::NotFound, Bomb)), -libc::ENOENT),
        ("a result", || mixed(async { Ok(7) }), 0),
    ];
    for (name, f, status) in rows {
        let mut out = 3;
        // SAFETY: `out` may be written.
        assert_eq!(unsafe { ffi::call(&mut out, f) }, *status, "{name}");
        assert_eq!(out, if *status == 0 { 7 } else { 3 }, "{name}");
        assert!(!co_wrapper_runtime::in_coroutine(), "{name}");
    }
}

/// Catches: a result that is lost with nowhere to go; what is at the place dropped, or read.
#[test]
fn e02_a_result_needs_a_place() {
    let made = Arc::new(());
    // SAFETY: null is allowed.
    let status = unsafe { ffi::call(ptr::null_mut(), || Ok(made.clone())) };
    assert_eq!((status, Arc::strong_count(&made)), (-libc::EFAULT, 1));
    let mut place = std::mem::MaybeUninit::<Arc<()>>::uninit();
    // SAFETY: the place may be written.
    assert_eq!(unsafe { ffi::call(place.as_mut_ptr(), || Ok(made.clone())) }, 0);
    assert_eq!(Arc::strong_count(&made), 2);
    // SAFETY: it was written.
    drop(unsafe { place.assume_init() });
}

/// Catches: a reference that is null, or a slice that no object can be; an empty slice that is refused.
#[test]
fn e02_pointers_are_checked() {
    let errno = |result: io::Result<()>| result.err().map(|error| error.raw_os_error().unwrap());
    let number = 7_u64;
    let odd = ptr::from_ref(&number).cast::<u8>().wrapping_add(1).cast::<u64>();
    // SAFETY: what is not refused is there.
    unsafe {
        assert_eq!(ffi::reference(&number).copied().unwrap(), 7);
        assert_eq!(errno(ffi::reference(ptr::null::<u64>()).map(drop)), Some(libc::EFAULT));
        assert_eq!(errno(ffi::reference(odd).map(drop)), Some(libc::EINVAL));
        assert_eq!(ffi::bytes(b"abc".as_ptr(), 3).unwrap(), b"abc");
        for len in [1, usize::MAX] {
            assert_eq!(errno(ffi::bytes(ptr::null(), len).map(drop)), Some(libc::EFAULT));
            assert_eq!(errno(ffi::bytes_mut(ptr::null_mut(), len).map(drop)), Some(libc::EFAULT));
        }
        let mut byte = 1;
        let too_long = isize::MAX as usize + 1;
        for len in [too_long, usize::MAX] {
            assert_eq!(errno(ffi::bytes(&byte, len).map(drop)), Some(libc::EINVAL));
            assert_eq!(errno(ffi::bytes_mut(&mut byte, len).map(drop)), Some(libc::EINVAL));
        }
        for nothing in [ptr::null_mut(), ptr::without_provenance_mut(1), &raw mut byte] {
            assert!(ffi::bytes(nothing, 0).unwrap().is_empty() && ffi::bytes_mut(nothing, 0).unwrap().is_empty());
        }
        ffi::bytes_mut(&mut byte, 1).unwrap()[0] = 2;
        assert_eq!(byte, 2);
        assert_eq!(ffi::c_str(c"a".as_ptr()).unwrap(), c"a");
        assert_eq!(errno(ffi::c_str(ptr::null()).map(drop)), Some(libc::EFAULT));
    }
}

/// C code in a coroutine that is dropped while a twin waits.
///
/// Catches: an unwinding that gets to C's frames; a twin that waits for ever afterwards.
#[cfg(all(feature = "coroutine", not(miri)))]
#[test]
fn e01_a_coroutine_that_is_dropped_is_an_errno_too() {
    use std::{cell::Cell, rc::Rc};

    use futures::FutureExt;

    common::within_bounds(|| {
        let said = Rc::new(Cell::new(0));
        let says = said.clone();
        // SAFETY: the closure has no scope in a thread-local while a call waits.
        let mut coroutine = unsafe {
            co_wrapper_runtime::Coroutine::new(move || {
                let status = ffi::status(|| plain(std::future::pending()));
                // C goes on, and may call again.
                assert_eq!(ffi::status(|| plain(async { Ok(()) })), 0);
                says.set(status);
            })
        };
        assert!((&mut coroutine).now_or_never().is_none());
        drop(coroutine);
        assert_eq!(said.get(), -libc::ECANCELED);
    });
}
