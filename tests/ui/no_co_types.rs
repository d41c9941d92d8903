//! What rustc says of types that cannot be taken along, and where.

use co_wrapper::no_co_wrapper;
use std::rc::Rc;

struct Plain;

#[no_co_wrapper]
fn bdrv_a(_: u8, _: Rc<u8>) {}

#[no_co_wrapper]
fn bdrv_b(_: u8, _: &Plain) {}

fn main() {}
