//! Faults: no descriptors, no threads, a reactor that panics. A test that lowers a limit or ends its process runs in a
//! child process.

#![cfg(all(target_os = "linux", feature = "tokio", not(loom)))]

mod common;

use std::{fs, io, os::fd::AsRawFd, time::Duration};

use co_wrapper_runtime::{AioContext, IoThread};
use common::{in_child, panic_of, plain, run, test_in_child};

/// Runs `starved` with the soft limit of `resource` at `limit`.
fn with_limit<T>(resource: libc::__rlimit_resource_t, limit: u64, starved: impl FnOnce() -> T) -> T {
    let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `before` is there to be written.
    assert_eq!(unsafe { libc::getrlimit(resource, &mut before) }, 0);
    let set = |limit: libc::rlimit| {
        // SAFETY: only reads what it is given.
        assert_eq!(unsafe { libc::setrlimit(resource, &limit) }, 0);
    };
    set(libc::rlimit { rlim_cur: limit, ..before });
    let result = starved();
    set(before);
    result
}

/// Runs `starved` in a thread that can start no thread: its `clone` fails as it does at the limit of `ulimit -u`, which does
/// not bind root. A limit on memory would leave it to chance, as the stack of a thread that has ended can be used again.
fn without_threads(starved: impl FnOnce() + Send) {
    let statement = |code, k| libc::sock_filter { code, jt: 0, jf: 0, k };
    let refuse_if = |call: libc::c_long| {
        let skips_the_refusal = libc::sock_filter { code: 0x15, jt: 0, jf: 1, k: call.try_into().unwrap() };
        [skips_the_refusal, statement(0x06, libc::SECCOMP_RET_ERRNO | libc::EAGAIN as u32)]
    };
    std::thread::scope(|scope| {
        let starving = scope.spawn(|| {
            // Load the number of the system call (the first word of `seccomp_data`), refuse two of them, allow the rest.
            let mut program = vec![statement(0x20, 0)];
            program.extend([libc::SYS_clone, libc::SYS_clone3].into_iter().flat_map(refuse_if));
            program.push(statement(0x06, libc::SECCOMP_RET_ALLOW));
            let filter = libc::sock_fprog { len: program.len().try_into().unwrap(), filter: program.as_mut_ptr() };
            // SAFETY: both only read what they are given, and bind this thread and those that it starts.
            unsafe {
                assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
                assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &filter), 0);
            }
            starved();
        });
        if let Err(panic) = starving.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// A call that needs the reactor.
fn sleep() {
    plain(async { tokio::time::sleep(Duration::from_millis(1)).await });
}

#[test]
#[ignore = "a child's part"]
fn child_has_no_descriptors() {
    let next: u64 = fs::File::open("/dev/null").unwrap().as_raw_fd().try_into().unwrap();
    // Each is taken by another part of the reactor.
    for left in 0..6 {
        let made = with_limit(libc::RLIMIT_NOFILE, next + left, AioContext::new);
        assert_eq!(made.unwrap_err().raw_os_error(), Some(libc::EMFILE), "with {left} descriptors left");
    }
    with_limit(libc::RLIMIT_NOFILE, next, || {
        assert_eq!(AioContext::new().unwrap_err().raw_os_error(), Some(libc::EMFILE));
        assert_eq!(IoThread::spawn("io").unwrap_err().raw_os_error(), Some(libc::EMFILE));
        for call in [sleep, || plain(async {}), || AioContext::current().block_on(async {})] {
            let message = panic_of(call);
            let cause = io::Error::from_raw_os_error(libc::EMFILE).to_string();
            assert!(message.contains("reactor") && message.contains(&cause), "{message}");
        }
    });
    sleep();
    AioContext::new().unwrap().block_on(async {});
}

/// Catches: a panic where an error can be returned; one that does not say why; a failure that is remembered.
#[test]
fn faults_without_descriptors_the_cause_is_told_and_a_later_call_works() {
    in_child("child_has_no_descriptors", &[]);
}

#[test]
#[ignore = "a child's part"]
fn child_has_no_threads() {
    without_threads(|| {
        assert_eq!(AioContext::new().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(IoThread::spawn("io").unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let message = panic_of(sleep);
        assert!(message.contains("reactor") && message.contains("ulimit -u"), "{message}");
    });
    sleep();
    without_threads(|| {
        // The reactor is there, the IOThread cannot be.
        assert_eq!(IoThread::spawn("io").unwrap_err().kind(), io::ErrorKind::WouldBlock);
        sleep();
    });
    assert_eq!(AioContext::current().block_on(IoThread::spawn("io").unwrap().context().spawn(async { 42 })), 42);
}

/// Catches: the same without a thread to be had.
#[test]
fn faults_without_a_thread_the_cause_is_told_and_a_later_call_works() {
    in_child("child_has_no_threads", &[]);
}

#[test]
#[ignore = "a child's part"]
fn child_has_no_thread_for_the_watchdog() {
    sleep();
    without_threads(|| {
        co_wrapper_runtime::hang::watch(Duration::from_secs(10));
        sleep();
    });
}

/// Catches: a program that is brought down by its watchdog.
#[test]
fn faults_without_a_thread_there_is_no_watchdog_and_no_harm() {
    let said = in_child("child_has_no_thread_for_the_watchdog", &[]);
    assert!(said.contains("no hang reports: their thread cannot start"), "{said}");
}

/// Catches: a reactor that goes down with a task of its.
#[test]
fn faults_a_task_that_panics_on_the_reactor_spares_it() {
    let failed = plain(async { tokio::spawn(async { panic!("of the task") }).await });
    assert!(failed.unwrap_err().is_panic());
    sleep();
}

/// A waker that panics does so in the reactor's worker itself, which tokio answers by ending the process: loud, where a
/// reactor without its worker would hang every call.
///
/// Catches: a panic kept from tokio, after which calls hang.
#[test]
fn faults_a_reactor_whose_worker_panics_ends_the_process_rather_than_hanging_it() {
    let child = run(&mut test_in_child("child_panics_in_the_reactors_worker"));
    assert!(!child.status.success());
    assert!(String::from_utf8_lossy(&child.stderr).contains("worker thread panicking"), "{child:?}");
}

#[test]
#[ignore = "the child of the test above it"]
fn child_panics_in_the_reactors_worker() {
    use std::{
        sync::Arc,
        task::{Context, Wake, Waker},
    };

    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("of the waker");
        }
    }
    plain(async {
        let waker = Waker::from(Arc::new(Panics));
        // The shortest that is not over yet when it is polled.
        let mut millis = 1;
        let _sleep = loop {
            let mut sleep = Box::pin(tokio::time::sleep(Duration::from_millis(millis)));
            if sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                break sleep;
            }
            millis *= 2;
        };
        // For ever, if nothing ended it.
        std::future::pending::<()>().await;
    });
}
