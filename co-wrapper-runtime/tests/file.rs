//! Files: what is read and written, with which buffers, and what goes wrong. What may be asked about system calls is in
//! `file_syscalls.rs`.
//!
//! Miri runs these too, so they need no program and no file system's special features.

#![cfg(all(feature = "file", unix))]

mod common;

use std::{
    env, fs,
    future::Future,
    io::{self, ErrorKind, IoSlice, IoSliceMut, Write as _},
    mem,
    path::{Path, PathBuf},
    pin::Pin,
    process,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll, Waker},
};

use co_wrapper_runtime::{
    AioContext, block_on,
    file::{Error, ExtentKind, File, Zeroes},
};
use common::{panic_of, sized, within_bounds};

/// A file that goes away with the test.
struct Temporary(PathBuf);

impl Temporary {
    fn new(content: &[u8]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        fs::create_dir_all(folder).unwrap();
        // Miri tries several schedules at the same time, all of them in one process.
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!("file-test-{}-{count}", process::id()));
            match fs::File::create_new(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                created => {
                    created.unwrap().write_all(content).unwrap();
                    return Self(path);
                }
            }
        }
    }

    fn open(&self, inline: bool) -> File {
        File::options().write(true).inline(inline).open_blocking(&self.0).unwrap()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}

/// The forms of a read.
#[derive(Clone, Copy, Debug)]
enum Read {
    Borrowed,
    Vectored,
    Owned,
    OwnedVectored,
    Blocking,
    BlockingVectored,
}

impl Read {
    const ALL: [Self; 6] =
        [Self::Borrowed, Self::Vectored, Self::Owned, Self::OwnedVectored, Self::Blocking, Self::BlockingVectored];

    /// Vectored ones in three parts, of which one is empty.
    fn read(self, file: &File, offset: u64, length: usize) -> (Result<(), Error>, Vec<u8>) {
        let mut all = vec![0xee; length];
        let (head, tail) = all.split_at_mut(length / 3);
        let mut parts = [IoSliceMut::new(head), IoSliceMut::new(&mut []), IoSliceMut::new(tail)];
        let result = match self {
            Self::Vectored => block_on(file.readv_at(&mut parts, offset)),
            Self::BlockingVectored => file.readv_at_blocking(&mut parts, offset),
            Self::Borrowed => block_on(file.read_at(&mut all, offset)),
            Self::Blocking => file.read_at_blocking(&mut all, offset),
            Self::Owned => return block_on(file.read_at_owned(all, offset)),
            Self::OwnedVectored => {
                let parts = vec![vec![0xee; length / 3], Vec::new(), vec![0xee; length - length / 3]];
                let (result, parts) = block_on(file.readv_at_owned(parts, offset));
                return (result, parts.concat());
            }
        };
        (result, all)
    }
}

/// The forms of a write.
#[derive(Clone, Copy, Debug)]
enum Write {
    Borrowed,
    Vectored,
    Owned,
    OwnedVectored,
    Blocking,
    BlockingVectored,
}

impl Write {
    const ALL: [Self; 6] =
        [Self::Borrowed, Self::Vectored, Self::Owned, Self::OwnedVectored, Self::Blocking, Self::BlockingVectored];

    fn write(self, file: &File, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let (head, tail) = bytes.split_at(bytes.len() / 3);
        let parts = [IoSlice::new(head), IoSlice::new(&[]), IoSlice::new(tail)];
        match self {
            Self::Borrowed => block_on(file.write_at(bytes, offset)),
            Self::Vectored => block_on(file.writev_at(&parts, offset)),
            Self::Owned => block_on(file.write_at_owned(bytes.to_vec(), offset)).0,
            Self::OwnedVectored => {
                block_on(file.writev_at_owned(vec![head.to_vec(), Vec::new(), tail.to_vec()], offset)).0
            }
            Self::Blocking => file.write_at_blocking(bytes, offset),
            Self::BlockingVectored => file.writev_at_blocking(&parts, offset),
        }
    }
}

#[test]
fn f01_f06_every_form_reads_what_every_form_wrote() {
    within_bounds(|| {
        for inline in [false, true] {
            for write in Write::ALL {
                let temporary = Temporary::new(&[]);
                let size = sized(5000, 500);
                let (file, content) = (temporary.open(inline), pattern(size));
                write.write(&file, 0, &content[..300]).unwrap();
                write.write(&file, 300, &content[300..]).unwrap();
                write.write(&file, 100, &[]).unwrap();
                for read in Read::ALL {
                    for (offset, length) in [(0, size), (17, size - 100), (size as u64 - 1, 1), (100, 0)] {
                        let (result, bytes) = read.read(&file, offset, length);
                        result.unwrap();
                        let expected = &content[offset as usize..][..length];
                        assert!(bytes == expected, "{write:?} {inline}, {read:?} {offset} {length}");
                    }
                }
            }
        }
    });
}

