//! The stacks of coroutines: what is below one, how deep it is, and what it takes of memory. The line c07 of the contract.
//!
//! Each stack is run off in a child process, which the fault ends.

#![cfg(all(feature = "coroutine", feature = "tokio", target_os = "linux", not(any(loom, miri))))]

mod common;

use std::{
    cell::RefCell,
    env,
    ffi::{c_int, c_void},
    fs,
    future::{Future, pending},
    hint::black_box,
    os::unix::process::ExitStatusExt,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
    rc::Rc,
    slice,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll, Waker},
    thread,
};

use co_wrapper_runtime::{AioContext, Coroutine, IoThread, block_on};
use common::{in_child, mixed, ms, plain, run, test_in_child, within_bounds};
use futures::FutureExt;

/// A coroutine whose closure keeps the promise of `Coroutine::new`: it has no scope in a thread-local while a call waits.
#[track_caller]
fn coroutine<R>(f: impl FnOnce() -> R + 'static) -> Coroutine<R> {
    // SAFETY: as above.
    unsafe { Coroutine::new(f) }
}

/// The same, on a stack of so many bytes.
fn on_stack_of<R>(bytes: usize, f: impl FnOnce() -> R + 'static) -> Coroutine<R> {
    // SAFETY: as above.
    unsafe { Coroutine::builder().stack_size(bytes).build(f) }.unwrap()
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    future.poll_unpin(&mut Context::from_waker(Waker::noop()))
}

fn page() -> usize {
    // SAFETY: it asks for a number.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap()
}

/// Uses so many kibibytes of the stack.
fn deep(kibibytes: u64) -> u64 {
    let block = black_box([kibibytes; 128]);
    if kibibytes == 0 { 0 } else { deep(kibibytes - 1) + block[1] }
}

const DEFAULT: usize = 256 << 10;

/// Whose stack it is, its size, and how a function comes to run on it.
type Stack = (&'static str, usize, fn(fn()));

const STACKS: &[Stack] = &[
    ("a new one", DEFAULT, |f| block_on(coroutine(f))),
    ("that of one that has ended", DEFAULT, |f| {
        block_on(coroutine(|| ()));
        block_on(coroutine(f));
        assert_eq!(Coroutine::stacks().made, 1);
    }),
    ("that of one that used all of it", DEFAULT, |f| {
        block_on(coroutine(|| deep(100)));
        block_on(coroutine(f));
        assert_eq!(Coroutine::stacks().made, 1);
    }),
    ("that of one that was dropped", DEFAULT, |f| {
        let mut waits = coroutine(|| plain(pending::<()>()));
        assert!(poll_once(&mut waits).is_pending());
        drop(waits);
        block_on(coroutine(f));
        assert_eq!(Coroutine::stacks().made, 1);
    }),
    ("that of one that panicked", DEFAULT, |f| {
        let panics = coroutine(|| std::panic::resume_unwind(Box::new(())));
        assert!(catch_unwind(AssertUnwindSafe(|| block_on(panics))).is_err());
        block_on(coroutine(f));
        assert_eq!(Coroutine::stacks().made, 1);
    }),
    ("one that was suspended", DEFAULT, |f| {
        block_on(coroutine(move || {
            plain(AioContext::current().sleep(ms(1)));
            f();
        }));
    }),
    ("one among many", DEFAULT, |f| {
        let mut all: Vec<_> = (0..100).map(|_| coroutine(|| plain(pending::<()>()))).collect();
        all.iter_mut().for_each(|waits| assert!(poll_once(waits).is_pending()));
        drop(all.drain(40..60));
        block_on(coroutine(f));
    }),
    ("one in another coroutine", DEFAULT, |f| block_on(coroutine(move || block_on(coroutine(f))))),
    ("a task's", DEFAULT, |f| {
        let io = IoThread::spawn("io").unwrap();
        // SAFETY: as above.
        block_on(unsafe { io.context().spawn_coroutine(f) });
    }),
    ("one of another thread", DEFAULT, |f| thread::spawn(move || block_on(coroutine(f))).join().unwrap()),
    ("a small one", 32 << 10, |f| block_on(on_stack_of(32 << 10, f))),
    ("one of a size that is no whole page", 10 * 4096, |f| block_on(on_stack_of(9 * 4096 + 1, f))),
    ("a large one", 2 << 20, |f| block_on(on_stack_of(2 << 20, f))),
    ("one of the default size that was asked for", DEFAULT, |f| {
        block_on(on_stack_of(DEFAULT, || ()));
        block_on(on_stack_of(DEFAULT, f));
        assert_eq!(Coroutine::stacks().made, 1);
    }),
];

/// How code runs off a stack.
const RUNS_OFF: &[(&str, fn())] = &[
    ("in small frames", || _ = black_box(deep(1 << 20))),
    ("in frames larger than a page", || {
        fn deep(levels: usize) -> usize {
            let block = black_box([levels; 2_500]);
            if levels == 0 { 0 } else { deep(levels - 1) + block[1] }
        }
        black_box(deep(1 << 20));
    }),
    ("in one frame larger than the stack", || _ = black_box([1_u8; 6 << 20])),
];

/// The first byte of the stack.
static LOW: AtomicUsize = AtomicUsize::new(0);
static PAGE: AtomicUsize = AtomicUsize::new(0);
/// Pages below the stack that were nobody's, and are now filled with sevens. 0 is none.
static NEIGHBOURS: [AtomicUsize; 64] = [const { AtomicUsize::new(0) }; 64];

fn row<'a, T>(rows: &'a [T], variable: &str) -> &'a T {
    &rows[env::var(variable).unwrap().parse::<usize>().unwrap()]
}

