//! What rustc says of types that cannot be taken along, and where: once each, at the type.

use co_wrapper::no_co_wrapper;

struct Plain;

/// Not `Send`.
#[derive(Clone)]
struct Local(*const u8);

enum Maybe<T> {
    Some(T),
}

#[no_co_wrapper]
fn bdrv_a(_: u8, _: Local) {}

#[no_co_wrapper]
fn bdrv_b(_: u8, _: &Plain) {}

#[no_co_wrapper]
fn bdrv_c(_: &str, _: &Local, _: Maybe<Local>) {}

#[no_co_wrapper]
fn bdrv_d<T>(_: T) {}

#[no_co_wrapper]
fn bdrv_f<T: Send>(_: &[T]) {}

#[no_co_wrapper]
fn bdrv_g() -> Local {
    Local(&1)
}

impl Plain {
    #[no_co_wrapper(bdrv_wrlock)]
    fn bdrv_h(&self, _: u8) {}
}


fn main() {}
