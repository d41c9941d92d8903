//! The async functions that are measured, as a driver would write them, with the wrappers that the macro makes.

#[cfg(feature = "coroutine")]
use std::hint::black_box;
use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, Waker},
};

#[cfg(feature = "coroutine")]
use co_wrapper::Coroutine;
use co_wrapper::co_wrapper;

#[cfg(feature = "coroutine")]
use crate::measure::times;

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

/// A coroutine of ours that leaves nothing in a thread-local while it waits.
#[cfg(feature = "coroutine")]
pub fn coroutine<R: 'static>(code: impl FnOnce() -> R + 'static) -> Coroutine<R> {
    // SAFETY: as above.
    unsafe { Coroutine::new(code) }
}

/// Makes `n` coroutines, one after the other, each of which makes one ready call and ends. It is awaited in a call of ours,
/// and polls them with that call's waker, so that no executor is measured.
#[cfg(feature = "coroutine")]
pub async fn made_and_run_in(n: u64) {
    poll_fn(|cx| {
        times(n, || match Pin::new(&mut coroutine(|| bdrv_ready(black_box(7)))).poll(cx) {
            Poll::Ready(output) => output,
            Poll::Pending => unreachable!("the call is ready"),
        });
        Poll::Ready(())
    })
    .await;
}

/// Suspends a coroutine `n` times, each time in a call that is woken at once, and resumes it. As above, no executor is
/// measured.
#[cfg(feature = "coroutine")]
pub async fn suspended_in(n: u64) {
    let mut suspends = coroutine(move || times(n, || bdrv_wakes(1)));
    poll_fn(|cx| {
        while Pin::new(&mut suspends).poll(cx).is_pending() {}
        Poll::Ready(())
    })
    .await;
}
