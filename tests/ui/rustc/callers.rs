//! A wrapper's caller is told of the caller's own arguments, as by any fn.

use co_wrapper::co_wrapper;

#[co_wrapper]
async fn co_f(x: u8) -> u8 {
    x
}

struct Disk;

impl Disk {
    #[co_wrapper]
    async fn co_g(&self) {}
}

fn main() {
    f("text");
    Disk.g(1);
}
