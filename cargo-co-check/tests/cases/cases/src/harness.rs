//! Runs a case in coroutine context, and says whether a plain twin was called there.

use co_wrapper::AioContext;
use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::OnceLock,
};

pub use blk::*;

pub fn disk() -> Disk {
    Disk(vec![1, 2, 3])
}

/// Lets the context run what it has, once.
pub async fn yield_once() {
    let mut polled = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut polled, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

pub fn tokio_runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap())
}

/// Prints `NAME bad` or `NAME ok`: whether that panicked because of a plain twin in coroutine context.
pub fn run<F: Future<Output = ()>>(name: &str, make: impl FnOnce() -> F) {
    let result = catch_unwind(AssertUnwindSafe(|| AioContext::main().block_on(make())));
    let truth = match &result {
        Ok(()) => "ok",
        Err(payload)
            if payload.downcast_ref::<String>().is_some_and(|text| text.contains("blocking call in coroutine context")) =>
        {
            "bad"
        }
        Err(_) => "another panic",
    };
    println!("{name} {truth}");
}

/// A line for each of these modules, whose `run` is the case.
#[macro_export]
macro_rules! run_cases {
    ($($room:ident: $($case:ident)*;)*) => {
        $(mod $room;)*
        fn main() {
            let _home = co_wrapper::AioContext::main().enter();
            std::panic::set_hook(Box::new(|_| {}));
            $($(harness::run(stringify!($case), $room::$case::run);)*)*
        }
    };
}
