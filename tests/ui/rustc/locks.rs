//! What is given for the lock, and is none.

use co_wrapper::co_wrapper;

#[co_wrapper(bdrv_rdlock = 7)]
async fn co_read() {}

fn main() {}
