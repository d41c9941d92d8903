use co_wrapper::{co_wrapper, no_co_wrapper};

// The promise is to be seen.
#[no_co_wrapper(coroutine)]
fn bdrv_a() {}

#[no_co_wrapper(unsafe)]
fn bdrv_b() {}

#[no_co_wrapper(unsafe())]
fn bdrv_c() {}

#[no_co_wrapper(unsafe(mixed))]
fn bdrv_d() {}

#[no_co_wrapper(unsafe(coroutine, mixed))]
fn bdrv_e() {}

#[no_co_wrapper(unsafe(coroutine), unsafe(coroutine))]
fn bdrv_f() {}

// What it does not go with.
#[no_co_wrapper(unsafe(coroutine), bdrv_rdlock)]
fn bdrv_g(_: &co_wrapper::graph::GraphRead) {}

#[no_co_wrapper(bdrv_wrlock, unsafe(coroutine))]
fn bdrv_h() {}

#[no_co_wrapper(unsafe(coroutine), mixed)]
fn bdrv_i() {}

#[no_co_wrapper(unsafe(coroutine))]
fn bdrv_j(_: &co_wrapper::graph::GraphRead) {}

#[no_co_wrapper(unsafe(coroutine))]
fn bdrv_j_write(_: u8, _: &co_wrapper::graph::GraphWrite) {}

impl Disk {
    #[no_co_wrapper(unsafe(coroutine))]
    fn j(self, _: &co_wrapper::graph::GraphRead) {}
}

co_wrapper::declare! {
    #[no_co_wrapper(unsafe(coroutine))]
    async fn co_j(_: &co_wrapper::graph::GraphRead) = bdrv_j;
}

// The arguments and the result are owned, as with every `#[no_co_wrapper]`.
#[no_co_wrapper(unsafe(coroutine))]
fn bdrv_k(_buf: &mut [u8]) {}

#[no_co_wrapper(unsafe(coroutine))]
fn bdrv_l(x: &u8) -> &u8 {
    x
}

#[no_co_wrapper(unsafe(coroutine))]
async fn bdrv_m() {}

#[no_co_wrapper(unsafe(coroutine))]
fn bdrv_n() -> ! {
    loop {}
}

// Where it is not an option.
#[co_wrapper(unsafe(coroutine))]
async fn co_o() {}

#[co_wrapper(coroutine)]
async fn co_p() {}

struct Disk;

#[co_wrapper(suffix = "_blocking", unsafe(coroutine))]
impl Disk {
    async fn read(&self) {}
}

fn co_read(_: u8) {}

co_wrapper::declare! {
    #[co_wrapper(unsafe(coroutine))]
    fn q() = co_read;
}

#[no_co_wrapper(corutine)]
fn bdrv_r() {}

#[no_co_wrapper(unsafe(corutine))]
fn bdrv_s() {}

#[no_co_wrapper(unsafe(coroutines))]
fn bdrv_t() {}

#[no_co_wrapper(unsafe(file))]
fn bdrv_u() {}

fn main() {}
