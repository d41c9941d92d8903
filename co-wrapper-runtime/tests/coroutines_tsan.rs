//! What ThreadSanitizer finds in coroutines, and does not: built with it, and with `--cfg co_wrapper_tsan`, by which it is
//! told of the switches of stacks.

#![cfg(all(feature = "coroutine", co_wrapper_tsan))]

mod common;

use std::{cell::UnsafeCell, sync::Arc, thread};

use co_wrapper_runtime::{AioContext, Coroutine, block_on};
use common::{ms, run, test_in_child};

/// Shared without care.
struct Shared(UnsafeCell<u64>);

// SAFETY: a lie, which is what is to be found.
unsafe impl Sync for Shared {}

impl Shared {
    fn add(&self) {
        // SAFETY: none, see above.
        unsafe { *self.0.get() += 1 };
    }
}

/// A coroutine that is suspended between its additions, while another thread adds too, or in turn with it.
fn additions(races: bool) {
    let shared = Arc::new(Shared(UnsafeCell::new(0)));
    let (own, other) = (Arc::clone(&shared), Arc::clone(&shared));
    let (tx, rx) = async_channel::bounded::<()>(1);
    // SAFETY: it has no scope in a thread-local.
    let adds = unsafe {
        Coroutine::new(move || {
            for _ in 0..10 {
                own.add();
                block_on(AioContext::current().sleep(ms(1)));
            }
            if !races {
                assert!(tx.send_blocking(()).is_ok());
            }
        })
    };
    let adder = thread::spawn(move || {
        if !races {
            assert!(rx.recv_blocking().is_ok());
        }
        other.add();
    });
    block_on(adds);
    adder.join().unwrap();
}

#[test]
#[ignore = "a child's part"]
fn child_races() {
    additions(true);
}

#[test]
#[ignore = "a child's part"]
fn child_takes_turns() {
    additions(false);
}

#[test]
fn a_data_race_in_a_coroutine_is_found_and_none_that_is_not_there() {
    let reports = |test: &str| {
        let output = run(test_in_child(test).env("TSAN_OPTIONS", "halt_on_error=1"));
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (succeeds, stderr) = reports("child_races");
    assert!(!succeeds && stderr.contains("data race"), "{stderr}");
    let (succeeds, stderr) = reports("child_takes_turns");
    assert!(succeeds && !stderr.contains("data race"), "{stderr}");
}
