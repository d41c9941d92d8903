//! A type that may borrow, of which the async fn would have to be `'static`.

use co_wrapper::no_co_wrapper;

#[no_co_wrapper]
fn bdrv_e<T: Send>(_: T, _: u8) {}

fn main() {}
