//! Files: which system calls an operation makes, on which thread; what happens while one waits, and when one fails. Each test
//! is a child process whose system calls are supervised.

#![cfg(all(feature = "file", target_os = "linux", not(miri)))]

mod common;

use std::{
    fs,
    future::Future,
    io::{IoSlice, IoSliceMut},
    mem,
    path::{Path, PathBuf},
    pin::Pin,
    process,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use co_wrapper_runtime::{
    AioContext, block_on,
    file::{Error, ExtentKind, File, Zeroes},
};
use common::{
    in_child,
    supervisor::{Syscall, Verdict, supervise, this_thread},
};

/// A file that goes away with the test.
struct Temporary(PathBuf);

impl Temporary {
    fn new(content: &[u8]) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("file-syscalls-{}", process::id()));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        Self(path)
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

fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// The output of a future that is ready at its first poll.
fn ready<F: Future>(future: F) -> F::Output {
    match poll_once(Box::pin(future).as_mut()) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

/// Everything that was called, and by whom, while `recorded` is true.
#[derive(Clone, Default)]
struct Record {
    on: Arc<AtomicBool>,
    calls: Arc<Mutex<Vec<Syscall>>>,
}

impl Record {
    fn note(&self, call: &Syscall) {
        if self.on.load(SeqCst) {
            self.calls.lock().unwrap().push(*call);
        }
    }

    fn of(&self, what: impl FnOnce()) -> Vec<Syscall> {
        // Room enough: nothing is allocated while it is locked.
        *self.calls.lock().unwrap() = Vec::with_capacity(4096);
        self.on.store(true, SeqCst);
        what();
        self.on.store(false, SeqCst);
        mem::take(&mut *self.calls.lock().unwrap())
    }
}

#[test]
fn f01_a_cached_read_is_one_system_call_of_the_calling_thread() {
    in_child("one_call", &[]);
}

#[test]
#[ignore = "a part of f01"]
fn one_call() {
    let content: Vec<u8> = (0..8192).map(|at| (at / 32) as u8).collect();
    let temporary = Temporary::new(&content);
    let record = Record::default();
    let noting = record.clone();
    supervise(move |call| {
        noting.note(call);
        Verdict::Allow
    });
    let file = temporary.open(false);
    // The thread's first call has things to prepare.
    file.read_at_blocking(&mut [0], 0).unwrap();

    type Form = fn(&File, &mut [u8]);
    let forms: [(&str, Form); 6] = [
        ("borrowed", |file, buf| ready(file.read_at(buf, 4096)).unwrap()),
        ("vectored", |file, buf| {
            let (head, tail) = buf.split_at_mut(100);
            ready(file.readv_at(&mut [IoSliceMut::new(head), IoSliceMut::new(tail)], 4096)).unwrap();
        }),
        ("owned", |file, buf| {
            let (read, bytes) = ready(file.read_at_owned(vec![0; 4096], 4096));
            read.unwrap();
            buf.copy_from_slice(&bytes);
        }),
        ("owned, vectored", |file, buf| {
            let (read, bytes) = ready(file.readv_at_owned(vec![[0; 2048], [0; 2048]], 4096));
            read.unwrap();
            buf.copy_from_slice(&bytes.concat());
        }),
        ("blocking", |file, buf| file.read_at_blocking(buf, 4096).unwrap()),
        ("blocking, vectored", |file, buf| {
            let (head, tail) = buf.split_at_mut(100);
            file.readv_at_blocking(&mut [IoSliceMut::new(head), IoSliceMut::new(tail)], 4096).unwrap();
        }),
    ];
    for (name, read) in forms {
        let mut buf = vec![0xee; 4096];
        let calls = record.of(|| read(&file, &mut buf));
        assert!(buf == content[4096..], "{name}");
        assert_eq!(made(&calls), [(libc::SYS_preadv2, this_thread())], "{name}");
    }

    let writes: [(&str, Form); 3] = [
        ("awaited", |file, bytes| ready(file.write_at(bytes, 0)).unwrap()),
        ("blocking", |file, bytes| file.write_at_blocking(bytes, 0).unwrap()),
        ("owned", |file, bytes| ready(file.write_at_owned(bytes.to_vec(), 0)).0.unwrap()),
    ];
    for (name, write) in writes {
        // Opened anew, for being supervised may be slow.
        let file = temporary.open(true);
        let calls = record.of(|| write(&file, &mut [7; 4096]));
        assert_eq!(made(&calls), [(libc::SYS_pwritev, this_thread())], "{name}");
    }
}

/// The calls of this thread, and those of others that read or write: these have other things to do as well. Left out is the
/// question whether a slow write has waited.
fn made(calls: &[Syscall]) -> Vec<(i64, u32)> {
    let here = |call: &&Syscall| call.thread == this_thread() && call.number != libc::SYS_getrusage;
    let moves = |call: &Syscall| matches!(call.number, libc::SYS_preadv | libc::SYS_preadv2 | libc::SYS_pwritev);
    calls.iter().filter(|call| here(call) || moves(call)).map(|call| (call.number, call.thread)).collect()
}

/// What is made fail, or waits.
#[derive(Clone, Default)]
struct Gate {
    /// The call that waits.
    number: Arc<Mutex<Option<i64>>>,
    open: Arc<AtomicBool>,
    /// The thread on which it waits.
    waits: Arc<AtomicU32>,
}

impl Gate {
    fn close(&self, number: i64) {
        self.open.store(false, SeqCst);
        self.waits.store(0, SeqCst);
        *self.number.lock().unwrap() = Some(number);
    }

    fn judge(&self, call: &Syscall) -> Verdict {
        // No read is served by the page cache here.
        if call.number == libc::SYS_preadv2 {
            return Verdict::Fail(libc::EAGAIN);
        }
        if *self.number.lock().unwrap() != Some(call.number) {
            return Verdict::Allow;
        }
        self.waits.store(call.thread, SeqCst);
        let open = Arc::clone(&self.open);
        Verdict::Hold(Box::new(move || open.load(SeqCst)))
    }

    fn wait_until_one_waits(&self) {
        while self.waits.load(SeqCst) == 0 {
            std::thread::yield_now();
        }
    }
}

/// Every operation that may wait for a disk, and the call in which it does.
type Operation = (&'static str, i64, fn(&File) -> Pin<Box<dyn Future<Output = Result<(), Error>> + '_>>);

fn operations() -> Vec<Operation> {
    vec![
        ("read", libc::SYS_preadv, |file| Box::pin(async { file.read_at(&mut [0; 16], 0).await })),
        ("owned read", libc::SYS_preadv, |file| Box::pin(async { file.read_at_owned([0; 16], 0).await.0 })),
        ("write", libc::SYS_pwritev, |file| Box::pin(file.write_at(b"written", 0))),
        ("owned write", libc::SYS_pwritev, |file| Box::pin(async { file.write_at_owned("written", 0).await.0 })),
        ("zeroes", libc::SYS_fallocate, |file| Box::pin(file.write_zeroes_at(0, 16, Zeroes::Unmap))),
        ("discard", libc::SYS_fallocate, |file| Box::pin(file.discard_at(0, 4096))),
        ("sync", libc::SYS_fdatasync, |file| Box::pin(file.sync())),
        ("extent", libc::SYS_lseek, |file| Box::pin(async { file.extent_at(0).await.map(drop) })),
        ("size", libc::SYS_statx, |file| Box::pin(async { file.size().await.map(drop) })),
        ("length", libc::SYS_ftruncate, |file| Box::pin(file.set_len(8192))),
    ]
}

#[test]
fn f02_what_waits_for_the_disk_does_so_elsewhere_and_the_context_goes_on() {
    in_child("elsewhere", &[]);
}

#[test]
#[ignore = "a part of f02"]
fn elsewhere() {
    let temporary = Temporary::new(&[7; 8192]);
    let gate = Gate::default();
    let judge = gate.clone();
    supervise(move |call| judge.judge(call));
    let file = temporary.open(false);
    let ctx = AioContext::new().unwrap();
    let _home = ctx.enter();
    type Blocking = (&'static str, i64, fn(&File));
    let blocking: [Blocking; 4] = [
        ("blocking read", libc::SYS_preadv, |file| file.read_at_blocking(&mut [0; 16], 0).unwrap()),
        ("blocking write", libc::SYS_pwritev, |file| file.write_at_blocking(b"written", 0).unwrap()),
        ("blocking sync", libc::SYS_fdatasync, |file| file.sync_blocking().unwrap()),
        ("blocking zeroes", libc::SYS_fallocate, |file| file.write_zeroes_at_blocking(0, 16, Zeroes::Unmap).unwrap()),
    ];
    let awaited = operations().into_iter().map(|(name, number, make)| {
        (name, number, Box::new(move |file: &File| block_on(make(file)).unwrap()) as Box<dyn Fn(&File)>)
    });
    let blocking =
        blocking.into_iter().map(|(name, number, call)| (name, number, Box::new(call) as Box<dyn Fn(&File)>));
    for (name, number, call) in awaited.chain(blocking) {
        gate.close(number);
        let waiting = gate.clone();
        // The system call goes on only when a task of the context has run while it waited.
        let task = ctx.spawn(async move {
            while waiting.waits.load(SeqCst) == 0 {
                AioContext::current().sleep(Duration::from_micros(100)).await;
            }
            waiting.open.store(true, SeqCst);
        });
        call(&file);
        let thread = gate.waits.load(SeqCst);
        assert!(thread != 0 && thread != this_thread(), "{name}: made by {thread}");
        ctx.block_on(task);
    }
}

#[test]
fn f02_after_two_slow_writes_on_the_calling_thread_the_next_ones_are_made_elsewhere() {
    in_child("slow_writes", &[]);
}

#[test]
#[ignore = "a part of f02"]
fn slow_writes() {
    let temporary = Temporary::new(&[]);
    let slow = Arc::new(AtomicBool::new(false));
    let writers = Arc::new(Mutex::new(Vec::with_capacity(64)));
    let (is_slow, noting) = (Arc::clone(&slow), Arc::clone(&writers));
    supervise(move |call| {
        if !matches!(call.number, libc::SYS_pwritev | libc::SYS_lseek) {
            return Verdict::Allow;
        }
        noting.lock().unwrap().push(call.thread);
        if !is_slow.swap(false, SeqCst) {
            return Verdict::Allow;
        }
        // Longer than a quick call takes, so that the pause, two minutes, is longer than all that follow take.
        let began = Instant::now();
        Verdict::Hold(Box::new(move || began.elapsed() > Duration::from_millis(1300)))
    });
    let file = temporary.open(true);
    type Call = fn(&File);
    let calls: [(&str, Call); 4] = [
        ("awaited", |file| block_on(file.write_at(b"x", 0)).unwrap()),
        ("blocking", |file| file.write_at_blocking(b"x", 0).unwrap()),
        ("owned", |file| block_on(file.write_at_owned("x", 0)).0.unwrap()),
        ("extent", |file| assert!(block_on(file.extent_at(0)).unwrap().is_some())),
    ];
    let me = this_thread();
    let who = |call: Call| {
        writers.lock().unwrap().clear();
        call(&file);
        writers.lock().unwrap()[0]
    };
    // The first is only suspected, for the machine may be busy; the second one is looked closer at.
    for round in 0..2 {
        slow.store(true, SeqCst);
        assert_eq!(who(calls[0].1), me, "slow write {round}");
    }
    for (name, call) in calls.iter().cycle().take(12) {
        assert_ne!(who(*call), me, "{name}");
    }
}

#[test]
fn f03_a_call_in_flight_has_memory_and_a_descriptor_of_its_own() {
    in_child("in_flight", &[]);
}

#[test]
#[ignore = "a part of f03"]
fn in_flight() {
    let temporary = Temporary::new(&[7; 8192]);
    let gate = Gate::default();
    let judge = gate.clone();
    supervise(move |call| judge.judge(call));
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    for forget in [false, true] {
        for (name, number, make) in operations() {
            let file = temporary.open(false);
            let before = open();
            gate.close(number);
            let mut future = make(&file);
            assert!(poll_once(future.as_mut()).is_pending(), "{name}");
            gate.wait_until_one_waits();
            if forget {
                mem::forget(future)
            } else {
                drop(future)
            }
            drop(file);
            assert_eq!(open(), before, "{name}, forgotten: {forget}: the call's descriptor is closed");
            gate.open.store(true, SeqCst);
            while open() == before {
                std::thread::yield_now();
            }
            assert_eq!(open(), before - 1, "{name}, forgotten: {forget}");
        }
    }
    // The caller's memory, after the call has gone on.
    for forget in [false, true] {
        let file = temporary.open(false);
        file.write_at_blocking(&[7; 16], 0).unwrap();
        let (mut buf, before) = ([1; 16], open());
        gate.close(libc::SYS_preadv);
        in_flight_no_more(&gate, forget, file.read_at(&mut buf, 0));
        drop(file);
        gate.open.store(true, SeqCst);
        while open() == before {
            std::thread::yield_now();
        }
        assert_eq!(buf, [1; 16], "forgotten: {forget}");

        let file = temporary.open(false);
        let mut bytes = vec![8; 16];
        gate.close(libc::SYS_pwritev);
        in_flight_no_more(&gate, forget, file.write_at(&bytes, 0));
        bytes.fill(9);
        let mut settled = Box::pin(file.settle());
        assert!(poll_once(settled.as_mut()).is_pending());
        gate.open.store(true, SeqCst);
        block_on(settled);
        assert_eq!(fs::read(&temporary.0).unwrap()[..16], [8; 16], "forgotten: {forget}");
    }
}

fn in_flight_no_more<F: Future>(gate: &Gate, forget: bool, future: F) {
    let mut future = Box::pin(future);
    assert!(poll_once(future.as_mut()).is_pending());
    gate.wait_until_one_waits();
    if forget { mem::forget(future) } else { drop(future) }
}

#[test]
fn f05_what_the_system_says_is_said_and_nothing_half_done_is_called_done() {
    in_child("refused", &[]);
}

#[test]
#[ignore = "a part of f05"]
fn refused() {
    let temporary = Temporary::new(&[7; 8192]);
    // How often which call fails with what.
    let plan = Arc::new(Mutex::new((0, 0, 0)));
    let judge = Arc::clone(&plan);
    supervise(move |call| {
        let mut plan = judge.lock().unwrap();
        let (number, error, times) = *plan;
        if call.number == libc::SYS_preadv2 {
            return Verdict::Fail(libc::EAGAIN);
        }
        if call.number != number || times == 0 {
            return Verdict::Allow;
        }
        plan.2 -= 1;
        Verdict::Fail(error)
    });
    for inline in [false, true] {
        let file = temporary.open(inline);
        for (name, number, make) in operations() {
            // A file system need not tell of extents and zeroes, and then these are done in another way.
            if matches!(number, libc::SYS_fallocate | libc::SYS_lseek) {
                continue;
            }
            // What asks on this thread has its own answer, and the pool is not asked again.
            for error in [libc::EIO, libc::ENOSPC, libc::EDQUOT] {
                *plan.lock().unwrap() = (number, error, usize::MAX);
                let failed = block_on(make(&file)).unwrap_err();
                *plan.lock().unwrap() = (0, 0, 0);
                assert_eq!(failed.raw_os_error(), Some(error), "{name}: {failed}");
                assert_eq!(failed.completed(), 0, "{name}: {failed}");
                assert!(failed.to_string().contains(temporary.0.to_str().unwrap()), "{name}: {failed}");
            }
            if matches!(number, libc::SYS_preadv | libc::SYS_pwritev | libc::SYS_ftruncate) {
                *plan.lock().unwrap() = (number, libc::EINTR, 3);
                block_on(make(&file)).unwrap_or_else(|error| panic!("{name}, interrupted: {error}"));
            }
        }
        file.set_len_blocking(8192).unwrap();

        // More parts than one call takes, so that the first one is short; and the second one fails.
        let mut parts = vec![[0xee_u8; 2]; 1500];
        let mut slices: Vec<_> = parts.iter_mut().map(|part| IoSliceMut::new(part)).collect();
        let expected: Vec<u8> = (0..3000).map(|at| at as u8).collect();
        let pairs: Vec<_> = expected.chunks(2).map(IoSlice::new).collect();
        block_on(file.writev_at(&pairs, 10)).unwrap();
        block_on(file.readv_at(&mut slices, 10)).unwrap();
        assert_eq!(parts.concat(), expected);
    }

    // A file may not grow past a limit: the first call writes less than all, the second nothing.
    // SAFETY: the signal's disposition and the limit are this process's, which runs nothing else.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        let limit = libc::rlimit { rlim_cur: 10_000, rlim_max: 10_000 };
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit), 0);
    }
    for inline in [false, true] {
        let file = temporary.open(inline);
        for blocking in [false, true] {
            let bytes = [9; 4000];
            let written = match blocking {
                true => file.write_at_blocking(&bytes, 8000),
                false => block_on(file.write_at(&bytes, 8000)),
            };
            let error = written.unwrap_err();
            assert_eq!((error.raw_os_error(), error.completed()), (Some(libc::EFBIG), 2000), "{error}");
            file.set_len_blocking(8000).unwrap();
        }
    }
    let full = File::options().write(true).open_blocking("/dev/full").unwrap();
    let error = full.write_at_blocking(b"x", 0).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
}