#[test]
fn f05_a_read_past_the_end_says_how_much_there_was_and_fills_that_part() {
    within_bounds(|| {
        let content = pattern(100);
        let temporary = Temporary::new(&content);
        let file = temporary.open(false);
        for read in Read::ALL {
            for (offset, length, there) in [(90, 30, 10), (100, 1, 0), (5000, 9, 0)] {
                let (result, bytes) = read.read(&file, offset, length);
                let error = result.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{read:?}");
                assert_eq!((error.path(), error.offset()), (&*temporary.0, offset));
                assert_eq!((error.length(), error.completed()), (length as u64, there as u64), "{read:?} {offset}");
                let from = (offset as usize).min(content.len());
                assert_eq!(bytes[..there], content[from..][..there], "{read:?}");
            }
        }
    });
}

#[test]
#[cfg_attr(miri, ignore = "Miri stops at a write to a file that was opened for reading")]
fn f05_an_error_names_the_path_the_offset_and_the_length() {
    within_bounds(|| {
        let temporary = Temporary::new(b"x");
        let path = temporary.0.display();
        let read_only = File::open_blocking(&temporary.0).unwrap();
        let most = i64::MAX as u64;
        for write in Write::ALL {
            let error = write.write(&read_only, 7, b"four").unwrap_err();
            let start = format!("writing {path} at 7, 4 bytes: ");
            assert!(error.to_string().starts_with(&start), "{error}");
            assert!(error.raw_os_error().is_some(), "{error}");
            for offset in [most, most - 3, u64::MAX] {
                let error = write.write(&read_only, offset, b"four").unwrap_err();
                assert_eq!((error.kind(), error.offset()), (ErrorKind::InvalidInput, offset), "{write:?}: {error}");
            }
        }
        for read in Read::ALL {
            let error = read.read(&read_only, most, 2).0.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{read:?}: {error}");
        }
        let error = read_only.write_zeroes_at_blocking(0, 1, Zeroes::Unmap).unwrap_err();
        assert!(error.to_string().starts_with(&format!("zeroing {path} at 0, 1 bytes: ")), "{error}");
        let wrapped = io::Error::from(read_only.set_len_blocking(9).unwrap_err());
        assert!(wrapped.to_string().starts_with(&format!("setting the length of {path}: ")), "{wrapped}");
        let inner = wrapped.downcast::<Error>().unwrap();
        assert_eq!(inner.path(), temporary.0);

        let missing = temporary.0.with_extension("missing");
        let error = File::open_blocking(&missing).unwrap_err();
        assert_eq!((error.kind(), error.path()), (ErrorKind::NotFound, &*missing));
        let folder = File::open_blocking(temporary.0.parent().unwrap()).unwrap_err();
        assert_eq!(folder.kind(), ErrorKind::IsADirectory);
    });
}

#[test]
fn f06_zeroes_sizes_and_extents() {
    within_bounds(|| {
        for inline in [false, true] {
            for how in [Zeroes::Unmap, Zeroes::Allocate] {
                let temporary = Temporary::new(&[7; 10_000]);
                let file = temporary.open(inline);
                file.write_zeroes_at_blocking(1000, 5000, how).unwrap();
                let mut expected = vec![7; 10_000];
                expected[1000..6000].fill(0);
                assert!(fs::read(&temporary.0).unwrap() == expected, "{how:?}");
                file.write_zeroes_at_blocking(9000, 5000, how).unwrap();
                file.write_zeroes_at_blocking(20_000, 0, how).unwrap();
                expected[9000..].fill(0);
                expected.resize(14_000, 0);
                assert!(fs::read(&temporary.0).unwrap() == expected, "{how:?}, past the end");
                assert_eq!(file.size_blocking().unwrap(), 14_000);
                file.set_len_blocking(6500).unwrap();
                assert_eq!(block_on(file.size()).unwrap(), 6500);
                // Whatever the file system tells of holes, extents are adjacent, end where the file ends, and what is no
                // zero is in data.
                let mut at = 0;
                while let Some(extent) = file.extent_at_blocking(at).unwrap() {
                    assert!(extent.length > 0);
                    if extent.kind == ExtentKind::Hole {
                        assert!(expected[at as usize..][..extent.length as usize].iter().all(|byte| *byte == 0));
                    }
                    at += extent.length;
                }
                assert_eq!(at, 6500);
                assert_eq!(file.extent_at_blocking(u64::MAX / 2).unwrap(), None);
                match file.discard_at_blocking(0, 4096) {
                    Ok(()) => expected[..4096].fill(0),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported),
                }
                assert!(fs::read(&temporary.0).unwrap() == expected[..6500], "{how:?}, discarded");
                file.sync_blocking().unwrap();
                file.start_writeback(0, 6500);
            }
        }
    });
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// What becomes of a future that was polled once.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Dropped,
    Forgotten,
}

