//! A stack of its own for code that needs more room than the thread may have left.
//!
//! [`BigStack::run`] calls a closure on that stack, on the same thread, and comes back: nothing is suspended, and
//! thread-locals are the thread's. This file knows nothing of futures or contexts.
//!
//! Invariants: a stack is used by one closure at a time (`run` takes `&mut self`); its lowest page is never accessible, so
//! that running off its end faults there instead of reaching other memory; a panic does not cross the switch as an unwind,
//! it is caught on the one stack and raised again on the other.
//!
//! On other processors and systems, under Miri and loom, and under ThreadSanitizer, which does not see that a stack is
//! unmapped and another one mapped in its place, the closure is called on the thread's current stack
//! (`none.rs`).

#[cfg(all(
    any(target_os = "linux", target_os = "macos", target_os = "freebsd"),
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(any(miri, loom, co_wrapper_tsan))
))]
#[path = "mapped.rs"]
mod stack;
#[cfg(not(all(
    any(target_os = "linux", target_os = "macos", target_os = "freebsd"),
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(any(miri, loom, co_wrapper_tsan))
)))]
#[path = "none.rs"]
mod stack;

pub use stack::BigStack;

#[cfg(all(test, not(co_wrapper_tsan)))]
mod tests {
    use std::{
        hint::black_box,
        panic::{AssertUnwindSafe, catch_unwind},
    };

    use super::BigStack;

    fn uses(bytes: usize) -> usize {
        let block = [1_u8; 16 << 10];
        let below = bytes.checked_sub(block.len()).map_or(0, uses);
        below + black_box(&block).iter().map(|byte| usize::from(*byte)).sum::<usize>()
    }

    #[test]
    fn a_closure_has_the_room_that_was_asked_for() {
        let thread = std::thread::Builder::new().stack_size(64 << 10);
        let used = thread.spawn(|| BigStack::new(8 << 20).run(|| uses(4 << 20))).unwrap().join().unwrap();
        assert!(used >= 4 << 20);
    }

    #[test]
    fn it_can_be_used_again_and_within_another() {
        let mut outer = BigStack::new(256 << 10);
        for round in 0..3 {
            assert_eq!(outer.run(|| BigStack::new(256 << 10).run(|| round + 1)), round + 1);
        }
    }

    #[test]
    fn a_panic_comes_back_with_its_payload() {
        let mut stack = BigStack::new(256 << 10);
        let caught = catch_unwind(AssertUnwindSafe(|| stack.run(|| std::panic::panic_any(7_u8))));
        assert_eq!(*caught.unwrap_err().downcast::<u8>().unwrap(), 7);
        assert_eq!(stack.run(|| 8), 8);
    }

    /// A backtrace from the one stack goes on into the other's frames, and ends.
    #[test]
    #[cfg_attr(miri, ignore = "Miri's backtraces name no frames of the standard library's")]
    fn a_backtrace_shows_the_frames_of_both() {
        #[inline(never)]
        fn the_caller(stack: &mut BigStack) -> String {
            black_box(stack.run(the_closure))
        }
        #[inline(never)]
        fn the_closure() -> String {
            black_box(std::backtrace::Backtrace::force_capture().to_string())
        }
        let shown = the_caller(&mut BigStack::new(1 << 20));
        assert!(shown.contains("the_closure") && shown.contains("the_caller"), "{shown}");
    }
}