#[test]
fn f05_a_misaligned_request_past_the_page_cache_is_refused_and_misaligned_memory_is_not() {
    let temporary = Temporary::new(&[7; 3 * 4096 + 100]);
    let file = match File::options().write(true).direct(true).alignment(4096, 4096).open_blocking(&temporary.0) {
        Ok(file) => file,
        // Some file systems have no O_DIRECT, which is an error that names it.
        Err(error) => {
            assert_eq!(error.raw_os_error(), Some(libc::EINVAL), "{error}");
            return;
        }
    };
    assert_eq!((file.alignment().offset, file.alignment().memory), (4096, 4096));
    for (offset, length) in [(1, 4096), (0, 4095), (512, 512)] {
        let mut buf = vec![0; length];
        for error in [
            block_on(file.read_at(&mut buf, offset)).unwrap_err(),
            file.read_at_blocking(&mut buf, offset).unwrap_err(),
            file.write_at_blocking(&buf, offset).unwrap_err(),
            block_on(file.write_at_owned(buf.clone(), offset)).0.unwrap_err(),
        ] {
            let text = error.to_string();
            assert!(text.contains("multiples of 4096"), "{text}");
            assert!(text.contains(&format!("at {offset}, {length} bytes")), "{text}");
        }
    }
    // At every address, in every form; and the end is in the middle of a block.
    for shift in [0, 1, 512] {
        let mut all = vec![0; 3 * 4096 + shift];
        let bytes: Vec<u8> = (0..4096).map(|at| (at + shift) as u8).collect();
        file.write_at_blocking(&bytes, 4096).unwrap();
        let buf = &mut all[shift..][..8192];
        file.read_at_blocking(buf, 0).unwrap();
        assert!(buf[4096..] == bytes && buf[..4096] == [7; 4096]);
        let (read, owned) = block_on(file.read_at_owned(vec![0; 4096], 4096));
        read.unwrap();
        assert!(owned == bytes);
        let (head, tail) = all[shift..][..8192].split_at_mut(100);
        block_on(file.readv_at(&mut [IoSliceMut::new(head), IoSliceMut::new(tail)], 4096)).unwrap();
        assert!(all[shift..][..4096] == bytes);
        let error = file.read_at_blocking(&mut all[shift..][..8192], 8192).unwrap_err();
        assert_eq!((error.kind(), error.completed()), (std::io::ErrorKind::UnexpectedEof, 4196), "{error}");
        assert!(all[shift..][..4196] == [7; 4196]);
    }
    // What the system tells is enough for it.
    match File::options().direct(true).open_blocking(&temporary.0) {
        Ok(told) => {
            let block = told.alignment().offset as usize;
            told.read_at_blocking(&mut vec![0; block], block as u64).unwrap();
        }
        Err(error) => assert!(error.to_string().contains("set it in the options"), "{error}"),
    }
}

