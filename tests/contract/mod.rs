//! What the contract tests share.

use std::{sync::mpsc, thread, time::Duration};

/// Runs `test` on a thread of its own and fails, rather than hangs, when it takes longer than a minute.
pub fn within_bounds<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, finished) = mpsc::channel();
    let thread = thread::spawn(move || {
        let result = test();
        // The receiver gave up only if it failed.
        let _ = done.send(());
        result
    });
    if finished.recv_timeout(Duration::from_secs(60)) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("the test hangs");
    }
    thread.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload))
}
