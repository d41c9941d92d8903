use co_wrapper::co_wrapper;

struct Packed<T: Copy>(T);

// What breaks its own bound in a signature is told of there, and once more for the wrapper's body if it passes through
// that: as for a twin written by hand. An async fn is told of its own body too.

#[co_wrapper]
async fn co_bound() -> u8
where
    Packed<String>: Clone,
{
    1
}

#[co_wrapper]
async fn co_argument(x: Packed<String>) {
    let _ = x;
}

#[co_wrapper]
async fn co_second(x: Option<u8>, n: u8, (y, _): (&Packed<String>, u8)) {
    let _ = (x, n, y);
}

#[co_wrapper]
async fn co_result() -> Packed<String> {
    loop {}
}

#[co_wrapper]
async fn co_slice(x: [u8]) {
    let _ = x;
}

#[co_wrapper]
async fn co_array<const N: u8>(x: [u8; N]) {
    let _ = x;
}

struct Disk;

impl Disk {
    #[co_wrapper(ctx = co_wrapper::AioContext::main())]
    async fn co_generic<T: Clone + Send>(&self, n: u8, x: Packed<T>) {
        let _ = (n, x);
    }
}

fn main() {}
