#![allow(unused)]

use co_wrapper::co_wrapper;

#[co_wrapper]
struct Disk;

#[co_wrapper]
pub(crate) enum Format {}

#[co_wrapper]
mod inner {}

#[co_wrapper]
static ONE: u8 = 1;

#[co_wrapper]
const TWO: u8 = 1;

#[co_wrapper]
type Three = u8;

#[co_wrapper]
use std as four;

#[co_wrapper]
unsafe extern "C" {}

#[co_wrapper]
union Five {
    x: u8,
}

#[co_wrapper]
macro_rules! six {
    () => {};
}

fn main() {}
