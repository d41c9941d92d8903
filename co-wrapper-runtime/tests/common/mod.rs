//! What the tests share: wrappers as the macro writes them, and a bound on every wait.

#![allow(dead_code, reason = "each test binary uses its part")]

#[cfg(feature = "graph")]
pub mod main_loop;

use std::{
    env,
    future::Future,
    io::Read,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use co_wrapper_runtime::__private::{Wrapper, poll_co};

/// Calls as a plain wrapper `plain` of `co_plain`.
#[track_caller]
pub fn plain<F: Future>(future: F) -> F::Output {
    poll_co(&Wrapper { name: "plain", target: "co_plain", mixed: false }, future, |future| future)
}

/// Calls as a mixed wrapper `mixed` of `co_mixed`.
#[track_caller]
pub fn mixed<F: Future>(future: F) -> F::Output {
    poll_co(&Wrapper { name: "mixed", target: "co_mixed", mixed: true }, future, |future| future)
}

/// Runs `test` on a thread of its own and fails, rather than hangs, when it takes longer than a minute.
pub fn within_bounds<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    on_stack_of(2 << 20, test)
}

/// The same with a stack of so many bytes.
pub fn on_stack_of<T: Send + 'static>(bytes: usize, test: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, finished) = mpsc::channel();
    let thread = thread::Builder::new()
        .stack_size(bytes)
        .spawn(move || {
            let result = test();
            // The receiver gave up only if it failed.
            let _ = done.send(());
            result
        })
        .unwrap();
    // Miri is some hundred times slower.
    let bound = Duration::from_secs(if cfg!(miri) { 1_200 } else { 60 });
    match finished.recv_timeout(bound) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("the test hangs"),
        Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => {}
    }
    match thread.join() {
        Ok(result) => result,
        Err(payload) => std::panic::resume_unwind(payload),
    }
}

/// How often something is done: less below Miri, which is some hundred times slower.
pub const fn sized(natively: usize, below_miri: usize) -> usize {
    if cfg!(miri) { below_miri } else { natively }
}

/// The message of a panic.
pub fn message_of(payload: &(dyn std::any::Any + Send)) -> &str {
    payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .expect("a panic with a message")
}

/// What `call` panics with.
pub fn panic_of<T>(call: impl FnOnce() -> T) -> String {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)) {
        Ok(_) => panic!("no panic"),
        Err(payload) => message_of(&*payload).to_owned(),
    }
}

/// Runs `test`, an ignored test of this binary, in a process of its own with those variables set; fails when it takes
/// longer than a minute or fails there. Returns what it printed to stderr.
pub fn in_child(test: &str, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"]);
    command.env_remove("CO_WRAPPER_HANG_SECS").env("RUST_BACKTRACE", "0").envs(variables.iter().copied());
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let read = |mut pipe: Box<dyn Read + Send>| {
        thread::spawn(move || {
            let mut text = String::new();
            pipe.read_to_string(&mut text).unwrap();
            text
        })
    };
    let (stdout, stderr) = (read(Box::new(child.stdout.take().unwrap())), read(Box::new(child.stderr.take().unwrap())));
    let deadline = Instant::now() + Duration::from_secs(60);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        thread::sleep(Duration::from_millis(2));
    };
    let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
    assert!(
        status.is_some_and(|status| status.success()) && stdout.contains("1 passed"),
        "{test}: {status:?}\n{stdout}{stderr}"
    );
    stderr
}