/// Runs on the stack to be tested, and off it. What is free right below that is mapped first: memory that a stack without
/// a guard page would write to. The guard page's own place is free if there is none.
fn runs_off() {
    let (page, here) = (page(), black_box([0_u8; 1]));
    let low = here.as_ptr().addr().next_multiple_of(page) - row(STACKS, "STACK").1;
    for (n, neighbour) in NEIGHBOURS.iter().enumerate() {
        let at = low - (n + 1) * page;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        // SAFETY: it replaces no mapping; the page is ours if it is where we asked for it.
        unsafe {
            let mapped = libc::mmap(ptr::without_provenance_mut(at), page, access, flags, -1, 0);
            if mapped != libc::MAP_FAILED {
                assert_eq!(mapped.addr(), at, "the kernel is older than MAP_FIXED_NOREPLACE");
                mapped.cast::<u8>().write_bytes(7, page);
                neighbour.store(mapped.expose_provenance(), Ordering::Relaxed);
            }
        }
    }
    LOW.store(low, Ordering::Relaxed);
    PAGE.store(page, Ordering::Relaxed);
    // SAFETY: `on_fault` does only what a signal handler may do; the thread has a stack for handlers, as Rust's have.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_fault as extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        assert_eq!(libc::sigaction(libc::SIGSEGV, &raw const action, ptr::null_mut()), 0);
    }
    row(RUNS_OFF, "RUNS_OFF").1();
    println!("not reached");
}

/// Says where the fault was, and whether other memory is as it was.
extern "C" fn on_fault(_: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    let (low, page) = (LOW.load(Ordering::Relaxed), PAGE.load(Ordering::Relaxed));
    // SAFETY: the kernel passes what the fault was about.
    let at = unsafe { (*info).si_addr() }.addr();
    let is_whole = NEIGHBOURS.iter().map(|at| at.load(Ordering::Relaxed)).filter(|at| *at != 0).all(|at| {
        // SAFETY: a page of `runs_off`'s, which nobody else knows.
        unsafe { slice::from_raw_parts(ptr::with_exposed_provenance::<u8>(at), page) }.iter().all(|byte| *byte == 7)
    });
    let says: &[u8] = match (is_whole, (low - page..low).contains(&at)) {
        (false, _) => b"other memory was overwritten\n",
        (true, false) => b"a fault elsewhere\n",
        (true, true) => b"a fault in the guard page\n",
    };
    // SAFETY: both may be called in a signal handler.
    unsafe {
        libc::write(1, says.as_ptr().cast(), says.len());
        libc::_exit(0);
    }
}

#[test]
#[ignore = "a child's part"]
fn child_runs_off_its_stack() {
    row(STACKS, "STACK").2(runs_off);
}

/// `.ci/nightly` sets the variable for AddressSanitizer.
fn is_sanitized() -> bool {
    cfg!(co_wrapper_tsan) || env::var_os("ASAN_OPTIONS").is_some()
}

/// AddressSanitizer would catch the signal, and exit.
const ASAN: &str = "detect_leaks=0:handle_segv=0:handle_sigbus=0";

/// Catches: a stack that is mapped, or allocated, without a guard page; one whose guard page is not right below it; one
/// that the thread's pool keeps without its guard page.
#[test]
fn c07_running_off_the_stack_ends_in_the_guard_page() {
    // ThreadSanitizer does not let the handler run, and AddressSanitizer makes large frames without touching them in order.
    if is_sanitized() {
        return;
    }
    for (stack, (whose, ..)) in STACKS.iter().enumerate() {
        for (runs_off, (how, _)) in RUNS_OFF.iter().enumerate() {
            let mut child = test_in_child("child_runs_off_its_stack");
            child.env("STACK", stack.to_string()).env("RUNS_OFF", runs_off.to_string());
            let output = run(&mut child);
            let stdout = String::from_utf8_lossy(&output.stdout);
            assert!(stdout.ends_with("a fault in the guard page\n"), "{whose}, {how}: {output:?}");
        }
    }
}

#[test]
#[ignore = "a child's part"]
fn child_is_ended() {
    block_on(coroutine(|| black_box(deep(1 << 20))));
    println!("not reached");
}

