//! A test that hangs fails by itself.

use std::{panic, sync::mpsc, thread, time::Duration};

/// Far more than any test takes, and far less than a CI job's limit. Miri is some hundred times slower.
pub const BOUND: Duration = Duration::from_secs(if cfg!(miri) { 1_200 } else { 300 });

/// So many milliseconds.
pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// How often something is done: less below Miri.
pub const fn sized(natively: usize, below_miri: usize) -> usize {
    if cfg!(miri) { below_miri } else { natively }
}

/// Runs `test` on a thread of its own and fails, rather than hangs, when it takes longer than [`BOUND`].
#[track_caller]
pub fn within_bounds<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    on_stack_of(2 << 20, test)
}

/// The same with a stack of so many bytes.
#[track_caller]
pub fn on_stack_of<T: Send + 'static>(bytes: usize, test: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, finished) = mpsc::channel();
    let thread = thread::Builder::new().stack_size(bytes).spawn(move || {
        let result = test();
        // The receiver gave up only if it failed.
        let _ = done.send(());
        result
    });
    if finished.recv_timeout(BOUND) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("the test hangs");
    }
    thread.unwrap().join().unwrap_or_else(|payload| panic::resume_unwind(payload))
}
