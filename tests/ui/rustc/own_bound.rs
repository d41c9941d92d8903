use co_wrapper::co_wrapper;
use std::future::ready;
use std::pin::Pin;

struct Packed<T: Copy>(T);

struct Text;

// What breaks its own bound in a signature is told of there, and once more for the wrapper's body if it passes through
// that: as for a twin written by hand. An async fn would be told of its own body too, at a place that depends on rustc's
// release.

#[co_wrapper]
async fn co_bound() -> u8
where
    Packed<Text>: Clone,
{
    1
}

#[co_wrapper]
fn co_argument(_: Packed<Text>) -> impl Future<Output = ()> {
    ready(())
}

#[co_wrapper]
fn co_second(_: u16, _: u8, (_, _): (&Packed<Text>, u8)) -> impl Future<Output = ()> {
    ready(())
}

#[co_wrapper]
fn co_result() -> Pin<Box<dyn Future<Output = Packed<Text>>>> {
    loop {}
}

#[co_wrapper]
async fn co_slice(x: [u8]) {
    let _ = x;
}

#[co_wrapper]
fn co_array<const N: u8>(_: [u8; N]) -> impl Future<Output = ()> {
    ready(())
}

struct Disk;

impl Disk {
    #[co_wrapper(ctx = co_wrapper::AioContext::main())]
    fn co_generic<T: Clone + Send>(&self, _: u8, _: Packed<T>) -> impl Future<Output = ()> {
        ready(())
    }
}

fn main() {}