#[test]
fn c07_a_process_whose_coroutine_runs_off_its_stack_ends() {
    let output = run(test_in_child("child_is_ended").env("ASAN_OPTIONS", ASAN));
    assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{output:?}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("not reached"), "{output:?}");
}

/// As deep as its size allows, and a call at the deepest point.
#[test]
fn c07_a_larger_stack_is_as_deep_as_it_says() {
    fn deep(levels: usize) -> usize {
        let block = black_box([1_u8; 1 << 10]);
        match levels {
            0 => plain(AioContext::current().sleep(ms(1))),
            _ => return deep(levels - 1) + usize::from(block[7]),
        }
        0
    }
    within_bounds(|| {
        for mebibytes in [1, 8, 32] {
            let deep = on_stack_of(mebibytes << 20, move || deep(mebibytes * 256));
            assert_eq!(block_on(deep), mebibytes * 256);
        }
        assert_eq!(block_on(coroutine(|| mixed(async { 3 }))), 3);
    });
}

/// How many bytes of the stack of the default size that ends at `top` are in memory. 0 if it is not mapped.
fn in_memory(top: usize) -> usize {
    let mut pages = vec![0_u8; DEFAULT / page()];
    // SAFETY: the kernel writes a byte for each page, and touches none of them.
    let asked = unsafe { libc::mincore(ptr::without_provenance_mut(top - DEFAULT), DEFAULT, pages.as_mut_ptr()) };
    if asked == 0 { pages.iter().filter(|in_memory| **in_memory & 1 == 1).count() * page() } else { 0 }
}

/// The memory of this process, in bytes.
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * page()
}

/// Uses the stack down to `bytes` below `top` at least, and returns how far below it came.
fn uses(top: usize, bytes: usize) -> usize {
    let block = black_box([1_u8; 256]);
    let used = top - block.as_ptr().addr();
    if used < bytes { uses(top, bytes).max(usize::from(black_box(block)[0])) } else { used }
}

/// How many coroutines wait, and how many bytes of its stack each uses before.
const USES: &[(usize, usize)] = &[(10_000, 0), (10_000, 10_000), (1_000, 50_000), (1_000, 240_000)];

/// How many stacks a thread keeps.
const KEPT: usize = 64;

#[test]
#[ignore = "a child's part"]
fn child_waits_in_many() {
    let (many, bytes) = *row(USES, "USES");
    let tops = thread::spawn(move || {
        let tops: Rc<RefCell<Vec<_>>> = Rc::default();
        let waits = |tops: &Rc<RefCell<Vec<(usize, usize)>>>| {
            let tops = tops.clone();
            coroutine(move || {
                let here = black_box([0_u8; 1]);
                let top = here.as_ptr().addr().next_multiple_of(page());
                let used = uses(top, bytes);
                tops.borrow_mut().push((top, used.next_multiple_of(page())));
                plain(pending::<()>());
            })
        };
        // What is made once for a process and for a thread.
        assert!(poll_once(&mut waits(&Rc::default())).is_pending());
        tops.borrow_mut().reserve(many);
        let mut all = Vec::with_capacity(many);
        let before = resident();
        all.extend((0..many).map(|_| waits(&tops)));
        all.iter_mut().for_each(|waits| assert!(poll_once(waits).is_pending()));
        let each = (resident() - before) / many;
        let tops = tops.take();
        let used = tops.iter().map(|(_, used)| *used).max().unwrap();
        let stack = tops.iter().map(|(top, _)| in_memory(*top)).max().unwrap();
        println!("{many} that used {used} bytes of their stacks: {stack} bytes of a stack, {each} of a coroutine");
        assert!(bytes == 0 || stack <= used + page(), "{stack} bytes of a stack, of which {used} were used");
        assert!(each <= stack + page(), "{each} bytes of a coroutine, {stack} of them its stack");
        drop(all);
        let kept: Vec<_> = tops.iter().map(|(top, _)| in_memory(*top)).filter(|bytes| *bytes > 0).collect();
        println!("{} stacks are kept, with {} bytes", kept.len(), kept.iter().sum::<usize>());
        assert_eq!((kept.len(), Coroutine::stacks().pooled), (KEPT, KEPT));
        tops
    });
    let tops = tops.join().unwrap();
    assert_eq!(Coroutine::stacks().pooled, 0);
    assert_eq!(tops.iter().filter(|(top, _)| in_memory(*top) > 0).count(), 0, "kept after the thread has ended");
}

/// Catches: a stack that is touched or filled when it is made; more than a page of bookkeeping; a pool without a bound, or
/// one that outlives its thread.
#[test]
fn c07_a_suspended_one_takes_at_most_a_page_more_than_its_stack_touched() {
    // Sanitizers take memory of their own for what is touched.
    if is_sanitized() {
        return;
    }
    for uses in 0..USES.len() {
        // Without the watchdog: on a slow machine its thread starts, and its memory may be where a freed stack was.
        in_child("child_waits_in_many", &[("USES", &uses.to_string()), ("CO_WRAPPER_HANG_SECS", "0")]);
    }
}
