//! A waker that blocks in a call of ours. A file of its own, because other tests hand workers of our reactor on, and of a worker
//! that has not slept on its new thread nobody can tell that it drives timers (see `reactor/outer.rs`).
#![cfg(all(not(loom), feature = "tokio"))]

mod common;

use std::{
    future::Future,
    sync::{Arc, mpsc},
    task::{Context, Wake, Waker},
    thread,
};

use common::*;

/// A waker that blocks, called by the worker that drives its runtime's timers.
///
/// Catches: handing that worker on, which it cannot be meanwhile: tokio ends the process, or the worker.
#[test]
fn a_waker_that_blocks_where_a_runtimes_timers_are_driven() {
    struct Blocks(async_channel::Receiver<u32>, mpsc::Sender<u32>);
    impl Wake for Blocks {
        fn wake(self: Arc<Self>) {
            self.1.send(plain(self.0.recv()).unwrap()).unwrap();
        }
    }

    within_bounds(|| {
        let host = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        for handle in [host.handle().clone(), co_wrapper_runtime::reactor()] {
            let (release, released) = async_channel::bounded(1);
            let (done, is_done) = mpsc::channel();
            let waker = Waker::from(Arc::new(Blocks(released, done)));
            let mut timer = {
                let _entered = handle.enter();
                Box::pin(tokio::time::sleep(ms(1)))
            };
            // If it is due already, nobody wakes.
            if timer.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                thread::spawn(move || {
                    thread::sleep(ms(5));
                    release.send_blocking(7)
                });
                assert_eq!(is_done.recv(), Ok(7));
            }
            let after = handle.spawn(async { tokio::time::sleep(ms(1)).await });
            plain(after).unwrap();
        }
    });
}