#[test]
fn f03_a_dropped_or_forgotten_future_leaves_the_buffer_to_its_owner() {
    within_bounds(|| {
        for end in [End::Dropped, End::Forgotten] {
            for _ in 0..sized(200, 3) {
                let temporary = Temporary::new(&pattern(64));
                let file = temporary.open(false);
                let mut bytes = vec![1; 64];
                abandon(end, file.read_at(&mut bytes, 0));
                bytes.fill(2);
                let filled = bytes.clone();
                assert_eq!(bytes, filled);
                drop(bytes);
                let bytes = vec![3; 64];
                abandon(end, file.write_at(&bytes, 0));
                drop(bytes);
                abandon(end, file.read_at_owned(vec![0; 64], 0));
                abandon(end, file.write_at_owned(vec![3; 64], 0));
                let (mut head, mut tail) = ([0; 10], [0; 20]);
                abandon(end, async {
                    file.readv_at(&mut [IoSliceMut::new(&mut head), IoSliceMut::new(&mut tail)], 0).await
                });
                (head, tail) = ([4; 10], [5; 20]);
                file.settle_blocking();
                assert_eq!((head, tail), ([4; 10], [5; 20]));
                let now = fs::read(&temporary.0).unwrap();
                assert!(now == pattern(64) || now == [3; 64], "{now:?}");
            }
        }
    });
}

fn abandon<F: Future>(end: End, future: F) {
    let mut future = Box::pin(future);
    let _ = poll_once(future.as_mut());
    match end {
        End::Dropped => drop(future),
        End::Forgotten => mem::forget(future),
    }
}

#[test]
fn f03_settle_waits_for_a_write_whose_future_was_dropped() {
    within_bounds(|| {
        let temporary = Temporary::new(&[]);
        for round in 0..sized(300, 5) {
            let file = temporary.open(false);
            drop({
                let mut write = Box::pin(file.write_at(b"old", 0));
                let _ = poll_once(write.as_mut());
                write
            });
            file.settle_blocking();
            let new = format!("{round:03}");
            file.write_at_blocking(new.as_bytes(), 0).unwrap();
            assert_eq!(fs::read(&temporary.0).unwrap(), new.as_bytes());
        }
    });
}

#[test]
fn f04_a_panic_beside_a_blocking_call_does_not_take_its_buffer_away() {
    within_bounds(|| {
        let temporary = Temporary::new(&pattern(64));
        let file = temporary.open(false);
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        let mut bytes = [0; 64];
        let message = panic_of(|| {
            ctx.schedule_bh(|| panic!("beside it"));
            // The other thread may be done before this one waits: then the next call runs the bottom half.
            loop {
                file.write_at_blocking(&pattern(64), 0).unwrap();
                file.read_at_blocking(&mut bytes, 0).unwrap();
            }
        });
        assert!(message.contains("beside it"), "{message}");
        file.settle_blocking();
        file.read_at_blocking(&mut bytes, 0).unwrap();
        assert_eq!(bytes, *pattern(64));
    });
}

#[test]
fn f02_more_requests_than_threads_all_end() {
    within_bounds(|| {
        let (count, temporary) = (sized(300, 10), Temporary::new(&[]));
        let file = temporary.open(false);
        let writes = (0..count as u64).map(|at| {
            let file = file.clone();
            async move { file.write_at(&[at as u8], at).await.unwrap() }
        });
        block_on(futures::future::join_all(writes));
        let expected: Vec<u8> = (0..count).map(|at| at as u8).collect();
        assert_eq!(fs::read(&temporary.0).unwrap(), expected);
    });
}

#[test]
#[cfg_attr(miri, ignore = "Miri cannot fork")]
fn f05_a_forked_child_has_an_error_and_no_hang_where_another_thread_would_be_needed() {
    within_bounds(|| {
        let temporary = Temporary::new(&pattern(64));
        let file = temporary.open(false);
        file.write_at_blocking(&pattern(64), 0).unwrap();
        // SAFETY: the child makes awaited calls, which take no lock that another thread of the parent may hold, and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let write = file.write_at(b"x", 0);
            let failed = |poll: Poll<Result<(), Error>>| match poll {
                Poll::Ready(Err(error)) => error.to_string().contains("fork"),
                Poll::Ready(Ok(())) | Poll::Pending => false,
            };
            let fine = failed(poll_once(Box::pin(write).as_mut())) && failed(poll_once(Box::pin(file.sync()).as_mut()));
            // SAFETY: nothing of the parent's is to be run in the child.
            unsafe { libc::_exit(if fine { 0 } else { 1 }) };
        }
        let mut status = 0;
        // SAFETY: the child is this process's.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0);
        file.read_at_blocking(&mut [0; 64], 0).unwrap();
    });
}
