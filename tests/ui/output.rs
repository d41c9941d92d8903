use co_wrapper::{co_wrapper, declare, no_co_wrapper};
use std::future::{Ready, ready};

// Known already.
#[co_wrapper(output = u8)]
async fn co_a() -> u8 {
    1
}

// Nothing is returned.
#[co_wrapper(output = u8)]
fn co_b() {}

#[co_wrapper(output)]
fn co_c() -> Ready<u8> {
    ready(1)
}

#[co_wrapper(output = "u8")]
fn co_d() -> Ready<u8> {
    ready(1)
}

#[co_wrapper(output = 8)]
fn co_e() -> Ready<u8> {
    ready(1)
}

#[co_wrapper(output = u8, output = u8)]
fn co_f() -> Ready<u8> {
    ready(1)
}

struct Disk;

#[co_wrapper(suffix = "_blocking", output = u8)]
impl Disk {
    fn read(&self) -> Ready<u8> {
        ready(1)
    }
}

#[co_wrapper(suffix = "_blocking")]
impl Disk {
    fn write(&self) -> Ready<u8> {
        ready(1)
    }
}

#[no_co_wrapper(output = u8)]
fn open() -> u8 {
    1
}

declare! {
    #[co_wrapper(output = u8)]
    fn a_blocking() -> u8 = co_a;
}

fn main() {}
