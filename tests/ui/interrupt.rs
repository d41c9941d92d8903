use co_wrapper::{co_wrapper, declare, no_co_wrapper};

#[co_wrapper(interrupt = "a")]
async fn co_a() {}

#[co_wrapper(interrupt = 5)]
async fn co_b() {}

#[co_wrapper(interrupt(5))]
async fn co_c() {}

#[co_wrapper(interrupt =)]
async fn co_d() {}

#[co_wrapper(interrupt, interrupt)]
async fn co_e() {}

#[co_wrapper(interrupt = f)]
async fn co_f() {}

#[co_wrapper(interrupt = co_g)]
async fn co_g() {}

#[co_wrapper(interrupt)]
async fn co_h() -> ! {
    loop {}
}

struct Disk;

#[co_wrapper(suffix = "_blocking", interrupt = within)]
impl Disk {
    async fn read(&self) {}
}

#[co_wrapper(suffix = "_blocking", interrupt)]
impl Disk {
    async fn write(&self) -> ! {
        loop {}
    }
}

#[co_wrapper(suffix = "_blocking", interrupt = within)]
mod block {
    pub async fn co_read() {}
}

declare! {
    #[co_wrapper(interrupt = within, suffix = "_blocking")]
    impl DiskBlocking for Disk {
        fn read_blocking(&self);
    }
}

#[co_wrapper(timeout = given_up, interrupt = given_up)]
async fn co_i() {}

#[co_wrapper(name = j_timeout, timeout = k, interrupt = j_timeout)]
async fn co_j() {}

#[co_wrapper(interupt)]
async fn co_l() {}

#[no_co_wrapper(interrupt)]
fn m() {}

fn main() {}
