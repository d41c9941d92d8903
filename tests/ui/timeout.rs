use co_wrapper::{co_wrapper, declare};

#[co_wrapper(timeout = "a")]
async fn co_a() {}

#[co_wrapper(timeout = 5)]
async fn co_b() {}

#[co_wrapper(timeout(5))]
async fn co_c() {}

#[co_wrapper(timeout =)]
async fn co_d() {}

#[co_wrapper(timeout, timeout)]
async fn co_e() {}

#[co_wrapper(timeout = f)]
async fn co_f() {}

#[co_wrapper(timeout = co_g)]
async fn co_g() {}

#[co_wrapper(timeout)]
async fn co_h() -> ! {
    loop {}
}

struct Disk;

#[co_wrapper(suffix = "_blocking", timeout = within)]
impl Disk {
    async fn read(&self) {}
}

#[co_wrapper(suffix = "_blocking", timeout)]
impl Disk {
    async fn write(&self) -> ! {
        loop {}
    }
}

#[co_wrapper(suffix = "_blocking", timeout = within)]
mod block {
    pub async fn co_read() {}
}

declare! {
    #[co_wrapper(timeout = within, suffix = "_blocking")]
    impl DiskBlocking for Disk {
        fn read_blocking(&self);
    }
}

fn main() {}
