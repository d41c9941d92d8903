//! What a wrapper hands to the runtime: the arguments, packed without a gap; a closure of no size; and the bare future,
//! made of them. `poll_co` of a stand-in for this crate looks at all three.

use co_wrapper::co_wrapper;
use std::future::ready;

const KIB: usize = 1024;

/// What the expansion knows of the facade, with a `poll_co` that measures.
mod measuring {
    pub mod __private {
        pub use co_wrapper::__private::{FnOnce, Wrapper};
        use std::cell::Cell;

        thread_local! {
            /// Of the arguments, of the entry, and of the future.
            pub static SIZES: Cell<[usize; 3]> = const { Cell::new([0; 3]) };
        }

        pub fn poll_co<S, Fut: Future>(_: &Wrapper, args: S, entry: impl FnOnce(S) -> Fut) -> Fut::Output {
            let (packed, closure) = (size_of_val(&args), size_of_val(&entry));
            let future = entry(args);
            SIZES.set([packed, closure, size_of_val(&future)]);
            co_wrapper::AioContext::current().block_on(future)
        }
    }
}

#[co_wrapper(crate = measuring)]
async fn co_sum(data: [u8; KIB], by: u64, text: &str) -> u64 {
    ready(()).await;
    u64::from(data[0]) + by + text.len() as u64
}

#[test]
fn the_wrappers_future_is_the_bare_one() {
    assert_eq!(sum([1; KIB], 2, "abc"), 6);
    let [packed, closure, future] = measuring::__private::SIZES.get();
    assert_eq!(packed, size_of::<([u8; KIB], u64, &str)>());
    assert_eq!(closure, 0);
    assert_eq!(future, size_of_val(&co_sum([1; KIB], 2, "abc")));
}
