//! What the tests share: wrappers as the macro writes them, and a bound on every wait.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::{future::Future, sync::mpsc, thread, time::Duration};

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

/// Runs `test` on a thread of its own and fails, rather than hangs, when it takes longer than 20 s.
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
    match finished.recv_timeout(Duration::from_secs(20)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("the test hangs"),
        Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => {}
    }
    match thread.join() {
        Ok(result) => result,
        Err(payload) => std::panic::resume_unwind(payload),
    }
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
