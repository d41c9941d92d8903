//! The async functions that are measured, as a driver would write them, with the wrappers that the macro makes.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use co_wrapper::co_wrapper;

/// What a driver does at the bottom: never inlined into its caller, for what really reads is not either.
struct Bottom(u64);

impl Future for Bottom {
    type Output = u64;

    #[inline(never)]
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u64> {
        Poll::Ready(self.0 ^ 1)
    }
}

/// Ready at once.
#[co_wrapper(mixed)]
pub async fn bdrv_co_ready(n: u64) -> u64 {
    Bottom(n).await
}

/// Wakes itself `n` times.
#[co_wrapper(mixed)]
pub async fn bdrv_co_wakes(n: u64) {
    let mut left = n;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Polls `future` once, which is the least that a call takes; it has to be ready.
pub fn poll_once<F: Future>(future: F) -> F::Output {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("nothing that waits is polled bare"),
    }
}
