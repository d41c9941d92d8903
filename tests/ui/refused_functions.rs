use co_wrapper::co_wrapper;
use std::pin::Pin;
use std::task::{Context, Poll};

struct Never;

impl Future for Never {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

#[co_wrapper]
const fn co_a() -> impl Future<Output = ()> {
    Never
}

#[co_wrapper]
const async fn co_c() {}

#[co_wrapper]
extern "C" fn co_d() -> impl Future<Output = u8> {
    std::future::ready(1)
}

#[co_wrapper]
async fn co_e<#[cfg(all())] T>() {}

fn main() {}
