//! Shared parts of this crate's tests: wrappers as the macro writes them, and the support that all crates' tests share.

#![allow(dead_code, unused_imports, reason = "each test binary uses its part")]

#[cfg(feature = "graph")]
pub mod main_loop;
#[cfg(all(target_os = "linux", not(miri)))]
pub mod supervisor;

use std::{future::Future, thread};

use co_wrapper_runtime::{
    __private::{Wrapper, poll_co},
    AioContext,
};
pub use co_wrapper_test_support::*;

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

/// Ends when the context's home thread has gone to sleep once more.
pub fn sleeps(ctx: &AioContext) -> impl FnOnce() + use<> {
    let (ctx, before) = (ctx.clone(), ctx.stats().parks);
    move || {
        while ctx.stats().parks == before {
            thread::yield_now();
        }
    }
}