#[test]
fn f06_the_results_are_the_same_where_the_system_refuses_what_is_not_portable() {
    for error in [0, libc::ENOSYS, libc::EPERM, libc::EOPNOTSUPP, libc::EINVAL] {
        in_child("refusing", &[("ERROR", &error.to_string())]);
    }
}

#[test]
#[ignore = "a part of f06"]
fn refusing() {
    let error = std::env::var("ERROR").unwrap().parse().unwrap();
    let temporary = Temporary::new(&[7; 8192]);
    supervise(move |call| match call.number {
        libc::SYS_preadv2
        | libc::SYS_fallocate
        | libc::SYS_sync_file_range
        | libc::SYS_fadvise64
        | libc::SYS_io_uring_setup
            if error != 0 =>
        {
            Verdict::Fail(error)
        }
        // A kernel that cannot tell where there is data says EINVAL.
        libc::SYS_lseek if error == libc::EINVAL || error == libc::EOPNOTSUPP => Verdict::Fail(error),
        _ => Verdict::Allow,
    });
    for inline in [false, true] {
        let file = temporary.open(inline);
        file.write_at_blocking(&[7; 8192], 0).unwrap();
        file.write_zeroes_at_blocking(100, 5000, Zeroes::Unmap).unwrap();
        block_on(file.write_zeroes_at(8000, 1000, Zeroes::Allocate)).unwrap();
        let mut expected = vec![7; 9000];
        expected[100..5100].fill(0);
        expected[8000..].fill(0);
        for _ in 0..3 {
            let mut all = vec![0xee; 9000];
            file.read_at_blocking(&mut all, 0).unwrap();
            assert!(all == expected);
            all.fill(0xee);
            block_on(file.read_at(&mut all, 0)).unwrap();
            assert!(all == expected);
        }
        let (mut at, mut data) = (0, 0);
        while let Some(extent) = block_on(file.extent_at(at)).unwrap() {
            data += if extent.kind == ExtentKind::Data { extent.length } else { 0 };
            at += extent.length;
        }
        assert_eq!(at, 9000);
        assert!(data >= 4000);
        file.start_writeback(0, 9000);
        file.read_ahead(0, 9000);
        file.sync_blocking().unwrap();
        file.set_len_blocking(8192).unwrap();
        assert_eq!(file.size_blocking().unwrap(), 8192);
        // What was learnt of a file on its first read is kept.
        file.read_at_blocking(&mut [0; 10], 0).unwrap();
    }
}
