// Types that do not fit, in signatures and bodies.

use co_wrapper::co_wrapper;
use std::io;

#[co_wrapper]
async fn co_missing_argument(x: Vec, y: &Disk) {
    let _ = (x, y);
}

#[co_wrapper]
async fn co_too_many(x: Option<u8, u8>) -> Result<u8> {
    Ok(x)
}

#[co_wrapper]
async fn co_mismatch(x: u8) -> u16 {
    let y: u32 = x;
    y
}

#[co_wrapper]
async fn co_returned(x: u8) -> io::Result<u8> {
    if x == 0 {
        return x;
    }
    Some(x)
}

#[co_wrapper]
async fn co_no_result(x: u8) -> u8 {
    x + 1;
}

#[co_wrapper]
async fn co_question(x: Option<u8>) -> u8 {
    x?
}

#[co_wrapper]
async fn co_associated<T: Iterator>(x: T) -> T::Itme {
    x.next()
}

#[co_wrapper]
async fn co_no_dyn(x: &Iterator<Item = u8>) {
    let _ = x;
}

struct Disk<T>(T);

impl<T> Disk<T> {
    #[co_wrapper]
    async fn co_method(&self) -> T {
        self.0.clone()
    }

    #[co_wrapper]
    async fn co_field(&mut self, x: u8) -> u8 {
        self.missing += 1;
        self.no_such(x)
    }
}

fn main() {}
