// What the borrow checker says of bodies, and what the lints do.

#![warn(unused)]

use co_wrapper::co_wrapper;

#[co_wrapper]
async fn co_moved(x: String) -> String {
    drop(x);
    x
}

#[co_wrapper]
async fn co_immutable(x: u8) -> u8 {
    x += 1;
    x
}

#[co_wrapper]
async fn co_local(x: &u8) -> &u8 {
    let y = *x;
    &y
}

#[co_wrapper]
async fn co_lives<'a>(x: &'a u8, y: &u8) -> &'a u8 {
    if *x > *y { x } else { y }
}

#[co_wrapper]
async fn co_unused(x: u8, mut y: u8, (a, b): (u8, u8)) -> u8 {
    let z = y;
    a
}

#[co_wrapper]
async fn co_twice(mut v: Vec<u8>) -> u8 {
    let first = &v[0];
    v.push(1);
    *first
}

pub mod private {
    use super::co_wrapper;

    struct Private(u8);

    #[co_wrapper]
    pub async fn co_shown(x: Private, y: Option<Private>) -> u8 {
        x.0
    }

    #[co_wrapper]
    pub async fn co_result() -> Private {
        Private(1)
    }
}

struct Disk(String);

impl Disk {
    #[co_wrapper]
    async fn co_out(&self) -> String {
        self.0
    }

    #[co_wrapper]
    async fn co_mutable(&self) {
        self.0.push('x');
    }
}

fn main() {}
