//! The main loop for tests of the graph, and a call that changes the graph.
//!
//! `AioContext::main()` exists once per process and has one home, so the tests take turns on it.

use std::{
    future::Future,
    panic::Location,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

use co_wrapper_runtime::{
    __private::{Wrapper, arg, no_co_write},
    AioContext,
    graph::{GraphLock, GraphWrite},
};

use super::within_bounds;

/// Runs `test` with the main context entered, alone, within the bound of `within_bounds`.
pub fn on_main(test: impl FnOnce(AioContext) + Send + 'static) {
    static MAIN: Mutex<()> = Mutex::new(());
    let _turn = MAIN.lock().unwrap_or_else(PoisonError::into_inner);
    within_bounds(move || {
        let main = AioContext::main();
        let _home = main.enter();
        test(main);
    });
}

pub static NO_CO: Wrapper = Wrapper { name: "bdrv_co_change", target: "bdrv_change", mixed: false };

/// Like `#[no_co_wrapper(bdrv_wrlock)]` has it.
#[track_caller]
pub fn change<R: Send + 'static>(
    lock: &GraphLock,
    body: impl FnOnce(&GraphWrite) -> R + Send + 'static,
) -> impl Future<Output = R> + Send + 'static {
    no_co_write(&NO_CO, lock.clone(), (), move |(), guard| arg(body(guard)))
}

/// The caller's file and that line, as a message names it.
#[track_caller]
pub fn at(line: u32) -> String {
    format!("{}:{line}:", Location::caller().file())
}

pub fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
